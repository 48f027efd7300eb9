/* SPDX-License-Identifier: BSD-2-Clause */
/* malloc and its relatives with a switch to fail, in front of the real ones; see alloc_failure.h. */
#include "tests/unit/alloc_failure.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

/* The linker's names (ld --wrap).  NOLINTBEGIN(bugprone-reserved-identifier) */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void __real_free(void *old);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t size);
int __real_madvise(void *at, size_t size, int advice);
int __real_mprotect(void *at, size_t size, int prot);
void *__real_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *argument), void *argument);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void __wrap_free(void *old);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_madvise(void *at, size_t size, int advice);
int __wrap_mprotect(void *at, size_t size, int prot);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *argument), void *argument);

static _Thread_local unsigned countdown;
static int (*_Atomic call_hook)(enum alloc_call call);
static _Atomic int64_t live;

void
alloc_failure_set(unsigned n)
{
    countdown = n;
}

void
alloc_failure_hook(int (*hook)(enum alloc_call call))
{
    atomic_store(&call_hook, hook);
}

int64_t
alloc_failure_live(void)
{
    return atomic_load(&live);
}

/* Does the call fail?  Then errno says why. */
static bool
call_fails(enum alloc_call call)
{
    int (*hook)(enum alloc_call) = atomic_load(&call_hook);
    int error = hook != NULL ? hook(call) : 0;

    if (error != 0)
        errno = error;
    return error != 0;
}

static bool
fails_now(void)
{
    bool fails = call_fails(ALLOC_HEAP);

    if (countdown != 0 && --countdown == 0)
        fails = true;
    if (fails)
        errno = ENOMEM;
    return fails;
}

/* Count what became of an allocation that replaces `old`. */
static void *
counted(void *new, const void *old)
{
    if (new != NULL && old == NULL)
        atomic_fetch_add(&live, 1);
    return new;
}

void *
__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : counted(__real_malloc(size), NULL);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_calloc(count, size), NULL);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : counted(__real_realloc(old, size), old);
}

void *
__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_reallocarray(old, count, size), old);
}

void
__wrap_free(void *old)
{
    if (old != NULL)
        atomic_fetch_sub(&live, 1);
    __real_free(old);
}

int
__wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    return call_fails(ALLOC_HOLE) ? -1 : __real_fallocate(fd, mode, offset, length);
}

int
__wrap_memfd_create(const char *name, unsigned flags)
{
    return call_fails(ALLOC_FILE) ? -1 : __real_memfd_create(name, flags);
}

int
__wrap_ftruncate(int fd, off_t size)
{
    return call_fails(ALLOC_FILE) ? -1 : __real_ftruncate(fd, size);
}

void *
__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    return call_fails(ALLOC_MAP) ? MAP_FAILED : __real_mmap(at, size, prot, flags, fd, offset);
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                      void *(*start)(void *argument), void *argument)
{
    return call_fails(ALLOC_THREAD) ? errno
                                    : __real_pthread_create(thread, attributes, start, argument);
}

int
__wrap_madvise(void *at, size_t size, int advice)
{
    return call_fails(ALLOC_DROP) ? -1 : __real_madvise(at, size, advice);
}

int
__wrap_mprotect(void *at, size_t size, int prot)
{
    return call_fails(ALLOC_PROTECT) ? -1 : __real_mprotect(at, size, prot);
}
/* NOLINTEND(bugprone-reserved-identifier) */
