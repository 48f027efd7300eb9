/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map: entries, lookup, SETMAP, INVAL and the range interlock, over the fake
 * machine half.  Each test ends with the audits of map, pmap and fake.
 */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_map.h"
#include "vmm/vpagetable/vm_page.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define OBJECT_PAGES 1024

static struct vm_system sys;
static struct vm_object *object;
static struct fake_pmap fake;
static struct pmap pmap;
static struct vm_map map;

static gpa_t
at(uint64_t i)
{
    return gpa_from_u64(i * PAGE_SIZE);
}

static void
vm_map_setup(void)
{
    struct vm_system_config config = { .store_pages = 1 << 16 };

    cr_assert(vm_system_init(&sys, &config) == 0);
    cr_assert(vm_object_create_default(&sys, OBJECT_PAGES, &object) == 0);
    fake_pmap_init(&fake);
    cr_assert(pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) == 0);
    vm_map_init(&map, &sys, &pmap);
}

static void
pages_wakeup(void)
{
    vm_mutex_lock(&object->lock);
    for (vm_pindex_t i = 0; (i = vm_object_next_resident(object, i)) < object->size; i++)
        vm_page_wakeup(vm_page_lookup(object, i));
    vm_mutex_unlock(&object->lock);
}

static void
vm_map_teardown(void)
{
    vm_map_audit(&map);
    pmap_audit(&pmap);
    fake_pmap_audit(&fake);
    vm_map_fini(&map);
    pmap_fini(&pmap);
    fake_pmap_fini(&fake);
    cr_assert(object->ref_count == 1, "the map gave its references back");
    pages_wakeup();
    vm_object_unref(object);
    vm_system_fini(&sys);
}

TestSuite(vm_map, .timeout = 60);

/* The object's page i, busy and valid. */
static struct vm_page *
page(vm_pindex_t i)
{
    struct vm_page *m;

    vm_mutex_lock(&object->lock);
    m = vm_page_lookup(object, i);
    if (m == NULL) {
        m = vm_page_alloc(object, i);
        assert(m != NULL);
        m->valid = 1;
    }
    vm_mutex_unlock(&object->lock);
    return m;
}

static int
enter(gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    return pmap_enter(&pmap, gpa, &m, &prot, 1, 0, NULL);
}

static bool
mapped(uint64_t i)
{
    return fake_pmap_lookup(&fake, at(i), NULL, NULL);
}

/* What the tests insert unless they say otherwise. */
static struct vm_map_insert
normal(uint64_t start, uint64_t end)
{
    return (struct vm_map_insert){
        .start = at(start),
        .end = at(end),
        .object = object,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
}

static struct vm_map_insert
vpagetable(uint64_t start, uint64_t end)
{
    struct vm_map_insert args = normal(start, end);

    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = &vpte64_format;
    args.root = 0x1007;
    return args;
}

static struct vm_map_insert
guard(uint64_t start, uint64_t end)
{
    struct vm_map_insert args = normal(start, end);

    args.object = NULL;
    args.eflags = MAP_ENTRY_NOFAULT;
    return args;
}

/* Insert; on success the map has a reference of its own. */
static int
insert(struct vm_map_insert args)
{
    int error;

    if (args.object != NULL)
        vm_object_ref(args.object);
    error = vm_map_insert(&map, &args);
    if (error != 0 && args.object != NULL)
        vm_object_unref(args.object);
    return error;
}

/* Look up and end the lookup; *out may be NULL. */
static enum vm_result
lookup(gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
{
    struct vm_map_lookup found = { 0 };
    enum vm_result result = vm_map_lookup(&map, gpa, access, &found);

    if (result == VM_OK)
        vm_map_lookup_done(&map);
    if (out != NULL)
        *out = found;
    return result;
}

/* ---- Insert. ---- */

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
    cr_expect(found.prot == VM_PROT_RW && found.timestamp == map.timestamp);
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
    unsigned timestamp = map.timestamp;

    fake.fail_window_create = -ENOSPC;
    cr_expect(insert(normal(8, 16)) == -ENOSPC);
    cr_expect(map.nentries == 0 && map.timestamp == timestamp && object->ref_count == 1);
    cr_expect(lookup(at(8), VM_PROT_READ, NULL) == VM_INVALID_ADDRESS);
    cr_expect(insert(normal(8, 16)) == 0);
}

CHECKED_TEST(vm_map, without_memory_there_is_no_entry)
{
    if (!alloc_failure_available())
        cr_skip_test("the sanitizer has the allocator");
    for (unsigned n = 1; n <= 4; n++) {
        alloc_failure_set(n);
        cr_expect(insert(normal(8, 16)) == -ENOMEM, "allocation %u", n);
        alloc_failure_set(0);
        cr_expect(map.nentries == 0 && object->ref_count == 1 && pmap.nwindows == 0);
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

/* ---- Remove. ---- */

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
    cr_expect(fake.windows_destroyed == 0 && pmap.nwindows == 1);
    cr_assert(vm_map_remove(&map, at(0), at(20)) == 0);
    cr_expect(fake.windows_destroyed == 1 && pmap.nwindows == 0);
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
    cr_expect(pmap.nwindows == 2 && mapped(5), "the entry that came later is still in it");
    cr_assert(vm_map_remove(&map, at(5), at(6)) == 0);
    cr_assert(vm_map_remove(&map, at(4), at(5)) == 0);
    cr_expect(pmap.nwindows == 1 && mapped(3));
}

CHECKED_TEST(vm_map, one_enter_reaches_over_windows)
{
    struct vm_page *m[4];
    vm_prot_t prot[4] = { VM_PROT_RW, VM_PROT_RW, VM_PROT_RW, VM_PROT_RW };
    unsigned entered;

    cr_assert(insert(normal(2, 4)) == 0);
    cr_assert(insert(normal(4, 6)) == 0);
    for (unsigned demand = 0; demand < 4; demand++) {
        pmap_remove(&pmap, at(2), at(6));
        for (unsigned i = 0; i < 4; i++)
            m[i] = page(i);
        cr_assert(pmap_enter(&pmap, at(2), m, prot, 4, demand, &entered) == 0);
        cr_expect(entered == 4 && mapped(2) && mapped(3) && mapped(4) && mapped(5));
    }
    pmap_remove(&pmap, at(2), at(6));
    fake_pmap_fail_next_enter(&fake, -EFAULT, 0);
    cr_assert(pmap_enter(&pmap, at(2), m, prot, 4, 3, &entered) == 0);
    cr_expect(entered == 2 && mapped(5), "what fails in one window is not the other's");
}

CHECKED_TEST(vm_map, when_a_window_for_the_rest_is_refused_nothing_is_left)
{
    struct vm_map_insert args = normal(2, 14);

    cr_assert(insert(normal(4, 12)) == 0);
    cr_assert(vm_map_remove(&map, at(4), at(11)) == 0);
    args.end = at(8);
    fake.fail_window_create = -ENOSPC;
    cr_expect(insert(args) == -ENOSPC);
    cr_expect(pmap.nwindows == 1 && map.nentries == 1 && object->ref_count == 2);
}

CHECKED_TEST(vm_map, without_memory_to_clip_nothing_changes)
{
    if (!alloc_failure_available())
        cr_skip_test("the sanitizer has the allocator");
    cr_assert(insert(normal(4, 12)) == 0);
    for (unsigned n = 1; n <= 2; n++) {
        unsigned timestamp = map.timestamp;

        alloc_failure_set(n);
        cr_expect(vm_map_remove(&map, at(6), at(8)) == -ENOMEM);
        alloc_failure_set(n);
        cr_expect(vm_map_protect(&map, at(6), at(8), VM_PROT_READ) == -ENOMEM);
        alloc_failure_set(n);
        cr_expect(vm_map_advise(&map, at(6), at(8), VM_ADVICE_RANDOM) == -ENOMEM);
        alloc_failure_set(n);
        cr_expect(vm_map_wire(&map, at(6), at(8), true) == -ENOMEM);
        alloc_failure_set(0);
        cr_expect(map.nentries == 1 && object->ref_count == 2 && map.timestamp == timestamp);
    }
    cr_assert(insert(vpagetable(12, 20)) == 0);
    alloc_failure_set(1);
    cr_expect(vm_map_setmap(&map, at(14), at(16), 0) == -ENOMEM);
    alloc_failure_set(0);
    cr_expect(map.nentries == 2 && sys.meter.v_setmap == 0);
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

/* ---- What the host waits for. ---- */

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

/* ---- Lookup. ---- */

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
    RB_ROOT(&map.entries)->wired_count = 1;
    cr_assert(lookup(at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(found.wired);
    RB_ROOT(&map.entries)->wired_count = 0;
}

CHECKED_TEST(vm_map, a_successful_lookup_holds_the_map_and_a_failed_one_does_not)
{
    struct vm_map_lookup found;

    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(vm_map_lookup(&map, at(0), VM_PROT_READ, &found) == VM_OK);
    cr_expect(pthread_rwlock_trywrlock(&map.lock.rwlock) == EBUSY);
    vm_map_lookup_done(&map);
    cr_assert(vm_map_lookup(&map, at(4), VM_PROT_READ, &found) == VM_INVALID_ADDRESS);
    cr_assert(pthread_rwlock_trywrlock(&map.lock.rwlock) == 0);
    cr_assert(pthread_rwlock_unlock(&map.lock.rwlock) == 0);
}

CHECKED_TEST(vm_map, every_change_of_entries_changes_the_timestamp)
{
    unsigned timestamp = map.timestamp;

    cr_assert(insert(vpagetable(0, 4)) == 0);
    cr_expect(map.timestamp != timestamp);
    timestamp = map.timestamp;
    cr_assert(vm_map_protect(&map, at(0), at(4), VM_PROT_READ) == 0);
    cr_expect(map.timestamp != timestamp);
    timestamp = map.timestamp;
    cr_assert(vm_map_advise(&map, at(0), at(4), VM_ADVICE_RANDOM) == 0);
    cr_expect(map.timestamp != timestamp);
    timestamp = map.timestamp;
    cr_assert(vm_map_inval(&map, at(0), at(4)) == 0);
    cr_assert(vm_map_setmap(&map, at(0), at(4), 0) == 0);
    cr_expect(map.timestamp == timestamp, "INVAL and SETMAP change no entry");
    cr_assert(vm_map_setmap(&map, at(1), at(2), 4096) == 0);
    cr_expect(map.timestamp != timestamp, "unless SETMAP has to clip");
    cr_assert(vm_map_setmap(&map, at(0), at(4), 0) == 0);
    timestamp = map.timestamp;
    cr_assert(vm_map_remove(&map, at(8), at(9)) == -ENOENT);
    cr_assert(vm_map_protect(&map, at(8), at(9), VM_PROT_READ) == -EINVAL);
    cr_assert(vm_map_wire(&map, at(0), at(4), true) == -EOPNOTSUPP);
    cr_expect(map.timestamp == timestamp, "a refused edit changes nothing");
    cr_assert(vm_map_remove(&map, at(0), at(4)) == 0);
    cr_expect(map.timestamp != timestamp);
}

/* ---- Protect. ---- */

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
    cr_expect(map.nentries == 1 && object->ref_count == 2 && pmap.nwindows == 1);
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

/* ---- Advice. ---- */

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
    cr_expect(RB_ROOT(&map.entries)->advice == VM_ADVICE_NORMAL);
}

/* ---- SETMAP and INVAL. ---- */

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
    cr_expect(sys.meter.v_setmap == 1 && sys.meter.v_inval == 0);
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
    cr_expect(sys.meter.v_setmap == 2);
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
    cr_expect(mapped(1) && sys.meter.v_setmap == 0 && map.nentries == 4);
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
    cr_expect(sys.meter.v_inval == 1 && sys.meter.v_setmap == 0);
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
    cr_expect(mapped(5) && sys.meter.v_inval == 0);
    cr_expect(vm_map_inval(&map, at(5), at(12)) == 0, "a guard is an entry too");
    cr_expect(!mapped(5));
}

/* ---- Growing down. ---- */

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
    unsigned timestamp;

    cr_assert(insert(stack(100)) == 0);
    timestamp = map.timestamp;
    cr_assert(lookup(at(99), VM_PROT_WRITE, &found) == VM_OK);
    cr_expect(found.pindex == 39 && map.timestamp != timestamp && map.nentries == 1);
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
    cr_expect(found.prot == VM_PROT_RW && RB_ROOT(&map.entries)->start.value == at(100).value);
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
    cr_expect(insert(normal(60, 69)) == 0 && map.nentries == 2 && pmap.nwindows == 1);
    vm_map_audit(&map);
}

CHECKED_TEST(vm_map, an_entry_grows_once_for_many_that_want_it)
{
    unsigned timestamp;

    cr_assert(insert(stack(100)) == 0);
    cr_assert(lookup(at(99), VM_PROT_READ, NULL) == VM_OK);
    timestamp = map.timestamp;
    for (uint64_t i = 68; i < 100; i++)
        cr_assert(lookup(at(i), VM_PROT_READ, NULL) == VM_OK);
    cr_expect(map.timestamp == timestamp);
}

/* ---- Protection and its maximum. ---- */

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

/* ---- The audit sees what it is for. ---- */

CHECKED_TEST(vm_map, the_audit_sees_overlapping_entries, .signal = SIGABRT)
{
    cr_assert(insert(normal(0, 4)) == 0);
    cr_assert(insert(normal(4, 8)) == 0);
    RB_ROOT(&map.entries)->end = at(5);
    RB_ROOT(&map.entries)->start = at(0);
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

/* ---- The interlock.  Where threads look, assert() ends the test process. ---- */

/* Take an interlock of [start, end) pages and drop it. */
struct interlock_once {
    uint64_t start;
    uint64_t end;
    unsigned turn; /* when it was served, from 1 */
};

static _Atomic unsigned turns;

static void *
interlock_once(void *argument)
{
    struct interlock_once *once = argument;
    struct vm_map_ilock ilock;

    vm_map_interlock(&map, &ilock, at(once->start), at(once->end));
    once->turn = atomic_fetch_add(&turns, 1) + 1;
    vm_map_deinterlock(&map, &ilock);
    return NULL;
}

static void
wait_for_waiters(unsigned n)
{
    unsigned waiters;

    do {
        sched_yield();
        vm_mutex_lock(&map.ilock_mutex);
        waiters = map.ilock_waiters;
        vm_mutex_unlock(&map.ilock_mutex);
    } while (waiters != n);
}

CHECKED_TEST(vm_map, interlocks_of_disjoint_ranges_do_not_wait)
{
    struct interlock_once before = { .start = 0, .end = 4 };
    struct interlock_once after = { .start = 8, .end = 9 };
    struct vm_map_ilock ilock;
    pthread_t threads[2];

    vm_map_interlock(&map, &ilock, at(4), at(8));
    cr_assert(pthread_create(&threads[0], NULL, interlock_once, &before) == 0);
    cr_assert(pthread_create(&threads[1], NULL, interlock_once, &after) == 0);
    cr_assert(pthread_join(threads[0], NULL) == 0);
    cr_assert(pthread_join(threads[1], NULL) == 0);
    vm_map_deinterlock(&map, &ilock);
    cr_expect(before.turn != 0 && after.turn != 0);
}

CHECKED_TEST(vm_map, overlapping_interlocks_are_served_in_the_order_they_came)
{
    struct interlock_once wide = { .start = 0, .end = 8 };
    struct interlock_once narrow = { .start = 6, .end = 7 };
    struct vm_map_ilock ilock;
    pthread_t threads[2];

    vm_map_interlock(&map, &ilock, at(0), at(1));
    cr_assert(pthread_create(&threads[0], NULL, interlock_once, &wide) == 0);
    wait_for_waiters(1);
    /* Nobody holds 6, but the older waiter would starve if it were given away. */
    cr_assert(pthread_create(&threads[1], NULL, interlock_once, &narrow) == 0);
    wait_for_waiters(2);
    cr_expect(turns == 0);
    vm_map_deinterlock(&map, &ilock);
    cr_assert(pthread_join(threads[0], NULL) == 0);
    cr_assert(pthread_join(threads[1], NULL) == 0);
    cr_expect(wide.turn == 1 && narrow.turn == 2);
}

#define ILOCK_PLACES 12
#define ILOCK_ROUNDS 4000

static _Atomic unsigned ilock_holder[ILOCK_PLACES];

static void *
interlock_hammer(void *argument)
{
    unsigned me = *(unsigned *)argument;
    unsigned state = me;

    for (unsigned round = 0; round < ILOCK_ROUNDS; round++) {
        struct vm_map_ilock ilock;
        unsigned start;
        unsigned end;

        state = state * 1664525u + 1013904223u;
        start = (state >> 8) % ILOCK_PLACES;
        end = start + (state >> 20) % (ILOCK_PLACES - start) + 1;
        vm_map_interlock(&map, &ilock, at(start), at(end));
        for (unsigned i = start; i < end; i++)
            assert(atomic_exchange(&ilock_holder[i], me) == 0);
        if ((state & 0x4000) != 0)
            sched_yield();
        for (unsigned i = start; i < end; i++)
            assert(atomic_exchange(&ilock_holder[i], 0) == me);
        vm_map_deinterlock(&map, &ilock);
    }
    return NULL;
}

CHECKED_TEST(vm_map, overlapping_interlocks_exclude_each_other)
{
    pthread_t threads[4];
    unsigned names[4] = { 1, 2, 3, 4 };

    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_create(&threads[i], NULL, interlock_hammer, &names[i]) == 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(LIST_EMPTY(&map.ilocks) && map.ilock_waiters == 0);
}

/*
 * A guest with one page of virtual page table: the root, or the word in
 * `table`, is the index of the page to map.  Fault threads walk and enter under the
 * interlock, as vm_fault does; the guest changes the table and invalidates.
 */
#define WALK_PAGES 8
#define WALK_ROUNDS 3000

static pthread_mutex_t owner[WALK_PAGES]; /* the page's busy bit */
static _Atomic vpte_t table;
static _Atomic bool walk_ends;
static bool walk_by_root;

static void
walk_and_enter(struct vm_map_entry *entry)
{
    vpte_t target = walk_by_root ? atomic_load(&entry->root) : atomic_load(&table);

    sched_yield();
    pthread_mutex_lock(&owner[target]);
    assert(enter(at(2), page(target), VM_PROT_READ) == 0);
    pthread_mutex_unlock(&owner[target]);
}

static void *
walk_thread(void *argument)
{
    (void)argument;
    while (!atomic_load(&walk_ends)) {
        struct vm_map_lookup found;
        struct vm_map_ilock ilock;
        enum vm_result result = vm_map_lookup(&map, at(2), VM_PROT_READ, &found);

        assert(result == VM_OK);
        vm_map_interlock(&map, &ilock, at(2), at(3));
        walk_and_enter(found.entry);
        vm_map_deinterlock(&map, &ilock);
        vm_map_lookup_done(&map);
    }
    return NULL;
}

/* Change the table and invalidate; from then on only the new page may be found mapped. */
static void
walk_change(vpte_t target)
{
    struct vm_page *m;

    if (walk_by_root) {
        cr_assert(vm_map_setmap(&map, at(0), at(4), target) == 0);
    } else {
        atomic_store(&table, target);
        cr_assert(vm_map_inval(&map, at(0), at(4)) == 0);
    }
    for (unsigned look = 0; look < 3; look++) {
        if (pmap_extract(&pmap, at(2), &m) != VM_PROT_NONE)
            cr_assert(m == page(target), "an older walk entered its page");
        sched_yield();
    }
}

static void
walk_race(bool by_root)
{
    struct vm_map_insert args = vpagetable(0, 4);
    pthread_t threads[2];

    args.root = 0;
    walk_by_root = by_root;
    cr_assert(insert(args) == 0);
    for (unsigned i = 0; i < WALK_PAGES; i++) {
        pthread_mutex_init(&owner[i], NULL);
        (void)page(i);
    }
    for (unsigned i = 0; i < 2; i++)
        cr_assert(pthread_create(&threads[i], NULL, walk_thread, NULL) == 0);
    while (pmap_extract(&pmap, at(2), NULL) == VM_PROT_NONE)
        sched_yield(); /* a walker is under way */
    for (unsigned round = 1; round <= WALK_ROUNDS; round++)
        walk_change(round % WALK_PAGES);
    atomic_store(&walk_ends, true);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(fake.removed_pages > 0, "the race took place");
}

CHECKED_TEST(vm_map, after_inval_no_walk_of_the_old_table_enters_a_page)
{
    walk_race(false);
}

CHECKED_TEST(vm_map, after_setmap_no_walk_from_the_old_root_enters_a_page)
{
    walk_race(true);
}

static void *
inval_thread(void *argument)
{
    (void)argument;
    while (!atomic_load(&walk_ends))
        assert(vm_map_inval(&map, at(0), at(4)) == 0);
    return NULL;
}

/* Readers of the map that overlap without end; where they go first, this never ends. */
CHECKED_TEST(vm_map, endless_inval_does_not_keep_an_edit_out)
{
    pthread_t threads[4];

    cr_assert(insert(vpagetable(0, 4)) == 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_create(&threads[i], NULL, inval_thread, NULL) == 0);
    for (unsigned round = 0; round < 100; round++) {
        cr_assert(vm_map_advise(&map, at(0), at(4), VM_ADVICE_RANDOM) == 0);
        cr_assert(pmap_window_add(&pmap, at(8), 1, PMAP_NO_NATURAL) == 0);
        cr_assert(pmap_window_remove(&pmap, at(8)) == 0);
        sched_yield();
    }
    atomic_store(&walk_ends, true);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
}

/* Edits, each in its own half of the address space, with lookups and INVAL all over it. */
static void *
edit_thread(void *argument)
{
    uint64_t base = *(unsigned *)argument * 100;

    for (unsigned round = 0; round < 400; round++) {
        assert(insert(normal(base, base + 8)) == 0);
        assert(insert(vpagetable(base + 8, base + 16)) == 0);
        assert(vm_map_advise(&map, at(base), at(base + 16), VM_ADVICE_RANDOM) == 0);
        assert(vm_map_protect(&map, at(base), at(base + 16), VM_PROT_READ) == 0);
        assert(vm_map_remove(&map, at(base), at(base + 16)) == 0);
    }
    atomic_store(&walk_ends, true);
    return NULL;
}

static void *
look_thread(void *argument)
{
    (void)argument;
    while (!atomic_load(&walk_ends)) {
        for (uint64_t i = 90; i < 220; i += 5) {
            struct vm_map_lookup found;
            int error = vm_map_inval(&map, at(i), at(i + 4));

            assert(error == 0 || error == -ENOENT);
            if (vm_map_lookup(&map, at(i), VM_PROT_READ, &found) != VM_OK)
                continue;
            assert(found.object == object && found.entry->start.value <= at(i).value);
            vm_map_lookup_done(&map);
        }
        sched_yield();
    }
    return NULL;
}

CHECKED_TEST(vm_map, edits_race_with_lookups_and_inval_without_harm)
{
    pthread_t threads[4];
    unsigned halves[2] = { 1, 2 };

    cr_assert(pthread_create(&threads[0], NULL, edit_thread, &halves[0]) == 0);
    cr_assert(pthread_create(&threads[1], NULL, edit_thread, &halves[1]) == 0);
    cr_assert(pthread_create(&threads[2], NULL, look_thread, NULL) == 0);
    cr_assert(pthread_create(&threads[3], NULL, look_thread, NULL) == 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(map.nentries == 0);
}
