/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutex, reader/writer lock and condition variable of the engine.
 *
 * Thin wrappers over pthreads that carry clang's capability attributes, so
 * that `clang -Wthread-safety` checks who holds what.  They assert success: a
 * failing lock operation is a bug, not a condition.
 *
 * The lock order is written down in docs/locking.md, which also has the names that field comments
 * use: a letter or a word for each lock of the project, (c) constant after creation, (a) atomic.
 */
#ifndef VM_LOCK_H
#define VM_LOCK_H

#include "vmm/vpagetable/vm_part.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#if defined(__clang__)
#define VM_LOCK_ATTR(x) __attribute__((x))
#else
#define VM_LOCK_ATTR(x)
#endif

#define VM_CAPABILITY(name) VM_LOCK_ATTR(capability(name))
#define VM_GUARDED_BY(lock) VM_LOCK_ATTR(guarded_by(lock))
#define VM_REQUIRES(...) VM_LOCK_ATTR(requires_capability(__VA_ARGS__))
#define VM_REQUIRES_SHARED(...) VM_LOCK_ATTR(requires_shared_capability(__VA_ARGS__))
#define VM_ACQUIRES(...) VM_LOCK_ATTR(acquire_capability(__VA_ARGS__))
#define VM_ACQUIRES_SHARED(...) VM_LOCK_ATTR(acquire_shared_capability(__VA_ARGS__))
#define VM_RELEASES(...) VM_LOCK_ATTR(release_capability(__VA_ARGS__))
#define VM_RELEASES_SHARED(...) VM_LOCK_ATTR(release_shared_capability(__VA_ARGS__))
#define VM_RELEASES_GENERIC(...) VM_LOCK_ATTR(release_generic_capability(__VA_ARGS__))
#define VM_TRY_ACQUIRES(ok, ...) VM_LOCK_ATTR(try_acquire_capability(ok, __VA_ARGS__))
#define VM_NO_LOCK_ANALYSIS VM_LOCK_ATTR(no_thread_safety_analysis)

struct VM_CAPABILITY("mutex") vm_mutex {
    pthread_mutex_t mutex;
};

/* A reader takes its thread's part, a writer all of them in order (vm_part.h). */
struct VM_CAPABILITY("rwlock") vm_rwlock {
    struct {
        pthread_rwlock_t rwlock;
        uint8_t gap[VM_PART_GAP];
    } parts[VM_PARTS];
};

struct vm_cond {
    pthread_cond_t cond;
};

static inline void
vm_lock_check(int error)
{
    assert(error == 0);
    (void)error;
}

static inline void
vm_mutex_init(struct vm_mutex *m)
{
    vm_lock_check(pthread_mutex_init(&m->mutex, NULL));
}

static inline void
vm_mutex_fini(struct vm_mutex *m)
{
    vm_lock_check(pthread_mutex_destroy(&m->mutex));
}

static inline void
vm_mutex_lock(struct vm_mutex *m) VM_ACQUIRES(m) VM_NO_LOCK_ANALYSIS
{
    vm_lock_check(pthread_mutex_lock(&m->mutex));
}

static inline void
vm_mutex_unlock(struct vm_mutex *m) VM_RELEASES(m) VM_NO_LOCK_ANALYSIS
{
    vm_lock_check(pthread_mutex_unlock(&m->mutex));
}

/*
 * Writers go first: readers that overlap without end, as vCPUs that fault or
 * invalidate, would else keep a writer out for ever.  So a thread must not take
 * the lock shared twice: a writer that waits in between would stop both.
 */
static inline void
vm_rwlock_init(struct vm_rwlock *l)
{
    pthread_rwlockattr_t attributes;

    vm_lock_check(pthread_rwlockattr_init(&attributes));
    vm_lock_check(
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
    for (unsigned i = 0; i < VM_PARTS; i++)
        vm_lock_check(pthread_rwlock_init(&l->parts[i].rwlock, &attributes));
    vm_lock_check(pthread_rwlockattr_destroy(&attributes));
}

static inline void
vm_rwlock_fini(struct vm_rwlock *l)
{
    for (unsigned i = 0; i < VM_PARTS; i++)
        vm_lock_check(pthread_rwlock_destroy(&l->parts[i].rwlock));
}

static inline void
vm_rwlock_read_lock(struct vm_rwlock *l) VM_ACQUIRES_SHARED(l) VM_NO_LOCK_ANALYSIS
{
    vm_lock_check(pthread_rwlock_rdlock(&l->parts[vm_part()].rwlock));
}

static inline void
vm_rwlock_read_unlock(struct vm_rwlock *l) VM_RELEASES_SHARED(l) VM_NO_LOCK_ANALYSIS
{
    vm_lock_check(pthread_rwlock_unlock(&l->parts[vm_part()].rwlock));
}

static inline void
vm_rwlock_write_lock(struct vm_rwlock *l) VM_ACQUIRES(l) VM_NO_LOCK_ANALYSIS
{
    for (unsigned i = 0; i < VM_PARTS; i++)
        vm_lock_check(pthread_rwlock_wrlock(&l->parts[i].rwlock));
}

static inline void
vm_rwlock_write_unlock(struct vm_rwlock *l) VM_RELEASES(l) VM_NO_LOCK_ANALYSIS
{
    for (unsigned i = VM_PARTS; i-- > 0;)
        vm_lock_check(pthread_rwlock_unlock(&l->parts[i].rwlock));
}

static inline void
vm_cond_init(struct vm_cond *c)
{
    vm_lock_check(pthread_cond_init(&c->cond, NULL));
}

static inline void
vm_cond_fini(struct vm_cond *c)
{
    vm_lock_check(pthread_cond_destroy(&c->cond));
}

static inline void
vm_cond_wait(struct vm_cond *c, struct vm_mutex *m) VM_REQUIRES(m)
{
    vm_lock_check(pthread_cond_wait(&c->cond, &m->mutex));
}

/* The same for at most so many microseconds. */
static inline void
vm_cond_wait_for(struct vm_cond *c, struct vm_mutex *m, unsigned microseconds) VM_REQUIRES(m)
{
    struct timespec end;
    int error;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += microseconds / 1000000;
    end.tv_nsec += (long)(microseconds % 1000000) * 1000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    error = pthread_cond_clockwait(&c->cond, &m->mutex, CLOCK_MONOTONIC, &end);
    vm_lock_check(error == ETIMEDOUT ? 0 : error);
}

static inline void
vm_cond_broadcast(struct vm_cond *c)
{
    vm_lock_check(pthread_cond_broadcast(&c->cond));
}

#endif
