/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What vkvm itself says on the terminal while a guest has it: lines that never wait for whoever
 * reads them.  A client of the event loop, and only of its thread.
 *
 * What the terminal does not take at once is kept and written when it does, up to
 * SCREEN_KEPT bytes; what comes beyond that is dropped as a whole.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include "vmm/base/event_loop.h"

#include <stddef.h>

#define SCREEN_KEPT ((size_t)16 << 10)

struct screen {
    struct event_loop *loop;     /* (c) borrowed */
    int fd;                      /* (c) owned; -1 = nothing is ever said */
    struct event_source *source; /* waits for the terminal; NULL = nothing is kept */
    size_t kept, at;             /* [at, kept) of the bytes is still to be written */
    char bytes[SCREEN_KEPT];
};

/* The terminal of descriptor `fd`; if it is none, or cannot be opened again, nothing is said. */
void screen_init(struct screen *screen, struct event_loop *loop, int fd);

/* The loop does not run any more, or its source would be removed under it. */
void screen_fini(struct screen *screen);

void screen_write(struct screen *screen, const void *bytes, size_t size);
void screen_print(struct screen *screen, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
