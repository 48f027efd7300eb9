/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work is accepted for a free worker only: one that does nothing and that nothing was accepted
 * for, or a new one.  It lies in `accepted` for the moment that such a worker takes to wake.
 *
 * Invariant: nfree + naccepted + those that work = nthreads.
 */
#include "vmm/base/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct job {
    void (*work)(void *argument);
    void *argument;
};

struct workers {
    pthread_mutex_t lock;  /* pool */
    pthread_cond_t wanted; /* pool */
    bool stopping;         /* pool */
    unsigned max;          /* (c) */
    unsigned nthreads;     /* pool */
    unsigned nfree;        /* pool */
    unsigned naccepted;    /* pool */
    unsigned nalive;       /* pool: threads that are not at their end */
    bool abandoned;        /* pool: the last of them frees the pool */
    pthread_t *threads;    /* pool: owned, room for max */
    struct job *accepted;  /* pool: owned, room for max */
};

static void
check(int error)
{
    assert(error == 0);
    (void)error;
}

/* Wait for work.  False: there will be none. */
static bool
take(struct workers *workers, struct job *job)
{
    bool taken;

    check(pthread_mutex_lock(&workers->lock));
    while (workers->naccepted == 0 && !workers->stopping)
        check(pthread_cond_wait(&workers->wanted, &workers->lock));
    taken = workers->naccepted != 0;
    if (taken)
        *job = workers->accepted[--workers->naccepted];
    check(pthread_mutex_unlock(&workers->lock));
    return taken;
}

static void
workers_free(struct workers *workers)
{
    check(pthread_cond_destroy(&workers->wanted));
    check(pthread_mutex_destroy(&workers->lock));
    free(workers->threads);
    free(workers->accepted);
    free(workers);
}

static void *
worker_main(void *argument)
{
    struct workers *workers = argument;
    struct job job;
    bool last;

    while (take(workers, &job)) {
        job.work(job.argument);
        check(pthread_mutex_lock(&workers->lock));
        workers->nfree++;
        check(pthread_mutex_unlock(&workers->lock));
    }
    check(pthread_mutex_lock(&workers->lock));
    last = --workers->nalive == 0 && workers->abandoned;
    check(pthread_mutex_unlock(&workers->lock));
    if (last)
        workers_free(workers);
    return NULL;
}

/* See that a worker is free.  Locks: the mutex held. */
static int
have_free(struct workers *workers)
{
    int error;

    if (workers->nfree != 0)
        return 0;
    if (workers->nthreads == workers->max)
        return -EBUSY;
    error = pthread_create(&workers->threads[workers->nthreads], NULL, worker_main, workers);
    if (error != 0)
        return -error;
    workers->nthreads++;
    workers->nalive++;
    workers->nfree++;
    return 0;
}

int
workers_begin(struct workers *workers, void (*work)(void *argument), void *argument)
{
    int error;

    check(pthread_mutex_lock(&workers->lock));
    error = workers->stopping ? -ECANCELED : have_free(workers);
    if (error == 0) {
        workers->nfree--;
        workers->accepted[workers->naccepted++] = (struct job){ work, argument };
        check(pthread_cond_signal(&workers->wanted));
    }
    check(pthread_mutex_unlock(&workers->lock));
    return error;
}

int
workers_create(unsigned max, struct workers **workersp)
{
    struct workers *workers = calloc(1, sizeof(*workers));

    if (workers == NULL)
        return -ENOMEM;
    workers->max = max;
    workers->threads = calloc(max, sizeof(workers->threads[0]));
    workers->accepted = calloc(max, sizeof(workers->accepted[0]));
    check(pthread_mutex_init(&workers->lock, NULL));
    check(pthread_cond_init(&workers->wanted, NULL));
    if (workers->threads == NULL || workers->accepted == NULL) {
        workers_free(workers);
        return -ENOMEM;
    }
    *workersp = workers;
    return 0;
}

void
workers_stop(struct workers *workers)
{
    check(pthread_mutex_lock(&workers->lock));
    workers->stopping = true;
    check(pthread_cond_broadcast(&workers->wanted));
    check(pthread_mutex_unlock(&workers->lock));
}

void
workers_destroy(struct workers *workers)
{
    workers_stop(workers);
    for (unsigned i = 0; i < workers->nthreads; i++)
        check(pthread_join(workers->threads[i], NULL));
    workers_free(workers);
}

void
workers_abandon(struct workers *workers)
{
    bool last;

    workers_stop(workers);
    check(pthread_mutex_lock(&workers->lock));
    for (unsigned i = 0; i < workers->nthreads; i++)
        check(pthread_detach(workers->threads[i]));
    workers->abandoned = true;
    last = workers->nalive == 0;
    check(pthread_mutex_unlock(&workers->lock));
    if (last)
        workers_free(workers);
}
