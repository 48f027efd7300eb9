/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Expectations on faults: `expect =` and `golden =` of a test.
 *
 * The runner asks for them when a test passed otherwise; what does not hold makes it fail.
 */
#ifndef SUITE_EXPECT_H
#define SUITE_EXPECT_H

#include "vmm/base/failure.h"
#include "vmm/test_tool/suite.h"
#include "vmm/test_tool/suite_result.h"

/* What other tests of the run left. */
struct expect_run {
    /* The file with the JSON report of a test of this run that ended, or NULL. */
    const char *(*stats_of)(void *context, const char *test);
    void *context;
};

/*
 * Check that every expectation of the test can be understood, and that what it names exists: before
 * anything runs.  Returns 0; -EINVAL with *failure filled: FILE:LINE, cause, remedy.
 */
int expect_validate(const struct suite_test *test, const struct suites *suites,
                    struct failure *failure) __attribute__((warn_unused_result));

/*
 * Is `test` compared with the figures of `other`?  Then that must have ended before expect_check, and is
 * chosen with `test`.  It needs none itself, so there are no circles.
 */
bool expect_needs(const struct suite_test *test, const struct suite_test *other);

/* Is it compared with any other? */
bool expect_compares(const struct suite_test *test);

/* Do the expectations of the test, or its golden trace, need vkvm run's --json, its --trace? */
bool expect_wants_stats(const struct suite_test *test);
bool expect_wants_trace(const struct suite_test *test);

/*
 * Compare result->stats with the expectations: each is a subtest, "expect: cow_faults == 512", and what
 * does not hold has both figures in its reason.
 */
void expect_check(const struct suite_test *test, const struct expect_run *run,
                  struct test_result *result);

/*
 * Compare the portable canonical form of result->trace (`vkvm trace canon --portable`) with the golden one, as the subtest "golden"; with `bless` write it instead, and
 * pass.
 */
void golden_check(const struct suite_test *test, bool bless, struct test_result *result);

#endif
