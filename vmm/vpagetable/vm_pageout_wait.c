/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for memory by scanning, and the page-out thread.  The contracts are in vm_pageout.h, the
 * scan is in vm_pageout.c; the budget, and whose turn it is, in vm_budget.c.
 */
#include "vmm/vpagetable/vm_pageout.h"

#include <errno.h>

/* How often a waiter sleeps for a moment when only busy or held pages are in its way. */
#define WAIT_TIMES 10000

/* The most pages that a waiter frees before it goes on. */
#define WAIT_SCAN_MAX 128

/* --- The thread ---------------------------------------------------------- */

bool
vm_pageout_wait(struct vm_system *sys)
{
    struct vm_budget *budget = &sys->budget;

    vm_mutex_lock(&budget->lock);
    while (!vm_stopped(&budget->stop) && !atomic_load(&budget->wanted))
        vm_cond_wait(&budget->needed, &budget->lock);
    atomic_store(&budget->wanted, false);
    vm_mutex_unlock(&budget->lock);
    return !vm_stopped(&budget->stop);
}

void
vm_pageout_stop(struct vm_system *sys)
{
    vm_mutex_lock(&sys->budget.lock);
    atomic_store(&sys->budget.stop, true);
    vm_cond_broadcast(&sys->budget.needed);
    vm_mutex_unlock(&sys->budget.lock);
}

void
vm_pageout_run(struct vm_system *sys)
{
    struct vm_pageout_outcome outcome;

    while (vm_pageout_wait(sys))
        vm_pageout_try(sys, vm_budget_shortage(sys), &sys->budget.stop, &outcome);
}

/* --- Waiting for memory -------------------------------------------------- */

/*
 * Is anything under way that will let go of a page?  Pages on no queue that are not
 * wired are: somebody makes them or frees them.
 */
static bool
wait_has_hope(struct vm_system *sys, const struct vm_pageout_outcome *outcome, unsigned held)
{
    uint64_t settled = atomic_load(&sys->wired_pages);
    uint64_t resident = vm_budget_resident(sys);

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
        uint64_t target = vm_max(vm_budget_shortage(sys), 1);

        vm_pageout_try(sys, vm_min(target, WAIT_SCAN_MAX), stop, &outcome);
        if (outcome.freed != 0 || vm_page_free_count(sys) != 0)
            return 0;
        if (!wait_has_hope(sys, &outcome, held))
            break;
        vm_budget_wait_moment(sys);
    }
    return vm_stopped(stop) ? -ECANCELED : -ENOMEM;
}

const char *
vm_pageout_no_memory(const struct vm_system *sys)
{
    if (sys->swap == NULL)
        return "RAM budget used up and nothing can be paged out: raise --ram or give --swap";
    return "RAM budget used up and nothing can be paged out: raise --ram or give --swap more room";
}
