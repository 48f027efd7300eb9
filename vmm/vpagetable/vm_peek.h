/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking at guest-physical memory without leaving a trace, and writing to it on behalf of a
 * debugger.
 *
 * A peek is no fault.  It counts nowhere, sets neither A nor M, makes no page resident, none
 * referenced or active, copies none and maps none; entries are neither grown nor shadowed, and no
 * trace is told.  What is in memory is copied from there; what a pager has is read into the
 * caller's buffer (vm_pager_ops.peek); what is nowhere yet reads as zeros.  Protections do not
 * count: only what the address shows matters, so of virtual page table entries only V does.
 *
 * A poke is a write like the guest's own: it copies or makes the page, which is dirty then, and
 * sets A and M on its way through a virtual page table.  Only the counting differs: v_debugger
 * instead of v_vm_faults.  So in memory that is shared copy-on-write it stays with this map.
 */
#ifndef VM_PEEK_H
#define VM_PEEK_H

#include "vmm/vpagetable/vm_fault.h"

/* Where a peek found the page. */
enum vm_peek_place {
    VM_PEEK_NOWHERE,  /* in no object of the chain: zeros */
    VM_PEEK_RESIDENT, /* in memory */
    VM_PEEK_PAGER     /* in swap or in its file */
};

/* What a peek met on its way, for who shows it.  Filled as far as it came. */
struct vm_peek_info {
    enum vm_result result;
    vm_prot_t protection;              /* the map entry's */
    bool window;                       /* the entry is a virtual page table ... */
    bool writeback;                    /* ... the object's pages belong to a file that others see */
    unsigned level;                    /* window: levels read; vptes[0] is the root */
    vpte_t vptes[VPTE_MAX_LEVELS + 1]; /* window */
    vm_pindex_t tables[VPTE_MAX_LEVELS]; /* window: the pages in which vptes[1..level] stand */
    vm_pindex_t pindex;                  /* in the entry's object */
    unsigned depth;                      /* objects passed in the chain */
    enum vm_peek_place place;
};

/*
 * Copy bytes of guest memory; see above.
 * Locks: none held; takes M shared, O; sleeps for busy pages and for I/O, until the map's stop.
 * Returns VM_OK; VM_INVALID_ADDRESS, VM_NOFAULT (a guard), VM_VPTE_INVALID, VM_BAD_FRAME,
 * VM_BEYOND_OBJECT, VM_OBJECT_DEAD; VM_IO_ERROR (the pager cannot read it); VM_HOST_FAILURE: the map
 * was stopped.  *info is about the last page looked at; bytes before it have been copied.
 */
enum vm_result vm_peek(struct vm_map *map, gpa_t gpa, void *to, size_t size,
                       struct vm_peek_info *info) __attribute__((warn_unused_result));

/*
 * Write bytes to guest memory as a debugger; see above.  The entry's max_protection counts.
 * Locks, Returns: as vm_map_write.
 */
enum vm_result vm_poke(struct vm_map *map, gpa_t gpa, const void *from, size_t size,
                       struct vm_fault_info *info) __attribute__((warn_unused_result));

#endif
