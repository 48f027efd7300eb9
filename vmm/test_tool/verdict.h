/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what a test printed and how it ended to its verdict.
 */
#ifndef VERDICT_H
#define VERDICT_H

#include "vmm/test_tool/suite.h"
#include "vmm/test_tool/suite_result.h"
#include "vmm/test_tool/transcript.h"

#include <regex.h>

/* What is seen of a test while it runs. */
struct verdict_watch {
    const struct suite_test *test;
    struct test_result *result;
    regex_t output;     /* if test->output is one */
    bool matched;       /* a line did */
    char message[1024]; /* the last line of vkvm's own, without "vkvm: " */
};

/* Returns 0, or -ENOMEM. */
int verdict_begin(struct verdict_watch *watch, const struct suite_test *test,
                  struct test_result *result) __attribute__((warn_unused_result));
void verdict_end(struct verdict_watch *watch);

/* transcript_line_fn, of a struct verdict_watch: "PASS: name", "FAIL name: reason" and the like are subtests. */
void verdict_line(void *watching, const char *line);

/* How a test ended. */
struct verdict_ending {
    int status;          /* of the process, as child_reap has it */
    unsigned timeout_ms; /* what it had */
    bool overdue;        /* the runner ended it */
    const char *stats;   /* vkvm run's JSON, or NULL */
};

/* Set verdict and reason of watch->result. */
void verdict_judge(struct verdict_watch *watch, const struct verdict_ending *ending);

#endif
