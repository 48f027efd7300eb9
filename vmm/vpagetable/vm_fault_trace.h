/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace hook: every fault of a map passes it at its begin and at its end.
 *
 * Without a hook that is one test of a pointer each; what is recorded the fault keeps in its state
 * anyway.  A fault on a bare object (vm_fault_object_page) has no map and is not traced.
 */
#ifndef VM_FAULT_TRACE_H
#define VM_FAULT_TRACE_H

#include "vmm/vpagetable/vm_errand.h"
#include "vmm/vpagetable/vm_fault.h"

/* How the page came about: one of the v_kind_* counters. */
enum fault_kind {
    FAULT_RESIDENT,
    FAULT_ZERO_FILL,
    FAULT_PAGE_IN,
    FAULT_COW
};

/* How far the last attempt came. */
enum fault_step {
    FAULT_STEP_LOOKUP, /* vm_map_lookup, not further */
    FAULT_STEP_WALK,   /* the walk: `walk` */
    FAULT_STEP_OBJECT, /* the search for the page: `object`, `pindex`, `depth` */
    FAULT_STEP_PAGE    /* the page was found or made: `slot`, `kind`, `source` */
};

/* What became of a fault.  All of it is the fault's and valid during the call only. */
struct vm_fault_record {
    uint64_t begun;                       /* what `begin` returned */
    const struct vm_fault_origin *origin; /* whose it is; NULL = the monitor's */
    const struct vm_fault_info *info;     /* address, access, result, and why */
    unsigned flags;                       /* VM_FAULT_*: QUIET is the monitor's own look-up */
    enum fault_step step;
    const struct vpte_walk *walk; /* entries, as read and as left, A and M set; NULL: no walk */
    uint64_t object;              /* number of the entry's */
    vm_pindex_t pindex;           /* of the page in it, after the walk */
    unsigned depth;               /* objects passed in the chain before the search ended */
    enum fault_kind kind;
    uint64_t slot;          /* of the page in the frame store */
    uint64_t source;        /* COW: of the page that was copied; else, or if that moved, `slot` */
    bool from_file;         /* PAGE_IN: the page is a file's; else it was in swap */
    const unsigned *waited; /* how often it started over, by enum vm_errand_kind: for what */
};

struct vm_fault_trace {
    /*
     * A fault begins: returns what its record is to have as `begun`, such as the time.  Not called for a
     * fault whose origin says it.
     */
    uint64_t (*begin)(void *context);
    /* It has ended: its page is mapped or held, or it failed.  Locks: none held. */
    void (*end)(void *context, const struct vm_fault_record *record);
    void *context; /* borrowed */
};

/*
 * Have the map's faults traced from now on; NULL: no more.  A fault under way ends with the
 * trace that it began with, so that one must stay until the fault is over.
 */
void vm_fault_trace_set(struct vm_map *map, const struct vm_fault_trace *trace);

#endif
