/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which kind of thread may make which system call.
 *
 * The table is data for tools/sandbox_filters.c, which makes filters of it when vkvm is built, and
 * for the tests; vkvm itself knows the filters only.
 */
#ifndef SANDBOX_TABLE_H
#define SANDBOX_TABLE_H

#include "vmm/vm/sandbox.h"
#include "vmm/vm/sandbox_filters.h"

#include <stddef.h>
#include <stdint.h>

/* Kinds of threads, as bits of a row. */
#define SANDBOX_BIT(kind) (1u << (kind))

/*
 * The call is allowed to these kinds if (argument & mask) == value; mask 0: always.  A mask has
 * what the kernel looks at of the argument, often its low 32 bits only.  A call may have several
 * rows: each allows more.
 */
struct sandbox_row {
    int call;          /* SYS_... */
    unsigned kinds;    /* SANDBOX_BIT of each */
    unsigned argument; /* from 0 */
    uint64_t mask;
    uint64_t value; /* low 32 bits SANDBOX_OWN_PID: the process's id */
};

extern const struct sandbox_row sandbox_table[];
extern const size_t sandbox_table_rows;

#endif
