/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a fork takes, and then writing to a page that is still shared, in the processor's
 * cycles, told to the kernel.  The child must find what was there before.
 *
 * With one vCPU the child does not run before the parent waits.  With more it may be gone
 * early, and the parent's writes are cheaper then.
 */
#include "guest/lib/x86.h"
#include "guest/vkernel/user.h"

#define TIMES_PAGES UINT64_C(256)
#define TIMES_FORKS 8

static void
times_write(volatile uint64_t *words, uint64_t value)
{
    for (uint64_t page = 0; page < TIMES_PAGES; page++)
        words[page * USER_PAGE / sizeof(*words)] = value + page;
}

static void
times_check(const volatile uint64_t *words, uint64_t value)
{
    for (uint64_t page = 0; page < TIMES_PAGES; page++)
        USER_CHECK(words[page * USER_PAGE / sizeof(*words)] == value + page);
}

static void
times_fork(volatile uint64_t *words, uint64_t value)
{
    uint64_t start, forked, written;
    int64_t child;

    start = x86_read_tsc();
    child = user_fork();
    if (child == 0) {
        times_check(words, value);
        user_exit(0);
    }
    forked = x86_read_tsc();
    times_write(words, value + 1);
    written = x86_read_tsc();
    USER_CHECK(child > 0 && user_wait() == 0);
    user_call(CALL_TIMED, forked - start, TIMES_PAGES, written - forked);
}

int
user_times(void)
{
    uint64_t *words = user_grow(TIMES_PAGES);

    times_write(words, 1);
    for (uint64_t i = 1; i <= TIMES_FORKS; i++)
        times_fork(words, i);
    times_check(words, TIMES_FORKS + 1);
    return 0;
}
