/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errands of a fault: what an attempt found that must be waited for, done after it let go of every
 * lock; docs/architecture.md has the engine's words.
 *
 *     vm_errand_init
 *     per attempt:  vm_errand_leave      O held: note what to wait for, VM_RETRY
 *                   vm_errand_run        no lock: wait, read
 *     vm_errand_fini                     the fault is over
 *
 * Invariants:
 *  1. A pending errand counts a reference of its object, so that the object stays
 *     when the map entry goes.
 *  2. A page that an errand brought is held, and its object referenced, until the
 *     fault ends: each errand is progress, whatever memory is short of.
 *  3. Of all faults that wait for memory only the first one keeps what its errands
 *     brought; it may also use the last pages there are (vm_pageout.h).  So some fault
 *     always gets on.
 *  4. A read that failed is remembered, so that the retry reports it instead of
 *     reading again, if it still comes to that page.
 */
#ifndef VM_ERRAND_H
#define VM_ERRAND_H

#include "vmm/vpagetable/vm_map.h"
#include "vmm/vpagetable/vm_page.h"

/* Pages one fault may bring in: a walk's tables, its result, and one to spare. */
#define VM_ERRAND_PAGES (VPTE_MAX_LEVELS + 2)

enum vm_errand_kind {
    VM_ERRAND_NONE,    /* nothing to wait for: just start over */
    VM_ERRAND_WAIT,    /* the page is busy or being freed */
    VM_ERRAND_PAGE_IN, /* the pager has the page */
    VM_ERRAND_MEMORY,  /* the RAM budget is short, or the fault is one too many */
    VM_ERRAND_DELAY    /* it is to be slow (vm_inject.h) */
};
#define VM_ERRAND_KINDS 5

/* What errands brought. */
struct vm_errand_page {
    struct vm_object *object; /* counted */
    vm_pindex_t pindex;
    struct vm_page *m;     /* held; NULL = it could not be read */
    bool read;             /* m came from the pager */
    enum vm_result result; /* without m: why */
};

/* What a stream leaves to be done when its fault is over (vm_readahead.h). */
struct vm_errand_stream {
    struct vm_object *behind; /* counted: the first object, to let go of pages; NULL = none */
    vm_pindex_t behind_pindex;
    struct vm_object *ahead; /* counted: the object with the mark, to read on; NULL = none */
    vm_pindex_t ahead_pindex;
    enum vm_map_advice advice;
};

struct vm_errand {
    struct vm_system *sys;      /* borrowed */
    struct vm_map_meter *meter; /* borrowed: of the VM whose fault it is */
    const _Atomic bool *stop;   /* borrowed: ends its waits (vm_stop.h); NULL = none */
    enum vm_errand_kind kind;   /* pending */
    struct vm_object *object;   /* WAIT, PAGE_IN: counted */
    vm_pindex_t pindex;
    struct vm_page *m;                /* PAGE_IN: busy, not valid */
    enum vm_map_advice advice;        /* PAGE_IN */
    unsigned waited[VM_ERRAND_KINDS]; /* by kind: how often the fault started over for it */
    bool hardfault;                   /* there was I/O */
    bool first;                       /* it is the one that may wait for memory with pages held */
    bool exhausted;                   /* its last wait ended because nothing can be freed */
    bool limited;                     /* vm_fault_ratelimit had its say */
    unsigned delay; /* DELAY: sleep so long, microseconds; MEMORY: the same, 0 = wait for memory */
    struct vm_errand_stream stream;
    struct vm_object *collapse; /* counted: its chain can perhaps be made shorter; NULL = none */
    unsigned holding;           /* pages that the fault's caller holds */
    unsigned npages;
    struct vm_errand_page pages[VM_ERRAND_PAGES];
};

void vm_errand_init(struct vm_errand *errand, struct vm_system *sys, struct vm_map_meter *meter,
                    const _Atomic bool *stop);

/*
 * Let go of what the errands brought, and do what a stream or a copy left: the page is
 * mapped by now, and its waiter goes on.  Locks: none held; takes S, O, sleeps.
 */
void vm_errand_fini(struct vm_errand *errand);

/* Has vm_errand_fini anything to do that takes long: I/O, moving pages, giving memory back? */
bool vm_errand_left_work(const struct vm_errand *errand);

/*
 * Note that the fault must wait for a page.  Returns VM_RETRY.
 * Locks: O held.
 */
enum vm_result vm_errand_leave_wait(struct vm_errand *errand, struct vm_object *object,
                                    vm_pindex_t pindex) VM_REQUIRES(object->lock);

/*
 * Note that the fault needs the page from the pager; m is the new busy page for
 * it, which passes to the errand.  Returns VM_RETRY.  Locks: O held.
 */
enum vm_result vm_errand_leave_page_in(struct vm_errand *errand, struct vm_object *object,
                                       struct vm_page *m, enum vm_map_advice advice)
    VM_REQUIRES(object->lock);

/*
 * May the fault make one more page?  Asked before vm_page_alloc.
 * Returns VM_OK; VM_RETRY with an errand left: memory is severely short and the fault
 * is not the first in the queue for it, or it is to be slowed down.
 */
enum vm_result vm_errand_admit(struct vm_errand *errand);

/*
 * Note that vm_page_alloc failed for want of memory.
 * Returns VM_RETRY; VM_HOST_FAILURE when the fault waited before and nothing can be freed.
 */
enum vm_result vm_errand_leave_memory(struct vm_errand *errand);

/* Note that the fault is to be slow, by so many microseconds.  Returns VM_RETRY. */
enum vm_result vm_errand_leave_delay(struct vm_errand *errand, unsigned delay);

/* Hold a valid page for the rest of the fault.  Locks: O held, and no page is being waited for. */
void vm_errand_keep(struct vm_errand *errand, struct vm_object *object, struct vm_page *m)
    VM_REQUIRES(object->lock);

/*
 * The fault found the page m for (first, first_pindex), in that object or one behind
 * it; `read`: an errand brought it.  If that is a stream, which the mark (VM_PAGE_RAM,
 * cleared here) or sequential advice says, pages behind it are let go of, and what
 * follows a mark is read, when the fault is over.  Random advice wants neither.
 * Locks: O of both objects held.
 * Source: DragonFly vm_fault_object, "readrest".
 */
void vm_errand_found(struct vm_errand *errand, struct vm_object *first, vm_pindex_t first_pindex,
                     struct vm_page *m, bool read, enum vm_map_advice advice)
    VM_REQUIRES(first->lock);

/* Collapse the object's chain (vm_object_collapse) when the fault is over.  Locks: O held. */
void vm_errand_leave_collapse(struct vm_errand *errand, struct vm_object *object)
    VM_REQUIRES(object->lock);

/*
 * Let go of what an errand brought for (object, pindex), if it did, before the page is
 * moved (which wakes those who wait for it).  Locks: O held; somebody else refers to the object.
 */
void vm_errand_drop(struct vm_errand *errand, struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/* What errands brought for (object, pindex), or NULL. */
const struct vm_errand_page *vm_errand_find(const struct vm_errand *errand,
                                            const struct vm_object *object, vm_pindex_t pindex);

/* Run the pending errand, or drop it once *stop is set.  Locks: none held; takes O, sleeps. */
void vm_errand_run(struct vm_errand *errand);

#endif
