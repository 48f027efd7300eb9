/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports, until they are there. */
#include "vmm/test_tool/suite_report.h"

#include <stdlib.h>

static void
stub_test_end(struct reporter *reporter, const struct test_result *result)
{
    fprintf(reporter->to, "%s %s%s%s (%zu subtests)\n", verdict_name(result->verdict), result->name,
            result->reason != NULL ? ": " : "", result->reason != NULL ? result->reason : "",
            result->nsubtests);
    fflush(reporter->to);
}

static int
stub_end(struct reporter *reporter, const struct report_totals *totals)
{
    fprintf(reporter->to, "%zu passed, %zu failed, %zu skipped\n", totals->results[VERDICT_PASS],
            totals->results[VERDICT_FAIL] + totals->results[VERDICT_ERROR],
            totals->results[VERDICT_SKIP]);
    fflush(reporter->to);
    return 0;
}

static void
stub_destroy(struct reporter *reporter)
{
    free(reporter);
}

static struct reporter *
stub_create(void)
{
    static const struct reporter_ops ops = {
        .test_end = stub_test_end,
        .end = stub_end,
        .destroy = stub_destroy,
    };
    struct reporter *reporter = calloc(1, sizeof(*reporter));

    if (reporter != NULL)
        reporter->ops = &ops;
    return reporter;
}

const struct report_format report_human = { "human", "for a person", stub_create };
const struct report_format report_ktap = { "ktap", "KTAP", stub_create };
const struct report_format report_junit = { "junit", "JUnit XML", stub_create };
const struct report_format report_jsonl = { "jsonl", "JSON lines", stub_create };
