/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where processes start.
 */
#include "guest/vkernel/user.h"

static int (*const user_programs[PROGRAM_COUNT])(void) = {
    [PROGRAM_SIEVE] = user_sieve, [PROGRAM_SORT] = user_sort,
    [PROGRAM_FORK] = user_forks,  [PROGRAM_MAPPINGS] = user_mappings,
    [PROGRAM_SCAN] = user_scan,   [PROGRAM_STRESS] = user_stress,
    [PROGRAM_BAD] = user_bad,     [PROGRAM_TIMES] = user_times,
};

_Noreturn void
user_start(uint64_t program)
{
    USER_CHECK(program < PROGRAM_COUNT);
    user_exit(user_programs[program]());
}
