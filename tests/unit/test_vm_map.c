/* SPDX-License-Identifier: BSD-2-Clause */
/* The map: what inserts, removes and lookups do, and what the audit sees. */
#include "vmm/vpagetable/vm_map.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/map_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>

TestSuite(vm_map, .timeout = 60);

/* --- Insert -------------------------------------------------------------- */

CHECKED_TEST(vm_map, an_inserted_entry_is_found_with_all_it_was_given)
{
    struct vm_map_insert args = vpagetable(8, 16);
    struct vm_map_lookup found;

    args.offset = 100;
    args.protection = VM_PROT_RW;
    args.advice = VM_ADVICE_RANDOM;
    args.eflags = MAP_ENTRY_NOSYNC;
    cr_assert(insert(args) == 0);
    cr_assert(lookup(gpa_from_u64(10 * PAGE_SIZE + 77), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.object == object && found.pindex == 102 && !found.wired);
    cr_expect(found.prot == VM_PROT_RW);
    cr_expect(found.entry->start.value == at(8).value && found.entry->end.value == at(16).value);
    cr_expect(found.entry->maptype == VM_MAPTYPE_VPAGETABLE && found.entry->root == 0x1007);
    cr_expect(found.entry->format == &vpte64_format && found.entry->offset == 100);
    cr_expect(found.entry->max_protection == VM_PROT_ALL);
    cr_expect(found.entry->advice == VM_ADVICE_RANDOM && found.entry->eflags == MAP_ENTRY_NOSYNC);
    cr_expect(map.nentries == 1 && object->ref_count == 2);
}

CHECKED_TEST(vm_map, a_normal_entry_has_a_window_on_the_objects_frames)
{
    struct vm_map_insert args = normal(8, 16);

    args.offset = 30;
    cr_assert(insert(args) == 0);
    cr_expect(fake.windows_created == 1);
    cr_assert(enter(at(10), page(32), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 0);
    cr_expect(enter(at(16), page(33), VM_PROT_READ) == -ENOENT);
}

CHECKED_TEST(vm_map, a_vpagetable_entry_has_a_window_without_natural_frames)
{
    cr_assert(insert(vpagetable(8, 16)) == 0);
    cr_assert(enter(at(10), page(2), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 1);
}

CHECKED_TEST(vm_map, a_guard_has_no_window)
{
    cr_assert(insert(guard(8, 16)) == 0);
    cr_expect(fake.windows_created == 0 && map.nentries == 1);
    cr_expect(vm_map_remove(&map, at(8), at(16)) == 0);
}

CHECKED_TEST(vm_map, an_entry_with_a_bad_range_is_refused)
{
    struct vm_map_insert args = normal(8, 16);

    cr_expect(insert(normal(8, 8)) == -EINVAL);
    cr_expect(insert(normal(9, 8)) == -EINVAL);
    args.start.value += 1;
    cr_expect(insert(args) == -EINVAL);
    args = normal(8, 16);
    args.end.value -= 512;
    cr_expect(insert(args) == -EINVAL);
    args = normal(8, 16);
    args.start = gpa_from_u64(PMAP_GPA_END - PAGE_SIZE);
    args.end = gpa_from_u64(PMAP_GPA_END + PAGE_SIZE);
    cr_expect(insert(args) == -EINVAL);
    args.object = NULL;
    args.eflags = MAP_ENTRY_NOFAULT;
    cr_expect(insert(args) == -EINVAL, "a guard, which no window stops, neither");
    cr_expect(map.nentries == 0 && fake.windows_created == 0 && object->ref_count == 1);
}

CHECKED_TEST(vm_map, protection_above_the_maximum_is_refused)
{
    struct vm_map_insert args = normal(8, 16);

    args.max_protection = VM_PROT_READ | VM_PROT_EXECUTE;
    cr_expect(insert(args) == -EINVAL);
    args.protection = VM_PROT_EXECUTE;
    cr_expect(insert(args) == 0);
}

CHECKED_TEST(vm_map, a_vpagetable_entry_needs_a_format)
{
    struct vm_map_insert args = vpagetable(8, 16);

    args.format = NULL;
    cr_expect(insert(args) == -EINVAL);
}

CHECKED_TEST(vm_map, an_entry_needs_an_object_and_a_guard_has_none)
{
    struct vm_map_insert args = normal(8, 16);

    args.object = NULL;
    cr_expect(insert(args) == -EINVAL);
    args = guard(8, 16);
    args.object = object;
    cr_expect(insert(args) == -EINVAL);
}

CHECKED_TEST(vm_map, a_normal_entry_beyond_its_object_is_refused)
{
    struct vm_map_insert args = normal(0, OBJECT_PAGES + 1);

    cr_expect(insert(args) == -EINVAL);
    args = normal(0, 8);
    args.offset = OBJECT_PAGES - 7;
    cr_expect(insert(args) == -EINVAL);
    args.offset = UINT64_MAX;
    cr_expect(insert(args) == -EINVAL);
    args.offset = OBJECT_PAGES - 8;
    cr_expect(insert(args) == 0);
}

CHECKED_TEST(vm_map, a_vpagetable_entry_may_be_larger_than_its_object_but_not_wrap)
{
    struct vm_map_insert args = vpagetable(0, OBJECT_PAGES * 4);

    args.offset = UINT64_MAX - OBJECT_PAGES * 4 + 1;
    cr_expect(insert(args) == -EINVAL);
    args.offset = 0;
    cr_expect(insert(args) == 0);
}

CHECKED_TEST(vm_map, an_entry_that_overlaps_another_is_refused)
{
    cr_assert(insert(normal(8, 16)) == 0);
    cr_assert(insert(guard(20, 24)) == 0);
    cr_expect(insert(normal(8, 16)) == -EEXIST);
    cr_expect(insert(normal(0, 9)) == -EEXIST);
    cr_expect(insert(normal(15, 17)) == -EEXIST);
    cr_expect(insert(normal(10, 11)) == -EEXIST);
    cr_expect(insert(normal(0, 30)) == -EEXIST);
    cr_expect(insert(guard(23, 25)) == -EEXIST);
    cr_expect(insert(normal(16, 20)) == 0, "touching is not overlapping");
    cr_expect(insert(normal(0, 8)) == 0);
    cr_expect(map.nentries == 4 && object->ref_count == 4);
}

CHECKED_TEST(vm_map, when_the_machine_refuses_the_window_there_is_no_entry)
{
    fake.fail_window_create = -ENOSPC;
    cr_expect(insert(normal(8, 16)) == -ENOSPC);
    cr_expect(map.nentries == 0 && object->ref_count == 1);
    cr_expect(lookup(at(8), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(insert(normal(8, 16)) == 0);
}

CHECKED_TEST(vm_map, without_memory_there_is_no_entry)
{
    for (unsigned n = 1; n <= 4; n++) {
        alloc_failure_set(n);
        cr_expect(insert(normal(8, 16)) == -ENOMEM, "allocation %u", n);
        alloc_failure_set(0);
        cr_expect(map.nentries == 0 && object->ref_count == 1 && pmap.windows.n == 0);
    }
    cr_expect(insert(normal(8, 16)) == 0);
}

CHECKED_TEST(vm_map, ten_thousand_entries_are_kept_in_order)
{
    /* 7919 is prime: every number below 10,000 once, in no order. */
    for (uint64_t n = 0; n < 10000; n++)
        cr_assert(insert(normal(2 * (n * 7919 % 10000), 2 * (n * 7919 % 10000) + 1)) == 0);
    vm_map_audit(&map);
    for (uint64_t n = 0; n < 10000; n++) {
        cr_assert(lookup(at(2 * n), VM_PROT_READ, NULL) == VM_OK);
        cr_assert(lookup(at(2 * n + 1), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    }
    cr_assert(vm_map_remove(&map, at(5000), at(15000)) == 0);
    vm_map_audit(&map);
    cr_expect(map.nentries == 5000 && object->ref_count == 5001);
}

/* --- Remove -------------------------------------------------------------- */

CHECKED_TEST(vm_map, removed_entries_lose_window_mappings_and_reference)
{
    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(8, 12)) == 0);
    cr_assert(insert(guard(12, 13)) == 0);
    cr_assert(insert(vpagetable(16, 20)) == 0);
    cr_assert(enter(at(9), page(1), VM_PROT_RW) == 0);
    cr_assert(enter(at(17), page(2), VM_PROT_RW) == 0);
    cr_assert(vm_map_remove(&map, at(6), at(16)) == 0);
    cr_expect(map.nentries == 2 && object->ref_count == 3 && fake.windows_destroyed == 1);
    cr_expect(!mapped(9) && mapped(17) && !pmap_page_is_mapped(page(1)));
    cr_expect(lookup(at(9), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(lookup(at(3), VM_PROT_READ, NULL) == VM_OK);
    cr_expect(lookup(at(16), VM_PROT_READ, NULL) == VM_OK);
}

CHECKED_TEST(vm_map, a_range_that_cuts_entries_removes_just_that_part)
{
    struct vm_map_insert args = normal(4, 12);
    struct vm_map_lookup found;

    args.offset = 100;
    cr_assert(insert(args) == 0);
    cr_assert(insert(normal(12, 16)) == 0);
    for (uint64_t i = 4; i < 12; i++)
        cr_assert(enter(at(i), page(96 + i), VM_PROT_RW) == 0);
    cr_assert(vm_map_remove(&map, at(6), at(8)) == 0, "a hole in the middle");
    cr_assert(vm_map_remove(&map, at(11), at(13)) == 0, "the end of one and the begin of another");
    vm_map_audit(&map);
    cr_expect(map.nentries == 3 && object->ref_count == 4 && fake.windows_destroyed == 0);
    for (uint64_t i = 4; i < 12; i++) {
        bool gone = i == 6 || i == 7 || i == 11;

        cr_expect(mapped(i) == !gone, "page %u", (unsigned)i);
        cr_expect(lookup(at(i), VM_PROT_READ, &found) == (gone ? VM_INVALID_ADDRESS : VM_OK));
        cr_expect(gone || found.pindex == 96 + i);
    }
    cr_expect(lookup(at(12), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_assert(lookup(at(13), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.pindex == 1);
}

CHECKED_TEST(vm_map, a_window_goes_with_the_last_entry_in_it)
{
    cr_assert(insert(normal(4, 12)) == 0);
    cr_assert(vm_map_remove(&map, at(4), at(7)) == 0);
    cr_assert(vm_map_remove(&map, at(9), at(12)) == 0);
    cr_expect(fake.windows_destroyed == 0 && pmap.windows.n == 1);
    cr_assert(vm_map_remove(&map, at(0), at(20)) == 0);
    cr_expect(fake.windows_destroyed == 1 && pmap.windows.n == 0);
}

CHECKED_TEST(vm_map, what_is_inserted_in_a_hole_of_a_window_uses_it_as_far_as_it_goes)
{
    struct vm_map_insert args = normal(2, 6);

    cr_assert(insert(normal(4, 12)) == 0);
    cr_assert(vm_map_remove(&map, at(4), at(8)) == 0);
    args.offset = 50;
    cr_assert(insert(args) == 0);
    cr_expect(fake.windows_created == 2, "one more for pages 2 and 3");
    for (uint64_t i = 2; i < 6; i++)
        cr_assert(enter(at(i), page(48 + i), VM_PROT_RW) == 0);
    cr_expect(fake.foreign_pages == 2, "the hole's window has other natural frames");
    cr_assert(vm_map_remove(&map, at(8), at(12)) == 0);
    cr_expect(pmap.windows.n == 2 && mapped(5), "the entry that came later is still in it");
    cr_assert(vm_map_remove(&map, at(5), at(6)) == 0);
    cr_assert(vm_map_remove(&map, at(4), at(5)) == 0);
    cr_expect(pmap.windows.n == 1 && mapped(3));
}

CHECKED_TEST(vm_map, one_enter_reaches_over_windows)
{
    struct vm_page *m[4];
    vm_prot_t prot[4] = { VM_PROT_RW, VM_PROT_RW, VM_PROT_RW, VM_PROT_RW };
    struct pmap_entered entered;

    cr_assert(insert(normal(2, 4)) == 0);
    cr_assert(insert(normal(4, 6)) == 0);
    for (unsigned demand = 0; demand < 4; demand++) {
        pmap_remove(&pmap, at(2), at(6));
        for (unsigned i = 0; i < 4; i++)
            m[i] = page(i);
        cr_assert(pmap_enter(&pmap, NULL, at(2), m, prot, 4, demand, &entered) == 0);
        cr_expect(entered.npages == 4 && mapped(2) && mapped(3) && mapped(4) && mapped(5));
    }
    pmap_remove(&pmap, at(2), at(6));
    fake_pmap_fail_next_enter(&fake, -EFAULT, 0);
    cr_assert(pmap_enter(&pmap, NULL, at(2), m, prot, 4, 3, &entered) == 0);
    cr_expect(entered.npages == 2 && mapped(5), "what fails in one window is not the other's");
}

CHECKED_TEST(vm_map, when_a_window_for_the_rest_is_refused_nothing_is_left)
{
    struct vm_map_insert args = normal(2, 14);

    cr_assert(insert(normal(4, 12)) == 0);
    cr_assert(vm_map_remove(&map, at(4), at(11)) == 0);
    args.end = at(8);
    fake.fail_window_create = -ENOSPC;
    cr_expect(insert(args) == -ENOSPC);
    cr_expect(pmap.windows.n == 1 && map.nentries == 1 && object->ref_count == 2);
}

CHECKED_TEST(vm_map, without_memory_to_clip_nothing_changes)
{
    cr_assert(insert(normal(4, 12)) == 0);
    for (unsigned n = 1; n <= 2; n++) {
        alloc_failure_set(n);
        cr_expect(vm_map_remove(&map, at(6), at(8)) == -ENOMEM);
        alloc_failure_set(n);
        cr_expect(vm_map_protect(&map, at(6), at(8), VM_PROT_READ) == -ENOMEM);
        alloc_failure_set(n);
        cr_expect(vm_map_advise(&map, at(6), at(8), VM_ADVICE_RANDOM) == -ENOMEM);
        alloc_failure_set(n);
        cr_expect(vm_map_wire(&map, at(6), at(8), true) == -ENOMEM);
        alloc_failure_set(0);
        cr_expect(map.nentries == 1 && object->ref_count == 2);
    }
    cr_assert(insert(vpagetable(12, 20)) == 0);
    alloc_failure_set(1);
    cr_expect(vm_map_setmap(&map, at(14), at(16), 0) == -ENOMEM);
    alloc_failure_set(0);
    cr_expect(map.nentries == 2 && vm_meter_get(&map.meter, v_setmap) == 0);
}

CHECKED_TEST(vm_map, removing_a_bad_or_empty_range_is_refused)
{
    cr_assert(insert(normal(4, 8)) == 0);
    cr_expect(vm_map_remove(&map, gpa_from_u64(1), at(12)) == -EINVAL);
    cr_expect(vm_map_remove(&map, at(0), gpa_from_u64(UINT64_MAX)) == -EINVAL);
    cr_expect(vm_map_remove(&map, at(8), at(4)) == -EINVAL);
    cr_expect(vm_map_remove(&map, at(4), at(4)) == -EINVAL);
    cr_expect(vm_map_remove(&map, at(0), at(4)) == -ENOENT);
    cr_expect(vm_map_remove(&map, at(8), at(100)) == -ENOENT);
    cr_expect(map.nentries == 1);
}

/* --- What the host waits for --------------------------------------------- */

static enum vm_result seen_result;

static int
looking_window_create(void *md, struct pmap_window *w)
{
    seen_result = lookup(w->start, VM_PROT_READ, NULL);
    return fake_pmap_ops.window_create(md, w);
}

static void
looking_window_destroy(void *md, struct pmap_window *w)
{
    seen_result = lookup(w->start, VM_PROT_READ, NULL);
    fake_pmap_ops.window_destroy(md, w);
}

/* Changing memslots waits for vCPUs that are inside a fault, and a fault looks up the map. */
CHECKED_TEST(vm_map, a_fault_can_use_the_map_while_a_window_comes_or_goes)
{
    struct pmap_ops ops = fake_pmap_ops;

    ops.window_create = looking_window_create;
    ops.window_destroy = looking_window_destroy;
    pmap.ops = &ops;
    seen_result = VM_OK;
    cr_assert(insert(normal(8, 16)) == 0);
    cr_expect(seen_result == VM_INVALID_ADDRESS, "the window is there before the entry");
    seen_result = VM_OK;
    cr_assert(vm_map_remove(&map, at(8), at(16)) == 0);
    cr_expect(seen_result == VM_INVALID_ADDRESS, "the entry is gone before the window");
    pmap.ops = &fake_pmap_ops;
}

/* --- Lookup -------------------------------------------------------------- */

CHECKED_TEST(vm_map, an_address_outside_all_entries_is_invalid)
{
    cr_assert(insert(normal(8, 16)) == 0);
    cr_expect(lookup(gpa_from_u64(8 * PAGE_SIZE - 1), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(lookup(at(8), VM_PROT_READ, NULL) == VM_OK);
    cr_expect(lookup(gpa_from_u64(16 * PAGE_SIZE - 1), VM_PROT_READ, NULL) == VM_OK);
    cr_expect(lookup(at(16), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(lookup(gpa_from_u64(UINT64_MAX), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
}

CHECKED_TEST(vm_map, a_guard_never_resolves)
{
    cr_assert(insert(guard(8, 16)) == 0);
    cr_expect(lookup(at(8), VM_PROT_READ, NULL) == VM_NOFAULT);
    cr_expect(lookup(at(15), VM_PROT_WRITE, NULL) == VM_NOFAULT);
}

CHECKED_TEST(vm_map, every_access_is_checked_against_every_protection)
{
    static const vm_prot_t accesses[] = { VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE };

    for (unsigned type = 0; type < 2; type++) {
        for (unsigned prot = 0; prot <= VM_PROT_ALL; prot++) {
            struct vm_map_insert args = type == 0 ? normal(8, 16) : vpagetable(8, 16);

            args.protection = (vm_prot_t)prot;
            cr_assert(insert(args) == 0);
            for (unsigned i = 0; i < 3; i++) {
                enum vm_result want = (prot & accesses[i]) != 0 ? VM_OK : VM_PROTECTION;

                cr_expect(lookup(at(9), accesses[i], NULL) == want, "type %u prot %u access %u",
                          type, prot, accesses[i]);
            }
            cr_assert(vm_map_remove(&map, at(8), at(16)) == 0);
        }
    }
}

CHECKED_TEST(vm_map, a_read_of_a_writable_vpagetable_entry_is_looked_up_as_a_write_too)
{
    struct vm_map_insert args = vpagetable(0, 4);
    struct vm_map_lookup found;

    cr_assert(insert(args) == 0);
    args = vpagetable(4, 8);
    args.protection = VM_PROT_READ | VM_PROT_EXECUTE;
    cr_assert(insert(args) == 0);
    cr_assert(insert(normal(8, 12)) == 0);
    cr_assert(lookup(at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.access == VM_PROT_RW);
    cr_assert(lookup(at(0), VM_PROT_EXECUTE, &found) == VM_OK);
    cr_expect(found.access == (VM_PROT_EXECUTE | VM_PROT_WRITE));
    cr_assert(lookup(at(4), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.access == VM_PROT_READ);
    cr_assert(lookup(at(8), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.access == VM_PROT_READ);
}

CHECKED_TEST(vm_map, a_wired_entry_says_so)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 4)) == 0);
    TAILQ_FIRST(&map.entries)->wired_count = 1;
    cr_assert(lookup(at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.wired);
    TAILQ_FIRST(&map.entries)->wired_count = 0;
}

CHECKED_TEST(vm_map, a_successful_lookup_holds_the_map_and_a_failed_one_does_not)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(vm_map_lookup(&map, at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(pthread_rwlock_trywrlock(&map.lock.parts[vm_part()].rwlock) == EBUSY);
    vm_map_lookup_done(&map);
    cr_assert(vm_map_lookup(&map, at(4), VM_PROT_READ, &found) == VM_INVALID_ADDRESS);
    cr_assert(pthread_rwlock_trywrlock(&map.lock.parts[vm_part()].rwlock) == 0);
    cr_assert(pthread_rwlock_unlock(&map.lock.parts[vm_part()].rwlock) == 0);
}

/* --- Protection and its maximum ------------------------------------------ */

CHECKED_TEST(vm_map, an_override_is_checked_against_the_maximum)
{
    struct vm_map_insert args = normal(0, 4);
    struct vm_map_lookup found;

    args.protection = VM_PROT_NONE;
    args.max_protection = VM_PROT_RW;
    cr_assert(insert(args) == 0);
    cr_expect(lookup(at(0), VM_PROT_READ, NULL) == VM_PROTECTION);
    cr_expect(lookup(at(0), VM_PROT_READ | VM_PROT_OVERRIDE, &found) == VM_OK);
    cr_expect(found.access == VM_PROT_READ && found.prot == VM_PROT_NONE);
    cr_expect(lookup(at(0), VM_PROT_EXECUTE | VM_PROT_OVERRIDE, NULL) == VM_PROTECTION);
}

/* --- The audit sees what it is for --------------------------------------- */

CHECKED_TEST(vm_map, the_audit_sees_overlapping_entries, .signal = SIGABRT)
{
    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(4, 8)) == 0);
    TAILQ_FIRST(&map.entries)->end = at(5);
    TAILQ_FIRST(&map.entries)->start = at(0);
    vm_map_audit(&map);
}

CHECKED_TEST(vm_map, the_audit_sees_a_wrong_count, .signal = SIGABRT)
{
    cr_assert(insert(normal(0, 4)) == 0);
    map.nentries = 2;
    vm_map_audit(&map);
}

CHECKED_TEST(vm_map, the_audit_sees_two_holders_of_one_range, .signal = SIGABRT)
{
    struct vm_map_ilock a = { .start = at(0), .end = at(4), .held = true };
    struct vm_map_ilock b = { .start = at(3), .end = at(5), .held = true };

    LIST_INSERT_HEAD(&map.ilocks, &a, link);
    LIST_INSERT_HEAD(&map.ilocks, &b, link);
    vm_map_audit(&map);
}
