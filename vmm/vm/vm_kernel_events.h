/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's own events of a VM's faults, on their way into its trace: a thread takes them from the
 * socket of the process that reads them (vmm/trace/trace_kernel.h).
 *
 * They come later than the faults they belong to, by some 20 ms, so a record's place among the others
 * says nothing: its time does.
 *
 * Locks: none; letters as in vm_internal.h.
 */
#ifndef VM_KERNEL_EVENTS_H
#define VM_KERNEL_EVENTS_H

#include "vmm/base/failure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
struct trace_lane; /* trace_lane.h */

struct vm_kernel_events {
    pthread_t thread;        /* (c) while `running` */
    bool running;            /* vm_trace_make's, vm_trace_finish's */
    bool ept;                /* (c) the error code is EPT's, not a page fault's */
    struct trace_lane *lane; /* (c) borrowed: the thread's */
    _Atomic uint64_t
        give_up_at;  /* (a) ns: when the last message is waited for no longer; 0 = now not */
    bool told;       /* thread: the reader knows the vCPUs' threads */
    uint64_t events; /* thread; anybody's when that has ended */
    uint64_t lost;   /* ... that the kernel had no room for */
    bool whole;      /* ... all that there were have come */
};

/*
 * Take events from config.trace.kernel_fd from now on and record them in `lane`.
 * Returns 0; -errno with *failure filled: no thread.
 */
int vm_kernel_events_start(struct vm *vm, struct trace_lane *lane, struct failure *failure)
    __attribute__((warn_unused_result));

/* No vCPU runs any more: have the rest sent, take it, end the thread.  Waits for some seconds at most. */
void vm_kernel_events_finish(struct vm *vm);

#endif
