/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine's reader/writer lock, whose readers use the parts of vm_part.h. */
#include "vmm/vpagetable/vm_lock.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

#define THREADS (2 * VM_PARTS)
#define ROUNDS 500u

static struct vm_rwlock lock;
static pthread_barrier_t all_inside;
static unsigned left, right; /* a writer makes them differ for a moment */
static _Atomic unsigned unequal;
static bool part_used[VM_PARTS];

static void
run_threads(void *(*work)(void *context))
{
    pthread_t threads[THREADS];

    vm_rwlock_init(&lock);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, work, NULL) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    vm_rwlock_fini(&lock);
}

static void *
read_together(void *context)
{
    vm_rwlock_read_lock(&lock);
    pthread_barrier_wait(&all_inside); /* nobody leaves before all are in */
    vm_rwlock_read_unlock(&lock);
    return context;
}

Test(vm_lock, readers_are_inside_together)
{
    cr_assert(pthread_barrier_init(&all_inside, NULL, THREADS) == 0);
    run_threads(read_together);
    pthread_barrier_destroy(&all_inside);
}

static void *
read_and_write(void *context)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        vm_rwlock_write_lock(&lock);
        left++;
        sched_yield();
        right++;
        vm_rwlock_write_unlock(&lock);
        vm_rwlock_read_lock(&lock);
        if (left != right)
            atomic_fetch_add(&unequal, 1);
        vm_rwlock_read_unlock(&lock);
    }
    return context;
}

Test(vm_lock, a_writer_is_alone_whatever_the_parts_of_the_others)
{
    run_threads(read_and_write);
    cr_expect(left == THREADS * ROUNDS && right == left && atomic_load(&unequal) == 0);
}

static void *
read_own_part(void *context)
{
    vm_rwlock_read_lock(&lock);
    for (unsigned i = 0; i < VM_PARTS; i++) {
        bool free = pthread_rwlock_trywrlock(&lock.parts[i].rwlock) == 0;

        if (free)
            pthread_rwlock_unlock(&lock.parts[i].rwlock);
        else
            part_used[i] = true;
    }
    vm_rwlock_read_unlock(&lock);
    return context;
}

Test(vm_lock, a_reader_takes_its_own_part_and_no_other)
{
    vm_rwlock_init(&lock);
    read_own_part(NULL);
    for (unsigned i = 0; i < VM_PARTS; i++)
        cr_expect(part_used[i] == (i == vm_part()), "part %u", i);
    vm_rwlock_fini(&lock);
}
