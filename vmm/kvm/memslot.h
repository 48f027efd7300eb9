/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM memslots: what of the windows' address space the guest sees.
 *
 * Guest address G is host address space + G for every window, so that a slot need not be a
 * window: it may show several and what is between them.  KVM has a limited number of slots:
 *
 *   the first eighth   exact: each new slot shows what its window lacks, no more
 *   all further ones   shared: a new slot goes on to the next slots, or to the borders of its
 *                      *cell*, an aligned part of the address space, and later windows there
 *                      need none
 *
 * The cell is so large that there are at most three quarters as many cells as slots.  What a
 * shared slot can end at is the border of a cell, or of one of the slots that were there when an
 * eighth was reached.  That makes no more pieces than there are slots: they suffice for any
 * windows.
 *
 * KVM finishes a change only after every vCPU has left the guest memory access
 * it is in (SRCU), so nothing that a blocked fault may need is held across it.
 */
#ifndef MEMSLOT_H
#define MEMSLOT_H

#include "vmm/vpagetable/vm_lock.h"
#include "vmm/vpagetable/vm_ranges.h"
#include "vmm/vpagetable/vm_types.h"

struct memslots {
    int vm_fd;              /* (c) borrowed */
    unsigned limit;         /* (c) slots KVM has */
    uint8_t *space;         /* (c) borrowed: where guest page 0 would be */
    uint64_t space_npages;  /* (c) */
    uint64_t cell;          /* (c) pages */
    struct vm_mutex lock;   /* slots: held across the ioctl, no fault takes it */
    struct vm_ranges slots; /* slots: struct memslot, owned */
    uint64_t *used;         /* slots: owned, bitmap of `limit` bits, by number */
    unsigned lowest;        /* slots: no lower number is free */
    int (*ioctl)(int fd, unsigned long request, void *argument); /* (c) replaced by tests */
};

/* Slots of at most `limit` for guest pages below space_npages.  Returns 0 or -ENOMEM. */
int memslots_init(struct memslots *slots, int vm_fd, unsigned limit, uint8_t *space,
                  uint64_t space_npages) __attribute__((warn_unused_result));

/* The VM is not run any more; its slots go with it. */
void memslots_fini(struct memslots *slots);

/*
 * Show a window, [first, first + npages), to the guest.
 * Locks: none of the engine's but E, see above.
 * Returns 0; -ENOMEM, -ENOSPC when all slots are in use (a limit below 8), or KVM's -errno:
 * nothing changed then.
 */
int memslots_show(struct memslots *slots, uint64_t first, uint64_t npages)
    __attribute__((warn_unused_result));

/*
 * The window is no more: slots go that showed no other one.  Locks: as above.
 * Returns 0, or KVM's -errno: the guest still sees the range.
 */
int memslots_hide(struct memslots *slots, uint64_t first, uint64_t npages)
    __attribute__((warn_unused_result));

#endif
