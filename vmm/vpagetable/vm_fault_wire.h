/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring of the pages of a map entry, and the copy of pages that cannot be shared.
 *
 * A wired page always belongs to the entry's own object, a page that only shows
 * through from a backing object being copied up first.  So vm_map_entry_unwire finds it
 * whatever became of the mapping, which may be dropped at any time, and no chain
 * collapses over a wired page.  (The seed asks the pmap, and leaves a read-only page
 * where it is.)
 *
 * An entry whose wired_count is not 0 keeps its object, offset and place (vm_map.h).
 *
 * Source: DragonFly sys/vm/vm_fault.c (the seed): functions keep their names.
 */
#ifndef VM_FAULT_WIRE_H
#define VM_FAULT_WIRE_H

#include "vmm/vpagetable/vm_fault.h"

/*
 * Wire the pages of an entry from entry->wired_end on, which moves with them, and map them where
 * the entry allows reads.  The entry is NORMAL, has wired_count != 0, and does not need a copy
 * before a write it allows.  vm_map_entry_unwire is the way back (the seed's vm_fault_unwire).
 * Locks: E held, M not; sleeps.
 * Returns 0; else -EACCES (VM_PROTECTION), -EIO (VM_IO_ERROR), the errno of a VM_HOST_FAILURE,
 * -ECANCELED once *map->stop is set, or -EFAULT for every other result of the fault.
 */
int vm_fault_wire(struct vm_map *map, struct vm_map_entry *entry, bool user)
    VM_REQUIRES(map->edit_lock) __attribute__((warn_unused_result));

/*
 * Copy the pages from gpa on, as the map has them, to [first, first + npages) of an
 * object that nobody else uses yet.  Pages that exist nowhere are left out: both read
 * as zeros.  Protections do not matter, but max_protection must allow reads.
 * Locks: E held, M not; sleeps.
 * Returns 0, or an error as of vm_fault_wire: the object has some of the pages.
 */
int vm_fault_copy_entry(struct vm_map *map, gpa_t gpa, uint64_t npages, struct vm_object *object,
                        vm_pindex_t first) VM_REQUIRES(map->edit_lock)
    __attribute__((warn_unused_result));

#endif
