/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page-out thread; the work is the engine's.
 */
#include "vmm/vm/pageout_thread.h"

#include "vmm/vm/sandbox.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <signal.h>

static void *
thread_main(void *argument)
{
    const struct pageout_thread *thread = argument;

    int error = thread->confined ? sandbox_enter(SANDBOX_PAGEOUT) : 0;

    if (error != 0)
        thread->sys->pageout_error(thread->sys->pageout_error_context,
                                   "page-out runs without its sandbox", error);
    vm_pageout_run(thread->sys);
    return NULL;
}

/* All signals but those that a thread raises by an error of its own. */
static void
fill_signals(sigset_t *set)
{
    static const int own[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };

    sigfillset(set);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigdelset(set, own[i]);
}

int
pageout_thread_start(struct vm_system *sys, bool confined, struct pageout_thread *thread)
{
    sigset_t blocked, saved;
    int error;

    *thread = (struct pageout_thread){ .sys = sys, .confined = confined };
    if (sys->ram_budget == UINT64_MAX)
        return 0;
    fill_signals(&blocked);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &saved);
    error = pthread_create(&thread->thread, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
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
