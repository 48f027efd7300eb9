/* SPDX-License-Identifier: BSD-2-Clause */
/* The stocks of the RAM budget: they make counting cheap, and change nothing of what it allows. */
#include "vmm/vpagetable/vm_budget.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define BUDGET 20000u
#define THREADS (2 * VM_PARTS)

static struct vm_system sys;
static _Atomic uint64_t got;
static _Atomic bool beyond;

static void
setup(uint64_t budget)
{
    const struct vm_system_config config = { .store_pages = 1024, .ram_budget = budget };

    cr_assert(vm_system_init(&sys, &config) == 0);
}

static void
take(uint64_t npages)
{
    for (uint64_t i = 0; i < npages; i++)
        cr_assert(vm_budget_take(&sys));
}

static uint64_t
taken(void)
{
    return atomic_load(&sys.taken_pages);
}

static void
finish(void)
{
    vm_budget_give(&sys, vm_budget_resident(&sys));
    cr_expect(vm_budget_resident(&sys) == 0);
    vm_system_fini(&sys);
}

Test(vm_budget, while_there_is_plenty_the_shared_count_changes_once_for_many_pages)
{
    setup(0);
    take(1);
    cr_expect(taken() == VM_STOCK && vm_budget_resident(&sys) == 1);
    take(VM_STOCK - 1);
    cr_expect(taken() == VM_STOCK && vm_budget_resident(&sys) == VM_STOCK);
    vm_budget_give(&sys, 5);
    take(5);
    cr_expect(taken() == VM_STOCK, "what was freed was in stock");
    finish();
}

Test(vm_budget, a_stock_does_not_grow_without_end)
{
    setup(0);
    take(1000);
    for (unsigned i = 0; i < 1000; i++)
        vm_budget_give(&sys, 1);
    cr_expect(vm_budget_resident(&sys) == 0);
    cr_expect(taken() <= VM_STOCK_MAX);
    finish();
}

Test(vm_budget, near_the_budget_there_are_no_stocks)
{
    setup(BUDGET);
    take(sys.budget.wake_at + 1);
    cr_expect(taken() == vm_budget_resident(&sys));
    vm_budget_give(&sys, 3);
    cr_expect(taken() == vm_budget_resident(&sys));
    finish();
}

Test(vm_budget, page_out_is_woken_by_pages_and_not_by_what_is_in_stock)
{
    setup(BUDGET);
    take(sys.budget.stock_below - 1);
    vm_budget_give(&sys, 1);
    atomic_fetch_add(&sys.budget.stock[0].pages, VM_STOCK_MAX); /* of a thread that does no more */
    atomic_fetch_add(&sys.taken_pages, VM_STOCK_MAX);
    take(sys.budget.wake_at - vm_budget_resident(&sys));
    cr_expect(!atomic_load(&sys.budget.wanted), "as many as the mark");
    take(1);
    cr_expect(atomic_load(&sys.budget.wanted));
    finish();
}

/* Take while there is any, giving some back in between. */
static void *
take_all(void *context)
{
    uint64_t mine = 0;

    for (unsigned i = 0; vm_budget_take(&sys); i++) {
        mine++;
        if (i % 7 == 0) {
            vm_budget_give(&sys, 1);
            mine--;
        }
        if (taken() > BUDGET || vm_budget_resident(&sys) > BUDGET)
            atomic_store(&beyond, true);
    }
    atomic_fetch_add(&got, mine);
    return context;
}

Test(vm_budget, threads_together_get_every_page_of_the_budget_and_none_more)
{
    pthread_t threads[THREADS];

    setup(BUDGET);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, take_all, NULL) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    while (vm_budget_take(&sys)) /* given back by the last one to look */
        atomic_fetch_add(&got, 1);
    cr_expect(atomic_load(&got) == BUDGET && vm_budget_resident(&sys) == BUDGET);
    cr_expect(!atomic_load(&beyond));
    finish();
}

Test(vm_budget, who_waits_for_memory_sees_what_is_in_stock)
{
    setup(BUDGET);
    take(sys.budget.stock_below - 1);
    atomic_fetch_add(&sys.budget.stock[1].pages, BUDGET - taken());
    atomic_store(&sys.taken_pages, BUDGET);
    cr_expect(vm_page_count_severe(&sys));
    cr_assert(vm_budget_claim(&sys, &sys));
    vm_budget_wait_turn(&sys, NULL); /* does not return while memory is severely short */
    vm_budget_release(&sys, &sys);
    cr_expect(!vm_page_count_severe(&sys));
    finish();
}
