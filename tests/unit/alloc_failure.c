/* SPDX-License-Identifier: BSD-2-Clause */
/* malloc and its relatives with a switch to fail, over glibc's own; see alloc_failure.h. */
#include "tests/unit/alloc_failure.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ALLOCATOR_IS_TAKEN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOCATOR_IS_TAKEN
#endif

#ifdef ALLOCATOR_IS_TAKEN

bool
alloc_failure_available(void)
{
    return false;
}

void
alloc_failure_set(unsigned n)
{
    (void)n;
}

#else

/* glibc's names for its own functions. */
/* NOLINTBEGIN(bugprone-reserved-identifier) */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
/* NOLINTEND(bugprone-reserved-identifier) */

static _Thread_local unsigned countdown;

bool
alloc_failure_available(void)
{
    return true;
}

void
alloc_failure_set(unsigned n)
{
    countdown = n;
}

static bool
fails_now(void)
{
    if (countdown == 0 || --countdown != 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *
malloc(size_t size)
{
    return fails_now() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t nmemb, size_t size)
{
    return fails_now() ? NULL : __libc_calloc(nmemb, size);
}

void *
realloc(void *ptr, size_t size)
{
    return fails_now() ? NULL : __libc_realloc(ptr, size);
}

void *
reallocarray(void *ptr, size_t nmemb, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(nmemb, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(ptr, total);
}

#endif
