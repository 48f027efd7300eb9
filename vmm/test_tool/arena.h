/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that is given back all at once.
 *
 * Not for several threads.  A failure stays: arena_failed says so once for all that was asked for, so
 * that callers need not look at each.
 */
#ifndef ARENA_H
#define ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena; /* arena.c */

/* Returns NULL: no memory. */
struct arena *arena_create(void);
void arena_destroy(struct arena *arena); /* NULL is nothing */

/* Zeroed, aligned for anything.  Returns NULL: no memory, and arena_failed from now on. */
void *arena_alloc(struct arena *arena, size_t size);

/* The same with `old`, size bytes of the arena or NULL, copied to the front. */
void *arena_grow(struct arena *arena, const void *old, size_t size, size_t new_size);

/* Strings; NULL as above. */
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

bool arena_failed(const struct arena *arena);

#endif
