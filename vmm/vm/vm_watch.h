/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What ends a VM from outside: signals and the timeout.  One thread, vm_run's, watches.
 */
#ifndef VM_WATCH_H
#define VM_WATCH_H

#include <signal.h>

struct vm;

struct vm_watch {
    sigset_t signals;    /* those that are received here instead of delivered */
    sigset_t saved_mask; /* the thread's mask before */
    int signal_fd;       /* owned */
    int timer_fd;        /* owned; -1 = no timeout */
};

/*
 * Receive SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGTSTP, unless ignored, and SIGPIPE here from
 * now on, and start the timer (0: none).
 * Returns 0 or -errno; either way end it with vm_watch_stop.
 */
int vm_watch_start(struct vm_watch *watch, unsigned timeout_ms) __attribute__((warn_unused_result));

/*
 * Wait until the VM has ended; a signal or the timer end it.  SIGTSTP stops the process, with
 * the terminal as it was.
 */
void vm_watch_wait(const struct vm_watch *watch, struct vm *vm);

/* Undo vm_watch_start; what arrived since is forgotten. */
void vm_watch_stop(struct vm_watch *watch);

#endif
