/* SPDX-License-Identifier: BSD-2-Clause */
/* Edits of map entries: protection, advice, SETMAP, INVAL, growth. */
#include "tests/unit/map_rig.h"

#include <criterion/criterion.h>
#include <errno.h>

/* --- Protect ------------------------------------------------------------- */

CHECKED_TEST(vm_map, protect_changes_whole_entries)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(4, 8)) == 0);
    cr_assert(insert(normal(8, 12)) == 0);
    cr_assert(vm_map_protect(&map, at(0), at(8), VM_PROT_READ) == 0);
    cr_expect(lookup(at(0), VM_PROT_WRITE, NULL) == VM_PROTECTION);
    cr_expect(lookup(at(7), VM_PROT_WRITE, NULL) == VM_PROTECTION);
    cr_assert(lookup(at(8), VM_PROT_WRITE, &found) == VM_OK);
    cr_expect(found.prot == VM_PROT_ALL);
    cr_assert(vm_map_protect(&map, at(0), at(4), VM_PROT_RW) == 0);
    cr_assert(lookup(at(0), VM_PROT_WRITE, &found) == VM_OK);
    cr_expect(found.prot == VM_PROT_RW);
}

CHECKED_TEST(vm_map, protect_of_a_range_with_a_gap_changes_nothing)
{
    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(4, 8)) == 0);
    cr_assert(insert(normal(9, 12)) == 0);
    cr_expect(vm_map_protect(&map, at(4), at(12), VM_PROT_READ) == -EINVAL);
    cr_expect(vm_map_protect(&map, at(9), at(13), VM_PROT_READ) == -EINVAL);
    cr_expect(vm_map_protect(&map, at(8), at(9), VM_PROT_READ) == -EINVAL);
    cr_expect(vm_map_protect(&map, gpa_from_u64(8), at(4), VM_PROT_READ) == -EINVAL);
    cr_expect(lookup(at(0), VM_PROT_WRITE, NULL) == VM_OK);
    cr_expect(lookup(at(9), VM_PROT_WRITE, NULL) == VM_OK);
    cr_expect(map.nentries == 3);
}

CHECKED_TEST(vm_map, protect_of_a_part_clips_and_protect_back_merges)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 8)) == 0);
    for (uint64_t i = 0; i < 8; i++)
        cr_assert(enter(at(i), page(i), VM_PROT_RW) == 0);
    cr_assert(vm_map_protect(&map, at(3), at(5), VM_PROT_READ | VM_PROT_EXECUTE) == 0);
    vm_map_audit(&map);
    cr_expect(map.nentries == 3 && object->ref_count == 4);
    for (uint64_t i = 0; i < 8; i++) {
        bool inside = i == 3 || i == 4;

        cr_expect(lookup(at(i), VM_PROT_WRITE, NULL) == (inside ? VM_PROTECTION : VM_OK));
        cr_expect(pmap_extract(&pmap, at(i), NULL) == (inside ? VM_PROT_READ : VM_PROT_RW));
        cr_assert(lookup(at(i), VM_PROT_READ, &found) == VM_OK);
        cr_expect(found.pindex == i);
    }
    cr_assert(vm_map_protect(&map, at(2), at(6), VM_PROT_ALL) == 0);
    cr_expect(map.nentries == 1 && object->ref_count == 2 && pmap.windows.n == 1);
}

CHECKED_TEST(vm_map, only_what_continues_an_entry_in_every_way_is_merged_with_it)
{
    struct vm_map_insert args = normal(4, 8);

    cr_assert(insert(normal(0, 4)) == 0);
    args.offset = 5;
    cr_assert(insert(args) == 0);
    cr_assert(vm_map_advise(&map, at(0), at(8), VM_ADVICE_RANDOM) == 0);
    cr_expect(map.nentries == 2, "other pages of the object");
    cr_assert(vm_map_remove(&map, at(4), at(8)) == 0);
    args.offset = 4;
    args.max_protection = VM_PROT_ALL;
    args.eflags = MAP_ENTRY_NOSYNC;
    cr_assert(insert(args) == 0);
    cr_assert(vm_map_advise(&map, at(0), at(8), VM_ADVICE_RANDOM) == 0);
    cr_expect(map.nentries == 2, "other flags");
    cr_assert(vm_map_remove(&map, at(4), at(8)) == 0);
    args.eflags = 0;
    args.advice = VM_ADVICE_RANDOM;
    cr_assert(insert(args) == 0);
    cr_assert(vm_map_protect(&map, at(4), at(8), VM_PROT_RW) == 0);
    cr_expect(map.nentries == 2, "other protection");
    cr_assert(vm_map_protect(&map, at(4), at(8), VM_PROT_ALL) == 0);
    cr_expect(map.nentries == 1, "entries that were inserted one by one merge too");
    cr_assert(insert(vpagetable(8, 12)) == 0);
    args = vpagetable(12, 16);
    args.offset = 4;
    args.root = 0x3007;
    cr_assert(insert(args) == 0);
    cr_assert(vm_map_advise(&map, at(8), at(16), VM_ADVICE_RANDOM) == 0);
    cr_expect(map.nentries == 3, "another root");
    cr_assert(insert(guard(20, 24)) == 0);
    cr_assert(insert(guard(24, 28)) == 0);
    cr_assert(vm_map_advise(&map, at(20), at(28), VM_ADVICE_RANDOM) == 0);
    cr_expect(map.nentries == 4, "guards merge");
}

CHECKED_TEST(vm_map, protect_above_the_maximum_of_any_entry_changes_nothing)
{
    struct vm_map_insert args = normal(4, 8);

    args.protection = args.max_protection = VM_PROT_READ;
    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(args) == 0);
    cr_expect(vm_map_protect(&map, at(0), at(8), VM_PROT_RW) == -EACCES);
    cr_expect(lookup(at(0), VM_PROT_EXECUTE, NULL) == VM_OK);
}

CHECKED_TEST(vm_map, mappings_lose_what_protect_forbids)
{
    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(4, 8)) == 0);
    cr_assert(enter(at(0), page(0), VM_PROT_RW) == 0);
    cr_assert(enter(at(1), page(1), VM_PROT_READ) == 0);
    cr_assert(enter(at(4), page(4), VM_PROT_RW) == 0);
    cr_assert(vm_map_protect(&map, at(0), at(4), VM_PROT_READ | VM_PROT_EXECUTE) == 0);
    cr_expect(pmap_extract(&pmap, at(0), NULL) == VM_PROT_READ);
    cr_expect(pmap_extract(&pmap, at(1), NULL) == VM_PROT_READ);
    cr_expect(pmap_extract(&pmap, at(4), NULL) == VM_PROT_RW, "not in the range");
    cr_assert(vm_map_protect(&map, at(0), at(4), VM_PROT_READ) == 0);
    cr_expect(!mapped(0) && !mapped(1), "EXECUTE was taken: the next access is checked afresh");
    cr_assert(vm_map_protect(&map, at(4), at(8), VM_PROT_NONE) == 0);
    cr_expect(!mapped(4));
}

CHECKED_TEST(vm_map, more_protection_leaves_the_mappings)
{
    struct vm_map_insert args = normal(0, 4);

    args.protection = VM_PROT_READ;
    cr_assert(insert(args) == 0);
    cr_assert(enter(at(0), page(0), VM_PROT_READ) == 0);
    cr_assert(vm_map_protect(&map, at(0), at(4), VM_PROT_ALL) == 0);
    cr_expect(pmap_extract(&pmap, at(0), NULL) == VM_PROT_READ && fake.removes == 0);
}

/* --- Advice -------------------------------------------------------------- */

CHECKED_TEST(vm_map, advice_is_kept_in_the_entries_inside_the_range)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(6, 8)) == 0);
    cr_assert(insert(normal(8, 12)) == 0);
    cr_assert(vm_map_advise(&map, at(0), at(8), VM_ADVICE_SEQUENTIAL) == 0);
    cr_assert(lookup(at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->advice == VM_ADVICE_SEQUENTIAL);
    cr_assert(lookup(at(6), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->advice == VM_ADVICE_SEQUENTIAL);
    cr_assert(lookup(at(8), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->advice == VM_ADVICE_NORMAL);
}

CHECKED_TEST(vm_map, advice_for_a_part_of_an_entry_is_for_that_part)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 8)) == 0);
    cr_assert(vm_map_advise(&map, at(2), at(20), VM_ADVICE_RANDOM) == 0);
    cr_assert(lookup(at(1), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->advice == VM_ADVICE_NORMAL);
    cr_assert(lookup(at(2), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->advice == VM_ADVICE_RANDOM && found.pindex == 2);
}

CHECKED_TEST(vm_map, bad_advice_is_refused)
{
    cr_assert(insert(normal(0, 4)) == 0);
    cr_expect(vm_map_advise(&map, at(0), at(4), (enum vm_map_advice)3) == -EINVAL);
    cr_expect(vm_map_advise(&map, at(2), at(2), VM_ADVICE_RANDOM) == -EINVAL);
    cr_expect(vm_map_advise(&map, gpa_from_u64(1), at(4), VM_ADVICE_RANDOM) == -EINVAL);
    cr_expect(vm_map_advise(&map, at(4), at(8), VM_ADVICE_RANDOM) == -ENOENT);
    cr_expect(TAILQ_FIRST(&map.entries)->advice == VM_ADVICE_NORMAL);
}

/* --- SETMAP and INVAL ---------------------------------------------------- */

CHECKED_TEST(vm_map, setmap_replaces_the_root_and_drops_the_ranges_mappings)
{
    struct vm_map_lookup found;

    cr_assert(insert(vpagetable(0, 4)) == 0);
    cr_assert(insert(vpagetable(4, 8)) == 0);
    cr_assert(enter(at(1), page(1), VM_PROT_RW) == 0);
    cr_assert(enter(at(4), page(4), VM_PROT_RW) == 0);
    cr_assert(vm_map_setmap(&map, at(0), at(4), 0x5003) == 0);
    cr_assert(lookup(at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->root == 0x5003);
    cr_assert(lookup(at(4), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.entry->root == 0x1007);
    cr_expect(!mapped(1) && mapped(4));
    cr_expect(vm_meter_get(&map.meter, v_setmap) == 1 && vm_meter_get(&map.meter, v_inval) == 0);
}

CHECKED_TEST(vm_map, setmap_of_a_part_or_of_several_entries_is_for_that_range)
{
    struct vm_map_lookup found;

    cr_assert(insert(vpagetable(0, 4)) == 0);
    cr_assert(insert(vpagetable(4, 8)) == 0);
    for (uint64_t i = 0; i < 8; i++)
        cr_assert(enter(at(i), page(i), VM_PROT_RW) == 0);
    cr_assert(vm_map_setmap(&map, at(1), at(6), 0x5003) == 0);
    for (uint64_t i = 0; i < 8; i++) {
        bool inside = i >= 1 && i < 6;

        cr_assert(lookup(at(i), VM_PROT_READ, &found) == VM_OK);
        cr_expect(found.entry->root == (inside ? 0x5003 : 0x1007) && found.pindex == i % 4);
        cr_expect(mapped(i) == !inside);
    }
    cr_assert(vm_map_setmap(&map, at(0), at(8), 0x6003) == 0, "whole entries now");
    cr_expect(vm_meter_get(&map.meter, v_setmap) == 2);
    cr_assert(vm_map_setmap(&map, at(3), at(8), 0x1007) == 0);
    cr_assert(vm_map_setmap(&map, at(0), at(3), 0x1007) == 0);
    vm_map_audit(&map);
}

CHECKED_TEST(vm_map, setmap_is_for_vpagetable_entries)
{
    cr_assert(insert(vpagetable(0, 4)) == 0);
    cr_assert(insert(vpagetable(4, 8)) == 0);
    cr_assert(insert(normal(8, 12)) == 0);
    cr_assert(insert(guard(12, 13)) == 0);
    cr_assert(enter(at(1), page(1), VM_PROT_RW) == 0);
    cr_expect(vm_map_setmap(&map, at(0), at(9), 0) == -EINVAL);
    cr_expect(vm_map_setmap(&map, at(8), at(12), 0) == -EINVAL);
    cr_expect(vm_map_setmap(&map, at(12), at(13), 0) == -EINVAL);
    cr_expect(vm_map_setmap(&map, gpa_from_u64(1), at(4), 0) == -EINVAL);
    cr_expect(vm_map_setmap(&map, at(4), at(0), 0) == -EINVAL);
    cr_expect(vm_map_setmap(&map, at(12), at(16), 0) == -ENOENT);
    cr_expect(mapped(1) && vm_meter_get(&map.meter, v_setmap) == 0 && map.nentries == 4);
}

CHECKED_TEST(vm_map, inval_drops_the_mappings_of_the_range_and_keeps_the_data)
{
    uint64_t value = 0;

    cr_assert(insert(vpagetable(0, 4)) == 0);
    cr_assert(insert(normal(4, 8)) == 0);
    for (uint64_t i = 0; i < 8; i++)
        cr_assert(enter(at(i), page(i), VM_PROT_RW) == 0);
    cr_assert(fake_guest_store(&fake, at(3), 0xbeef));
    cr_assert(vm_map_inval(&map, at(3), at(6)) == 0);
    for (uint64_t i = 0; i < 8; i++)
        cr_expect(mapped(i) == (i < 3 || i >= 6));
    cr_assert(enter(at(3), page(3), VM_PROT_READ) == 0);
    cr_expect(fake_guest_load(&fake, at(3), &value) && value == 0xbeef);
    cr_expect(vm_meter_get(&map.meter, v_inval) == 1 && vm_meter_get(&map.meter, v_setmap) == 0);
}

CHECKED_TEST(vm_map, inval_needs_entries_all_over_the_range)
{
    cr_assert(insert(normal(4, 8)) == 0);
    cr_assert(insert(guard(8, 10)) == 0);
    cr_assert(insert(normal(10, 12)) == 0);
    cr_assert(insert(normal(13, 16)) == 0);
    cr_assert(enter(at(5), page(5), VM_PROT_RW) == 0);
    cr_expect(vm_map_inval(&map, at(3), at(6)) == -ENOENT);
    cr_expect(vm_map_inval(&map, at(5), at(13)) == -ENOENT);
    cr_expect(vm_map_inval(&map, at(5), at(14)) == -ENOENT);
    cr_expect(vm_map_inval(&map, at(14), at(17)) == -ENOENT);
    cr_expect(vm_map_inval(&map, at(20), at(21)) == -ENOENT);
    cr_expect(vm_map_inval(&map, at(5), at(5)) == -EINVAL);
    cr_expect(vm_map_inval(&map, at(6), at(5)) == -EINVAL);
    cr_expect(vm_map_inval(&map, gpa_from_u64(5 * PAGE_SIZE + 8), at(6)) == -EINVAL);
    cr_expect(vm_map_inval(&map, at(5), gpa_from_u64(UINT64_MAX)) == -EINVAL);
    cr_expect(mapped(5) && vm_meter_get(&map.meter, v_inval) == 0);
    cr_expect(vm_map_inval(&map, at(5), at(12)) == 0, "a guard is an entry too");
    cr_expect(!mapped(5));
}

/* --- Growing down -------------------------------------------------------- */

/* Pages 40 to 44 of the object at `start`, which may grow by 40 pages but one. */
static struct vm_map_insert
stack(uint64_t start)
{
    struct vm_map_insert args = normal(start, start + 4);

    args.offset = 40;
    args.growth = 40;
    args.eflags = MAP_ENTRY_GROWDOWN;
    args.protection = VM_PROT_RW;
    return args;
}

CHECKED_TEST(vm_map, an_access_below_a_growdown_entry_makes_it_larger)
{
    struct vm_map_lookup found;

    cr_assert(insert(stack(100)) == 0);
    cr_assert(lookup(at(99), VM_PROT_WRITE, &found) == VM_OK);
    cr_expect(found.pindex == 39 && map.nentries == 1);
    cr_expect(found.entry->start.value == at(68).value, "by 32 pages at least");
    cr_expect(found.entry->growth == 8);
    cr_assert(lookup(at(63), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.pindex == 3 && found.entry->start.value == at(61).value && map.nentries == 1);
    cr_assert(enter(at(61), page(1), VM_PROT_RW) == 0);
    cr_expect(fake.foreign_pages == 0, "its window was there from the beginning");
}

CHECKED_TEST(vm_map, the_last_page_an_entry_could_grow_into_is_a_guard)
{
    cr_assert(insert(stack(100)) == 0);
    cr_expect(lookup(at(60), VM_PROT_READ, NULL) == VM_NOFAULT);
    cr_expect(lookup(at(61), VM_PROT_READ, NULL) == VM_OK);
    cr_expect(lookup(at(60), VM_PROT_READ, NULL) == VM_NOFAULT);
    cr_expect(lookup(at(59), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
}

CHECKED_TEST(vm_map, an_access_that_is_forbidden_does_not_make_an_entry_grow)
{
    struct vm_map_lookup found;

    cr_assert(insert(stack(100)) == 0);
    cr_expect(lookup(at(99), VM_PROT_EXECUTE, &found) == VM_PROTECTION);
    cr_expect(found.prot == VM_PROT_RW && TAILQ_FIRST(&map.entries)->start.value == at(100).value);
}

CHECKED_TEST(vm_map, space_to_grow_into_is_taken)
{
    cr_assert(insert(stack(100)) == 0);
    cr_expect(insert(normal(58, 61)) == -EEXIST);
    cr_expect(insert(normal(70, 71)) == -EEXIST);
    cr_expect(insert(guard(99, 100)) == -EEXIST);
    cr_expect(insert(stack(102)) == -EEXIST);
    cr_expect(insert(normal(56, 60)) == 0);
    cr_expect(insert(stack(140)) == -EEXIST, "its growth reaches the other's pages");
    cr_expect(insert(stack(144)) == 0);
}

CHECKED_TEST(vm_map, growth_needs_the_flag_pages_of_the_object_and_addresses)
{
    struct vm_map_insert args = stack(100);

    args.eflags = 0;
    cr_expect(insert(args) == -EINVAL);
    args = stack(100);
    args.offset = 39;
    cr_expect(insert(args) == -EINVAL);
    cr_expect(insert(stack(39)) == -EINVAL);
    args = guard(100, 104);
    args.eflags |= MAP_ENTRY_GROWDOWN;
    args.growth = 1;
    cr_expect(insert(args) == -EINVAL);
    args = normal(0, 4);
    args.eflags = MAP_ENTRY_USER_WIRED;
    cr_expect(insert(args) == -EINVAL, "nor can an entry be born wired");
    cr_expect(insert(stack(40)) == 0);
}

CHECKED_TEST(vm_map, growth_stays_with_the_lowest_part_and_goes_with_it)
{
    cr_assert(insert(stack(100)) == 0);
    cr_assert(vm_map_protect(&map, at(102), at(104), VM_PROT_READ) == 0);
    cr_assert(vm_map_remove(&map, at(102), at(104)) == 0);
    cr_expect(lookup(at(99), VM_PROT_READ, NULL) == VM_OK);
    cr_assert(vm_map_remove(&map, at(68), at(69)) == 0, "its lowest page");
    cr_expect(lookup(at(67), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(insert(normal(60, 69)) == 0 && map.nentries == 2 && pmap.windows.n == 1);
    vm_map_audit(&map);
}

CHECKED_TEST(vm_map, an_entry_grows_once_for_many_that_want_it)
{
    struct vm_map_lookup found;

    cr_assert(insert(stack(100)) == 0);
    cr_assert(lookup(at(99), VM_PROT_READ, NULL) == VM_OK);
    for (uint64_t i = 68; i < 100; i++) {
        cr_assert(lookup(at(i), VM_PROT_READ, &found) == VM_OK);
        cr_expect(found.entry->start.value == at(68).value);
    }
    cr_expect(map.nentries == 1);
}

/* --- What was found before does not matter ------------------------------- */

/* Look pages 0 to 199 up, and where the entry around page 100 begins and ends. */
static void
look_around(gpa_t *start, gpa_t *end)
{
    struct vm_map_lookup found = { 0 };

    for (uint64_t i = 0; i < 200; i++)
        (void)lookup(at(i), VM_PROT_READ, NULL);
    cr_assert(lookup(at(100), VM_PROT_READ, &found) == VM_OK);
    *start = found.entry->start;
    *end = found.entry->end;
}

CHECKED_TEST(vm_map, a_lookup_sees_an_entry_that_was_clipped_merged_grown_or_removed)
{
    gpa_t start, end;

    cr_assert(insert(stack(100)) == 0);
    look_around(&start, &end);
    cr_assert(vm_map_protect(&map, at(102), at(103), VM_PROT_READ) == 0);
    look_around(&start, &end);
    cr_expect(end.value == at(102).value, "clipped");
    cr_assert(vm_map_protect(&map, at(102), at(103), VM_PROT_RW) == 0);
    look_around(&start, &end);
    cr_expect(end.value > at(103).value, "merged");
    cr_expect(start.value < at(100).value, "grown by the lookups below it");
    cr_assert(vm_map_remove(&map, at(100), at(101)) == 0);
    cr_expect(lookup(at(100), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(lookup(at(99), VM_PROT_READ, NULL) == VM_OK);
    cr_expect(lookup(at(101), VM_PROT_READ, NULL) == VM_OK);
    cr_assert(insert(normal(100, 101)) == 0);
    look_around(&start, &end);
    cr_expect(start.value == at(100).value && end.value == at(101).value, "another one");
}
