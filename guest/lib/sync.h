/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vCPUs in step: spin lock, barrier, and words that are waited for.  For single variables use
 * the compiler's __atomic builtins.  Ring 0 or 3.
 *
 * A lock or barrier is waited for by spinning, a word by spinning a little and then by WAIT, which
 * leaves the processor to others.
 */
#ifndef GUEST_SYNC_H
#define GUEST_SYNC_H

#include "guest/lib/doorbell.h"
#include "guest/lib/x86.h"

#include <stdint.h>

/* A lock; zero-initialized = free. */
struct sync_lock {
    uint32_t held;
};

static inline void
sync_lock(struct sync_lock *lock)
{
    while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE) != 0) {
        while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED) != 0)
            x86_pause();
    }
}

static inline void
sync_unlock(struct sync_lock *lock)
{
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

/* A barrier for `count` vCPUs, usable again and again; the rest zero-initialized. */
struct sync_barrier {
    uint32_t count;
    uint32_t arrived;
    uint32_t round;
};

static inline void
sync_barrier_wait(struct sync_barrier *barrier)
{
    uint32_t round = __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE);

    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == barrier->count) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round)
        x86_pause();
}

#define SYNC_SPINS 100 /* looks at a word before sleeping */

/* Return when *word is no longer `value`; whoever changes it calls sync_word_set, or WAKE. */
static inline void
sync_word_wait(const uint32_t *word, uint32_t value)
{
    for (unsigned i = 0; i < SYNC_SPINS; i++) {
        if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
            return;
        x86_pause();
    }
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
        doorbell_wait(word, value, VKVM_WAIT_FOREVER);
}

/* Change *word and wake who waits for that. */
static inline void
sync_word_set(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    doorbell_wake(word, UINT32_MAX);
}

#endif
