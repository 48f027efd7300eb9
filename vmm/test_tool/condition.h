/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a test can run here: its arch, machine, accel, kernel, check and disabled_if, and its image.
 */
#ifndef CONDITION_H
#define CONDITION_H

#include "vmm/test_tool/suite.h"
#include "vmm/test_tool/suite_result.h"

#define CONDITION_REASON 512

/*
 * Returns VERDICT_PASS: it can; or VERDICT_SKIP, or VERDICT_ERROR (its image is not there, a condition
 * could not be asked), with the reason.
 */
enum verdict condition_check(const struct suite_test *test, char reason[CONDITION_REASON]);

/*
 * The guest's words, in the arena: what stands in `...` or $(...) is the shell's to say.
 * Returns NULL with *failure filled.
 */
char **condition_arguments(struct arena *arena, const struct suite_test *test,
                           struct failure *failure);

#endif
