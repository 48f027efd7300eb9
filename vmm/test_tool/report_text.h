/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the reporters share: a piece of text that is written as a whole or not at all, and the leaves of a
 * result, which are what readers of KTAP and JUnit count.
 */
#ifndef REPORT_TEXT_H
#define REPORT_TEXT_H

#include "vmm/test_tool/suite_report.h"

/*
 * Text under way.  It is made in memory first, so that a full disk leaves whole pieces in the file, and
 * the error is known.
 */
struct report_buffer {
    char *text; /* owned */
    size_t size;
    FILE *file; /* writes to the two above; NULL: closed, or no memory */
};

/* Begin an empty text; `file` is NULL if there is no memory. */
void report_buffer_open(struct report_buffer *buffer);

/* Complete the text.  Returns 0, or -ENOMEM: it lacks something. */
int report_buffer_close(struct report_buffer *buffer) __attribute__((warn_unused_result));
void report_buffer_fini(struct report_buffer *buffer);

/*
 * Write and flush the bytes.  *error, 0 before the first call, is what went wrong first; from then on
 * nothing is written.  What a regular file has got of the bytes that failed is taken away again.
 */
void report_write(FILE *to, const char *text, size_t size, int *error);

/* Close the buffer, write what is in it, and give its memory back. */
void report_write_buffer(FILE *to, struct report_buffer *buffer, int *error);

/*
 * On one line: bytes that are no text become U+FFFD, control characters blanks, a terminal's escape
 * sequences nothing.
 */
void report_line(FILE *to, const char *text);

/* The first character of a text that has one, in the same way.  Returns how many bytes it had. */
size_t report_char(FILE *to, const char *text);

/* Length of the part of a name before its first slash: the suite's. */
size_t report_suite_length(const char *name);

/* How long the terminal's sequence is that begins with the ESC at `text`. */
size_t report_escape_length(const char *text);

/*
 * The leaves of a result: its subtests, or the test itself without any.  What no subtest tells, such as a
 * time-out, an exit status or a skip, is a leaf more, which is the last.
 */
struct report_leaf {
    const char *name; /* within the test; NULL = the leaf is the test itself */
    enum verdict verdict;
    const char *reason; /* NULL = none */
};

size_t report_nleaves(const struct test_result *result);
struct report_leaf report_leaf(const struct test_result *result, size_t i);

/* "3 of 5 attempts failed before it passed: REASON OF THE LAST"; for a result that is flaky. */
void report_flaky(FILE *to, const struct test_result *result);

/*
 * Which results of a plan have come, for reporters whose files must account for all.  Without memory
 * none is missed.
 */
struct report_roll {
    struct report_plan plan; /* its tests are borrowed */
    bool *came;              /* owned: each test's repetitions, test by test */
};

void report_roll_init(struct report_roll *roll, const struct report_plan *plan);
void report_roll_fini(struct report_roll *roll);
void report_roll_mark(struct report_roll *roll, const struct test_result *result);

/*
 * The next result that has not come, from number *i on, which then is one further.
 * Returns its test, and the result's name; NULL: there is none.
 */
const struct suite_test *report_roll_missing(const struct report_roll *roll, size_t *i,
                                             char name[SUITE_NAME_MAX + 24]);

/* Why tests did not run: "interrupted by signal 2", or "the run ended early". */
void report_cut(FILE *to, const struct report_totals *totals);

#endif
