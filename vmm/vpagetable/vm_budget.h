/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM budget: how many pages there may be, when memory is short, and whose turn it is to
 * wait for some.
 *
 * Below the pages: it counts, and knows neither a page nor an object.  Who makes or frees a page
 * takes it from the budget or gives it back; page-out (vm_pageout.h) frees memory, and is woken
 * here.
 *
 * Locks: F (budget.lock) is taken with nothing else or with O held, and nothing is taken inside
 * it.  Who gives memory back looks for waiters afterwards, and a waiter counts himself before he
 * looks at what there is: one of the two sees the other.
 *
 * So that threads that make pages do not all write to one counter, each part (vm_part.h) has a
 * stock: while memory is far from being short, VM_STOCK pages are taken at once, and a page that is
 * freed goes to the stock.  A page in stock counts as taken, so the budget holds, and what is left
 * seems less than it is by VM_STOCK_MAX a part at most.  Where that would matter there are none:
 * stocks are not filled near wake_at, and go back before page-out is woken, before anybody waits,
 * and before a page is refused.
 */
#ifndef VM_BUDGET_H
#define VM_BUDGET_H

#include "vmm/vpagetable/vm_system.h"

#define VM_STOCK 32u
#define VM_STOCK_MAX (2 * VM_STOCK) /* in one part */

/* Part of vm_system_init and vm_system_fini. */
void vm_budget_init(struct vm_system *sys);
void vm_budget_fini(struct vm_system *sys);

/*
 * Count one more page, never beyond the budget even for a moment; page-out is woken when memory
 * gets short.  Locks: O may be held; takes F.  Returns whether there was one left.
 */
bool vm_budget_take(struct vm_system *sys) __attribute__((warn_unused_result));

/* Give pages back and wake who waits for memory.  Locks: O may be held; takes F. */
void vm_budget_give(struct vm_system *sys, uint64_t pages);

/* How many pages belong to an object.  Exact while nobody makes or frees one; never more than the
 * budget. */
uint64_t vm_budget_resident(const struct vm_system *sys);

/* How many pages are missing to the free target. */
uint64_t vm_budget_shortage(const struct vm_system *sys);

/*
 * Become the first waiter (vm_pageout.h says what he may do); `who` is only compared.  False:
 * somebody else is.
 * release: not any more.  wait_turn: sleep until nobody is, memory is not severely short, or
 * *stop is set.  Locks: take F.
 */
bool vm_budget_claim(struct vm_system *sys, const void *who);
void vm_budget_release(struct vm_system *sys, const void *who);
void vm_budget_wait_turn(struct vm_system *sys, const _Atomic bool *stop);

/*
 * Sleep for a moment, while no page is left; less when something is freed.
 * Locks: none held; takes F.
 */
void vm_budget_wait_moment(struct vm_system *sys);

/*
 * How long a fault that is about to make a page should sleep first, in microseconds,
 * 0 to 100,000: the shorter memory is, the longer, and the fewer pages until the next
 * time.  0 unless tunables.load_enable.  Source: DragonFly vm_fault_ratelimit.
 */
unsigned vm_fault_ratelimit(struct vm_system *sys);

/* How many pages the RAM budget still allows beside the stocks.  Pages on PQ_CACHE are resident, not
 * free. */
static inline uint64_t
vm_page_free_count(const struct vm_system *sys)
{
    uint64_t taken = atomic_load_explicit(&sys->taken_pages, memory_order_relaxed);

    return taken < sys->ram_budget ? sys->ram_budget - taken : 0;
}

/*
 * Is memory short?  Below target page-out goes on; below min it begins, and nothing
 * is made on suspicion; severe: all but one fault wait.  Never without a RAM budget.
 */
static inline bool
vm_page_count_target(const struct vm_system *sys)
{
    return vm_page_free_count(sys) < sys->budget.free_target;
}

static inline bool
vm_page_count_min(const struct vm_system *sys)
{
    return vm_page_free_count(sys) < sys->budget.free_min;
}

static inline bool
vm_page_count_severe(const struct vm_system *sys)
{
    return vm_page_free_count(sys) < sys->budget.free_severe;
}

#endif
