/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a test prints: taken apart into lines, and kept, as far as it is not too much: its first and its
 * last bytes.
 */
#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TRANSCRIPT_KEPT (128u << 10) /* bytes at the begin, and as many at the end */
#define TRANSCRIPT_LINE_MAX 4096u    /* what is longer is cut */

/* A line without its end: text without NUL, CR at its end. */
typedef void transcript_line_fn(void *context, const char *line);

struct transcript {
    transcript_line_fn *line; /* may be NULL */
    void *context;            /* borrowed */
    uint64_t total;           /* bytes that came */
    char *head;               /* owned: the first TRANSCRIPT_KEPT */
    char *tail;               /* owned: a ring of the last ones, of those behind the head */
    size_t line_length;
    char text[TRANSCRIPT_LINE_MAX + 1]; /* the line that has no end yet */
};

/* Returns 0, or -ENOMEM. */
int transcript_init(struct transcript *console, transcript_line_fn *line, void *context)
    __attribute__((warn_unused_result));
void transcript_fini(struct transcript *console);

/* Take some bytes. */
void transcript_take(struct transcript *console, const char *bytes, size_t size);

/* Nothing more comes: a line without an end is one too. */
void transcript_end(struct transcript *console);

/* What was kept, with a line between that says how much was left out. */
void transcript_write(const struct transcript *console, FILE *to);

/* The last bytes, at most `size` - 1 of them and from a line's begin on if there is one, with a NUL; NULs are '?'. */
void transcript_last(const struct transcript *console, char *to, size_t size);

#endif
