/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small pool of threads, for work that sleeps and must not hold up the thread that has it.
 *
 * Threads are made as they are needed, up to a bound, and kept until the pool goes.  Work is
 * begun at once or not at all: there is no queue, in which work that others wait for could lie
 * behind work that waits for it.  Who is refused does the work itself, or has something else to do.
 *
 * Locks: one mutex, innermost; work runs without it.
 */
#ifndef WORKERS_H
#define WORKERS_H

struct workers; /* workers.c */

/* A pool of at most max threads, none of which is made yet.  Returns 0, or -ENOMEM. */
int workers_create(unsigned max, struct workers **workers) __attribute__((warn_unused_result));

/*
 * Let nothing begin any more.  Work that looks at something else to end early is told before.
 * Any thread.
 */
void workers_stop(struct workers *workers);

/* workers_stop, wait for the work under way, and free the pool, which nobody else uses any more. */
void workers_destroy(struct workers *workers);

/*
 * workers_stop, and wait for nothing: work under way goes on by itself, and the last of it frees
 * the pool, which nobody else uses any more.
 */
void workers_abandon(struct workers *workers);

/*
 * Have a worker call work(argument).  Any thread; does not sleep.
 * Returns 0; -EBUSY when all of them are busy, -ECANCELED after workers_stop, or what
 * pthread_create said of a new one (-EAGAIN, -ENOMEM: limits_explain_thread tells the cause):
 * then nobody calls it.
 */
int workers_begin(struct workers *workers, void (*work)(void *argument), void *argument)
    __attribute__((warn_unused_result));

#endif
