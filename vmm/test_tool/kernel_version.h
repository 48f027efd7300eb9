/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kernel =` of a test: on which kernels it runs, ">= 6.4" or ">= 6.1, < 6.12".
 */
#ifndef KERNEL_VERSION_H
#define KERNEL_VERSION_H

#include <stdbool.h>

/*
 * Is `release`, as uname says it ("6.12.95+deb12-cloud-amd64"), a kernel of the text's?
 * Returns 0 with *is; -EINVAL: the text has no comparisons such as these, with commas between.
 */
int kernel_version_is(const char *text, const char *release, bool *is)
    __attribute__((warn_unused_result));

#endif
