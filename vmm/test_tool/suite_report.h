/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is told of a run as it goes: one reporter for each format.
 *
 * All calls come from the runner's thread: begin, then for each test test_begin and, in the order in
 * which they finish, test_end; at last end, exactly once, also when the run was interrupted: what is
 * written then is a whole and valid report.  Several tests may be under way at once.
 */
#ifndef SUITE_REPORT_H
#define SUITE_REPORT_H

#include "vmm/base/failure.h"
#include "vmm/test_tool/suite.h"
#include "vmm/test_tool/suite_result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct report_plan {
    size_t
        nresults; /* how many test_end will come unless the run is cut short: tests times repetitions */
    size_t ntests;    /* tests that were chosen */
    size_t nfiltered; /* tests that were not */
    const struct suite_test *const
        *tests;      /* the chosen ones in the order of their start; borrowed */
    unsigned repeat; /* 1 = once */
    unsigned jobs;
    bool shuffled;
    uint64_t seed;       /* if shuffled */
    uint64_t begin_ns;   /* CLOCK_REALTIME */
    const char *program; /* name and version */
};

struct report_totals {
    size_t results[VERDICTS];  /* how many tests, by verdict; VERDICT_XFAIL is not used */
    size_t subtests[VERDICTS]; /* ... and subtests */
    size_t flaky;              /* of the passed */
    size_t filtered;
    size_t not_run;  /* chosen, and never started or not finished: --fail-fast, a signal */
    int interrupted; /* the signal; 0 = none */
    uint64_t duration_ns;
};

/* What is under way, for a live line. */
struct report_progress {
    size_t done;
    size_t total;
    size_t failed; /* and errors */
    size_t nrunning;
    const char *running; /* one of them, the oldest; NULL = none */
    uint64_t elapsed_ns;
};

struct reporter;

/* Each may be NULL.  Write errors stay in the reporter until `end`. */
struct reporter_ops {
    void (*begin)(struct reporter *reporter, const struct report_plan *plan);
    void (*test_begin)(struct reporter *reporter, const struct suite_test *test, unsigned repeat);
    /* A few times a second at most. */
    void (*progress)(struct reporter *reporter, const struct report_progress *progress);
    void (*test_end)(struct reporter *reporter, const struct test_result *result);
    /* Returns 0, or -errno: what was to be written could not be. */
    int (*end)(struct reporter *reporter, const struct report_totals *totals);
    void (*destroy)(struct reporter *reporter);
};

/* The first member of each format's own. */
struct reporter {
    const struct reporter_ops *ops;
    FILE *to;         /* borrowed */
    const char *path; /* what is told of errors; borrowed, NULL = standard output */
    bool terminal;    /* `to` is one, and lines may be rewritten */
    bool ended;       /* the runner's: `end` has returned 0 */
};

/* A format, as --report NAME[=FILE] calls it. */
struct report_format {
    const char *name;
    const char *summary; /* for the help */
    bool whole;          /* all is written at the end */
    /* Returns a reporter without `to`, `path` and `terminal`, or NULL: no memory. */
    struct reporter *(*create)(void);
};

extern const struct report_format report_human; /* report_human.c */
extern const struct report_format report_ktap;  /* report_ktap.c */
extern const struct report_format report_junit; /* report_junit.c */
extern const struct report_format report_jsonl; /* report_jsonl.c */

#endif
