/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which tests of the suites are to run, and in which order.
 */
#ifndef SELECT_H
#define SELECT_H

#include "vmm/test_tool/suite.h"

#include <stdint.h>

struct select_request {
    const char *const
        *patterns;             /* of the shell's, for a test's full name or its own; any of them */
    size_t npatterns;          /* 0 = all */
    const char *const *groups; /* any of them */
    size_t ngroups;            /* 0 = all */
    bool all;                  /* those of the group nodefault too, whose name nobody gave */
};

struct selection {
    const struct suite_test **tests; /* owned */
    size_t ntests;
    size_t nfiltered;
};

/*
 * Choose, with what the expectations of the chosen are compared with.  Returns 0, or -ENOMEM.
 */
int select_tests(const struct suites *suites, const struct select_request *request,
                 struct selection *selection) __attribute__((warn_unused_result));

void selection_fini(struct selection *selection);

/* Bring numbers 0 to n - 1 into an order that the seed determines, the same on every machine. */
void select_shuffle(size_t *numbers, size_t n, uint64_t seed);

#endif
