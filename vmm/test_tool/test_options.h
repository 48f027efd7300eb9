/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of `vkvm test`. */
#ifndef TEST_OPTIONS_H
#define TEST_OPTIONS_H

#include "vmm/cli/cli.h"
#include "vmm/test_tool/suite_report.h"

#include <stdbool.h>
#include <stdint.h>

#define TEST_OPTIONS_MANY 64 /* of each that may be repeated */

struct test_report {
    const struct report_format *format;
    const char *file; /* NULL = standard output */
};

/* Strings are borrowed from argv. */
struct test_options {
    char *const *suites; /* NULL at the end */
    const char *images;
    const char *out;
    const char *patterns[TEST_OPTIONS_MANY];
    size_t npatterns;
    const char *groups[TEST_OPTIONS_MANY];
    size_t ngroups;
    struct test_report reports[TEST_OPTIONS_MANY + 1];
    size_t nreports;
    unsigned jobs;
    unsigned timeout_ms; /* 0 = not given */
    unsigned repeat;
    unsigned retries;
    bool shuffle;
    uint64_t seed;
    bool fail_fast;
    bool all;
    bool list;
    bool bless;
    bool no_trace;
    bool help;
};

/*
 * Parse argv[1..argc), whose words may change places.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int test_options_parse(int argc, char **argv, struct test_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

/* Usage and every option with its meaning. */
void test_options_help(FILE *to);

#endif
