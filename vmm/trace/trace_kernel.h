/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the kernel's own events, kvm:kvm_page_fault, come to vkvm.
 *
 * They are read by a process of its own, `vkvm-trace kernel-events`, since that takes a library that
 * nothing else of vkvm needs, and rights that vkvm's sandbox has given up.  It has one socket, as
 * standard input:
 *
 *     it says      one line: TRACE_KERNEL_READY, or why there are no events
 *                  then struct trace_kernel_message, of kind EVENT
 *     vkvm says    "threads FIRST LAST\n": from now on only those thread ids are of interest
 *                  end of file: no more
 *     it says      a last message, of kind END; end of file
 */
#ifndef TRACE_KERNEL_H
#define TRACE_KERNEL_H

#include <stdint.h>

/* What vkvm-trace's first argument is then.  Not a verb: nobody types it. */
#define TRACE_KERNEL_VERB "kernel-events"

#define TRACE_KERNEL_READY "ready"
#define TRACE_KERNEL_LINE_MAX 256u /* its end included */

enum trace_kernel_kind {
    TRACE_KERNEL_EVENT = 1,
    TRACE_KERNEL_END /* all that there is was sent */
};

struct trace_kernel_message {
    uint32_t kind;       /* enum trace_kernel_kind */
    uint32_t tid;        /* of the thread that ran the vCPU, in the initial PID namespace */
    uint64_t time;       /* CLOCK_MONOTONIC, ns */
    uint64_t rip;        /* the guest's */
    uint64_t address;    /* that the fault was at: guest-physical where KVM uses a second stage */
    uint64_t error_code; /* as the processor has it */
    uint64_t lost;       /* END: events that found no room in the kernel's buffer */
};

#endif
