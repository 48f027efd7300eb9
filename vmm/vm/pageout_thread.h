/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page-out thread of a host: frees memory in the background, so that faults seldom
 * have to wait for it (vm_pageout.h).
 */
#ifndef PAGEOUT_THREAD_H
#define PAGEOUT_THREAD_H

#include "vmm/vpagetable/vm_system.h"

#include <pthread.h>

struct pageout_thread {
    struct vm_system *sys; /* borrowed */
    pthread_t thread;
    bool running;
    bool confined; /* (c) in the sandbox */
};

/*
 * Start the thread, unless the system has no RAM budget and memory is never short.  `confined`: in
 * the sandbox (sandbox.h); when it cannot be, sys->pageout_error is told and it runs without.  It
 * takes no signals but those that its own errors raise: the others are for whoever waits for
 * them.
 * Returns 0 or the negative errno of pthread_create; then there is nothing to stop.
 */
int pageout_thread_start(struct vm_system *sys, bool confined, struct pageout_thread *thread)
    __attribute__((warn_unused_result));

/* Stop the thread, for good, and wait until a scan under way is over. */
void pageout_thread_stop(struct pageout_thread *thread);

#endif
