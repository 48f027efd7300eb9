/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool of workers: begun at once or refused, a bound, and what becomes of it without threads. */
#include "vmm/base/workers.h"

#include "tests/unit/alloc_failure.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#define MAX 3

static struct workers *workers;
static sem_t gate;
static _Atomic unsigned begun, ended, threads_made, refuse_thread;

/* Work that takes until the gate lets one pass. */
static void
pass_gate(void *argument)
{
    atomic_fetch_add(&begun, 1);
    while (sem_wait(&gate) != 0)
        continue;
    atomic_fetch_add((_Atomic unsigned *)argument, 1);
}

static int
begin(void)
{
    return workers_begin(workers, pass_gate, &ended);
}

static void
open_gate(unsigned n)
{
    while (n-- != 0)
        cr_assert(zero(int, sem_post(&gate)));
}

static void
await(const _Atomic unsigned *count, unsigned n)
{
    while (atomic_load(count) != n)
        sched_yield();
}

static int
thread_made(enum alloc_call call)
{
    if (call != ALLOC_THREAD)
        return 0;
    atomic_fetch_add(&threads_made, 1);
    return (int)atomic_load(&refuse_thread);
}

static void
setup(void)
{
    cr_assert(zero(int, sem_init(&gate, 0, 0)));
    cr_assert(zero(int, workers_create(MAX, &workers)));
    alloc_failure_hook(thread_made);
}

TestSuite(workers, .init = setup);

Test(workers, a_pool_without_work_has_no_thread)
{
    workers_destroy(workers);
    cr_assert(zero(uint, threads_made));
}

Test(workers, work_is_begun_at_once_up_to_the_bound_and_refused_beyond_it)
{
    for (unsigned i = 0; i < MAX; i++)
        cr_assert(zero(int, begin()));
    await(&begun, MAX);
    cr_assert(eq(int, begin(), -EBUSY));
    open_gate(MAX);
    workers_destroy(workers);
    cr_assert(eq(uint, ended, MAX));
}

Test(workers, a_thread_that_is_free_is_used_again)
{
    for (unsigned i = 1; i <= 100; i++) {
        int error;

        while ((error = begin()) == -EBUSY) /* the ones before are not back yet */
            sched_yield();
        cr_assert(zero(int, error));
        open_gate(1);
    }
    workers_destroy(workers);
    cr_assert(eq(uint, ended, 100));
    cr_assert(le(uint, threads_made, MAX));
}

Test(workers, where_no_thread_can_be_made_the_work_is_refused_and_nobody_does_it)
{
    refuse_thread = EAGAIN;
    cr_assert(eq(int, begin(), -EAGAIN));
    refuse_thread = 0;
    cr_assert(zero(int, begin()), "it is tried again");
    refuse_thread = ENOMEM;
    await(&begun, 1);
    cr_assert(eq(int, begin(), -ENOMEM), "the one there is has work");
    open_gate(1);
    await(&ended, 1);
    while (begin() != 0) /* the free one needs no new thread */
        sched_yield();
    open_gate(1);
    workers_destroy(workers);
    cr_assert(eq(uint, ended, 2));
}

Test(workers, the_end_waits_for_work_under_way_and_nothing_begins_after_it)
{
    cr_assert(zero(int, begin()));
    workers_stop(workers);
    cr_assert(eq(int, begin(), -ECANCELED));
    open_gate(1);
    workers_destroy(workers);
    cr_assert(eq(uint, ended, 1));
}

Test(workers, without_memory_there_is_no_pool)
{
    struct workers *none = NULL;
    int64_t live = alloc_failure_live();

    for (unsigned n = 1; n <= 3; n++) {
        alloc_failure_set(n);
        cr_assert(eq(int, workers_create(MAX, &none), -ENOMEM));
        cr_assert(eq(ptr, none, NULL));
    }
    cr_assert(eq(i64, alloc_failure_live(), live));
    workers_destroy(workers);
}

#define SUBMITTERS 4
#define PIECES 2000u

static _Atomic unsigned done_by_workers, done_here;

static void
count_one(void *argument)
{
    atomic_fetch_add((_Atomic unsigned *)argument, 1);
}

static void *
submit(void *unused)
{
    for (unsigned i = 0; i < PIECES; i++)
        if (workers_begin(workers, count_one, &done_by_workers) != 0)
            count_one(&done_here);
    return unused;
}

Test(workers, each_piece_of_work_is_done_once_whoever_begins_it)
{
    pthread_t submitter[SUBMITTERS];

    for (unsigned i = 0; i < SUBMITTERS; i++)
        cr_assert(zero(int, pthread_create(&submitter[i], NULL, submit, NULL)));
    for (unsigned i = 0; i < SUBMITTERS; i++)
        cr_assert(zero(int, pthread_join(submitter[i], NULL)));
    workers_destroy(workers);
    cr_assert(eq(uint, done_by_workers + done_here, SUBMITTERS * PIECES));
    cr_assert(ne(uint, done_by_workers, 0));
}
