/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page-out thread; the work is the engine's.
 */
#include "vmm/vm/pageout_thread.h"

#include "vmm/vpagetable/vm_pageout.h"

static void *
thread_main(void *argument)
{
    vm_pageout_run(argument);
    return NULL;
}

int
pageout_thread_start(struct vm_system *sys, struct pageout_thread *thread)
{
    int error;

    *thread = (struct pageout_thread){ .sys = sys };
    if (sys->ram_budget == UINT64_MAX)
        return 0;
    error = pthread_create(&thread->thread, NULL, thread_main, sys);
    thread->running = error == 0;
    return -error;
}

void
pageout_thread_stop(struct pageout_thread *thread)
{
    if (!thread->running)
        return;
    vm_pageout_stop(thread->sys);
    (void)pthread_join(thread->thread, NULL);
    thread->running = false;
}
