/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the VMs of a process share: the host's KVM, and memory, that is the frame store and its
 * budget, the page queues, swap, the page-out thread.
 *
 *     vm_host_create -> any number of VMs, vm_create ... vm_destroy -> vm_host_destroy
 *
 * The VMs compete for memory: when one needs some, page-out takes what is used least, whoever's
 * it is.  All else of a VM is its own (vm.h): it counts, fails and ends for itself.
 */
#ifndef VM_HOST_H
#define VM_HOST_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stdint.h>

struct vm_host; /* vm_internal.h */

struct vm_host_config {
    uint64_t ram_budget;     /* most resident bytes of all VMs, VM_RAM_BUDGET_MIN pages or more;
                                0 = no limit */
    const char *swap;        /* borrowed: file or block device to page out to; NULL = none */
    unsigned prefault_pages; /* 0 .. VM_PREFAULT_MAX */
    bool fast_fault;
    bool superpages; /* streams of first touches make superpages, where the kernel does */
    bool sandbox;    /* confine page-out's thread, and those of the VMs once they run (sandbox.h) */

    /*
     * Told, as one line without its end, when something failed that no VM is at fault for: pages
     * could not be written, or not be read from swap, which may be behind the end of a VM.  The
     * same line never comes twice in a row.
     * From any thread, without locks; NULL = nobody is told.
     */
    void (*warn)(void *context, const char *message);
    void *warn_context; /* borrowed */
};

/*
 * Open KVM and swap, make the memory system, start page-out.  Its thread takes no signals.
 * Returns 0 and *hostp; -EINVAL for a configuration that cannot be, or another -errno; *failure
 * is filled then and nothing is held.
 */
int vm_host_create(const struct vm_host_config *config, struct vm_host **hostp,
                   struct failure *failure) __attribute__((warn_unused_result));

/* No VM may be left. */
void vm_host_destroy(struct vm_host *host);

#endif
