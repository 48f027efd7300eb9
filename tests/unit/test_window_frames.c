/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that windows own: which pages move there, and what becomes of them.  Moves in any order,
 * with page-out, copies and windows that go, are the property test's (test_property.c).
 */
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* Does the window map its own frame there? */
static bool
is_own(struct rig *rig, uint64_t gpa)
{
    const struct pmap_window *w = pmap_window_look(&rig->pmap, gpa >> PAGE_SHIFT);
    vm_frame_t frame;

    return w->own && fake_pmap_lookup(&rig->fake, gpa_from_u64(gpa), &frame, NULL) &&
           pmap_window_is_natural(w, gpa >> PAGE_SHIFT, frame);
}

Test(window_frames, a_page_that_only_a_window_maps_is_copied_to_the_windows_own_frame)
{
    struct rig rig;
    vm_frame_t before;

    rig_window_init(&rig, 4, RIG_PASS);
    before = vm_page_frame(rig_page(rig.ram, 106));
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(is_own(&rig, W(2)));
    cr_assert(eq(u64, rig.fake.copied_pages, 1));
    cr_assert(eq(u64, rig_meter(&rig, v_placed), 1));
    cr_assert(vm_frame_is_left(&rig.sys, before));
    vm_frames_reclaim_all(&rig.sys);
    cr_assert(fake_frame_is_hole(&rig.sys, before));
    rig_store(&rig, W(2), 22);
    cr_assert(eq(u64, rig_load(&rig, PAGE(106)), 22));
    rig_fini(&rig);
}

Test(window_frames, neighbours_move_together_with_the_page)
{
    struct rig rig;

    rig_window_init(&rig, 64, RIG_PASS);
    for (unsigned i = 0; i < 64; i++) {
        cr_assert(eq(u64, rig_load(&rig, W(i)), i));
        cr_assert(is_own(&rig, W(i)));
    }
    cr_assert(eq(u64, rig_meter(&rig, v_placed), 64));
    cr_assert(lt(u64, rig.fake.enters, 80));
    cr_assert(zero(uint, rig.fake.foreign_pages));
    rig_fini(&rig);
}

Test(window_frames, a_page_that_is_mapped_elsewhere_too_stays_where_it_is)
{
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, PAGE(106)), 2));
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(not(is_own(&rig, W(2))));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(106)), VM_PROT_RW));
    cr_assert(zero(u64, rig_meter(&rig, v_placed)));
    rig_fini(&rig);
}

Test(window_frames, a_page_that_a_device_holds_or_that_is_wired_stays_where_it_is)
{
    struct rig rig;
    struct vm_page *held, *wired;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(int, vm_fault_page_quick(&rig.map, gpa_from_u64(PAGE(103)), VM_PROT_READ, &held),
                 VM_OK));
    cr_assert(eq(u64, rig_load(&rig, W(1)), 1));
    cr_assert(not(is_own(&rig, W(1))));
    vm_page_unhold(held);
    wired = rig_page(rig.ram, 106);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_wire(wired);
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(not(is_own(&rig, W(2))));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_unwire(wired, true);
    vm_mutex_unlock(&rig.ram->lock);
    rig_fini(&rig);
}

Test(window_frames, a_page_that_goes_from_place_to_place_stays_at_last)
{
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    rig_store(&rig, W(0), 5);
    for (unsigned i = 1; i < 20; i++) {
        rig_vpte_set(&rig, 4, i - 1, 0);
        rig_vpte_set(&rig, 4, i, rig_pte(100, RIG_PASS));
        cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)))));
        cr_assert(eq(u64, rig_load(&rig, W(i)), 5));
    }
    cr_assert(eq(u64, rig_meter(&rig, v_placed), PMAP_PLACES_MAX));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(window_frames, a_frame_that_another_page_has_is_not_taken_from_it)
{
    struct rig rig;

    rig_window_init(&rig, 2, RIG_PASS);
    rig_store(&rig, W(0), 5);
    rig_vpte_set(&rig, 4, 0, rig_pte(103, RIG_PASS));
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(1)))));
    cr_assert(eq(u64, rig_load(&rig, W(0)), 1));
    cr_assert(not(is_own(&rig, W(0))));
    cr_assert(eq(u64, rig_load(&rig, PAGE(100)), 5));
    rig_fini(&rig);
}

Test(window_frames, a_page_that_cannot_be_entered_keeps_its_frame_and_bytes)
{
    struct rig rig;
    vm_frame_t before;

    rig_window_init(&rig, 4, RIG_PASS);
    before = vm_page_frame(rig_page(rig.ram, 106));
    fake_pmap_fail_next_enter(&rig.fake, -ENOMEM, 0);
    cr_assert(eq(int, rig_touch(&rig, W(2), VM_PROT_READ), VM_HOST_FAILURE));
    cr_assert(eq(u64, vm_page_frame(rig_page(rig.ram, 106)), before));
    cr_assert(zero(u64, rig_meter(&rig, v_placed)));
    rig_audit(&rig);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(is_own(&rig, W(2)));
    rig_fini(&rig);
}

Test(window_frames, pages_keep_their_bytes_when_the_window_goes_and_others_get_its_slots)
{
    struct vm_object *object[8];
    struct rig rig;

    rig_window_init(&rig, 64, RIG_PASS);
    for (unsigned i = 0; i < 64; i++)
        rig_store(&rig, W(i), 1000 + i);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)))));
    cr_assert(zero(u64, atomic_load(&rig.sys.window_slots)));
    for (unsigned i = 0; i < 8; i++) {
        struct vm_map_insert args = { .start = gpa_from_u64(W(1024 * (i + 1))),
                                      .end = gpa_from_u64(W(1024 * (i + 1) + 512)),
                                      .protection = VM_PROT_ALL,
                                      .max_protection = VM_PROT_ALL };

        if (vm_object_create_default(&rig.sys, 512, &object[i]) != 0)
            break;
        args.object = object[i];
        cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
        for (unsigned j = 0; j < 64; j++) {
            cr_assert(zero(u64, rig_load(&rig, W(1024 * (i + 1) + j))));
            rig_store(&rig, W(1024 * (i + 1) + j), i * 64 + j);
        }
    }
    for (unsigned i = 0; i < 64; i++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(100 + 3 * i)), 1000 + i));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(window_frames, a_new_page_in_a_frame_that_is_left_is_zeros)
{
    struct rig rig;
    struct vm_page *m;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    m = rig_page(rig.ram, 106);
    rig_busy(m);
    pmap_page_protect(m, VM_PROT_NONE);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_free(m);
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, atomic_load(&rig.sys.left_frames), 1));
    cr_assert(zero(u64, rig_load(&rig, PAGE(106))));
    cr_assert(zero(u64, atomic_load(&rig.sys.left_frames)));
    rig_audit(&rig);
    rig_fini(&rig);
}

Test(window_frames, all_windows_together_own_an_eighth_of_the_store_at_most)
{
    unsigned own = 0, n = 0;
    struct rig rig;

    rig_init(&rig, 0);
    for (; n * 8 < rig.sys.store_pages / 512 * 2; n++) {
        rig_window(&rig, W(512 * n), 512, VM_PROT_ALL, &vpte64_format, rig_pte(1, RIG_PASS));
        own += pmap_window_look(&rig.pmap, W(512 * n) >> PAGE_SHIFT)->own;
    }
    cr_assert(gt(uint, own, 0));
    cr_assert(eq(u64, own, rig.sys.store_pages / PMAP_OWN_PART / 512));
    rig_fini(&rig);
}

Test(window_frames, frames_that_are_left_are_punched_a_run_at_a_time_and_are_bounded)
{
    struct vm_system_config config = { .store_pages = 1 << 16, .ram_budget = 1024 };
    struct vm_system sys;

    cr_assert(zero(int, vm_system_init(&sys, &config)));
    cr_assert(eq(u64, sys.left_max, 32));
    for (unsigned i = 0; i < 20; i++) {
        vm_frame_t frame = 4090 + 3 * i;

        *(volatile uint8_t *)vm_frame_address(&sys, frame) = 1;
        vm_frames_leave(&sys, frame, 1);
    }
    *(volatile uint8_t *)vm_frame_address(&sys, 65535) = 1;
    vm_frames_leave(&sys, 65535, 1);
    cr_assert(not(vm_frames_are_due(&sys)));
    vm_frames_leave(&sys, 100, 12);
    cr_assert(vm_frames_are_due(&sys));
    vm_frames_reclaim_all(&sys);
    cr_assert(zero(u64, atomic_load(&sys.left_frames)));
    for (vm_frame_t frame = 0; frame < sys.store_pages; frame++)
        cr_assert(fake_frame_is_hole(&sys, frame) && !vm_frame_is_left(&sys, frame));
    vm_frames_leave(&sys, 8000, 65); /* too many, and nobody comes */
    cr_assert(zero(u64, atomic_load(&sys.left_frames)));
    vm_system_fini(&sys);
}
