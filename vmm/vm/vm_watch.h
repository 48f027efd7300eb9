/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What ends or stops a VM from outside: signals, the time-out, the terminal's job control and keys.  A
 * client of an event loop, which runs in vm_run's own thread.
 *
 * Signals and the terminal belong to the process.  One VM of a process watches them; the others
 * are `detached` (vm.h).
 *
 * Ctrl-Z stops the process in two steps.  First the vCPUs are paused, while the loop goes on: one
 * that waits in KVM_RUN for a fault could not stop, and the shell would wait for it.  When all
 * rest, the terminal is restored and the process stops.  The time it is stopped does not count
 * for the time-out.
 */
#ifndef VM_WATCH_H
#define VM_WATCH_H

#include "vmm/base/event_loop.h"
#include "vmm/device/terminal.h"
#include "vmm/vm/vm_keys.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

struct vm_watch {
    struct vm *vm;                /* borrowed */
    struct event_loop *loop;      /* owned, with its sources; NULL = none */
    struct event_source *timeout; /* the time-out's timer */
    struct event_source *look;    /* looks whether the terminal has become ours */
    struct terminal terminal;     /* standard input */
    struct vm_keys keys;          /* what is typed there */
    uint64_t deadline;            /* of the time-out, ns; 0 = none */
    bool stopping;                /* SIGTSTP came: the process stops when the vCPUs rest */
    sigset_t saved_mask;          /* the thread's mask before */
    sigset_t blocked;             /* what was blocked */
};

/*
 * From now on signals that would end or stop the process, unless ignored or handled, are received
 * by the watch, and threads made later block them.
 * Returns 0 or -errno; either way end it with vm_watch_fini.
 */
int vm_watch_init(struct vm_watch *watch, struct vm *vm) __attribute__((warn_unused_result));

/*
 * Take the terminal, watch until the VM has ended, and restore the terminal.  The time-out counts
 * from here.  Ends the VM if it cannot watch.
 */
void vm_watch_run(struct vm_watch *watch);

/* Undo vm_watch_init; signals that came since are forgotten. */
void vm_watch_fini(struct vm_watch *watch);

#endif
