/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM memslots: numbers, and the one ioctl that changes them.
 *
 * KVM finishes a change only after every vCPU has left the guest memory access
 * it is in (SRCU), so nothing that a blocked fault may need is held across it.
 */
#ifndef MEMSLOT_H
#define MEMSLOT_H

#include "vmm/vpagetable/vm_lock.h"
#include "vmm/vpagetable/vm_types.h"

struct memslots {
    int vm_fd;            /* (c) borrowed */
    unsigned limit;       /* (c) slots KVM has */
    struct vm_mutex lock; /* guards used */
    uint64_t *used;       /* owned: bitmap of `limit` bits */
};

/* Returns 0 or -ENOMEM. */
int memslots_init(struct memslots *slots, int vm_fd, unsigned limit)
    __attribute__((warn_unused_result));

/* The VM is not run any more; its slots go with it. */
void memslots_fini(struct memslots *slots);

/*
 * Show npages at host address `base` to the guest at gpa, by a free slot.
 * Locks: none held, see above.
 * Returns 0 and *slot; -ENOSPC when all slots are in use, or KVM's -errno.
 */
int memslot_add(struct memslots *slots, gpa_t gpa, uint64_t npages, void *base, unsigned *slot)
    __attribute__((warn_unused_result));

/* Take the slot away and free its number.  Locks: none held. */
void memslot_remove(struct memslots *slots, unsigned slot);

#endif
