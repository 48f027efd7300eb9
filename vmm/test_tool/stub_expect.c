/* SPDX-License-Identifier: BSD-2-Clause */
/* Expectations, until they are there. */
#include "vmm/test_tool/suite_expect.h"

int
expect_validate(const struct suite_test *test, const struct suites *suites, struct failure *failure)
{
    (void)test;
    (void)suites;
    (void)failure;
    return 0;
}

const char *
expect_needs(const struct suite_test *test, size_t i)
{
    (void)test;
    (void)i;
    return NULL;
}

bool
expect_wants_stats(const struct suite_test *test)
{
    return test->nexpectations != 0;
}

bool
expect_wants_trace(const struct suite_test *test)
{
    return test->golden != NULL;
}

void
expect_check(const struct suite_test *test, const struct expect_run *run,
             struct test_result *result)
{
    (void)run;
    (void)test;
    test_result_set(result, VERDICT_ERROR, "expectations cannot be checked");
}

void
golden_check(const struct suite_test *test, bool bless, struct test_result *result)
{
    (void)bless;
    (void)test;
    test_result_set(result, VERDICT_ERROR, "golden traces cannot be compared");
}
