/* SPDX-License-Identifier: BSD-2-Clause */
/* Page-out: the marks, what leaves, what stays, and how references are sampled. */
#include "vmm/vpagetable/vm_pageout.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/swap_rig.h"
#include "vmm/vpagetable/vm_errand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

TestSuite(vm_pageout, .timeout = 120);

/* --- The marks ----------------------------------------------------------- */

Test(vm_pageout, without_a_budget_memory_is_never_short)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(not(vm_page_count_target(&rig.sys)));
    cr_assert(not(vm_page_count_severe(&rig.sys)));
    cr_assert(zero(u64, vm_budget_shortage(&rig.sys)));
    fill(&rig, 0, 100);
    cr_assert(zero(u64, rig_system_meter(&rig, v_pdwakeups)));
    rig_fini(&rig);
}

Test(vm_pageout, the_marks_are_ordered_for_every_budget)
{
    for (uint64_t budget = VM_RAM_BUDGET_MIN; budget < 1 << 26; budget += budget / 2) {
        struct vm_system_config config = { .store_pages = 64, .ram_budget = budget };
        struct vm_system sys;

        cr_assert(zero(int, vm_system_init(&sys, &config)));
        cr_assert(ge(u64, sys.budget.free_severe, 1));
        cr_assert(lt(u64, sys.budget.free_severe, sys.budget.free_min));
        cr_assert(lt(u64, sys.budget.free_min, sys.budget.free_target));
        cr_assert(le(u64, sys.budget.free_target + VM_ERRAND_PAGES, budget));
        vm_system_fini(&sys);
    }
}

Test(vm_pageout, each_mark_is_crossed_one_page_below_it)
{
    struct rig rig;

    rig_init(&rig, 64); /* severe 1, min 8, target 12 */
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 52);
    cr_assert(not(vm_page_count_target(&rig.sys)));
    fill(&rig, 52, 53);
    cr_assert(vm_page_count_target(&rig.sys));
    cr_assert(eq(u64, vm_budget_shortage(&rig.sys), 1));
    fill(&rig, 53, 56);
    cr_assert(not(vm_page_count_min(&rig.sys)));
    cr_assert(zero(u64, rig_system_meter(&rig, v_pdwakeups)));
    fill(&rig, 56, 57);
    cr_assert(vm_page_count_min(&rig.sys));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pdwakeups), 1));
    fill(&rig, 57, 63);
    cr_assert(not(vm_page_count_severe(&rig.sys)));
    fill(&rig, 63, 64);
    cr_assert(vm_page_count_severe(&rig.sys));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pdwakeups), 1));
    rig_fini(&rig);
}

/* --- What leaves --------------------------------------------------------- */

Test(vm_pageout, a_modified_page_goes_to_swap_and_comes_back)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_assert(eq(int, rig.ram->type, OBJT_SWAP));
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), 20));
    cr_assert(eq(u64, rig_system_meter(&rig, v_dfree), 20));
    check(&rig, 0, 20);
    cr_assert(rig_meter(&rig, v_kind_page_in) != 0);
    swap_fini(&rig);
}

Test(vm_pageout, freed_frames_leave_memory)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 100), 20));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(fake_frame_is_hole(&rig.sys, rig.ram->extent + p));
    swap_fini(&rig);
}

Test(vm_pageout, a_page_of_zeros_costs_no_swap)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    for (unsigned p = 0; p < 20; p++)
        cr_assert(zero(u64, rig_load(&rig, PAGE(p)))); /* mapped writable, so dirty */
    cr_assert(eq(uint, rig_page(rig.ram, 7)->dirty, 1));
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_expect(zero(u64, rig_system_meter(&rig, v_pageout)));
    cr_expect(eq(u64, rig_system_meter(&rig, v_dzero), 20));
    cr_expect(zero(u64, swap_device_used(rig.sys.swap)));
    cr_expect(eq(int, rig.ram->type, OBJT_DEFAULT));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(zero(u64, rig_load(&rig, PAGE(p))));
    swap_fini(&rig);
}

Test(vm_pageout, a_page_that_became_zeros_gives_its_slot_back)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 1));
    rig_store(&rig, PAGE(0), 0);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_expect(zero(u64, swap_device_used(rig.sys.swap)));
    cr_expect(zero(u64, rig_load(&rig, PAGE(0))));
    swap_fini(&rig);
}

Test(vm_pageout, zeros_in_front_of_something_else_are_written)
{
    struct vm_pageout_outcome outcome;
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 2); /* the second one keeps the object behind in its place */
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), gpa_from_u64(W(0)), PAGE(RIG_PAGES))));
    rig_store(&rig, PAGE(0), 0);
    cr_assert(rig_entry(&rig, 0)->object->backing_object == rig.ram);
    make_old(&rig, rig_entry(&rig, 0)->object, false);
    make_old(&rig, rig.ram, true);
    vm_pageout_try(&rig.sys, 1, NULL, &outcome);
    cr_expect(eq(u64, outcome.freed, 1));
    cr_expect(eq(u64, rig_system_meter(&rig, v_pageout), 1));
    cr_expect(zero(u64, rig_load(&rig, PAGE(0))));
    cr_expect(eq(u64, rig_load(&rig, W(0)), 1));
    swap_fini(&rig);
}

Test(vm_pageout, neighbours_are_written_together_and_what_is_not_needed_is_cached)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 40);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), VM_PAGEOUT_CLUSTER));
    cr_assert(eq(u64, rig.sys.queue_length[PQ_CACHE], VM_PAGEOUT_CLUSTER - 1));
    for (unsigned p = 1; p < VM_PAGEOUT_CLUSTER; p++) {
        cr_assert(zero(uint, rig_page(rig.ram, p)->dirty));
        cr_assert(eq(int, rig_page(rig.ram, p)->queue, PQ_CACHE));
    }
    /* The cache goes first, and needs no writing. */
    fill(&rig, 100, 110);
    make_old(&rig, rig.ram, true);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 1; p < VM_PAGEOUT_CLUSTER; p++)
        vm_page_cache(vm_page_lookup(rig.ram, p));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 31), 31));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), VM_PAGEOUT_CLUSTER));
    cr_assert(rig_page(rig.ram, 100) != NULL);
    check(&rig, 0, 40);
    swap_fini(&rig);
}

Test(vm_pageout, a_dirty_page_takes_its_old_neighbours_along_but_no_active_one)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 64);
    make_old(&rig, rig.ram, true);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_deactivate(vm_page_lookup(rig.ram, 40)); /* the head of the queue */
    for (unsigned p = 0; p < 64; p++) {
        if (p != 36 && p != 50)
            vm_page_deactivate(vm_page_lookup(rig.ram, p));
    }
    vm_page_hold(vm_page_lookup(rig.ram, 45));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(rig_page(rig.ram, 36)->dirty && rig_page(rig.ram, 50)->dirty);
    cr_assert(rig_page(rig.ram, 45)->dirty);
    for (unsigned p = 32; p < 64; p++) { /* written, one of them freed: on both sides of 40 */
        const struct vm_page *m = rig_page(rig.ram, p);
        bool written = m == NULL || !m->dirty;

        cr_assert(eq(int, written, p > 36 && p < 45));
    }
    vm_page_unhold(rig_page(rig.ram, 45));
    check(&rig, 0, 64);
    swap_fini(&rig);
}

Test(vm_pageout, a_clean_page_with_a_copy_in_swap_is_freed_without_writing)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    check(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), 20));
    check(&rig, 0, 20);
    swap_fini(&rig);
}

Test(vm_pageout, a_page_read_from_swap_and_written_to_gives_its_slot_back)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 22));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 20));
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    rig_store(&rig, PAGE(7), 700);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 19));
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 700));
    swap_fini(&rig);
}

/* A window of 8 pages on untouched RAM, read only so far. */
static void
zero_window(struct rig *rig)
{
    rig_window(rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format,
               rig_tables(rig, 8, 100, 1, RIG_PASS));
    for (unsigned i = 0; i < 8; i++)
        cr_assert(zero(u64, rig_load(rig, W(i))));
}

Test(vm_pageout, a_page_of_zeros_that_was_never_written_is_just_freed)
{
    struct rig rig;

    rig_init(&rig, 0);
    zero_window(&rig);
    cr_assert(not(rig_page(rig.ram, 100)->dirty));
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 100), 8)); /* there is no swap */
    cr_assert(rig_page(rig.ram, 100) == NULL);
    cr_assert(rig_page(rig.ram, 4) != NULL);
    for (unsigned i = 0; i < 8; i++)
        cr_assert(zero(u64, rig_load(&rig, W(i))));
    rig_fini(&rig);
}

Test(vm_pageout, with_a_backing_object_a_page_of_zeros_is_written)
{
    struct vm_object *backing;
    struct rig rig;
    struct vm_page *m;

    swap_rig(&rig, 0, 100);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 16, &backing)));
    zero_window(&rig);
    m = rig_page(rig.ram, 100);
    vm_mutex_lock(&rig.ram->lock);
    rig.ram->backing_object = backing;
    vm_mutex_unlock(&rig.ram->lock);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 100);
    cr_assert(m->object == NULL);
    vm_mutex_lock(&rig.ram->lock);
    cr_assert(rig.ram->pager->haspage(rig.ram, 100, NULL, NULL));
    rig.ram->backing_object = NULL;
    vm_mutex_unlock(&rig.ram->lock);
    vm_object_unref(backing);
    swap_fini(&rig);
}

Test(vm_pageout, a_clean_page_of_a_file_is_freed_and_read_again)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (unsigned p = 0; p < 50; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
    cr_assert(ge(u64, vm_pageout_scan(&rig.sys, 1000), 50));
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 7 * 512));
    rig_fini(&rig);
}

Test(vm_pageout, dirty_pages_of_a_shared_file_are_written_and_those_of_a_private_one_stay)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    fill(&rig, 0, 10);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 1000);
    check(&rig, 0, 10);
    cr_assert(zero(u64, rig_system_meter(&rig, v_pageout)));
    rig.ram->flags |= OBJ_WRITEBACK;
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 1000);
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), 10));
    rig_fini(&rig);
}

/* --- What stays ---------------------------------------------------------- */

Test(vm_pageout, without_swap_modified_pages_stay_and_stay_mapped)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 20);
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, 20)));
    cr_assert(eq(u64, resident(&rig), 20));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(eq(int, rig_mapped(&rig, PAGE(p)), VM_PROT_RW));
    rig_fini(&rig);
}

Test(vm_pageout, wired_held_and_busy_pages_are_passed_over_and_never_lost)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_wire(vm_page_lookup(rig.ram, 3));
    vm_page_hold(vm_page_lookup(rig.ram, 5));
    vm_page_busy(vm_page_lookup(rig.ram, 7));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1000), 17));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(rig.ram, 3)), 10));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(rig.ram, 5)), 16));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(rig.ram, 7)), 22));
    vm_page_unhold(rig_page(rig.ram, 5));
    rig_wakeup(rig_page(rig.ram, 7));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_unwire(vm_page_lookup(rig.ram, 3), false);
    vm_mutex_unlock(&rig.ram->lock);
    check(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1000), 20));
    swap_fini(&rig);
}

Test(vm_pageout, a_held_page_stays_mapped)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_flag_clear(vm_page_lookup(rig.ram, 0), VM_PAGE_REFERENCED);
    vm_page_deactivate(vm_page_lookup(rig.ram, 0));
    vm_page_hold(vm_page_lookup(rig.ram, 0));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, 1)));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_RW));
    vm_page_unhold(rig_page(rig.ram, 0));
    swap_fini(&rig);
}

Test(vm_pageout, a_write_error_keeps_the_page_and_is_reported_once_until_it_ends)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    write_error = EIO;
    for (unsigned i = 0; i < 3; i++) {
        make_old(&rig, rig.ram, false);
        cr_assert(zero(u64, vm_pageout_scan(&rig.sys, 20)));
        cr_assert(eq(uint, messages, 1));
    }
    cr_assert(strstr(message, "writing") != NULL);
    cr_assert(eq(int, message_error, -EIO));
    cr_assert(ge(u64, rig_system_meter(&rig, v_pageout_failed), 60));
    cr_assert(zero(u64, rig_system_meter(&rig, v_swap_full)));
    cr_assert(zero(u64, rig_system_meter(&rig, v_pageout)));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(rig_page(rig.ram, p)->dirty);
    write_error = 0;
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    check(&rig, 0, 20);
    for (unsigned p = 0; p < 20; p++)
        rig_store(&rig, PAGE(p) + 8, 1);
    write_error = ENOSPC;
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(uint, messages, 2));
    cr_assert(eq(int, message_error, -ENOSPC));
    check(&rig, 0, 20);
    write_error = 0;
    swap_fini(&rig);
}

Test(vm_pageout, a_page_that_could_not_be_written_is_out_of_the_way)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    write_error = EIO;
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 1);
    cr_assert(eq(u64, rig.sys.queue_length[PQ_INACTIVE] + rig.sys.queue_length[PQ_ACTIVE], 1));
    write_error = 0;
    swap_fini(&rig);
}

Test(vm_pageout, full_swap_is_reported_and_what_is_in_memory_stays_right)
{
    struct rig rig;

    swap_rig(&rig, 0, 12);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 12));
    cr_assert(eq(uint, messages, 1));
    cr_assert(strstr(message, "swap is full") != NULL);
    cr_assert(zero(int, message_error));
    cr_assert(rig_system_meter(&rig, v_swap_full) != 0);
    check(&rig, 0, 20);
    fill(&rig, 0, 6); /* their slots are free again */
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 12));
    check(&rig, 0, 20);
    swap_fini(&rig);
}

Test(vm_pageout, without_memory_to_become_a_swap_object_the_page_stays)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    make_old(&rig, rig.ram, false);
    alloc_failure_set(1);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 4), 4)); /* a later pass tried again */
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout_failed), 1));
    cr_assert(eq(uint, messages, 1));
    cr_assert(eq(int, message_error, -ENOMEM));
    check(&rig, 0, 4);
    swap_fini(&rig);
}

/* A rig whose RAM pages 0 to 3 are in swap, from where they cannot be read. */
static void
lost_rig(struct rig *rig)
{
    swap_rig(rig, 0, 100);
    fill(rig, 0, 4);
    make_old(rig, rig->ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig->sys, 4), 4));
    read_error = EIO;
}

static void
lost_fini(struct rig *rig)
{
    cr_assert(eq(u64, rig_meter(rig, v_pagein_failed), rig_meter(rig, v_swap_lost)));
    read_error = 0;
    check(rig, 0, 4);
    swap_fini(rig);
}

Test(vm_pageout, memory_that_swap_has_lost_is_a_failure_of_the_host_and_no_zeros)
{
    struct rig rig;

    lost_rig(&rig);
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_READ), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_info.error, -EIO));
    cr_assert(ne(ptr, strstr(rig_info.cause, "swap"), NULL));
    cr_assert(eq(u64, rig_meter(&rig, v_swap_lost), 1));
    rig_expect_failure(&rig, PAGE(3), VM_PROT_WRITE, VM_HOST_FAILURE);
    lost_fini(&rig);
}

Test(vm_pageout, memory_that_swap_has_lost_is_an_io_error_for_a_guest_that_handles_it)
{
    struct rig rig;

    lost_rig(&rig);
    atomic_store(&rig.map.handles_loss, true);
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_READ), VM_IO_ERROR));
    rig_expect_failure(&rig, PAGE(3), VM_PROT_WRITE, VM_IO_ERROR);
    cr_assert(eq(u64, rig_meter(&rig, v_swap_lost), 3));
    lost_fini(&rig);
}

/* The walk of a window reads its tables from RAM. */
Test(vm_pageout, a_table_page_that_swap_has_lost_is_a_failure_of_the_host_too)
{
    struct rig rig;
    vpte_t root;

    swap_rig(&rig, 0, 100);
    root = rig_tables(&rig, 4, 100, 1, RIG_PASS);
    rig_window(&rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format, root);
    make_old(&rig, rig.ram, false);
    cr_assert(gt(u64, vm_pageout_scan(&rig.sys, 4), 3));
    read_error = EIO;
    cr_assert(eq(int, rig_touch(&rig, W(1), VM_PROT_READ), VM_HOST_FAILURE));
    read_error = 0;
    cr_assert(eq(int, rig_touch(&rig, W(1), VM_PROT_READ), VM_OK));
    swap_fini(&rig);
}

/* --- References ---------------------------------------------------------- */

/*
 * One pass 0 over PQ_ACTIVE: it ends when a page was freed, and there is one.  Without
 * a budget nothing else would be looked at.
 */
static void
sample(struct rig *rig)
{
    rig->sys.budget.inactive_target = 1000;
    rig_store(rig, PAGE(2000), 1);
    pmap_remove(&rig->pmap, gpa_from_u64(PAGE(2000)), gpa_from_u64(PAGE(2001)));
    vm_mutex_lock(&rig->ram->lock);
    vm_page_flag_clear(vm_page_lookup(rig->ram, 2000), VM_PAGE_REFERENCED);
    vm_page_deactivate(vm_page_lookup(rig->ram, 2000));
    vm_mutex_unlock(&rig->ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig->sys, 1), 1));
    cr_assert(rig_page(rig->ram, 2000) == NULL);
}

Test(vm_pageout, act_count_begins_at_5_grows_by_3_to_64_and_declines_by_1)
{
    unsigned expected = ACT_INIT;
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, 5));
    for (unsigned i = 0; i < 25; i++) {
        sample(&rig);
        expected = expected + 3 < 64 ? expected + 3 : 64;
        cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, expected));
        cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_NONE));
        cr_assert(eq(u64, rig_load(&rig, PAGE(0)), 1));
    }
    sample(&rig);
    for (unsigned count = 63; count > 0; count--) {
        sample(&rig);
        cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, count));
        cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_ACTIVE));
    }
    sample(&rig);
    cr_assert(zero(uint, rig_page(rig.ram, 0)->act_count));
    cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_INACTIVE));
    cr_assert(eq(u64, rig_load(&rig, PAGE(0)), 1));
    cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_ACTIVE));
    cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, ACT_INIT));
    swap_fini(&rig);
}

Test(vm_pageout, a_page_that_was_mapped_again_as_a_neighbour_does_not_decline)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 2);
    sample(&rig);
    cr_assert(eq(u64, rig_load(&rig, PAGE(0)), 1)); /* maps page 1 too */
    cr_assert(eq(int, rig_mapped(&rig, PAGE(1)), VM_PROT_RW));
    sample(&rig);
    cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, ACT_INIT + 2 * ACT_ADVANCE));
    cr_assert(eq(uint, rig_page(rig.ram, 1)->act_count, ACT_INIT + ACT_ADVANCE));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(1)), VM_PROT_NONE));
    sample(&rig);
    cr_assert(eq(uint, rig_page(rig.ram, 1)->act_count, ACT_INIT + ACT_ADVANCE - ACT_DECLINE));
    swap_fini(&rig);
}

/* In the order they came the ten pages would be read again every 12 rounds. */
Test(vm_pageout, pages_in_use_outlive_those_that_are_not)
{
    struct rig rig;

    swap_rig(&rig, 64, 2000);
    fill(&rig, 0, 10);
    for (unsigned round = 0; round < 100; round++) {
        check(&rig, 0, 10);
        fill(&rig, 100 + 4 * round, 104 + 4 * round);
    }
    cr_assert(lt(u64, rig_meter(&rig, v_majflt), 30));
    check(&rig, 100, 500);
    swap_fini(&rig);
}

Test(vm_pageout, an_inactive_page_that_was_touched_is_active_again)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    vm_page_flag_set(rig_page(rig.ram, 4), VM_PAGE_REFERENCED);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 19), 19));
    cr_assert(eq(int, rig_page(rig.ram, 4)->queue, PQ_ACTIVE));
    cr_assert(eq(u64, rig_system_meter(&rig, v_reactivated), 1));
    swap_fini(&rig);
}

Test(vm_pageout, a_mapped_inactive_page_goes_after_the_unmapped_ones)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 40);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(int, rig_touch(&rig, PAGE(0), VM_PROT_READ), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_flag_clear(vm_page_lookup(rig.ram, 0), VM_PAGE_REFERENCED);
    for (unsigned p = 0; p < 40; p++) {
        vm_page_activate(vm_page_lookup(rig.ram, p));
        vm_page_deactivate(vm_page_lookup(rig.ram, p));
    }
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 39), 39));
    cr_assert(rig_page(rig.ram, 0) != NULL);
    cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_NONE));
    swap_fini(&rig);
}

Test(vm_pageout, a_cached_page_that_is_mapped_again_is_no_cache_page)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 10);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(eq(u64, rig_load(&rig, PAGE(5)), 16));
    cr_assert(eq(int, rig_page(rig.ram, 5)->queue, PQ_ACTIVE));
    check(&rig, 0, 10);
    swap_fini(&rig);
}
