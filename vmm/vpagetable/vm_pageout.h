/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-out: what leaves memory when the RAM budget gets short, and who waits for it.
 *
 *       fault                reference seen
 *         |               .----------------.
 *         v               v                |        act_count used up
 *     PQ_ACTIVE -- sampled by unmapping ---+------------------------> PQ_INACTIVE
 *         ^                                                            |       |
 *         |                touched: faults again                 clean |       | dirty: written
 *         +-----------------------<------------------------------------+       | in clusters
 *         |                                                            |       |
 *         +------<------- PQ_CACHE (clean, unmapped: goes first) <-----+---<---+
 *                                          |                           |
 *                                          v                           v
 *                                              FREE: the frame is a hole
 *
 * A scan begins with pass 0, which adds up act_count and gives an inactive page that is
 * mapped a second chance, and goes on until it freed enough: each pass deactivates pages
 * with a higher act_count, the last ones any.  Nobody sees which mapped page a guest touches; so a page is
 * unmapped, and the fault of its next touch sets VM_PAGE_REFERENCED.  That has its price, so a scan
 * looks at active pages in proportion to what it has to free, however large memory is, and goes on
 * where the one before it ended: all are looked at equally often.  Only the last passes, when the
 * others freed too little, look at all.
 *
 * What cannot leave: wired pages (on no queue), held and busy ones (passed over), and
 * dirty pages nobody would write: those of a private file object, and of zero-fill
 * objects when there is no swap.  A clean page comes back from its pager; a clean page
 * of a zero-fill object that was never written back and has no backing object was
 * never written to either, and comes back as zeros.  So does a dirty one that is found to be all
 * zeros: it costs no swap, and is not written.
 *
 * A page from swap is mapped writable at once, so that its first write costs no fault, and counts as
 * dirty.  Here it is compared with its slot, and is clean if swap has it as it is (vm_page_doubt.c).
 *
 * A page whose write failed stays dirty and goes to PQ_ACTIVE; it is counted, and
 * sys->pageout_error is told when that begins.
 *
 * Waiting: a fault that finds memory severely short leaves an errand
 * (VM_ERRAND_MEMORY).  One waiter at a time is the *first*: it scans itself, keeps the
 * pages that its errands hold, and may take the last pages of the budget.  The others
 * let go of what they hold until it is their turn.  So with a budget of
 * VM_RAM_BUDGET_MIN pages, of which VM_ERRAND_PAGES are not enough to fill it, every
 * fault ends.  A thread that runs vm_pageout_run in the background makes waits rare; it
 * is not needed for any of this.
 *
 * Locks: F (vm_budget.h) is innermost.  The scan takes O of one object at a time, does I/O
 * with the pages busy and no lock, and keeps an object from going away by scan_pins (Q).
 */
#ifndef VM_PAGEOUT_H
#define VM_PAGEOUT_H

#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_page.h"

/* Pages written by one call of a pager. */
#define VM_PAGEOUT_CLUSTER 32

/* What a scan did to a page. */
struct vm_pageout_record {
    uint64_t object; /* number */
    vm_pindex_t pindex;
    uint64_t slot;
    bool written; /* counts as v_pageout */
    bool failed;  /* it is still dirty and stays */
    bool freed;   /* counts as v_dfree */
};

/* Who is told: sys->pageout_trace, which must stay while a scan may run. */
struct vm_pageout_trace {
    /* From any thread.  Locks: O is held. */
    void (*page)(void *context, const struct vm_pageout_record *record);
    void *context; /* borrowed */
};

/* Why a fault fails when it waited in vain, and the remedy. */
const char *vm_pageout_no_memory(const struct vm_system *sys);

/*
 * Free `target` pages in the caller's thread, or as many as can be.
 * Locks: none held; takes O, Q; sleeps for I/O, not for busy pages.
 * Returns how many were freed.
 */
uint64_t vm_pageout_scan(struct vm_system *sys, uint64_t target);

/* What a scan came to; busy and held: pages that its last pass passed over for that. */
struct vm_pageout_outcome {
    uint64_t freed;
    uint64_t busy;
    uint64_t held;
};

/* The same with more to tell, until *stop is set. */
void vm_pageout_try(struct vm_system *sys, uint64_t target, const _Atomic bool *stop,
                    struct vm_pageout_outcome *outcome);

/*
 * Body of the page-out thread: scan whenever memory gets short, until vm_pageout_stop, which
 * ends a scan under way too.
 * By hand: `while (vm_pageout_wait(sys)) vm_pageout_scan(sys, vm_budget_shortage(sys));`
 * vm_pageout_wait blocks until page-out is needed and returns true, or false when it
 * was stopped, at once and for good.  Locks: none held.
 */
void vm_pageout_run(struct vm_system *sys);
bool vm_pageout_wait(struct vm_system *sys);
void vm_pageout_stop(struct vm_system *sys);

/*
 * Wait until a page can be made (or there is a chance that it can), scanning.
 * `held`: how many pages the caller itself holds: waiting for those is in vain.
 * Locks: none held, no page busy; takes O, Q, F; sleeps.
 * Returns 0; -ENOMEM when nothing can be freed: fail with vm_pageout_no_memory; -ECANCELED when
 * *stop is set.
 * Source: DragonFly vm_waitpfault.
 */
int vm_waitpfault(struct vm_system *sys, unsigned held, const _Atomic bool *stop)
    __attribute__((warn_unused_result));

#endif
