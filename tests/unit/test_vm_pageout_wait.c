/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small budgets: who waits for memory and who is slowed down, the page-out thread, and that no byte
 * is lost on the way.
 */
#include "tests/unit/sanitized.h"
#include "tests/unit/swap_rig.h"
#include "vmm/vpagetable/vm_errand.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* --- Small budgets ------------------------------------------------------- */

Test(vm_pageout, a_guest_64_times_the_budget_keeps_its_data)
{
    struct rig rig;

    swap_rig(&rig, 64, RIG_PAGES);
    fill(&rig, 0, RIG_PAGES);
    check(&rig, 0, RIG_PAGES);
    for (unsigned p = RIG_PAGES; p-- != 0;)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 3 + 1));
    cr_assert(le(u64, resident(&rig), 64));
    swap_fini(&rig);
}

Test(vm_pageout, prefault_and_read_ahead_work_below_the_budget_too)
{
    struct rig rig;

    rig_init(&rig, 256);
    swap_init(&rig, RIG_PAGES);
    fill(&rig, 0, RIG_PAGES);
    check(&rig, 0, RIG_PAGES);
    cr_assert(lt(u64, rig_meter(&rig, v_majflt), rig_meter(&rig, v_pagein)));
    swap_fini(&rig);
}

Test(vm_pageout, the_smallest_budget_serves_a_walk_of_four_levels)
{
    struct rig rig;

    swap_rig(&rig, VM_RAM_BUDGET_MIN, RIG_PAGES);
    for (unsigned i = 0; i < 200; i++)
        rig_store(&rig, PAGE(100 + 3 * i), i);
    rig_window(&rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format,
               rig_tables(&rig, 200, 100, 3, RIG_PASS));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 200; i++) {
            cr_assert(eq(u64, rig_load(&rig, W(i)), i + round));
            rig_store(&rig, W(i), i + round + 1);
        }
        for (unsigned i = 0; i < 200; i++)
            cr_assert(eq(u64, rig_load(&rig, PAGE(100 + 3 * i)), i + round + 1));
    }
    cr_assert(le(u64, resident(&rig), VM_RAM_BUDGET_MIN));
    swap_fini(&rig);
}

Test(vm_pageout, when_nothing_can_leave_the_fault_fails_and_works_again_afterwards)
{
    struct rig rig;

    swap_rig(&rig, 16, 20);
    for (unsigned p = 0; p < 36; p++)
        rig_store(&rig, PAGE(p), p * 3 + 1);
    expect_no_memory(&rig, 36);
    cr_assert(eq(uint, messages, 1));
    expect_no_memory(&rig, 37);
    cr_assert(rig.sys.budget.first == NULL);
    cr_assert(eq(u64, rig_meter(&rig, v_kind_host), 2));
    vm_mutex_lock(&rig.ram->lock);
    vm_pager_freespace(rig.ram, 0, 4); /* as if the guest had given them up */
    vm_mutex_unlock(&rig.ram->lock);
    rig_store(&rig, PAGE(36), 1);
    swap_fini(&rig);
}

Test(vm_pageout, wired_pages_are_no_reason_to_wait)
{
    struct rig rig;

    swap_rig(&rig, 16, 100);
    fill(&rig, 0, 16);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 40; p++) {
        if (vm_page_lookup(rig.ram, p) != NULL)
            vm_page_wire(vm_page_lookup(rig.ram, p));
    }
    vm_mutex_unlock(&rig.ram->lock);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 100; p < 140; p++) {
        if (vm_page_lookup(rig.ram, p) != NULL)
            vm_page_wire(vm_page_lookup(rig.ram, p));
    }
    vm_mutex_unlock(&rig.ram->lock);
    expect_no_memory(&rig, 50);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 140; p++) {
        if (vm_page_lookup(rig.ram, p) != NULL)
            vm_page_unwire(vm_page_lookup(rig.ram, p), false);
    }
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(zero(u64, atomic_load(&rig.sys.wired_pages)));
    rig_store(&rig, PAGE(50), 1);
    swap_fini(&rig);
}

/* Pages [0, 16) of RAM, busy and on no queue: somebody is making them. */
static void
take_all(struct rig *rig)
{
    vm_mutex_lock(&rig->ram->lock);
    for (unsigned p = 0; p < 16; p++)
        cr_assert(vm_page_alloc(rig->ram, p) != NULL);
    vm_mutex_unlock(&rig->ram->lock);
}

Test(vm_pageout, pages_that_are_being_made_are_waited_for)
{
    struct rig_fault fault;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    take_all(&rig);
    rig_fault_start(&fault, &rig, PAGE(1000), VM_PROT_WRITE);
    rig_until(rig_meter(&rig, v_pfwait) != 0);
    usleep(20000);
    cr_assert(not(atomic_load(&fault.done)));
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 16; p++)
        vm_page_free(vm_page_lookup(rig.ram, p));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    swap_fini(&rig);
}

Test(vm_pageout, a_waiter_does_not_wait_for_the_pages_it_holds_itself)
{
    struct vm_page *m;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    for (unsigned p = 0; p < 16; p++) {
        cr_assert(eq(int,
                     vm_fault_page(&rig.map, gpa_from_u64(PAGE(p)), VM_PROT_WRITE, VM_FAULT_NORMAL,
                                   &m, &rig_info),
                     VM_OK));
    }
    cr_assert(eq(int, vm_waitpfault(&rig.sys, 16, NULL), -ENOMEM));
    cr_assert(lt(u64, rig_system_meter(&rig, v_pdpages), 16 * 40)); /* it did not try for long */
    for (unsigned p = 0; p < 16; p++)
        vm_page_unhold(rig_page(rig.ram, p));
    cr_assert(zero(int, vm_waitpfault(&rig.sys, 0, NULL)));
    swap_fini(&rig);
}

Test(vm_pageout, a_page_somebody_holds_is_waited_for)
{
    struct vm_page *held[16];
    struct rig_fault fault;
    unsigned n = 0;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    fill(&rig, 0, 8);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    for (vm_pindex_t p = vm_object_next_resident(rig.ram, 0); p < RIG_PAGES;
         p = vm_object_next_resident(rig.ram, p + 1)) {
        held[n] = vm_page_lookup(rig.ram, p);
        vm_page_hold(held[n++]);
    }
    vm_mutex_unlock(&rig.ram->lock);
    rig_fault_start(&fault, &rig, PAGE(1000), VM_PROT_WRITE);
    rig_until(rig_meter(&rig, v_pfwait) != 0);
    cr_assert(not(atomic_load(&fault.done)));
    while (n != 0)
        vm_page_unhold(held[--n]);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    swap_fini(&rig);
}

Test(vm_pageout, only_the_first_waiter_keeps_what_it_holds)
{
    struct vm_errand first, second;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    vm_errand_init(&first, &rig.sys, &rig.map.meter, NULL);
    vm_errand_init(&second, &rig.sys, &rig.map.meter, NULL);
    fill(&rig, 0, 16);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    vm_errand_keep(&first, rig.ram, vm_page_lookup(rig.ram, vm_object_next_resident(rig.ram, 0)));
    vm_errand_keep(&second, rig.ram, vm_page_lookup(rig.ram, vm_object_next_resident(rig.ram, 0)));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(int, vm_errand_admit(&first), VM_RETRY));
    vm_errand_run(&first);
    cr_assert(first.first && first.npages == 1 && !first.exhausted);
    cr_assert(eq(int, vm_errand_admit(&first), VM_OK));
    cr_assert(eq(int, vm_errand_leave_memory(&second), VM_RETRY));
    vm_errand_run(&second);
    cr_assert(not(second.first));
    cr_assert(zero(uint, second.npages));
    vm_errand_fini(&second);
    vm_errand_fini(&first);
    cr_assert(rig.sys.budget.first == NULL);
    swap_fini(&rig);
}

static void *
wait_turn(void *sys)
{
    vm_budget_wait_turn(sys, NULL);
    return NULL;
}

Test(vm_pageout, who_waits_for_his_turn_goes_on_as_soon_as_memory_is_freed)
{
    struct vm_page *m;
    pthread_t thread;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    fill(&rig, 0, 8);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    cr_assert(vm_budget_claim(&rig.sys, &rig)); /* and does not let go of it */
    cr_assert(zero(int, pthread_create(&thread, NULL, wait_turn, &rig.sys)));
    rig_until(atomic_load(&rig.sys.budget.waiters) != 0);
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(8)))));
    vm_mutex_lock(&rig.ram->lock);
    m = vm_page_lookup(rig.ram, 0);
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&rig.ram->lock);
    pthread_join(thread, NULL);
    vm_budget_release(&rig.sys, &rig);
    swap_fini(&rig);
}

/* --- Copies for real ----------------------------------------------------- */

#define WIRED UINT64_C(0x10000000)
#define COPY UINT64_C(0x20000000)
#define WIRED_PAGES 8u

/* A wired entry whose page p has the value 100 + p; a copy of it needs as much memory again. */
static void
map_wired(struct rig *rig)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(WIRED),
        .end = gpa_from_u64(WIRED + PAGE(WIRED_PAGES)),
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    cr_assert(zero(int, vm_object_create_default(&rig->sys, WIRED_PAGES, &args.object)));
    cr_assert(zero(int, vm_map_insert(&rig->map, &args)));
    for (unsigned p = 0; p < WIRED_PAGES; p++)
        rig_store(rig, WIRED + PAGE(p), 100 + p);
    cr_assert(zero(int, vm_map_wire(&rig->map, args.start, args.end, true)));
}

static int
copy_wired(struct rig *rig)
{
    return vm_map_copy(&rig->map, gpa_from_u64(WIRED), gpa_from_u64(COPY), PAGE(WIRED_PAGES));
}

static void
check_copy(struct rig *rig)
{
    for (unsigned p = 0; p < WIRED_PAGES; p++) {
        cr_assert(eq(u64, rig_load(rig, COPY + PAGE(p)), 100 + p));
        rig_store(rig, COPY + PAGE(p), 200 + p);
        cr_assert(eq(u64, rig_load(rig, WIRED + PAGE(p)), 100 + p));
    }
    cr_assert(ge(u64, atomic_load(&rig->sys.wired_pages), WIRED_PAGES));
}

Test(vm_pageout, a_real_copy_of_a_wired_entry_makes_room_for_itself)
{
    struct rig rig;

    swap_rig(&rig, 32, RIG_PAGES);
    map_wired(&rig);
    fill(&rig, 0, 200);
    cr_assert(ge(u64, resident(&rig) + WIRED_PAGES, 32), "there is no room");
    cr_assert(zero(int, copy_wired(&rig)));
    check_copy(&rig);
    check(&rig, 0, 200);
    cr_assert(le(u64, resident(&rig), 32));
    swap_fini(&rig);
}

static void *
copier_main(void *rig)
{
    return copy_wired(rig) == 0 ? rig : NULL;
}

/* Make busy pages of RAM from `first` on until the budget is used up. */
static unsigned
take_rest(struct rig *rig, unsigned budget)
{
    unsigned n = 0;

    vm_mutex_lock(&rig->ram->lock);
    while (resident(rig) != budget)
        cr_assert(vm_page_alloc(rig->ram, n++) != NULL);
    vm_mutex_unlock(&rig->ram->lock);
    return n;
}

Test(vm_pageout, a_real_copy_of_a_wired_entry_waits_for_memory)
{
    pthread_t thread;
    struct rig rig;
    void *copied;
    unsigned n;

    swap_rig(&rig, 32, 100);
    map_wired(&rig);
    n = take_rest(&rig, 32);
    cr_assert(zero(int, pthread_create(&thread, NULL, copier_main, &rig)));
    rig_until(rig_meter(&rig, v_pfwait) != 0);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < n; p++)
        vm_page_free(vm_page_lookup(rig.ram, p));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(zero(int, pthread_join(thread, &copied)));
    cr_assert(copied == &rig);
    check_copy(&rig);
    swap_fini(&rig);
}

Test(vm_pageout, a_real_copy_for_which_nothing_can_leave_fails_and_leaves_nothing)
{
    struct rig rig;

    swap_rig(&rig, 2 * WIRED_PAGES, 2); /* what was copied so far cannot leave either */
    map_wired(&rig);
    cr_assert(zero(int, vm_map_wire(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(5)), true)));
    cr_assert(eq(int, copy_wired(&rig), -ENOMEM));
    cr_assert(eq(int, rig_touch(&rig, COPY, VM_PROT_READ), VM_INVALID_ADDRESS));
    rig.sys.ram_budget = 3 * WIRED_PAGES;
    cr_assert(zero(int, copy_wired(&rig)));
    check_copy(&rig);
    swap_fini(&rig);
}

/* --- Slowing down -------------------------------------------------------- */

Test(vm_pageout, vm_fault_ratelimit_is_off_unless_asked_for)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 60);
    for (unsigned i = 0; i < 200; i++) /* more than any supply */
        cr_assert(zero(uint, vm_fault_ratelimit(&rig.sys)));
    rig_fini(&rig);
}

Test(vm_pageout, vm_fault_ratelimit_grows_with_the_load_and_gives_fewer_pages)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 58); /* half of the target of 12 is missing */
    rig.sys.tunables.load_enable = true;
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 50000));
    for (unsigned i = 0; i < 50; i++)
        cr_assert(zero(uint, vm_fault_ratelimit(&rig.sys)));
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 50000));
    rig.sys.tunables.load_enable = false;
    fill(&rig, 58, 64);
    rig.sys.tunables.load_enable = true;
    atomic_store(&rig.sys.budget.supply, 0);
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 100000));
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 100000));
    rig_fini(&rig);
}

Test(vm_pageout, a_fault_is_slowed_down_once_at_most)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 54);
    rig.sys.tunables.load_enable = true;
    cr_assert(eq(int, rig_touch(&rig, PAGE(100), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_pflimit), 1));
    cr_assert(eq(int, rig_touch(&rig, PAGE(100), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_pflimit), 1));
    cr_assert(zero(u64, rig_meter(&rig, v_pfwait)));
    rig_fini(&rig);
}

/* --- The thread, and all at once ----------------------------------------- */

static void *
pageout_main(void *arg)
{
    vm_pageout_run(arg);
    return NULL;
}

Test(vm_pageout, the_thread_frees_up_to_the_target_and_ends_when_it_is_stopped)
{
    pthread_t thread;
    struct rig rig;

    swap_rig(&rig, 64, 1000);
    cr_assert(zero(int, pthread_create(&thread, NULL, pageout_main, &rig.sys)));
    fill(&rig, 0, 57);
    rig_until(!vm_page_count_target(&rig.sys));
    vm_pageout_stop(&rig.sys);
    pthread_join(thread, NULL);
    cr_assert(not(vm_pageout_wait(&rig.sys)));
    check(&rig, 0, 57);
    swap_fini(&rig);
}

Test(vm_pageout, a_scan_in_vain_is_not_asked_for_again_until_something_was_freed)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 57);
    cr_assert(vm_pageout_wait(&rig.sys));
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, vm_budget_shortage(&rig.sys))));
    fill(&rig, 57, 60);
    cr_assert(eq(u64, rig_system_meter(&rig, v_pdwakeups), 1));
    rig_busy(rig_page(rig.ram, 9));
    pmap_page_protect(rig_page(rig.ram, 9), VM_PROT_NONE);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_free(vm_page_lookup(rig.ram, 9));
    vm_mutex_unlock(&rig.ram->lock);
    fill(&rig, 60, 61);
    cr_assert(eq(u64, rig_system_meter(&rig, v_pdwakeups), 2));
    rig_fini(&rig);
}

#define HAMMER_PAGES 400
#define HAMMER_THREADS 3

struct hammer {
    struct rig *rig;
    unsigned id;
    bool window;
    pthread_t thread;
};

/* Each thread has its own pages; a page's value is how often it was written. */
static void *
hammer_main(void *arg)
{
    struct hammer *h = arg;
    static _Thread_local uint64_t written[HAMMER_PAGES];
    unsigned seed = h->id;

    for (unsigned i = 0; i < (SANITIZED ? 1500 : 15000); i++) {
        unsigned p = (unsigned)rand_r(&seed) % HAMMER_PAGES;
        unsigned ram = 100 + p * HAMMER_THREADS + h->id;
        uint64_t gpa = h->window && rand_r(&seed) % 2 ? W(p * HAMMER_THREADS + h->id) : PAGE(ram);

        if (rand_r(&seed) % 3 == 0)
            rig_store(h->rig, gpa, ++written[p]);
        else if (rig_load(h->rig, gpa) != written[p])
            abort();
    }
    return NULL;
}

static void
hammer(uint64_t budget, uint64_t swap, bool window, bool thread)
{
    struct hammer threads[HAMMER_THREADS];
    pthread_t pageout;
    struct rig rig;

    rig_init(&rig, budget);
    swap_init(&rig, swap);
    if (window) {
        vpte_t root = rig_tables(&rig, 0, 0, 0, 0);

        for (unsigned i = 0; i < HAMMER_PAGES * HAMMER_THREADS; i++) {
            rig_vpte_set(&rig, 3, i / 512, rig_pte(4 + i / 512, RIG_PASS));
            rig_vpte_set(&rig, 4 + i / 512, i % 512, rig_pte(100 + i, RIG_PASS));
        }
        rig_window(&rig, RIG_WINDOW, HAMMER_PAGES * HAMMER_THREADS, VM_PROT_ALL, &vpte64_format,
                   root);
    }
    if (thread)
        cr_assert(zero(int, pthread_create(&pageout, NULL, pageout_main, &rig.sys)));
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        threads[i] = (struct hammer){ .rig = &rig, .id = i, .window = window };
        cr_assert(zero(int, pthread_create(&threads[i].thread, NULL, hammer_main, &threads[i])));
    }
    for (unsigned i = 0; i < HAMMER_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    vm_pageout_stop(&rig.sys);
    if (thread)
        pthread_join(pageout, NULL);
    cr_assert(le(u64, resident(&rig), budget));
    cr_assert(zero(uint, messages));
    cr_assert(rig_system_meter(&rig, v_pageout) != 0);
    swap_fini(&rig);
}

Test(vm_pageout, threads_and_page_out_under_a_small_budget_lose_no_byte)
{
    hammer(128, 2000, false, true);
}

Test(vm_pageout, threads_and_page_out_through_virtual_page_tables_lose_no_byte)
{
    hammer(128, 2000, true, true);
}

Test(vm_pageout, threads_under_the_smallest_budget_and_without_a_page_out_thread_get_on)
{
    hammer(VM_RAM_BUDGET_MIN, 2000, true, false);
}
