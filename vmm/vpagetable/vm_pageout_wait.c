/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who waits for memory, and for how long; the page-out thread; the marks.  The contracts
 * are in vm_pageout.h, the scan is in vm_pageout.c.
 *
 * Locks: F, which is innermost.  Who frees memory looks for waiters after he gave it
 * back, and a waiter counts himself before he looks at what there is: one of the two
 * sees the other.
 */
#include "vmm/vpagetable/vm_pageout.h"

#include <errno.h>

/* How long a waiter sleeps when only busy or held pages are in its way, and how often. */
#define WAIT_MICROSECONDS 1000
#define WAIT_TIMES 10000

/* The most pages that a waiter frees before it goes on. */
#define WAIT_SCAN_MAX 128

/* --- The thread ---------------------------------------------------------- */

uint64_t
vm_pageout_shortage(const struct vm_system *sys)
{
    uint64_t count = vm_page_free_count(sys);

    return count < sys->pageout.free_target ? sys->pageout.free_target - count : 0;
}

void
vm_pageout_wakeup(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;

    if (atomic_load_explicit(&po->futile, memory_order_relaxed) ||
        atomic_load_explicit(&po->wanted, memory_order_relaxed) ||
        atomic_exchange(&po->wanted, true))
        return;
    vm_meter_add(&sys->meter, v_pdwakeups, 1);
    vm_mutex_lock(&po->lock);
    vm_cond_broadcast(&po->needed);
    vm_mutex_unlock(&po->lock);
}

bool
vm_pageout_wait(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;

    vm_mutex_lock(&po->lock);
    while (!vm_stopped(&po->stop) && !atomic_load(&po->wanted))
        vm_cond_wait(&po->needed, &po->lock);
    atomic_store(&po->wanted, false);
    vm_mutex_unlock(&po->lock);
    return !vm_stopped(&po->stop);
}

void
vm_pageout_stop(struct vm_system *sys)
{
    vm_mutex_lock(&sys->pageout.lock);
    atomic_store(&sys->pageout.stop, true);
    vm_cond_broadcast(&sys->pageout.needed);
    vm_mutex_unlock(&sys->pageout.lock);
}

void
vm_pageout_run(struct vm_system *sys)
{
    struct vm_pageout_outcome outcome;

    while (vm_pageout_wait(sys))
        vm_pageout_try(sys, vm_pageout_shortage(sys), &sys->pageout.stop, &outcome);
}

/* --- Waiting for memory -------------------------------------------------- */

/* O may be held; whoever waits holds nothing. */
void
vm_pageout_freed(struct vm_system *sys)
{
    vm_mutex_lock(&sys->pageout.lock);
    vm_cond_broadcast(&sys->pageout.freed);
    vm_mutex_unlock(&sys->pageout.lock);
}

bool
vm_pageout_claim(struct vm_system *sys, const void *who)
{
    bool claimed;

    vm_mutex_lock(&sys->pageout.lock);
    claimed = sys->pageout.first == NULL;
    if (claimed)
        sys->pageout.first = who;
    vm_mutex_unlock(&sys->pageout.lock);
    return claimed;
}

void
vm_pageout_release(struct vm_system *sys, const void *who)
{
    vm_mutex_lock(&sys->pageout.lock);
    assert(sys->pageout.first == who);
    (void)who;
    sys->pageout.first = NULL;
    vm_cond_broadcast(&sys->pageout.freed);
    vm_mutex_unlock(&sys->pageout.lock);
}

void
vm_pageout_wait_turn(struct vm_system *sys, const _Atomic bool *stop)
{
    struct vm_pageout *po = &sys->pageout;

    vm_mutex_lock(&po->lock);
    atomic_fetch_add(&po->waiters, 1);
    while (po->first != NULL && vm_page_count_severe(sys) && !vm_stopped(stop))
        vm_cond_wait_until(&po->freed, &po->lock, stop);
    atomic_fetch_sub(&po->waiters, 1);
    vm_mutex_unlock(&po->lock);
}

/* Sleep for a moment, or until something is freed. */
static void
wait_moment(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;

    vm_mutex_lock(&po->lock);
    atomic_fetch_add(&po->waiters, 1);
    if (vm_page_free_count(sys) == 0)
        vm_cond_wait_for(&po->freed, &po->lock, WAIT_MICROSECONDS);
    atomic_fetch_sub(&po->waiters, 1);
    vm_mutex_unlock(&po->lock);
}

/*
 * Is anything under way that will let go of a page?  Pages on no queue that are not
 * wired are: somebody makes them or frees them.
 */
static bool
wait_has_hope(struct vm_system *sys, const struct vm_pageout_outcome *outcome, unsigned held)
{
    uint64_t settled = atomic_load(&sys->wired_pages);
    uint64_t resident = atomic_load(&sys->resident_pages);

    vm_mutex_lock(&sys->queue_lock);
    for (unsigned i = PQ_NONE + 1; i < PQ_COUNT; i++)
        settled += sys->queue_length[i];
    vm_mutex_unlock(&sys->queue_lock);
    return outcome->busy != 0 || outcome->held > held || resident > settled;
}

int
vm_waitpfault(struct vm_system *sys, unsigned held, const _Atomic bool *stop)
{
    for (unsigned i = 0; i < WAIT_TIMES && !vm_stopped(stop); i++) {
        struct vm_pageout_outcome outcome;
        uint64_t target = vm_max(vm_pageout_shortage(sys), 1);

        vm_pageout_try(sys, vm_min(target, WAIT_SCAN_MAX), stop, &outcome);
        if (outcome.freed != 0 || vm_page_free_count(sys) != 0)
            return 0;
        if (!wait_has_hope(sys, &outcome, held))
            break;
        wait_moment(sys);
    }
    return vm_stopped(stop) ? -ECANCELED : -ENOMEM;
}

/* --- Slowing down -------------------------------------------------------- */

/* How short memory is, in thousandths: 0 at the target, 1000 with nothing left. */
static unsigned
pageout_load(const struct vm_system *sys)
{
    uint64_t target = sys->pageout.free_target;

    return target == 0 ? 0 : (unsigned)(vm_pageout_shortage(sys) * 1000 / target);
}

unsigned
vm_fault_ratelimit(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;
    uint64_t supply;
    unsigned load;

    if (!sys->tunables.load_enable)
        return 0;
    supply = atomic_load_explicit(&po->supply, memory_order_relaxed);
    while (supply > 0) {
        if (atomic_compare_exchange_weak(&po->supply, &supply, supply - 1))
            return 0;
    }
    load = pageout_load(sys);
    atomic_store_explicit(&po->supply, (1000 - load) / 10, memory_order_relaxed);
    return load * 100;
}

/* --- Beginning and end --------------------------------------------------- */

/* The marks, in pages, as parts of the budget; without one memory is never short. */
static void
pageout_marks(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;
    uint64_t budget = sys->ram_budget;

    po->wake_at = UINT64_MAX;
    if (budget == UINT64_MAX)
        return;
    po->free_min = vm_min(budget / 8, vm_max(512, budget / 256));
    po->free_target = po->free_min + po->free_min / 2;
    po->free_severe = vm_max(po->free_min / 8, 1);
    po->inactive_target = budget / 4;
    po->wake_at = budget - po->free_min;
}

const char *
vm_pageout_no_memory(const struct vm_system *sys)
{
    if (sys->swap == NULL)
        return "RAM budget used up and nothing can be paged out: raise --ram or give --swap";
    return "RAM budget used up and nothing can be paged out: raise --ram or give --swap more room";
}

void
vm_pageout_init(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;

    pageout_marks(sys);
    vm_mutex_init(&po->lock);
    vm_cond_init(&po->needed);
    vm_cond_init(&po->freed);
}

void
vm_pageout_fini(struct vm_system *sys)
{
    struct vm_pageout *po = &sys->pageout;

    assert(po->first == NULL && atomic_load(&po->waiters) == 0);
    vm_cond_fini(&po->freed);
    vm_cond_fini(&po->needed);
    vm_mutex_fini(&po->lock);
}
