/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A section that stands for several tests: `matrix = NAME: WORD...; NAME: WORD...` makes one of each
 * combination, and {NAME} in the section's name and values is its word.
 */
#ifndef SUITE_MATRIX_H
#define SUITE_MATRIX_H

#include "vmm/test_tool/suite_text.h"

#define SUITE_MATRIX_AXES 8
#define SUITE_MATRIX_TESTS 10000u

struct suite_axis {
    const char *name;
    char **words; /* NULL at the end */
    size_t nwords;
};

struct suite_matrix {
    size_t naxes;
    struct suite_axis axes[SUITE_MATRIX_AXES];
    size_t ntests; /* how many combinations: 1 without a matrix */
};

/*
 * Read the section's matrix; without one there is one combination of nothing.
 * Returns 0; -EINVAL with *failure filled, -ENOMEM.
 */
int suite_matrix_parse(struct arena *arena, const char *file, const struct suite_section *section,
                       struct suite_matrix *matrix, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * The section as combination `which` has it, the first axis changing slowest.  {here} is `folder`.
 * Returns 0; -EINVAL with *failure filled (a {NAME} that there is not), -ENOMEM.
 */
int suite_matrix_take(struct arena *arena, const char *file, const struct suite_matrix *matrix,
                      size_t which, const char *folder, const struct suite_section *section,
                      struct suite_section *taken, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
