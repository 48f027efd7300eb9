/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Made-up results for the tests of reports: each kind of verdict, and texts that a format could trip over.
 */
#ifndef REPORT_RIG_H
#define REPORT_RIG_H

#include "vmm/test_tool/suite_report.h"

#include <stdlib.h>
#include <string.h>

#define RIG_TESTS 14u

/* What a hostile guest's console ends with. */
#define RIG_TAIL                                                                                \
    "\033[31mred\033[0m ]]> & <tag> \xff\xfe \x01\r\n"                                          \
    "ok 1 forged\nKTAP version 1\n1..7\n# Subtest: forged\n9 passed, 9 failed\nreboot: System " \
    "halted\n"

struct report_rig {
    struct suite_test tests[RIG_TESTS];
    const struct suite_test *chosen[RIG_TESTS];
    struct test_result results[RIG_TESTS];
    struct report_plan plan;
    struct report_totals totals;
    size_t leaves[VERDICTS]; /* what readers of KTAP and JUnit must count; XFAIL as a pass */
};

struct report_rig_row {
    const char *name;
    enum verdict verdict;
    const char *reason;
    struct subtest subtests[6]; /* to the first without a name */
    struct attempt attempts[2]; /* to the first without a reason */
    size_t leaves[VERDICTS];
};

/* The rig's strings are never written to. */
static inline char *
report_rig_text(const char *text)
{
    return (char *)(uintptr_t)text;
}

#define RIG(text) (char *)(uintptr_t)(text)

/* Tests of two suites take turns; the last row is of a suite of its own. */
static const struct report_rig_row report_rig_rows[RIG_TESTS] = {
    { .name = "a/plain", .verdict = VERDICT_PASS, .leaves = { [VERDICT_PASS] = 1 } },
    { .name = "b c/subtests",
      .verdict = VERDICT_FAIL,
      .reason = "x #2: lost # SKIP it",
      .subtests = { { .name = RIG("x"), .verdict = VERDICT_PASS },
                    { .name = RIG("x #2"),
                      .verdict = VERDICT_FAIL,
                      .reason = RIG("lost # SKIP it") },
                    { .name = RIG("#PF at 50% %23PF"), .verdict = VERDICT_PASS },
                    { .name = RIG("s"), .verdict = VERDICT_SKIP, .reason = RIG("no #UD") },
                    { .name = RIG("xf"),
                      .verdict = VERDICT_XFAIL,
                      .reason = RIG("known # TODO") } },
      .leaves = { [VERDICT_PASS] = 3, [VERDICT_FAIL] = 1, [VERDICT_SKIP] = 1 } },
    { .name = "a/fails",
      .verdict = VERDICT_FAIL,
      .reason = "todo list is empty",
      .leaves = { [VERDICT_FAIL] = 1 } },
    { .name = "a/crashes",
      .verdict = VERDICT_ERROR,
      .reason = "reboot: System halted # SKIP this \"<&]]>",
      .leaves = { [VERDICT_ERROR] = 1 } },
    { .name = "b c/times out",
      .verdict = VERDICT_ERROR,
      .reason = "not ended after 5 s",
      .subtests = { { .name = RIG("one"), .verdict = VERDICT_PASS },
                    { .name = RIG("two"), .verdict = VERDICT_FAIL, .reason = RIG("SKIP it") } },
      .leaves = { [VERDICT_PASS] = 1, [VERDICT_FAIL] = 1, [VERDICT_ERROR] = 1 } },
    { .name = "a/skipped",
      .verdict = VERDICT_SKIP,
      .reason = "no such device",
      .leaves = { [VERDICT_SKIP] = 1 } },
    { .name = "a/\xc3\xbcn\xc3\xaf <tag> & \"quotes\" ]]> \x01\033[31mred\xff",
      .verdict = VERDICT_PASS,
      .leaves = { [VERDICT_PASS] = 1 } },
    { .name = "a/flaky",
      .verdict = VERDICT_PASS,
      .attempts = { { .verdict = VERDICT_FAIL, .reason = RIG("lost a wake") },
                    { .verdict = VERDICT_ERROR, .reason = RIG("not ended # SKIP") } },
      .leaves = { [VERDICT_PASS] = 1 } },
    { .name = "a/status",
      .verdict = VERDICT_FAIL,
      .reason = "exit status 3, expected 0",
      .subtests = { { .name = RIG("the end"), .verdict = VERDICT_PASS },
                    { .name = RIG("the test's end"), .verdict = VERDICT_PASS } },
      .leaves = { [VERDICT_PASS] = 2, [VERDICT_FAIL] = 1 } },
    { .name = "skips/one",
      .verdict = VERDICT_SKIP,
      .reason = "reason one",
      .leaves = { [VERDICT_SKIP] = 1 } },
    { .name = "b c/passes",
      .verdict = VERDICT_PASS,
      .subtests = { { .name = RIG("only"), .verdict = VERDICT_PASS } },
      .leaves = { [VERDICT_PASS] = 1 } },
    { .name = "skips/two",
      .verdict = VERDICT_SKIP,
      .reason = "reason two",
      .subtests = { { .name = RIG("said"), .verdict = VERDICT_PASS } },
      .leaves = { [VERDICT_PASS] = 1, [VERDICT_SKIP] = 1 } },
    { .name = "a/last", .verdict = VERDICT_PASS, .leaves = { [VERDICT_PASS] = 1 } },
    { .name = "late/alone", .verdict = VERDICT_PASS, .leaves = { [VERDICT_PASS] = 1 } },
};

static inline void
report_rig_result(struct report_rig *rig, size_t i)
{
    const struct report_rig_row *row = &report_rig_rows[i];
    struct test_result *result = &rig->results[i];

    rig->tests[i] = (struct suite_test){ .name = row->name, .file = "rig.cfg" };
    rig->chosen[i] = &rig->tests[i];
    *result = (struct test_result){ .test = &rig->tests[i],
                                    .name = report_rig_text(row->name),
                                    .verdict = row->verdict,
                                    .reason = report_rig_text(row->reason),
                                    .begin_ns = 1700000000000000000u + i * 1000000000u,
                                    .duration_ns = 1500000,
                                    .subtests = (struct subtest *)(uintptr_t)row->subtests,
                                    .attempts = (struct attempt *)(uintptr_t)row->attempts,
                                    .tail = report_rig_text(RIG_TAIL) };
    while (result->nsubtests < 6 && row->subtests[result->nsubtests].name != NULL)
        result->nsubtests++;
    while (result->nattempts < 2 && row->attempts[result->nattempts].reason != NULL)
        result->nattempts++;
    result->flaky = result->nattempts != 0;
}

/* Results of the first `ran` of `chosen` tests; fewer: a signal ended the run. */
static inline void
report_rig_init(struct report_rig *rig, size_t chosen, size_t ran)
{
    *rig = (struct report_rig){ .plan = { .nresults = chosen,
                                          .ntests = chosen,
                                          .nfiltered = 3,
                                          .repeat = 1,
                                          .jobs = 2,
                                          .begin_ns = 1700000000000000000u,
                                          .program = "vkvm 1" },
                                .totals = { .filtered = 3,
                                            .not_run = chosen - ran,
                                            .interrupted = ran < chosen ? 2 : 0,
                                            .duration_ns = 2000000000 } };
    rig->plan.tests = rig->chosen;
    for (size_t i = 0; i < chosen; i++) {
        report_rig_result(rig, i);
        if (i >= ran) {
            rig->leaves[VERDICT_SKIP]++; /* not run */
            continue;
        }
        rig->totals.results[rig->results[i].verdict]++;
        rig->totals.flaky += rig->results[i].flaky;
        for (unsigned v = 0; v < VERDICTS; v++)
            rig->leaves[v] += report_rig_rows[i].leaves[v];
        for (size_t k = 0; k < rig->results[i].nsubtests; k++)
            rig->totals.subtests[rig->results[i].subtests[k].verdict]++;
    }
}

/* Tell a reporter all of it.  Returns what its end returned. */
static inline int
report_rig_tell(const struct report_rig *rig, struct reporter *reporter)
{
    const struct reporter_ops *ops = reporter->ops;
    size_t ran = rig->plan.ntests - rig->totals.not_run;
    int error;

    if (ops->begin != NULL)
        ops->begin(reporter, &rig->plan);
    for (size_t i = 0; i < ran; i++) {
        if (ops->test_begin != NULL)
            ops->test_begin(reporter, &rig->tests[i], 0);
        if (ops->test_end != NULL)
            ops->test_end(reporter, &rig->results[i]);
    }
    error = ops->end(reporter, &rig->totals);
    ops->destroy(reporter);
    return error;
}

#endif
