/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a debugger connects: a TCP port, of the loopback address unless another is given, or a Unix
 * socket.  Whoever can connect has the guest, and what vkvm may write for it: nothing else protects it.
 */
#ifndef GDB_LISTEN_H
#define GDB_LISTEN_H

#include "vmm/base/failure.h"

struct gdb_listen {
    int fd;          /* owned; -1 = none */
    char *path;      /* owned: the Unix socket to remove; NULL = TCP */
    char where[128]; /* what gdb's `target remote` takes */
};

/*
 * Is it "[ADDRESS:]PORT" or a path, which has a slash?  Returns 0, or -EINVAL with *failure filled.
 */
int gdb_listen_check(const char *text, struct failure *failure) __attribute__((warn_unused_result));

/*
 * Listen there.  Port 0 is any free one.  A Unix socket that nobody listens on is replaced.
 * Returns 0, or -errno with *failure filled: -EINVAL, -EADDRINUSE, -EACCES, ...
 */
int gdb_listen_open(const char *text, struct gdb_listen *at, struct failure *failure)
    __attribute__((warn_unused_result));

void gdb_listen_close(struct gdb_listen *at);

#endif
