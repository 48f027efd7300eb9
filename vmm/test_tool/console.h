/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a test prints: taken apart into lines, and kept, as far as it is not too much: its first and its
 * last bytes.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONSOLE_KEPT (128u << 10) /* bytes at the begin, and as many at the end */
#define CONSOLE_LINE_MAX 4096u    /* what is longer is cut */

/* A line without its end: text without NUL, CR at its end. */
typedef void console_line_fn(void *context, const char *line);

struct console {
    console_line_fn *line; /* may be NULL */
    void *context;         /* borrowed */
    uint64_t total;        /* bytes that came */
    char *head;            /* owned: the first CONSOLE_KEPT */
    char *tail;            /* owned: a ring of the last ones, of those behind the head */
    size_t line_length;
    char text[CONSOLE_LINE_MAX + 1]; /* the line that has no end yet */
};

/* Returns 0, or -ENOMEM. */
int console_init(struct console *console, console_line_fn *line, void *context)
    __attribute__((warn_unused_result));
void console_fini(struct console *console);

/* Take some bytes. */
void console_take(struct console *console, const char *bytes, size_t size);

/* Nothing more comes: a line without an end is one too. */
void console_end(struct console *console);

/* What was kept, with a line between that says how much was left out. */
void console_write(const struct console *console, FILE *to);

/* The last bytes, at most `size` - 1 of them and from a line's begin on if there is one, with a NUL; NULs are '?'. */
void console_last(const struct console *console, char *to, size_t size);

#endif
