/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write the report of made-up results to standard output, for the tests with other projects' readers.
 *
 *   report_file FORMAT|counts [whole|cut|empty|skipped]
 *
 *   counts    how many passed, failed, had an error and were skipped, as readers must count them:
 *             leaves; then suites: how many, and how many of them not ok
 *   cut       a signal ends the run after six tests
 */
#include "tests/unit/report_rig.h"

static const struct report_format *const formats[] = { &report_human, &report_ktap, &report_junit,
                                                       &report_jsonl };

static struct report_rig rig;

static void
make(const char *variant)
{
    if (strcmp(variant, "cut") == 0)
        report_rig_init(&rig, RIG_TESTS, 6);
    else if (strcmp(variant, "empty") == 0)
        report_rig_init(&rig, 0, 0);
    else
        report_rig_init(&rig, RIG_TESTS, RIG_TESTS);
    if (strcmp(variant, "skipped") != 0)
        return;
    /* Only the suite of which all is skipped. */
    rig.chosen[0] = &rig.tests[9];
    rig.plan.ntests = 1;
    rig.tests[0] = rig.tests[9];
    rig.results[0] = rig.results[9];
    rig.chosen[0] = rig.results[0].test;
    memset(rig.leaves, 0, sizeof(rig.leaves));
    rig.leaves[VERDICT_SKIP] = 1;
    memset(rig.totals.results, 0, sizeof(rig.totals.results));
    rig.totals.results[VERDICT_SKIP] = 1;
    rig.totals.flaky = 0;
}

int
main(int argc, char **argv)
{
    make(argc > 2 ? argv[2] : "whole");
    if (argc > 1 && strcmp(argv[1], "counts") == 0) {
        printf("%zu %zu %zu %zu\n", rig.leaves[VERDICT_PASS], rig.leaves[VERDICT_FAIL],
               rig.leaves[VERDICT_ERROR], rig.leaves[VERDICT_SKIP]);
        return 0;
    }
    for (size_t i = 0; argc > 1 && i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(argv[1], formats[i]->name) == 0) {
            struct reporter *reporter = formats[i]->create();

            if (reporter == NULL)
                return 1;
            reporter->to = stdout;
            return report_rig_tell(&rig, reporter) == 0 ? 0 : 1;
        }
    }
    return 2;
}
