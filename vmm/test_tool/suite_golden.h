/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Golden traces: the portable canonical form of a test's faults, as it was when somebody blessed it.
 */
#ifndef SUITE_GOLDEN_H
#define SUITE_GOLDEN_H

#include "vmm/base/failure.h"
#include "vmm/test_tool/suite.h"

#include <stddef.h>

/*
 * Can the test's trace be the same each time?  Its options must say how many pages are prefaulted.
 * Returns 0; -EINVAL with *failure filled: FILE:LINE, cause, remedy.
 */
int golden_validate(const struct suite_test *test, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Compare two canonical forms; what stands behind a '#' in a line of `came` are notes on region and symbol.
 * Returns 0; 1 with `why`, on one line: the first difference, what was expected, what came, and the two
 * faults before.
 */
int golden_compare(const char *golden, const char *came, char *why, size_t size);

#endif
