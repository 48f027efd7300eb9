/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages from swap that are mapped writable unseen, and what page-out finds out about them. */
#include "vmm/vpagetable/vm_pageout.h"

#include "tests/unit/swap_rig.h"
#include "vmm/vpagetable/vm_readahead.h"

#define OLD_PAGES 20u

static bool
in_doubt(const struct rig *rig, unsigned p)
{
    struct vm_page *m = rig_page(rig->ram, p);

    cr_assert(m->dirty || !vm_page_flag_test(m, VM_PAGE_DOUBT));
    return vm_page_flag_test(m, VM_PAGE_DOUBT);
}

static void
page_out(struct rig *rig, struct vm_object *object)
{
    make_old(rig, object, false);
    (void)vm_pageout_scan(&rig->sys, OLD_PAGES);
}

/* OLD_PAGES pages that were in swap, have been read since, and are mapped. */
static void
read_back(struct rig *rig, uint64_t swap_pages)
{
    swap_rig(rig, 0, swap_pages);
    fill(rig, 0, OLD_PAGES);
    page_out(rig, rig->ram);
    cr_assert(zero(u64, resident(rig)));
    check(rig, 0, OLD_PAGES);
    cr_assert(eq(u64, rig_system_meter(rig, v_pageout), OLD_PAGES));
}

static uint64_t
faults(struct rig *rig)
{
    return rig_meter(rig, v_vm_faults);
}

/* A store that no fault shows. */
static void
store_unseen(struct rig *rig, uint64_t gpa, uint64_t value)
{
    uint64_t before = faults(rig);

    rig_store(rig, gpa, value);
    cr_assert(eq(u64, faults(rig), before));
}

Test(vm_page_doubt, a_page_from_swap_is_mapped_writable_at_once_and_keeps_its_slot)
{
    struct rig rig;

    read_back(&rig, 100);
    for (unsigned p = 0; p < OLD_PAGES; p++) {
        cr_assert(eq(int, rig_mapped(&rig, PAGE(p)), VM_PROT_RW));
        cr_assert(in_doubt(&rig, p));
    }
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES));
    swap_fini(&rig);
}

Test(vm_page_doubt, what_was_not_written_to_is_not_written_out)
{
    struct rig rig;

    read_back(&rig, 100);
    page_out(&rig, rig.ram);
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), OLD_PAGES));
    cr_assert(eq(u64, rig_system_meter(&rig, v_dsame), OLD_PAGES));
    check(&rig, 0, OLD_PAGES);
    swap_fini(&rig);
}

Test(vm_page_doubt, a_write_that_nobody_saw_is_found_and_written_out)
{
    struct rig rig;

    read_back(&rig, 100);
    for (unsigned p = 0; p < OLD_PAGES; p += 2)
        store_unseen(&rig, PAGE(p) + 4088, 1000 + p); /* the last word */
    page_out(&rig, rig.ram);
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), OLD_PAGES + OLD_PAGES / 2));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES));
    check(&rig, 0, OLD_PAGES);
    for (unsigned p = 0; p < OLD_PAGES; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p) + 4088), p % 2 == 0 ? 1000 + p : 0));
    swap_fini(&rig);
}

Test(vm_page_doubt, a_write_of_what_was_there_costs_no_write_to_swap)
{
    struct rig rig;

    read_back(&rig, 100);
    for (unsigned p = 0; p < OLD_PAGES; p++) {
        store_unseen(&rig, PAGE(p), 9);
        store_unseen(&rig, PAGE(p), p * 3 + 1);
    }
    page_out(&rig, rig.ram);
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), OLD_PAGES));
    check(&rig, 0, OLD_PAGES);
    swap_fini(&rig);
}

Test(vm_page_doubt, a_page_that_became_zeros_unseen_gives_its_slot_back)
{
    struct rig rig;

    read_back(&rig, 100);
    store_unseen(&rig, PAGE(4), 0);
    page_out(&rig, rig.ram);
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), OLD_PAGES));
    cr_assert(eq(u64, rig_system_meter(&rig, v_dzero), 1));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES - 1));
    cr_assert(zero(u64, rig_load(&rig, PAGE(4))));
    swap_fini(&rig);
}

Test(vm_page_doubt, a_page_of_zeros_of_an_object_with_swap_is_mapped_writable_and_not_written_out)
{
    struct vm_page *m;
    struct rig rig;

    read_back(&rig, 100);
    cr_assert(
        eq(int, vm_fault_page_quick(&rig.map, gpa_from_u64(PAGE(50)), VM_PROT_READ, &m), VM_OK));
    vm_page_unhold(m);
    cr_assert(not(m->dirty)); /* the monitor read it: nobody can write to it */
    cr_assert(zero(u64, rig_load(&rig, PAGE(50))));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(50)), VM_PROT_RW));
    cr_assert(m->dirty);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, OLD_PAGES + 1);
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_system_meter(&rig, v_pageout), OLD_PAGES));
    cr_assert(zero(u64, rig_load(&rig, PAGE(50))));
    store_unseen(&rig, PAGE(50), 77);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, OLD_PAGES + 1);
    cr_assert(eq(u64, rig_load(&rig, PAGE(50)), 77));
    swap_fini(&rig);
}

/* --- Writes that are seen ------------------------------------------------ */

Test(vm_page_doubt, a_write_that_faults_ends_the_doubt_and_frees_the_slot)
{
    struct rig rig;

    read_back(&rig, 100);
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    rig_store(&rig, PAGE(7), 700);
    cr_assert(not(in_doubt(&rig, 7)));
    cr_assert(rig_page(rig.ram, 7)->dirty);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES - 1));
    page_out(&rig, rig.ram);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 700));
    swap_fini(&rig);
}

Test(vm_page_doubt, the_monitor_s_write_ends_the_doubt_and_frees_the_slot)
{
    uint64_t value = 700;
    struct rig rig;

    read_back(&rig, 100);
    cr_assert(eq(int,
                 vm_map_write(&rig.map, gpa_from_u64(PAGE(7)), &value, sizeof(value), &rig_info),
                 VM_OK));
    cr_assert(not(in_doubt(&rig, 7)));
    cr_assert(rig_page(rig.ram, 7)->dirty);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES - 1));
    page_out(&rig, rig.ram);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 700));
    swap_fini(&rig);
}

Test(vm_page_doubt, a_hold_with_unswap_ends_the_doubt_and_frees_the_slot)
{
    struct vm_page *m;
    struct rig rig;

    read_back(&rig, 100);
    cr_assert(eq(int,
                 vm_fault_page(&rig.map, gpa_from_u64(PAGE(7)), VM_PROT_READ, VM_FAULT_UNSWAP, &m,
                               &rig_info),
                 VM_OK));
    cr_assert(not(in_doubt(&rig, 7)));
    cr_assert(m->dirty);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES - 1));
    *(uint64_t *)vm_page_address(m) = 700;
    vm_page_unhold(m);
    page_out(&rig, rig.ram);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 700));
    swap_fini(&rig);
}

/* --- Where M is needed --------------------------------------------------- */

Test(vm_page_doubt, through_a_window_the_first_write_to_a_page_from_swap_still_sets_m)
{
    struct rig rig;

    swap_rig(&rig, 0, 600);
    rig_window(&rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format,
               rig_tables(&rig, 8, 100, 1, RIG_PASS));
    fill(&rig, 100, 108);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 100);
    cr_assert(rig_page(rig.ram, 103) == NULL);
    cr_assert(eq(u64, rig_load(&rig, W(3)), 103 * 3 + 1));
    cr_assert(eq(int, rig_mapped(&rig, W(3)), VM_PROT_READ));
    cr_assert(not(rig_page(rig.ram, 103)->dirty));
    cr_assert(zero(u64, rig_window_flags(&rig, 3) & VPTE_M));
    rig_load(&rig, PAGE(103)); /* the same page in a NORMAL entry: that is no M */
    cr_assert(eq(int, rig_mapped(&rig, PAGE(103)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, W(3)), VM_PROT_READ));
    rig_store(&rig, W(3), 1);
    cr_assert(ne(uint, rig_window_flags(&rig, 3) & VPTE_M, 0));
    cr_assert(not(in_doubt(&rig, 103)));
    swap_fini(&rig);
}

Test(vm_page_doubt, with_m_set_a_window_maps_a_page_from_swap_writable_and_in_doubt)
{
    struct rig rig;

    swap_rig(&rig, 0, 600);
    rig_window(&rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format,
               rig_tables(&rig, 8, 100, 1, RIG_PASS | VPTE_A | VPTE_M));
    fill(&rig, 100, 108);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 100);
    cr_assert(eq(u64, rig_load(&rig, W(3)), 103 * 3 + 1));
    cr_assert(eq(int, rig_mapped(&rig, W(3)), VM_PROT_RW));
    cr_assert(in_doubt(&rig, 103));
    store_unseen(&rig, W(3), 5);
    pmap_remove(&rig.pmap, gpa_from_u64(W(0)), gpa_from_u64(W(512)));
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 100);
    cr_assert(eq(u64, rig_load(&rig, PAGE(103)), 5));
    swap_fini(&rig);
}

/* --- Copies and chains --------------------------------------------------- */

Test(vm_page_doubt, after_a_copy_a_page_from_swap_is_mapped_read_only_on_both_sides)
{
    struct rig rig;

    read_back(&rig, 100);
    store_unseen(&rig, PAGE(3), 300);
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), gpa_from_u64(W(0)), PAGE(RIG_PAGES))));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(eq(u64, rig_load(&rig, i == 0 ? PAGE(3) : W(3)), 300));
        cr_assert(eq(int, rig_mapped(&rig, i == 0 ? PAGE(3) : W(3)), VM_PROT_READ));
        rig_load(&rig, i == 0 ? PAGE(4) : W(4));
        cr_assert(eq(int, rig_mapped(&rig, i == 0 ? PAGE(4) : W(4)), VM_PROT_READ));
    }
    rig_store(&rig, W(3), 301);
    pmap_remove(&rig.pmap, gpa_from_u64(W(0)), gpa_from_u64(W(RIG_PAGES)));
    page_out(&rig, rig.ram);
    cr_assert(rig_page(rig.ram, 3) == NULL);
    cr_assert(eq(u64, rig_load(&rig, PAGE(3)), 300));
    cr_assert(eq(u64, rig_load(&rig, W(3)), 301));
    swap_fini(&rig);
}

Test(vm_page_doubt, a_page_that_moves_up_the_chain_is_dirty_without_a_doubt)
{
    struct rig rig;
    struct vm_object *front;

    read_back(&rig, 100);
    store_unseen(&rig, PAGE(3), 300);
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), gpa_from_u64(W(0)), PAGE(RIG_PAGES))));
    rig_store(&rig, W(5), 1); /* a shadow in front of RAM */
    rig_store(&rig, PAGE(5), 2);
    front = rig_entry(&rig, W(0))->object;
    cr_assert(front->backing_object == rig.ram);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    vm_object_unref(rig.ram);
    rig.ram = front;
    vm_object_ref(front);
    vm_object_collapse(front, NULL);
    cr_assert(front->backing_object == NULL);
    cr_assert(rig_page(front, 3)->dirty && !in_doubt(&rig, 3));
    cr_assert(rig_page(front, 4)->dirty && !in_doubt(&rig, 4));
    pmap_remove(&rig.pmap, gpa_from_u64(W(0)), gpa_from_u64(W(RIG_PAGES)));
    page_out(&rig, front);
    cr_assert(rig_page(front, 3) == NULL && rig_page(front, 4) == NULL);
    cr_assert(eq(u64, rig_load(&rig, W(3)), 300));
    cr_assert(eq(u64, rig_load(&rig, W(4)), 13));
    cr_assert(eq(u64, rig_load(&rig, W(5)), 1));
    swap_fini(&rig);
}

/* --- Who looks at it ----------------------------------------------------- */

Test(vm_page_doubt, what_a_stream_leaves_behind_is_cached_unless_it_was_written_to)
{
    struct rig rig;

    read_back(&rig, 100);
    store_unseen(&rig, PAGE(2), 200);
    vm_deactivate_behind(rig.ram, VM_DEACTIVATE_BEHIND + 3);
    for (unsigned p = 0; p < 4; p++)
        cr_assert(eq(int, rig_page(rig.ram, p)->queue, p == 2 ? PQ_INACTIVE : PQ_CACHE));
    cr_assert(rig_page(rig.ram, 2)->dirty && !rig_page(rig.ram, 1)->dirty);
    (void)vm_pageout_scan(&rig.sys, OLD_PAGES);
    cr_assert(eq(u64, rig_load(&rig, PAGE(2)), 200));
    cr_assert(eq(u64, rig_load(&rig, PAGE(1)), 4));
    swap_fini(&rig);
}

Test(vm_page_doubt, a_changed_page_that_cannot_be_written_stays_as_it_is)
{
    struct rig rig;

    read_back(&rig, 100);
    for (unsigned p = 0; p < OLD_PAGES; p++)
        store_unseen(&rig, PAGE(p) + 8, 5000 + p);
    write_error = ENOSPC;
    page_out(&rig, rig.ram);
    write_error = 0;
    cr_assert(eq(u64, resident(&rig), OLD_PAGES));
    for (unsigned p = 0; p < OLD_PAGES; p++) {
        cr_assert(rig_page(rig.ram, p)->dirty);
        cr_assert(eq(u64, rig_load(&rig, PAGE(p) + 8), 5000 + p));
    }
    page_out(&rig, rig.ram);
    cr_assert(zero(u64, resident(&rig)));
    for (unsigned p = 0; p < OLD_PAGES; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p) + 8), 5000 + p));
    swap_fini(&rig);
}

Test(vm_page_doubt, a_page_in_doubt_that_is_held_stays_in_memory_and_in_doubt)
{
    struct vm_page *m;
    struct rig rig;

    read_back(&rig, 100);
    cr_assert(
        eq(int, vm_fault_page_quick(&rig.map, gpa_from_u64(PAGE(7)), VM_PROT_READ, &m), VM_OK));
    page_out(&rig, rig.ram);
    cr_assert(eq(u64, resident(&rig), 1));
    cr_assert(in_doubt(&rig, 7));
    vm_page_unhold(m);
    swap_fini(&rig);
}

Test(vm_page_doubt, memory_that_goes_away_in_doubt_takes_its_slots_along)
{
    struct rig rig;

    read_back(&rig, 100);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), OLD_PAGES));
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    swap_fini(&rig); /* which sees that none is in use */
}

Test(vm_page_doubt, when_swap_gets_full_pages_that_are_brought_in_give_their_slots_up)
{
    struct rig rig;

    read_back(&rig, 22); /* 20 in use is more than seven eighths */
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 19)); /* from there on there is room */
    cr_assert(not(in_doubt(&rig, 0)));
    cr_assert(rig_page(rig.ram, 0)->dirty);
    cr_assert(in_doubt(&rig, 19));
    page_out(&rig, rig.ram);
    cr_assert(zero(u64, resident(&rig)));
    check(&rig, 0, OLD_PAGES);
    swap_fini(&rig);
}

/* --- What all of it is for ----------------------------------------------- */

/* Each page is written twice, with room for half of them. */
Test(vm_page_doubt, no_fault_is_left_but_those_that_bring_pages_in)
{
    struct rig rig;

    rig_init(&rig, 128);
    swap_init(&rig, 1024);
    for (uint64_t round = 0; round < 4; round++) {
        for (uint64_t p = 0; p < 256; p++) {
            if (round % 2 == 1)
                cr_assert(eq(u64, rig_load(&rig, PAGE(p) + 8), round * 1000 + p));
            while (rig_mapped(&rig, PAGE(p)) != VM_PROT_RW)
                cr_assert(eq(int, rig_burst(&rig, PAGE(p), VM_PROT_READ), VM_OK));
            store_unseen(&rig, PAGE(p) + 8, (round + 1) * 1000 + p);
        }
    }
    cr_assert(zero(u64, rig_meter(&rig, v_cow_faults)));
    cr_assert(gt(u64, rig_meter(&rig, v_pagein), 256));
    for (uint64_t p = 0; p < 256; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p) + 8), 4000 + p));
    swap_fini(&rig);
}
