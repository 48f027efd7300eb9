/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Included before every source that clang-tidy sees: lets clang's analyzer take
 * errno for EAGAIN or EIO.  Left alone it takes 0 for possible and follows paths
 * on which a call failed and `return -errno` said success; a mere `errno > 0`
 * does not survive the minus sign.
 */
#ifndef LINT_ERRNO_H
#define LINT_ERRNO_H

#include <errno.h>

#undef errno
#define errno (*lint_errno())

int lint_choice(void);

static inline int *
lint_errno(void)
{
    int *location = __errno_location();

    *location = lint_choice() ? EAGAIN : EIO;
    return location;
}

#endif
