/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fault service did, counted by message.
 */
#ifndef FAULT_REPORT_H
#define FAULT_REPORT_H

#include "vmm/base/histogram.h"
#include "vmm/kvm/fault_tuner.h"
#include "vmm/vpagetable/vm_fault.h"

struct fault_report {
    uint64_t messages; /* userfaultfd messages read */
    uint64_t missing;  /* ... of these, by kind; they add up to messages */
    uint64_t minor;
    uint64_t write_protect;
    uint64_t
        foreign; /* ... and how many were of threads that are no vCPU's, for all that is known */
    uint64_t resolved;           /* messages answered by a mapping */
    uint64_t failed;             /* messages that became an exception */
    struct histogram latency;    /* ns from reading a message to its answer */
    bool tuned;                  /* --placement auto has a choice (fault_tuner.h): */
    bool looking;                /* ... it looks for the best way now */
    uint64_t looks;              /* ... and has chosen so often */
    enum fault_way way;          /* ... the one that was chosen last, or the only one */
    uint64_t way_ns[FAULT_WAYS]; /* ... ns from fault to fault in each; 0 = not measured */
};

/* How a message with these flags (UFFD_PAGEFAULT_FLAG_*) came. */
enum vm_fault_arrival fault_arrival(uint64_t flags);

/* One message more that came so. */
void fault_report_count(struct fault_report *report, enum vm_fault_arrival arrival);

/* Add what another thread did. */
void fault_report_add(struct fault_report *to, const struct fault_report *from);

#endif
