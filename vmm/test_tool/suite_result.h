/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What came of a test.
 */
#ifndef SUITE_RESULT_H
#define SUITE_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct result_names; /* suite_result.c */
struct suite_test;

enum verdict {
    VERDICT_PASS,
    VERDICT_FAIL,  /* it ran, and something was not as it must be */
    VERDICT_ERROR, /* it did not come to its end: crash, time-out, or it could not be run */
    VERDICT_SKIP,  /* it cannot be tested here */
    VERDICT_XFAIL, /* of subtests only: it failed, as is known; counts as a pass, and is told */
    VERDICTS
};

/* Subtests beyond this many, of a test that floods, are counted only. */
#define RESULT_SUBTESTS_MAX 20000u
#define RESULT_NAME_MAX 512

struct subtest {
    char *name; /* owned; unique within its test: "x", "x #2"; UTF-8 without control characters */
    enum verdict verdict;
    char *reason;   /* owned: one line: why, not for a pass; may be NULL */
    unsigned times; /* how often its name was given: test_result_add's own */
};

/* An attempt before the last one: with --retries. */
struct attempt {
    enum verdict verdict;
    char *reason; /* owned */
    uint64_t duration_ns;
};

/* Owns its strings and arrays, but not the test.  Texts are UTF-8 without control characters. */
struct test_result {
    const struct suite_test *test;
    char *
        name; /* the test's, and with --repeat " #N" behind it: unique among the results of a run */
    unsigned repeat; /* from 0 */
    enum verdict verdict;
    char *reason;      /* why, in one line; NULL for a pass that has nothing to tell */
    uint64_t begin_ns; /* CLOCK_REALTIME */
    uint64_t duration_ns;
    int exit_status; /* of the child, 128 + the signal that ended it; -1 = none ran */
    size_t nsubtests;
    struct subtest *subtests;
    uint64_t subtests_left_out; /* beyond RESULT_SUBTESTS_MAX */
    struct result_names *names; /* test_result_add's own */
    size_t nattempts;
    struct attempt *attempts;
    bool flaky; /* an attempt failed, the last one passed */
    /* Files, NULL = there is none.  Without --out they are gone when the run ends. */
    char *console;
    char *stats; /* vkvm run's JSON */
    char *trace;
    char *
        tail; /* the last lines of the console, for reports; "" = it was silent.  Bytes as they came, no NUL */
};

/*
 * Add a subtest: `name` and `reason` (NULL: none) are copied and made printable, the name unique.  A
 * subtest that failed makes a test that passed fail; memory that is short makes it an error.
 */
void test_result_add(struct test_result *result, const char *name, enum verdict verdict,
                     const char *reason);

/*
 * Set verdict and reason (as by printf), if `verdict` is worse than what is there: ERROR, FAIL, SKIP, PASS.
 */
void test_result_set(struct test_result *result, enum verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void test_result_fini(struct test_result *result);

/* "PASS", "FAIL", "ERROR", "SKIP", "XFAIL". */
const char *verdict_name(enum verdict verdict);

#endif
