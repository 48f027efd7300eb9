/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters, the seed's names first.  Two tables, because several maps may share one memory
 * system:
 *
 *   struct vm_map_meter      what happened at the addresses of one map, that is in one VM.
 *                            A fault counts for the VM that made it, also where it finds, reads
 *                            or copies a page of an object that several VMs map.
 *   struct vm_system_meter   what happened to memory, for whoever: page-out and chains.
 *
 * Every vm_fault, vm_fault_page and vm_fault_object_page call counts once in v_vm_faults and,
 * when it ends, once in exactly one of the v_kind_* counters, so that
 * v_vm_faults == sum of v_kind_*.  It may end after the access that it was for went on: before
 * that it has counted in v_begun, so that who compares the two knows what is still to come.
 * With VM_FAULT_QUIET it counts in v_lookups instead, and
 * with VM_FAULT_DEBUGGER in v_debugger.
 *
 * A thread counts in its own part (vm_part.h).  A sum is read part by part, while others count on;
 * v_vm_faults that is read first and v_begun that is read then are equal only if no fault was under
 * way in between.
 */
#ifndef VM_METER_H
#define VM_METER_H

#include "vmm/vpagetable/vm_part.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VM_MAP_METER_FIELDS(X)                                                \
    X(v_vm_faults, "faults taken by the engine")                              \
    X(v_kind_resident, "  ... page was resident")                             \
    X(v_kind_zero_fill, "  ... page made of zeros")                           \
    X(v_kind_page_in, "  ... page read by a pager")                           \
    X(v_kind_cow, "  ... page copied or moved on a write")                    \
    X(v_kind_failed, "  ... refused: the guest's to see")                     \
    X(v_kind_host, "  ... refused: the host failed")                          \
    X(v_begun, "faults begun: the same when none is under way")               \
    X(v_intrans, "faults that waited for a busy page")                        \
    X(v_restarts, "faults started over after a sleep or a lost race")         \
    X(v_zfod, "pages zero-filled, prefaulted ones included")                  \
    X(v_ozfod, "  ... of these, filled while they were mapped")               \
    X(v_cow_faults, "copy-on-write faults")                                   \
    X(v_cow_optim, "  ... of these, moved instead of copied")                 \
    X(v_majflt, "faults that needed I/O; minor: the rest")                    \
    X(v_prefault, "neighbour pages entered")                                  \
    X(v_placed, "pages copied to a window's own frames")                      \
    X(v_super_made, "superpages made of zeros")                               \
    X(v_walks, "virtual page table walks")                                    \
    X(v_walk_failed, "  ... of these, ended by an entry that forbids")        \
    X(v_vpte_a, "accessed bits set")                                          \
    X(v_vpte_m, "modified bits set")                                          \
    X(v_vpte_dir_m, "  ... of these, in the entry above a changed table")     \
    X(v_inval, "INVAL calls")                                                 \
    X(v_setmap, "SETMAP calls")                                               \
    X(v_pagein, "pages read by pagers")                                       \
    X(v_pagein_failed, "reads by pagers that failed for the page needed")     \
    X(v_swap_lost, "  ... of these, from swap: memory that is lost")          \
    X(v_pfwait, "faults that waited for memory")                              \
    X(v_pflimit, "faults that were slowed down by vm_fault_ratelimit")        \
    X(v_injected, "faults that --inject had its way with")                    \
    X(v_reported, "pages that the guest reported as free")                    \
    X(v_discarded, "  ... of these, were in memory: given back to the host")  \
    X(v_lookups, "looked up by the monitor for itself: not among the faults") \
    X(v_debugger, "written to by a debugger: not among the faults")

#define VM_SYSTEM_METER_FIELDS(X)                                         \
    X(v_super_demoted, "superpages given up: a page changed")             \
    X(v_collapses, "backing objects taken over by their only shadow")     \
    X(v_bypasses, "backing objects left out of a chain")                  \
    X(v_pageout, "pages written by pagers")                               \
    X(v_pageout_failed, "pages that could not be written: still dirty")   \
    X(v_swap_full, "  ... of these, for want of swap space")              \
    X(v_pdwakeups, "times page-out was asked to free memory")             \
    X(v_pdpages, "pages page-out looked at")                              \
    X(v_dfree, "pages page-out freed")                                    \
    X(v_dzero, "  ... or kept for a moment, that are zeros: not written") \
    X(v_dsame, "pages mapped writable that swap has as they are")         \
    X(v_reactivated, "pages page-out found in use again")

/* All, for reports: first the map's, then the system's. */
#define VM_METER_FIELDS(X) \
    VM_MAP_METER_FIELDS(X) \
    VM_SYSTEM_METER_FIELDS(X)

#define VM_METER_FIELD(name, text) _Atomic uint64_t name; /* (a) */
struct vm_map_meter {
    struct {
        VM_MAP_METER_FIELDS(VM_METER_FIELD)
        uint8_t gap[VM_PART_GAP];
    } part[VM_PARTS];
};

struct vm_system_meter {
    struct {
        VM_SYSTEM_METER_FIELDS(VM_METER_FIELD)
        uint8_t gap[VM_PART_GAP];
    } part[VM_PARTS];
};
#undef VM_METER_FIELD

/* Add n to a counter of either: `vm_meter_add(&map->meter, v_zfod, 1)`. */
#define vm_meter_add(meter, name, n) \
    atomic_fetch_add_explicit(&(meter)->part[vm_part()].name, (n), memory_order_relaxed)

/* The sum of a counter's parts, so many counters apart. */
static inline uint64_t
vm_meter_sum(const _Atomic uint64_t *first, size_t apart)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < VM_PARTS; i++)
        sum += atomic_load_explicit(&first[i * apart], memory_order_relaxed);
    return sum;
}

/* What a counter says now: `vm_meter_get(&sys->meter, v_pageout)`. */
#define vm_meter_get(meter, name) \
    vm_meter_sum(&(meter)->part[0].name, sizeof((meter)->part[0]) / sizeof(uint64_t))

#endif
