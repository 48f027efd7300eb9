/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The values of options: numbers, sizes, times.  All of the text must be the value:
 * no blanks, no signs.
 */
#ifndef VALUE_H
#define VALUE_H

#include "vmm/cli/cli.h"

#include <stdint.h>

/*
 * Read a number: decimal or 0x digits.
 * Returns 0; -EINVAL when it is none, -ERANGE above 2^64 - 1.
 */
int value_number(const char *text, uint64_t *value) __attribute__((warn_unused_result));

/*
 * Read a size: a number, then perhaps one of K M G T (powers of 1024).
 * Returns 0; -EINVAL when it is not a size, -ERANGE above 2^64 - 1.
 */
int value_size(const char *text, uint64_t *size) __attribute__((warn_unused_result));

/*
 * Read a time in seconds with an optional decimal fraction; rounds up to a millisecond.
 * Returns 0; -EINVAL when it is not a time, -ERANGE above 2^32 - 1 ms.
 */
int value_seconds(const char *text, unsigned *ms) __attribute__((warn_unused_result));

/*
 * The value of `option`, as messages call it: whole pages, a size within [min, max].
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int value_pages(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *size,
                struct failure *failure) __attribute__((warn_unused_result));

/*
 * The value of `option`: a number within [min, max].
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int value_count(const char *option, const char *text, unsigned min, unsigned max, unsigned *count,
                struct failure *failure) __attribute__((warn_unused_result));

#endif
