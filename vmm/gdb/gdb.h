/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM that gdb can attach to: the listener, the server and the target of one VM.
 *
 *     gdb_open -> (vm_config.debug = &gdb_debug_ops, .debugger = what it gave) -> vm_run -> gdb_close
 */
#ifndef GDB_H
#define GDB_H

#include "vmm/base/failure.h"
#include "vmm/vm/vm.h"

#include <stdbool.h>

struct gdb; /* gdb.c */

/*
 * Listen at `address` (gdb_listen.h).  wait: no vCPU runs before a debugger came and let it.
 * warn, which may be NULL, is told where gdb connects, and what goes wrong later.
 * Returns 0 and *gdb, or -errno with *failure filled.
 */
int gdb_open(const char *address, bool wait, void (*warn)(void *context, const char *message),
             void *warn_context, struct gdb **gdb, struct failure *failure)
    __attribute__((warn_unused_result));

/* After vm_run, if that was called.  NULL is nothing. */
void gdb_close(struct gdb *gdb);

extern const struct vm_debug_ops gdb_debug_ops;

#endif
