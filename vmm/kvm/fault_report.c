/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault_report.h. */
#include "vmm/kvm/fault_report.h"

#include <linux/userfaultfd.h>

enum vm_fault_arrival
fault_arrival(uint64_t flags)
{
    if ((flags & UFFD_PAGEFAULT_FLAG_WP) != 0)
        return VM_FAULT_CAME_PROTECTED;
    return (flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0 ? VM_FAULT_CAME_MINOR : VM_FAULT_CAME_MISSING;
}

void
fault_report_count(struct fault_report *report, enum vm_fault_arrival arrival)
{
    report->messages++;
    report->missing += arrival == VM_FAULT_CAME_MISSING;
    report->minor += arrival == VM_FAULT_CAME_MINOR;
    report->write_protect += arrival == VM_FAULT_CAME_PROTECTED;
}

void
fault_report_add(struct fault_report *to, const struct fault_report *from)
{
    to->messages += from->messages;
    to->missing += from->missing;
    to->minor += from->minor;
    to->write_protect += from->write_protect;
    to->foreign += from->foreign;
    to->resolved += from->resolved;
    to->failed += from->failed;
    histogram_merge(&to->latency, &from->latency);
}
