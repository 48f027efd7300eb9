/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM budget; see vm_budget.h.
 */
#include "vmm/vpagetable/vm_budget.h"

/* How long a waiter sleeps when only busy or held pages are in its way. */
#define WAIT_MICROSECONDS 1000

/* --- Taking and giving back ---------------------------------------------- */

uint64_t
vm_budget_shortage(const struct vm_system *sys)
{
    uint64_t count = vm_page_free_count(sys);

    return count < sys->budget.free_target ? sys->budget.free_target - count : 0;
}

/* Page-out is to begin. */
static void
pageout_wakeup(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;

    if (atomic_load_explicit(&budget->futile, memory_order_relaxed) ||
        atomic_load_explicit(&budget->wanted, memory_order_relaxed) ||
        atomic_exchange(&budget->wanted, true))
        return;
    vm_meter_add(&sys->meter, v_pdwakeups, 1);
    vm_mutex_lock(&budget->lock);
    vm_cond_broadcast(&budget->needed);
    vm_mutex_unlock(&budget->lock);
}

/* The stocks go back to the budget.  Returns how many pages that were. */
static uint64_t
stocks_return(struct vm_system *sys)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < VM_PARTS; i++) {
        _Atomic uint64_t *stock = &sys->budget.stock[i].pages;

        if (atomic_load(stock) != 0)
            pages += atomic_exchange(stock, 0);
    }
    if (pages != 0)
        atomic_fetch_sub(&sys->taken_pages, pages);
    return pages;
}

/* Memory gets short, unless that is only what the stocks have. */
static void
memory_short(struct vm_system *sys)
{
    (void)stocks_return(sys);
    if (atomic_load_explicit(&sys->taken_pages, memory_order_relaxed) > sys->budget.wake_at)
        pageout_wakeup(sys);
}

/* Take a page from the part's stock.  None where the budget is smaller than when it was filled. */
static bool
stock_take(struct vm_system *sys)
{
    _Atomic uint64_t *stock = &sys->budget.stock[vm_part()].pages;
    uint64_t pages = atomic_load_explicit(stock, memory_order_relaxed);

    if (atomic_load_explicit(&sys->taken_pages, memory_order_relaxed) > sys->ram_budget)
        return false;
    while (pages != 0) {
        if (atomic_compare_exchange_weak_explicit(stock, &pages, pages - 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

/* Put freed pages into the part's stock, if it may have as many. */
static bool
stock_give(struct vm_system *sys, uint64_t npages)
{
    _Atomic uint64_t *stock = &sys->budget.stock[vm_part()].pages;
    uint64_t pages = atomic_load_explicit(stock, memory_order_relaxed);

    if (atomic_load_explicit(&sys->taken_pages, memory_order_relaxed) >= sys->budget.stock_below)
        return false;
    do {
        if (pages + npages > VM_STOCK_MAX)
            return false;
    } while (!atomic_compare_exchange_weak(stock, &pages, pages + npages));
    return true;
}

/* Take a page, and others for the stock while there are many. */
static bool
pages_take(struct vm_system *sys)
{
    uint64_t taken = atomic_load_explicit(&sys->taken_pages, memory_order_relaxed);
    uint64_t npages;

    do {
        if (taken >= sys->ram_budget)
            return false;
        npages = taken < sys->budget.stock_below ? vm_min(VM_STOCK, sys->ram_budget - taken) : 1;
    } while (!atomic_compare_exchange_weak_explicit(&sys->taken_pages, &taken, taken + npages,
                                                    memory_order_relaxed, memory_order_relaxed));
    if (npages > 1)
        atomic_fetch_add(&sys->budget.stock[vm_part()].pages, npages - 1);
    if (taken >= sys->budget.wake_at)
        memory_short(sys);
    return true;
}

bool
vm_budget_take(struct vm_system *sys)
{
    if (stock_take(sys) || pages_take(sys))
        return true;
    return stocks_return(sys) != 0 && pages_take(sys);
}

uint64_t
vm_budget_resident(const struct vm_system *sys)
{
    uint64_t taken = atomic_load(&sys->taken_pages);
    uint64_t pages = 0;

    for (unsigned i = 0; i < VM_PARTS; i++)
        pages += atomic_load(&sys->budget.stock[i].pages);
    return taken - vm_min(taken, pages);
}

/* O may be held; whoever waits holds nothing. */
static void
memory_freed(struct vm_system *sys)
{
    vm_mutex_lock(&sys->budget.lock);
    vm_cond_broadcast(&sys->budget.freed);
    vm_mutex_unlock(&sys->budget.lock);
}

/* Sequentially consistent: who is about to wait counts himself, then looks at the budget. */
void
vm_budget_give(struct vm_system *sys, uint64_t pages)
{
    if (!stock_give(sys, pages))
        atomic_fetch_sub(&sys->taken_pages, pages);
    if (atomic_load_explicit(&sys->budget.futile, memory_order_relaxed))
        atomic_store_explicit(&sys->budget.futile, false, memory_order_relaxed);
    if (atomic_load(&sys->budget.waiters) != 0)
        memory_freed(sys);
}

/* --- Waiting ------------------------------------------------------------- */

bool
vm_budget_claim(struct vm_system *sys, const void *who)
{
    bool claimed;

    vm_mutex_lock(&sys->budget.lock);
    claimed = sys->budget.first == NULL;
    if (claimed)
        sys->budget.first = who;
    vm_mutex_unlock(&sys->budget.lock);
    return claimed;
}

void
vm_budget_release(struct vm_system *sys, const void *who)
{
    vm_mutex_lock(&sys->budget.lock);
    assert(sys->budget.first == who);
    (void)who;
    sys->budget.first = NULL;
    vm_cond_broadcast(&sys->budget.freed);
    vm_mutex_unlock(&sys->budget.lock);
}

void
vm_budget_wait_turn(struct vm_system *sys, const _Atomic bool *stop)
{
    struct vm_budget *budget = &sys->budget;

    vm_mutex_lock(&budget->lock);
    atomic_fetch_add(&budget->waiters, 1);
    (void)stocks_return(sys);
    while (budget->first != NULL && vm_page_count_severe(sys) && !vm_stopped(stop))
        vm_cond_wait_until(&budget->freed, &budget->lock, stop);
    atomic_fetch_sub(&budget->waiters, 1);
    vm_mutex_unlock(&budget->lock);
}

void
vm_budget_wait_moment(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;

    vm_mutex_lock(&budget->lock);
    atomic_fetch_add(&budget->waiters, 1);
    (void)stocks_return(sys);
    if (vm_page_free_count(sys) == 0)
        vm_cond_wait_for(&budget->freed, &budget->lock, WAIT_MICROSECONDS);
    atomic_fetch_sub(&budget->waiters, 1);
    vm_mutex_unlock(&budget->lock);
}

/* --- Slowing down -------------------------------------------------------- */

/* How short memory is, in thousandths: 0 at the target, 1000 with nothing left. */
static unsigned
budget_load(const struct vm_system *sys)
{
    uint64_t target = sys->budget.free_target;

    return target == 0 ? 0 : (unsigned)(vm_budget_shortage(sys) * 1000 / target);
}

unsigned
vm_fault_ratelimit(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;
    uint64_t supply;
    unsigned load;

    if (!sys->tunables.load_enable)
        return 0;
    supply = atomic_load_explicit(&budget->supply, memory_order_relaxed);
    while (supply > 0) {
        if (atomic_compare_exchange_weak(&budget->supply, &supply, supply - 1))
            return 0;
    }
    load = budget_load(sys);
    atomic_store_explicit(&budget->supply, (1000 - load) / 10, memory_order_relaxed);
    return load * 100;
}

/* --- Beginning and end --------------------------------------------------- */

/* The marks, in pages, as parts of the budget; without one memory is never short. */
static void
budget_marks(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;
    uint64_t pages = sys->ram_budget;

    budget->wake_at = UINT64_MAX;
    budget->stock_below = UINT64_MAX;
    if (pages == UINT64_MAX)
        return;
    budget->free_min = vm_min(pages / 8, vm_max(512, pages / 256));
    budget->free_target = budget->free_min + budget->free_min / 2;
    budget->free_severe = vm_max(budget->free_min / 8, 1);
    budget->inactive_target = pages / 4;
    budget->wake_at = pages - budget->free_min;
    budget->stock_below = budget->wake_at - vm_min(budget->wake_at, VM_PARTS * VM_STOCK_MAX);
}

void
vm_budget_init(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;

    budget_marks(sys);
    vm_mutex_init(&budget->lock);
    vm_cond_init(&budget->needed);
    vm_cond_init(&budget->freed);
}

void
vm_budget_fini(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;

    assert(budget->first == NULL && atomic_load(&budget->waiters) == 0);
    vm_cond_fini(&budget->freed);
    vm_cond_fini(&budget->needed);
    vm_mutex_fini(&budget->lock);
}
