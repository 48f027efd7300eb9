/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The least time in which this host answers a page fault, for expectations on latencies: `floor`.
 */
#ifndef EXPECT_FLOOR_H
#define EXPECT_FLOOR_H

#include "vmm/base/failure.h"

/*
 * Measure: the median time in which a thread that waits for userfaultfd's messages makes a page of zeros
 * for another thread, from its access to its next instruction.  Takes some milliseconds.
 * Returns 0 with *us; with *failure filled -errno: the host does not let it.
 */
int expect_floor(double *us, struct failure *failure) __attribute__((warn_unused_result));

#endif
