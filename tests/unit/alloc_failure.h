/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Make an allocation fail: for tests of what is left behind when memory runs out.
 *
 * malloc and its relatives are replaced in the test program, which the sanitizers
 * do not allow: there, tests that need this are skipped.
 */
#ifndef ALLOC_FAILURE_H
#define ALLOC_FAILURE_H

#include <stdbool.h>

/* Can allocations be made to fail in this build? */
bool alloc_failure_available(void);

/* The calling thread's n-th allocation from now on fails, once; 1 = the next, 0 = none. */
void alloc_failure_set(unsigned n);

#endif
