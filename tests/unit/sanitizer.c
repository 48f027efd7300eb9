/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Criterion needs to run under the sanitizers; linked with SAN= only.
 *
 * Under the thread sanitizer: Criterion shares an arena with its test processes,
 * mapped at an address that it makes of rand_r: 0x200000000000 +
 * (rand_r & 0x3fffff) * 16 MiB.  The sanitizer refuses fixed mappings outside
 * the ranges it shadows, so nearly all of those addresses fail.  The rand_r
 * here, which takes the place of the C library's, answers only those below the
 * place where programs are loaded: 0x550000000000 to 0x555000000000.
 */
#include <stdlib.h>

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif

/* The names are the sanitizers'.  NOLINTBEGIN(bugprone-reserved-identifier) */
const char *__tsan_default_options(void);
const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void);

/* A race must end the test process: Criterion has no other way to see it. */
const char *
__tsan_default_options(void)
{
    return "halt_on_error=1";
}

/* Programs whose standard error is compared print no list of what is suppressed. */
const char *
__lsan_default_options(void)
{
    return "print_suppressions=0";
}

/* Criterion keeps some memory of its own to the end, and so do the fonts of pictures. */
const char *
__lsan_default_suppressions(void)
{
    return "leak:libcriterion\nleak:libfontconfig\n";
}
/* NOLINTEND(bugprone-reserved-identifier) */

#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)

#define FIRST_SLOT 0x350000u
#define SLOTS 0x5000u

int
rand_r(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return (int)(FIRST_SLOT + (*seed >> 16) % SLOTS);
}

#endif
