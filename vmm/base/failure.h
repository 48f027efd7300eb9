/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why something did not work, for a person: one line that names the cause and the remedy, and
 * a code for the caller.
 */
#ifndef FAILURE_H
#define FAILURE_H

struct failure {
    int code;           /* negative errno, or a verb's exit status; 0 = none */
    char message[1024]; /* "cause: remedy", no newline */
};

/* How names from outside are printed, cut so that the remedy behind them still fits. */
#define FAILURE_NAME "'%.512s'"

/* Fill *failure and return its code, so that `return failure_set(...)` works. */
int failure_set(struct failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
