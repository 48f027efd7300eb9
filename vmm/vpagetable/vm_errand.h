/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errands of a fault: what it must wait for, done after it let go of every lock.
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
 *  3. A read that failed is remembered, so that the retry reports it instead of
 *     reading again, if it still comes to that page.
 */
#ifndef VM_ERRAND_H
#define VM_ERRAND_H

#include "vmm/vpagetable/vm_map.h"
#include "vmm/vpagetable/vm_page.h"

/* Pages one fault may bring in: a walk's tables, its result, and one to spare. */
#define VM_ERRAND_PAGES (VPTE_MAX_LEVELS + 2)

enum vm_errand_kind {
    VM_ERRAND_NONE,   /* nothing to wait for: just start over */
    VM_ERRAND_WAIT,   /* the page is busy or being freed */
    VM_ERRAND_PAGE_IN /* the pager has the page */
};

/* What errands brought. */
struct vm_errand_page {
    struct vm_object *object; /* counted */
    vm_pindex_t pindex;
    struct vm_page *m;        /* held; NULL = it could not be read */
    bool read;                /* m came from the pager */
    enum vm_result result;    /* without m: why */
};

struct vm_errand {
    struct vm_system *sys;      /* borrowed */
    enum vm_errand_kind kind;   /* pending */
    struct vm_object *object;   /* counted while kind is not NONE */
    vm_pindex_t pindex;
    struct vm_page *m;          /* PAGE_IN: busy, not valid */
    enum vm_map_advice advice;  /* PAGE_IN */
    bool hardfault;             /* there was I/O */
    unsigned npages;
    struct vm_errand_page pages[VM_ERRAND_PAGES];
};

void vm_errand_init(struct vm_errand *errand, struct vm_system *sys);

/* Let go of what the errands brought.  Locks: none held; takes O. */
void vm_errand_fini(struct vm_errand *errand);

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

/* Hold a valid page for the rest of the fault.  Locks: O held, and no page is being waited for. */
void vm_errand_keep(struct vm_errand *errand, struct vm_object *object, struct vm_page *m)
    VM_REQUIRES(object->lock);

/* What errands brought for (object, pindex), or NULL. */
const struct vm_errand_page *vm_errand_find(const struct vm_errand *errand,
                                            const struct vm_object *object, vm_pindex_t pindex);

/* Run the pending errand.  Locks: none held; takes O, sleeps. */
void vm_errand_run(struct vm_errand *errand);

#endif
