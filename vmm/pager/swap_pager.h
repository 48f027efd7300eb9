/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap pager: where the pages of zero-fill objects go when memory gets short.
 *
 * An object becomes OBJT_SWAP with its first page-out (vm_pager_adopt_swap) and then
 * knows a slot of the swap device (swap_device.h) for each of its pages that is in swap.
 * Slots are allocated when pages are written, next to each other for pages written
 * together, so that they are read together later.
 *
 * A resident page may have a slot too: as long as the page is clean the slot holds the
 * same bytes.  When the page is known to change the slot is freed (vm_pager_unswapped).  When it may
 * change unseen (VM_PAGE_DOUBT) the slot is kept to compare with, as long as swap has room: when an
 * eighth of it is left, pages that are brought in give theirs up.  A slot that is out of date loses
 * nothing: a resident page comes before its slot, and the next page-out gives it another.
 *
 * Results: putpages VM_PAGER_FAIL: no slot left; VM_PAGER_ERROR: the device or memory
 * failed, see swap_device_error.  Pages that could not be written have no slot and are
 * still dirty.  getpages VM_PAGER_FAIL: the page has no slot; VM_PAGER_ERROR: it has,
 * and could not be read as it was written (a device that ends early, or holds something else
 * now: what was there is lost, and must not come back as zeros); its slot is kept.
 *
 * Locks: `swap`, the device's, for its slots; `index`, each object's, for its index.  Both are
 * innermost: taken with O held or without, index before device, never during I/O.
 */
#ifndef SWAP_PAGER_H
#define SWAP_PAGER_H

#include "vmm/pager/swap_device.h"
#include "vmm/vpagetable/vm_pager.h"

/* Let the system page out to the device; before its first fault, once. */
void swap_device_attach(struct swap_device *device, struct vm_system *sys);

/* How many slots the object has.  Locks: takes O. */
uint64_t swap_pager_count(struct vm_object *object);

#endif
