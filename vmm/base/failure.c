/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one error type.
 */
#include "vmm/base/failure.h"

#include <stdarg.h>
#include <stdio.h>

int
failure_set(struct failure *failure, int code, const char *format, ...)
{
    va_list args;

    failure->code = code;
    va_start(args, format);
    vsnprintf(failure->message, sizeof(failure->message), format, args);
    va_end(args);
    return code;
}
