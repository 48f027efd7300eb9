/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual copies of map ranges: what is shared, who shadows when, what is copied for real, the
 * errors.
 */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/map_copy_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

TestSuite(vm_map_copy, .timeout = 120);

/* --- What a copy is ------------------------------------------------------ */

CHECKED_TEST(vm_map_copy, a_copy_shares_every_frame_until_it_is_written)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    uint64_t resident;

    fill(SRC, NPAGES, 1000);
    resident = vm_budget_resident(&rig.sys);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    cr_expect(needs_copy(SRC) && needs_copy(DST));
    cr_expect(eq(ptr, entry_at(DST)->object, object));
    expect(DST, NPAGES, 1000);
    expect(SRC, NPAGES, 1000);
    cr_expect(eq(u64, vm_budget_resident(&rig.sys), resident));
    cr_expect(zero(u64, rig_meter(&rig, v_cow_faults)));
    cr_expect(zero(uint, rig.fake.foreign_pages), "the copy's window has the source's frames");
}

CHECKED_TEST(vm_map_copy, the_sources_mappings_become_read_only_and_nothing_else_is_touched)
{
    rig.sys.tunables.prefault_pages = 0;
    map_new(SRC, NPAGES);
    fill(SRC, 8, 1000);
    cr_assert(eq(int, rig_mapped(&rig, SRC), VM_PROT_RW));
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    for (unsigned i = 0; i < 8; i++)
        cr_expect(eq(int, rig_mapped(&rig, at(SRC, i)), VM_PROT_READ));
    cr_expect(zero(uint, rig.fake.removes));
    cr_expect(eq(uint, rig.fake.protected_pages, 8));
}

CHECKED_TEST(vm_map_copy, neither_side_sees_what_the_other_writes)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    fill(SRC, NPAGES / 2, 2000);
    expect(DST, NPAGES, 1000);
    fill(DST, NPAGES / 4, 3000);
    expect(SRC, NPAGES / 2, 2000);
    expect(DST, NPAGES / 4, 3000);
    expect(at(DST, NPAGES / 4), NPAGES - NPAGES / 4, 1000 + NPAGES / 4);
    expect(at(SRC, NPAGES / 2), NPAGES / 2, 1000 + NPAGES / 2);
}

CHECKED_TEST(vm_map_copy, a_page_that_nobody_had_touched_is_separate_zeros)
{
    map_new(SRC, NPAGES);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    rig_store(&rig, SRC, 5);
    cr_expect(zero(u64, rig_load(&rig, DST)));
    rig_store(&rig, at(DST, 1), 6);
    cr_expect(zero(u64, rig_load(&rig, at(SRC, 1))));
    cr_expect(zero(u64, rig_load(&rig, at(SRC, 2))));
    rig_store(&rig, at(DST, 2), 7);
    cr_expect(zero(u64, rig_load(&rig, at(SRC, 2))), "nor one that was read");
}

CHECKED_TEST(vm_map_copy, a_read_does_not_shadow_and_the_first_write_does_once)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct vm_object *shadow;

    fill(SRC, 2, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    expect(DST, 2, 1000);
    cr_expect(eq(ptr, entry_at(DST)->object, object));
    rig_store(&rig, DST, 1);
    shadow = entry_at(DST)->object;
    cr_expect(ne(ptr, shadow, object));
    cr_expect(eq(ptr, shadow->backing_object, object));
    cr_expect(not(needs_copy(DST)));
    cr_expect(needs_copy(SRC));
    rig_store(&rig, at(DST, 1), 2);
    cr_expect(eq(ptr, entry_at(DST)->object, shadow));
}

CHECKED_TEST(vm_map_copy, the_last_to_write_keeps_the_object_without_a_shadow)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    cr_assert(zero(int, remove_pages(DST, NPAGES)));
    fill(SRC, NPAGES, 2000);
    cr_expect(eq(ptr, entry_at(SRC)->object, object));
    cr_expect(not(needs_copy(SRC)));
    cr_expect(zero(u64, rig_meter(&rig, v_cow_faults)));
    expect(SRC, NPAGES, 2000);
}

CHECKED_TEST(vm_map_copy, an_entry_of_a_file_is_never_written_into_the_file)
{
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(SRC, NPAGES, file);

    args.eflags = MAP_ENTRY_NEEDS_COPY;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_assert(eq(u64, rig_load(&rig, at(SRC, 3)), 3 * 512));
    rig_store(&rig, at(SRC, 3), 99);
    cr_expect(ne(ptr, entry_at(SRC)->object, file), "even with a single reference");
    cr_expect(eq(u64, rig_load(&rig, at(SRC, 3)), 99));
    cr_expect(eq(u64, rig_load(&rig, at(SRC, 4)), 4 * 512));
    cr_assert(zero(int, remove_pages(SRC, NPAGES)));
}

CHECKED_TEST(vm_map_copy, a_copy_of_a_copy_is_a_copy_of_what_it_shows)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    fill(DST, 4, 2000);
    cr_assert(zero(int, copy_pages(DST, DST + SRC, NPAGES)));
    fill(DST, 2, 3000);
    fill(SRC, 2, 4000);
    expect(DST + SRC, 4, 2000);
    expect(at(DST + SRC, 4), NPAGES - 4, 1004);
    expect(DST, 2, 3000);
}

CHECKED_TEST(vm_map_copy, a_part_of_an_entry_is_clipped_and_copied)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(at(SRC, 8), DST, 16)));
    cr_expect(not(needs_copy(SRC)));
    cr_expect(needs_copy(at(SRC, 8)));
    cr_expect(not(needs_copy(at(SRC, 24))));
    fill(SRC, NPAGES, 2000);
    cr_expect(eq(ptr, entry_at(SRC)->object, object));
    expect(DST, 16, 1008);
    fill(DST, 16, 3000);
    expect(SRC, NPAGES, 2000);
}

CHECKED_TEST(vm_map_copy, a_copy_has_gaps_guards_protections_and_advice_where_the_source_has)
{
    struct vm_map_insert guard = args_at(at(SRC, 8), 2, NULL);

    guard.eflags = MAP_ENTRY_NOFAULT;
    map_new(SRC, 4);
    map_new(at(SRC, 6), 2);
    cr_assert(zero(int, vm_map_insert(&rig.map, &guard)));
    map_new(at(SRC, 10), 2);
    fill(SRC, 4, 1000);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(at(SRC, 2)), gpa_from_u64(at(SRC, 4)),
                                       VM_PROT_READ)));
    cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(at(SRC, 6)), gpa_from_u64(at(SRC, 8)),
                                      VM_ADVICE_RANDOM)));
    cr_assert(zero(int, copy_pages(SRC, DST, 11)));
    cr_expect(eq(int, rig_touch(&rig, at(DST, 2), VM_PROT_WRITE), VM_PROTECTION));
    cr_expect(eq(u64, rig_load(&rig, at(DST, 2)), 1002));
    cr_expect(eq(int, rig_touch(&rig, at(DST, 4), VM_PROT_READ), VM_INVALID_ADDRESS));
    cr_expect(eq(int, entry_at(at(DST, 6))->advice, VM_ADVICE_RANDOM));
    cr_expect(eq(int, rig_touch(&rig, at(DST, 8), VM_PROT_READ), VM_NOFAULT));
    cr_expect(eq(int, rig_touch(&rig, at(DST, 10), VM_PROT_WRITE), VM_OK));
    cr_expect(eq(int, rig_touch(&rig, at(DST, 11), VM_PROT_WRITE), VM_INVALID_ADDRESS));
}

CHECKED_TEST(vm_map_copy, a_read_only_entry_that_becomes_writable_is_shadowed_then)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)),
                                       VM_PROT_READ)));
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(DST), gpa_from_u64(at(DST, NPAGES)),
                                       VM_PROT_RW)));
    fill(DST, 4, 2000);
    expect(SRC, NPAGES, 1000);
    expect(DST, 4, 2000);
}

CHECKED_TEST(vm_map_copy, reads_of_what_needs_a_copy_make_nothing_writable)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    pmap_remove(&rig.pmap, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)));
    for (unsigned i = 0; i < NPAGES; i++) {
        cr_assert(eq(int, rig_burst(&rig, at(SRC, i), VM_PROT_READ), VM_OK));
        cr_assert(eq(int, rig_burst(&rig, at(DST, i), VM_PROT_READ), VM_OK));
    }
    for (unsigned i = 0; i < NPAGES; i++) {
        cr_expect(eq(int, rig_mapped(&rig, at(SRC, i)), VM_PROT_READ));
        cr_expect(eq(int, rig_mapped(&rig, at(DST, i)), VM_PROT_READ));
    }
}

CHECKED_TEST(vm_map_copy, zeros_made_by_reads_of_what_needs_a_copy_are_read_only)
{
    map_new(SRC, NPAGES);
    cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)),
                                      VM_ADVICE_SEQUENTIAL)));
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    for (unsigned i = 0; i < NPAGES; i++)
        cr_assert(eq(int, rig_burst(&rig, at(SRC, i), VM_PROT_READ), VM_OK));
    for (unsigned i = 0; i < NPAGES; i++)
        cr_expect(eq(int, rig_mapped(&rig, at(SRC, i)), VM_PROT_READ));
}

/* --- Windows ------------------------------------------------------------- */

static bool
is_natural(gpa_t gpa, vm_frame_t frame)
{
    uint64_t page = gpa.value >> PAGE_SHIFT;

    return pmap_window_is_natural(pmap_window_look(&rig.pmap, page), page, frame);
}

CHECKED_TEST(vm_map_copy, a_shadowed_entry_alone_in_its_window_has_the_new_frames_as_natural_ones)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    cr_assert(eq(int, rig_touch(&rig, DST, VM_PROT_WRITE), VM_OK));
    cr_expect(eq(uint, rig.fake.rebases, 1));
    cr_expect(zero(uint, rig.fake.foreign_pages));
    cr_expect(is_natural(gpa_from_u64(at(DST, 3)), entry_at(DST)->object->extent + 3));
    rig_store(&rig, SRC, 1);
    cr_expect(eq(uint, rig.fake.rebases, 1), "not a window full of mappings");
    cr_expect(eq(int, rig_mapped(&rig, at(SRC, 9)), VM_PROT_READ));
}

CHECKED_TEST(vm_map_copy, a_window_with_several_entries_keeps_its_frames)
{
    map_new(SRC, NPAGES);
    cr_assert(zero(int, copy_pages(at(SRC, 8), DST, 16)));
    rig_store(&rig, at(SRC, 8), 1);
    cr_expect(zero(uint, rig.fake.rebases));
    cr_expect(not(is_natural(gpa_from_u64(at(SRC, 8)), entry_at(at(SRC, 8))->object->extent)));
    cr_expect(eq(u64, rig_load(&rig, at(SRC, 8)), 1));
}

CHECKED_TEST(vm_map_copy, a_window_that_cannot_be_rebased_is_only_slower)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    rig.fake.fail_window_rebase = -ENOMEM;
    fill(DST, NPAGES, 2000);
    cr_expect(zero(uint, rig.fake.rebases));
    expect(DST, NPAGES, 2000);
    expect(SRC, NPAGES, 1000);
}

/* --- Virtual page tables ------------------------------------------------- */

/* A window of 4 pages on an object of its own that shows pages 8 .. 11, with tables in 1 .. 4. */
static struct vm_object *
private_window(uint64_t start, vm_prot_t prot)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct vm_map_insert args = args_at(start, 4, object);

    for (unsigned level = 1; level < 4; level++)
        rig_store(&rig, at(SRC, level), rig_pte(level + 1, RIG_PASS));
    for (unsigned i = 0; i < 4; i++) {
        rig_store(&rig, at(SRC, 4) + i * 8, rig_pte(8 + i, RIG_PASS));
        rig_store(&rig, at(SRC, 8 + i), 800 + i);
    }
    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = &vpte64_format;
    args.root = rig_pte(1, RIG_PASS);
    args.protection = prot;
    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    return object;
}

CHECKED_TEST(vm_map_copy, a_read_of_a_writable_vpagetable_entry_that_needs_a_copy_shadows_it)
{
    struct vm_object *object = private_window(RIG_WINDOW, VM_PROT_RW);

    cr_assert(zero(int, remove_pages(SRC, NPAGES)));
    cr_assert(zero(int, copy_pages(RIG_WINDOW, DST, 4)));
    cr_expect(needs_copy(RIG_WINDOW) && needs_copy(DST));
    cr_expect(eq(u64, rig_load(&rig, DST), 800));
    cr_expect(not(needs_copy(DST)), "its walk sets A");
    cr_expect(eq(ptr, entry_at(DST)->object->backing_object, object));
    cr_expect(eq(u64, entry_at(DST)->object->size, NPAGES), "all that the walk can lead to");
}

CHECKED_TEST(vm_map_copy, copies_of_a_vpagetable_entry_have_tables_and_pages_of_their_own)
{
    private_window(RIG_WINDOW, VM_PROT_RW);
    cr_assert(zero(int, remove_pages(SRC, NPAGES)));
    cr_assert(zero(int, copy_pages(RIG_WINDOW, DST, 4)));
    fill(DST, 2, 900);
    expect(RIG_WINDOW, 4, 800);
    fill(RIG_WINDOW, 4, 700);
    expect(DST, 2, 900);
    expect(at(DST, 2), 2, 802);
}

/* The walk may lead from any part of the entry to any page: parts must not shadow each for itself. */
CHECKED_TEST(vm_map_copy, parts_of_a_copied_vpagetable_entry_go_on_showing_the_same_memory)
{
    private_window(RIG_WINDOW, VM_PROT_RW);
    cr_assert(zero(int, remove_pages(SRC, NPAGES)));
    cr_assert(zero(int, copy_pages(RIG_WINDOW, DST, 4)));
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(at(DST, 3)), gpa_from_u64(at(DST, 4)),
                                      rig_pte(5, RIG_PASS | VPTE_PS))));
    expect(at(DST, 3), 1, 800);
    fill(DST, 1, 900);
    expect(at(DST, 3), 1, 900);
    expect(RIG_WINDOW, 4, 800);
}

/* Each of them is to have tables and pages of its own. */
CHECKED_TEST(vm_map_copy, vpagetable_entries_that_need_a_copy_are_not_merged)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    for (unsigned i = 0; i < 2; i++) {
        struct vm_map_insert args = args_at(at(DST, 2 * i), 2, object);

        args.offset = 2 * i;
        args.maptype = VM_MAPTYPE_VPAGETABLE;
        args.format = &vpte64_format;
        args.root = rig_pte(0, RIG_PASS | VPTE_PS);
        args.eflags = MAP_ENTRY_NEEDS_COPY;
        vm_object_ref(object);
        cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    }
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(DST), gpa_from_u64(at(DST, 4)),
                                       VM_PROT_RW)));
    cr_expect(not(entry_at(DST) == entry_at(at(DST, 2))));
}

CHECKED_TEST(vm_map_copy, a_vpagetable_entry_on_pages_that_others_map_is_refused)
{
    private_window(RIG_WINDOW, VM_PROT_RW);
    cr_expect(eq(int, copy_pages(RIG_WINDOW, DST, 4), -EOPNOTSUPP));
    cr_expect(not(needs_copy(RIG_WINDOW)));
    cr_expect(eq(int, rig_touch(&rig, DST, VM_PROT_READ), VM_INVALID_ADDRESS));
}

/* --- Copies for real ----------------------------------------------------- */

CHECKED_TEST(vm_map_copy, pages_that_another_entry_maps_too_are_copied_and_stay_shared)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    rig.sys.tunables.prefault_pages = 0;
    map_again(SRC * 4, NPAGES, object);
    fill(SRC, 8, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    cr_expect(not(needs_copy(SRC)));
    cr_expect(not(needs_copy(DST)));
    cr_expect(eq(u64, entry_at(DST)->object->resident_count, 8), "what nobody touched is left out");
    expect(DST, 8, 1000);
    fill(SRC, 8, 2000);
    expect(SRC * 4, 8, 2000);
    expect(DST, 8, 1000);
    fill(DST, 8, 3000);
    expect(SRC, 8, 2000);
    cr_expect(zero(uint, rig.fake.protects));
}

CHECKED_TEST(vm_map_copy, a_backing_object_has_no_pages_beyond_its_end_to_copy)
{
    struct vm_object *object = map_new(SRC, 8);
    struct vm_object *backing;

    cr_assert(zero(int, vm_object_create_default(&rig.sys, 2, &backing)));
    rig_shadow(object, backing, 0);
    rig.sys.tunables.prefault_pages = 0;
    map_again(SRC * 4, 8, object);
    rig_store(&rig, at(SRC, 6), 1006);
    cr_assert(zero(int, copy_pages(SRC, DST, 8)));
    cr_expect(not(needs_copy(DST)));
    cr_expect(eq(u64, entry_at(DST)->object->resident_count, 1));
    cr_expect(eq(u64, rig_load(&rig, at(DST, 6)), 1006));
    cr_expect(zero(u64, rig_load(&rig, at(DST, 7))));
}

CHECKED_TEST(vm_map_copy, only_the_shared_part_of_an_object_is_copied_for_real)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    map_again(SRC * 4, 4, object);
    cr_assert(zero(int, copy_pages(at(SRC, 4), DST, NPAGES - 4)));
    cr_expect(needs_copy(DST), "the other entry maps the pages before these");
    cr_assert(zero(int, remove_pages(DST, NPAGES - 4)));
    cr_assert(zero(int, copy_pages(at(SRC, 3), DST, 4)));
    cr_expect(not(needs_copy(DST)));
}

CHECKED_TEST(vm_map_copy, pages_under_a_virtual_page_table_are_copied_for_real)
{
    cr_assert(eq(int, rig_touch(&rig, at(0, 5), VM_PROT_WRITE), VM_OK));
    rig_window(&rig, RIG_WINDOW, 4, VM_PROT_RW, &vpte64_format, 0);
    rig_store(&rig, at(0, 5), 55);
    cr_assert(zero(int, copy_pages(0, DST, 16)));
    rig_store(&rig, at(0, 5), 66);
    cr_expect(eq(ptr, entry_at(0)->object, rig.ram));
    cr_expect(eq(u64, rig_load(&rig, at(DST, 5)), 55));
}

CHECKED_TEST(vm_map_copy, what_an_entry_maps_twice_in_the_source_is_copied_for_real)
{
    struct vm_object *object = map_new(SRC, 8);

    map_again(at(SRC, 8), 8, object);
    fill(SRC, 8, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, 16)));
    rig_store(&rig, SRC, 5);
    cr_expect(eq(u64, rig_load(&rig, at(SRC, 8)), 5));
    expect(DST, 8, 1000);
    expect(at(DST, 8), 8, 1000);
}

CHECKED_TEST(vm_map_copy, pages_of_a_file_that_is_written_back_are_copied_for_real)
{
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, 16, &pager);
    struct vm_map_insert args = args_at(SRC, 16, file);

    file->flags |= OBJ_WRITEBACK;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    rig_store(&rig, SRC, 7);
    cr_assert(zero(int, copy_pages(SRC, DST, 16)));
    cr_expect(eq(ptr, entry_at(SRC)->object, file));
    cr_expect(not(needs_copy(SRC)));
    rig_store(&rig, SRC, 8);
    cr_expect(eq(u64, rig_load(&rig, DST), 7));
    cr_expect(eq(u64, rig_load(&rig, at(DST, 9)), 9 * 512), "what was still in the file too");
    cr_assert(zero(int, remove_pages(SRC, 16)));
}

CHECKED_TEST(vm_map_copy, a_wired_entry_is_copied_for_real_and_stays_wired)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, vm_map_wire(&rig.map, gpa_from_u64(at(SRC, 8)), gpa_from_u64(at(SRC, 16)),
                                    true)));
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    cr_expect(needs_copy(SRC));
    cr_expect(not(needs_copy(at(SRC, 8))));
    cr_expect(needs_copy(at(SRC, 16)));
    cr_expect(eq(ptr, entry_at(at(SRC, 8))->object, object));
    cr_expect(zero(uint, entry_at(at(DST, 8))->wired_count));
    cr_expect(zero(uint, entry_at(at(DST, 8))->eflags));
    fill(SRC, NPAGES, 2000);
    expect(DST, NPAGES, 1000);
    for (unsigned i = 8; i < 16; i++)
        cr_expect(eq(uint, rig_page(object, i)->wire_count, 1));
}

CHECKED_TEST(vm_map_copy, an_unreadable_entry_is_copied_for_real_if_it_may_become_readable)
{
    struct vm_object *object = map_new(SRC, 4);
    struct vm_map_insert args = args_at(SRC * 4, 4, object);

    fill(SRC, 4, 1000);
    args.protection = VM_PROT_NONE;
    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_assert(zero(int, copy_pages(SRC * 4, DST, 4)));
    cr_expect(eq(int, rig_touch(&rig, DST, VM_PROT_READ), VM_PROTECTION));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(DST), gpa_from_u64(at(DST, 4)),
                                       VM_PROT_READ)));
    expect(DST, 4, 1000);
    cr_assert(zero(int, remove_pages(SRC * 4, 4)));
    args.max_protection = VM_PROT_NONE;
    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_expect(eq(int, copy_pages(SRC * 4, DST * 4, 4), -EACCES));
}

/* --- Growing entries ----------------------------------------------------- */

CHECKED_TEST(vm_map_copy, both_sides_of_a_copied_stack_grow)
{
    map_stack(at(SRC, 40), 40);
    fill(at(SRC, 40), 4, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    expect(at(DST, 40), 4, 1000);
    cr_expect(zero(uint, rig.fake.foreign_pages));
    rig_store(&rig, at(DST, 39), 5);
    rig_store(&rig, at(SRC, 3), 6);
    rig_store(&rig, at(DST, 2), 7);
    cr_expect(zero(u64, rig_load(&rig, at(SRC, 39))));
    cr_expect(zero(u64, rig_load(&rig, at(DST, 3))));
    cr_expect(zero(u64, rig_load(&rig, at(SRC, 2))));
    cr_expect(eq(u64, rig_load(&rig, at(DST, 39)), 5));
    cr_expect(eq(int, rig_touch(&rig, DST, VM_PROT_READ), VM_NOFAULT));
    expect(at(DST, 40), 4, 1000);
    fill(at(DST, 40), NPAGES - 40, 2000);
    expect(at(SRC, 40), 4, 1000);
    fill(at(SRC, 1), NPAGES - 1, 3000);
    expect(at(DST, 40), NPAGES - 40, 2000);
}

CHECKED_TEST(vm_map_copy, a_copy_grows_only_as_far_as_the_copied_range)
{
    map_stack(at(SRC, 40), 40);
    cr_assert(zero(int, copy_pages(at(SRC, 20), DST, NPAGES - 20)));
    cr_expect(eq(int, rig_touch(&rig, DST, VM_PROT_READ), VM_NOFAULT));
    cr_expect(eq(int, rig_touch(&rig, at(DST, 1), VM_PROT_WRITE), VM_OK));
    cr_expect(eq(int, rig_touch(&rig, DST - PAGE_SIZE, VM_PROT_READ), VM_INVALID_ADDRESS));
    cr_assert(zero(int, copy_pages(at(SRC, 42), DST * 2, 4)));
    cr_expect(eq(int, rig_touch(&rig, DST * 2 - PAGE_SIZE, VM_PROT_READ), VM_INVALID_ADDRESS));
}

/* The copy is made at once, because the stack, once it has grown, writes to pages of the source. */
CHECKED_TEST(vm_map_copy, a_stack_that_may_grow_into_the_sources_pages_shares_them)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct vm_map_insert args = args_at(at(SRC, 3 * NPAGES), 8, object);

    cr_assert(zero(int, remove_pages(at(SRC, 16), NPAGES - 16)));
    args.offset = args.growth = 40;
    args.eflags = MAP_ENTRY_GROWDOWN;
    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    fill(SRC, 16, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, 16)));
    fill(at(SRC, 3 * NPAGES - 40) + PAGE_SIZE, 15, 2000);
    expect(at(SRC, 1), 15, 2000);
    expect(DST, 16, 1000);
}

/* --- Errors -------------------------------------------------------------- */

CHECKED_TEST(vm_map_copy, bad_ranges_are_refused)
{
    map_new(SRC, NPAGES);
    cr_expect(eq(int, copy_pages(SRC, DST, 0), -EINVAL));
    cr_expect(eq(int, copy_pages(SRC + 8, DST, 4), -EINVAL));
    cr_expect(eq(int, copy_pages(SRC, DST + 8, 4), -EINVAL));
    cr_expect(eq(int, vm_map_copy(&rig.map, gpa_from_u64(SRC), gpa_from_u64(DST), 100), -EINVAL));
    cr_expect(eq(int, copy_pages(SRC, at(SRC, 3), 4), -EINVAL), "overlapping");
    cr_expect(eq(int, copy_pages(at(SRC, 3), SRC, 4), -EINVAL));
    cr_expect(eq(int, copy_pages(SRC, SRC, 4), -EINVAL));
    cr_expect(eq(int, copy_pages(SRC, PMAP_GPA_END - PAGE_SIZE, 4), -EINVAL));
    cr_expect(eq(int, copy_pages(PMAP_GPA_END - PAGE_SIZE, DST, 4), -EINVAL));
    cr_expect(eq(int, copy_pages(UINT64_MAX - PAGE_MASK, DST, 1), -EINVAL));
    cr_expect(
        eq(int, vm_map_copy(&rig.map, gpa_from_u64(SRC), gpa_from_u64(DST), UINT64_MAX - PAGE_MASK),
           -EINVAL));
    cr_expect(eq(int, copy_pages(SRC, at(SRC, NPAGES), NPAGES), 0), "touching is not overlapping");
}

CHECKED_TEST(vm_map_copy, a_source_without_entries_is_refused)
{
    map_new(SRC, NPAGES);
    cr_expect(eq(int, copy_pages(at(SRC, NPAGES), DST, 4), -ENOENT));
}

CHECKED_TEST(vm_map_copy, a_destination_that_is_taken_is_refused)
{
    map_new(SRC, NPAGES);
    map_new(at(DST, 3), 1);
    map_stack(at(DST, 140), 40);
    cr_expect(eq(int, copy_pages(SRC, DST, 4), -EEXIST));
    cr_expect(eq(int, copy_pages(SRC, at(DST, 99), 2), -EEXIST), "space to grow into");
    cr_expect(not(needs_copy(SRC)));
    cr_expect(eq(int, copy_pages(SRC, DST, 3), 0));
    cr_expect(eq(int, copy_pages(SRC, at(DST, 98), 2), 0));
}

/* What there was before a copy that fails. */
struct before {
    unsigned nentries, nwindows, ref_count;
    uint64_t resident;
};

static struct before
before_copy(const struct vm_object *object)
{
    return (struct before){ rig.map.nentries, rig.pmap.windows.n, object->ref_count,
                            vm_budget_resident(&rig.sys) };
}

static void
expect_nothing_changed(const struct vm_object *object, const struct before *before)
{
    struct before now = before_copy(object);

    cr_expect(eq(uint, now.nentries, before->nentries));
    cr_expect(eq(uint, now.nwindows, before->nwindows));
    cr_expect(eq(uint, now.ref_count, before->ref_count));
    cr_expect(eq(u64, now.resident, before->resident));
    cr_expect(not(needs_copy(at(SRC, 8))));
    rig_audit(&rig);
}

CHECKED_TEST(vm_map_copy, without_memory_nothing_changes)
{
    struct vm_object *object;
    struct before before;
    unsigned n = 0;
    int error;

    object = map_new(SRC, NPAGES);
    map_new(at(SRC, NPAGES), 4);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, vm_map_wire(&rig.map, gpa_from_u64(at(SRC, NPAGES)),
                                    gpa_from_u64(at(SRC, NPAGES + 4)), true)));
    before = before_copy(object);
    do {
        alloc_failure_set(++n);
        error = copy_pages(at(SRC, 8), DST, NPAGES);
        alloc_failure_set(0);
        if (error != 0) {
            cr_expect(eq(int, error, -ENOMEM));
            expect_nothing_changed(object, &before);
        }
    } while (error != 0);
    cr_expect(gt(uint, n, 6));
    expect(DST, NPAGES - 8, 1008);
}

CHECKED_TEST(vm_map_copy, a_window_that_the_machine_refuses_ends_the_copy)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct before before = before_copy(object);

    rig.fake.fail_window_create = -ENOSPC;
    cr_expect(eq(int, copy_pages(SRC, DST, NPAGES), -ENOSPC));
    expect_nothing_changed(object, &before);
}

CHECKED_TEST(vm_map_copy, a_read_error_ends_a_copy_for_real)
{
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, 16, &pager);
    struct vm_map_insert args = args_at(SRC, 16, file);
    struct before before;

    file->flags |= OBJ_WRITEBACK;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    before = before_copy(file);
    pager.result = VM_PAGER_ERROR;
    cr_expect(eq(int, copy_pages(SRC, DST, 16), -EIO));
    expect_nothing_changed(file, &before);
    cr_assert(zero(int, remove_pages(SRC, 16)));
}

CHECKED_TEST(vm_map_copy, a_shadow_that_cannot_be_made_fails_the_write_and_only_that)
{
    map_new(SRC, NPAGES);
    fill(SRC, NPAGES, 1000);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    alloc_failure_set(1);
    cr_expect(eq(int, rig_touch(&rig, DST, VM_PROT_WRITE), VM_HOST_FAILURE));
    alloc_failure_set(0);
    cr_expect(eq(int, rig_info.error, -ENOMEM));
    cr_expect(needs_copy(DST));
    expect(DST, NPAGES, 1000);
    fill(DST, NPAGES, 2000);
    expect(SRC, NPAGES, 1000);
}
