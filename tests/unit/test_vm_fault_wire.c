/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring: which pages stay, what becomes of counts, flags and protections, roll-back,
 * and the errors.
 */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/checked_test.h"
#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_fault_wire.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define SRC UINT64_C(0x10000000)
#define DST UINT64_C(0x20000000)
#define NPAGES 16u

static struct rig rig;

static void
vm_fault_wire_setup(void)
{
    rig_init(&rig, 0);
}

static void
vm_fault_wire_teardown(void)
{
    rig_fini(&rig);
}

TestSuite(vm_fault_wire, .timeout = 60);

static uint64_t
at(uint64_t base, uint64_t page)
{
    return base + (page << PAGE_SHIFT);
}

static struct vm_map_insert
args_at(uint64_t start, uint64_t npages, struct vm_object *object)
{
    return (struct vm_map_insert){
        .start = gpa_from_u64(start),
        .end = gpa_from_u64(at(start, npages)),
        .object = object,
        .protection = VM_PROT_RW,
        .max_protection = VM_PROT_ALL,
    };
}

static struct vm_object *
map_new(uint64_t start, uint64_t npages, vm_prot_t prot)
{
    struct vm_map_insert args;
    struct vm_object *object;

    cr_assert(zero(int, vm_object_create_default(&rig.sys, npages, &object)));
    args = args_at(start, npages, object);
    args.protection = prot;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    return object;
}

static int
wire(uint64_t start, uint64_t npages, bool user)
{
    return vm_map_wire(&rig.map, gpa_from_u64(start), gpa_from_u64(at(start, npages)), user);
}

static int
unwire(uint64_t start, uint64_t npages, bool user)
{
    return vm_map_unwire(&rig.map, gpa_from_u64(start), gpa_from_u64(at(start, npages)), user);
}

static int
protect(uint64_t start, uint64_t npages, vm_prot_t prot)
{
    return vm_map_protect(&rig.map, gpa_from_u64(start), gpa_from_u64(at(start, npages)), prot);
}

/* How often each page of [first, end) is wired; 99 if they differ, 0 where there is none. */
static unsigned
wirings(struct vm_object *object, uint64_t first, uint64_t end)
{
    unsigned count = 99;

    for (uint64_t i = first; i < end; i++) {
        const struct vm_page *m = rig_page(object, i);
        unsigned here = m != NULL ? m->wire_count : 0;

        if (i != first && here != count)
            return 99;
        count = here;
    }
    return count;
}

static struct vm_map_entry *
entry_at(uint64_t gpa)
{
    return rig_entry(&rig, gpa);
}

/* --- What wiring does ---------------------------------------------------- */

CHECKED_TEST(vm_fault_wire, wired_pages_are_resident_mapped_and_on_no_queue)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 1));
    for (unsigned i = 0; i < NPAGES; i++) {
        cr_expect(eq(int, rig_mapped(&rig, at(SRC, i)), VM_PROT_RW));
        cr_expect(eq(int, rig_page(object, i)->queue, PQ_NONE));
        cr_expect(zero(u64, rig_load(&rig, at(SRC, i))));
    }
    cr_assert(zero(int, unwire(SRC, NPAGES, true)));
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
    cr_expect(eq(int, rig_page(object, 3)->queue, PQ_ACTIVE));
    cr_expect(eq(uint, rig.map.nentries, 2));
    cr_expect(zero(uint, entry_at(SRC)->wired_count));
}

CHECKED_TEST(vm_fault_wire, a_part_of_an_entry_is_wired_and_merges_again_when_unwired)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);
    unsigned nentries = rig.map.nentries;

    cr_assert(zero(int, wire(at(SRC, 4), 4, true)));
    cr_expect(eq(uint, rig.map.nentries, nentries + 2));
    cr_expect(zero(uint, wirings(object, 0, 4)));
    cr_expect(eq(uint, wirings(object, 4, 8), 1));
    cr_expect(zero(uint, wirings(object, 8, NPAGES)));
    cr_assert(zero(int, wire(at(SRC, 8), 2, true)));
    cr_expect(eq(uint, rig.map.nentries, nentries + 2), "what is wired alike is one entry");
    cr_assert(zero(int, unwire(at(SRC, 5), 4, true)));
    cr_expect(eq(uint, wirings(object, 4, 5), 1));
    cr_expect(zero(uint, wirings(object, 5, 9)));
    cr_expect(eq(uint, wirings(object, 9, 10), 1));
    cr_assert(zero(int, unwire(at(SRC, 4), 1, true)));
    cr_assert(zero(int, unwire(at(SRC, 9), 1, true)));
    cr_expect(eq(uint, rig.map.nentries, nentries));
}

CHECKED_TEST(vm_fault_wire, user_wirings_do_not_nest_and_the_others_count)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_expect(eq(uint, entry_at(SRC)->wired_count, 1));
    cr_assert(zero(int, wire(SRC, NPAGES, false)));
    cr_assert(zero(int, wire(SRC, NPAGES, false)));
    cr_expect(eq(uint, entry_at(SRC)->wired_count, 3));
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 1), "a page is wired once for an entry");
    cr_assert(zero(int, unwire(SRC, NPAGES, true)));
    cr_expect(eq(int, unwire(SRC, NPAGES, true), -EINVAL));
    cr_assert(zero(int, unwire(SRC, NPAGES, false)));
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 1));
    cr_assert(zero(int, unwire(SRC, NPAGES, false)));
    cr_expect(eq(int, unwire(SRC, NPAGES, false), -EINVAL));
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
}

CHECKED_TEST(vm_fault_wire, entries_that_map_one_page_wire_it_each)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);
    struct vm_map_insert args = args_at(DST, NPAGES, object);

    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_assert(zero(int, wire(DST, NPAGES, false)));
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 2));
    cr_assert(zero(int, unwire(SRC, NPAGES, true)));
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 1));
}

CHECKED_TEST(vm_fault_wire, unwiring_does_not_need_the_mappings)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)))));
    cr_assert(zero(int, unwire(SRC, NPAGES, true)));
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
}

CHECKED_TEST(vm_fault_wire, removing_a_wired_entry_unwires_its_pages)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    vm_object_ref(object);
    cr_assert(zero(int, wire(SRC, NPAGES, false)));
    cr_assert(
        zero(int, vm_map_remove(&rig.map, gpa_from_u64(at(SRC, 2)), gpa_from_u64(at(SRC, 4)))));
    cr_expect(eq(uint, wirings(object, 0, 2), 1));
    cr_expect(zero(uint, wirings(object, 2, 4)));
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)))));
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
    vm_object_unref(object);
}

CHECKED_TEST(vm_fault_wire, a_wired_entry_faults_its_pages_for_writing)
{
    map_new(SRC, NPAGES, VM_PROT_RW);
    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    pmap_remove(&rig.pmap, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)));
    cr_assert(eq(int, rig_touch(&rig, SRC, VM_PROT_READ), VM_OK));
    cr_expect(eq(int, rig_mapped(&rig, SRC), VM_PROT_RW));
}

CHECKED_TEST(vm_fault_wire, pages_of_a_pager_are_read_to_be_wired)
{
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(SRC, NPAGES, file);

    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_expect(eq(uint, wirings(file, 0, NPAGES), 1));
    cr_expect(eq(u64, rig_load(&rig, at(SRC, 7)), 7 * 512));
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(SRC), gpa_from_u64(at(SRC, NPAGES)))));
}

/* --- Copy on write ------------------------------------------------------- */

CHECKED_TEST(vm_fault_wire, wiring_a_writable_copy_gives_it_pages_of_its_own)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);
    const struct vm_map_entry *entry;

    rig_store(&rig, SRC, 77);
    cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(SRC), gpa_from_u64(DST),
                                    NPAGES << PAGE_SHIFT)));
    cr_assert(zero(int, wire(DST, NPAGES, true)));
    entry = entry_at(DST);
    cr_expect(ne(ptr, entry->object, object));
    cr_expect(zero(uint, entry->eflags & MAP_ENTRY_NEEDS_COPY));
    cr_expect(eq(uint, wirings(entry->object, 0, NPAGES), 1));
    cr_expect(zero(uint, wirings(object, 0, 1)), "the backing object's page is not wired");
    cr_expect(eq(u64, rig_load(&rig, DST), 77));
    rig_store(&rig, DST, 78);
    cr_expect(eq(u64, rig_load(&rig, SRC), 77));
    cr_expect(eq(uint, wirings(entry->object, 0, NPAGES), 1), "the write exchanged no page");
    cr_assert(zero(int, unwire(DST, NPAGES, true)));
}

CHECKED_TEST(vm_fault_wire, a_read_only_copy_is_wired_in_its_own_object)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);
    struct vm_object *shadow;

    rig_store(&rig, SRC, 77);
    cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(SRC), gpa_from_u64(DST),
                                    NPAGES << PAGE_SHIFT)));
    rig_store(&rig, at(DST, 1), 5);
    shadow = entry_at(DST)->object;
    cr_assert(zero(int, protect(DST, NPAGES, VM_PROT_READ)));
    cr_assert(zero(int, wire(DST, NPAGES, true)));
    cr_expect(eq(ptr, entry_at(DST)->object, shadow));
    cr_expect(eq(uint, wirings(shadow, 0, NPAGES), 1));
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
    cr_expect(eq(u64, rig_load(&rig, DST), 77));
    cr_assert(zero(int, unwire(DST, NPAGES, true)));
    cr_expect(zero(uint, wirings(shadow, 0, NPAGES)));
}

/* --- Protections --------------------------------------------------------- */

CHECKED_TEST(vm_fault_wire, a_user_wired_entry_that_is_not_writable_can_never_be)
{
    map_new(SRC, NPAGES, VM_PROT_READ);
    cr_assert(zero(int, wire(SRC, NPAGES / 2, true)));
    cr_expect(eq(int, entry_at(SRC)->max_protection, VM_PROT_ALL & ~VM_PROT_WRITE));
    cr_expect(eq(int, protect(SRC, 1, VM_PROT_RW), -EACCES));
    cr_assert(zero(int, unwire(SRC, NPAGES / 2, true)));
    cr_expect(eq(int, protect(SRC, 1, VM_PROT_RW), -EACCES));
    cr_expect(zero(int, protect(at(SRC, NPAGES / 2), 1, VM_PROT_RW)));
}

CHECKED_TEST(vm_fault_wire, a_writable_entry_keeps_its_maximum)
{
    map_new(SRC, NPAGES, VM_PROT_RW);
    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_expect(eq(int, entry_at(SRC)->max_protection, VM_PROT_ALL));
}

CHECKED_TEST(vm_fault_wire, a_user_wires_what_he_cannot_even_read_without_mapping_it)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_NONE);

    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 1));
    cr_expect(eq(int, rig_mapped(&rig, SRC), VM_PROT_NONE));
    cr_expect(eq(int, entry_at(SRC)->max_protection, VM_PROT_ALL & ~VM_PROT_WRITE));
    cr_assert(zero(int, unwire(SRC, NPAGES, true)));
}

CHECKED_TEST(vm_fault_wire, protect_leaves_wired_pages_wired)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    cr_assert(zero(int, wire(SRC, NPAGES, true)));
    cr_assert(zero(int, protect(at(SRC, 3), 4, VM_PROT_NONE)));
    cr_assert(zero(int, protect(at(SRC, 3), 4, VM_PROT_RW)));
    rig_store(&rig, at(SRC, 3), 5);
    cr_expect(eq(uint, wirings(object, 0, NPAGES), 1));
    cr_assert(zero(int, unwire(SRC, NPAGES, true)));
}

/* --- Errors and roll-back ------------------------------------------------ */

CHECKED_TEST(vm_fault_wire, what_cannot_be_wired_is_refused)
{
    struct vm_map_insert guard = args_at(at(SRC, NPAGES), 1, NULL);
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_READ);
    struct vm_map_insert args = args_at(DST, NPAGES, object);

    guard.eflags = MAP_ENTRY_NOFAULT;
    cr_assert(zero(int, vm_map_insert(&rig.map, &guard)));
    args.protection = args.max_protection = VM_PROT_NONE;
    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    rig_window(&rig, RIG_WINDOW, 4, VM_PROT_RW, &vpte64_format, 0);
    for (int user = 0; user < 2; user++) {
        cr_expect(eq(int, wire(SRC + 8, 1, user), -EINVAL));
        cr_expect(eq(int, wire(SRC, 0, user), -EINVAL));
        cr_expect(eq(int, wire(SRC - PAGE_SIZE, 2, user), -ENOENT));
        cr_expect(eq(int, wire(at(SRC, NPAGES), 1, user), -ENOENT), "a guard");
        cr_expect(eq(int, wire(RIG_WINDOW, 4, user), -EOPNOTSUPP));
        cr_expect(eq(int, wire(DST, NPAGES, user), -EACCES));
        cr_expect(eq(int, unwire(SRC, 0, user), -EINVAL));
        cr_expect(eq(int, unwire(SRC, 1, user), -EINVAL));
        cr_expect(eq(int, unwire(SRC - PAGE_SIZE, 2, user), -ENOENT));
    }
    cr_expect(eq(int, wire(SRC, NPAGES, false), -EACCES), "which a user may");
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
    cr_expect(zero(u64, object->resident_count));
}

CHECKED_TEST(vm_fault_wire, unwiring_what_is_wired_in_part_changes_nothing)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    cr_assert(zero(int, wire(SRC, NPAGES / 2, true)));
    cr_expect(eq(int, unwire(SRC, NPAGES, true), -EINVAL));
    cr_expect(eq(uint, wirings(object, 0, NPAGES / 2), 1));
}

CHECKED_TEST(vm_fault_wire, a_failed_read_rolls_everything_back)
{
    struct rig_pager pager;
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_READ);
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(at(SRC, NPAGES), NPAGES, file);

    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    map_new(at(SRC, 2 * NPAGES), NPAGES, VM_PROT_RW);
    cr_assert(zero(int, wire(at(SRC, 4), 4, true)));
    pager.skip = 9;
    cr_expect(eq(int, wire(SRC, 3 * NPAGES, true), -EIO));
    cr_expect(zero(uint, wirings(object, 0, 4)));
    cr_expect(eq(uint, wirings(object, 4, 8), 1));
    cr_expect(zero(uint, wirings(object, 8, NPAGES)));
    cr_expect(zero(uint, wirings(file, 0, NPAGES)));
    cr_expect(zero(uint, wirings(entry_at(at(SRC, 2 * NPAGES))->object, 0, NPAGES)));
    cr_expect(eq(int, entry_at(SRC)->max_protection, VM_PROT_ALL));
    cr_expect(zero(uint, entry_at(SRC)->wired_count));
    cr_expect(zero(uint, entry_at(at(SRC, NPAGES))->wired_count));
    pager.skip = UINT64_MAX;
    cr_expect(eq(int, wire(SRC, 3 * NPAGES, true), 0));
    cr_expect(eq(uint, wirings(file, 0, NPAGES), 1));
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(at(SRC, NPAGES)),
                                      gpa_from_u64(at(SRC, 2 * NPAGES)))));
}

CHECKED_TEST(vm_fault_wire, a_page_that_cannot_be_mapped_is_not_wired)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);

    fake_pmap_fail_next_enter(&rig.fake, -ENOSPC, 0);
    rig.fake.fail_enter = 3;
    cr_expect(eq(int, wire(SRC, NPAGES, true), -ENOSPC));
    cr_expect(zero(uint, wirings(object, 0, NPAGES)));
    cr_expect(eq(uint, rig.map.nentries, 2));
}

CHECKED_TEST(vm_fault_wire, without_memory_nothing_is_wired)
{
    struct vm_object *object;
    int error = 1;

    object = map_new(SRC, NPAGES, VM_PROT_RW);
    cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(SRC), gpa_from_u64(DST),
                                    NPAGES << PAGE_SHIFT)));
    for (unsigned n = 1; error != 0; n++) {
        alloc_failure_set(n);
        error = wire(at(SRC, 2), 4, true);
        alloc_failure_set(0);
        if (error != 0) {
            cr_expect(eq(int, error, -ENOMEM), "allocation %u", n);
            cr_expect(zero(uint, wirings(object, 0, NPAGES)));
            cr_expect(zero(uint, entry_at(SRC)->wired_count));
        }
    }
    cr_assert(zero(int, unwire(at(SRC, 2), 4, true)));
}

/* --- Together with the rest ---------------------------------------------- */

CHECKED_TEST(vm_fault_wire, what_a_wired_stack_grows_by_is_not_wired)
{
    struct vm_object *object;
    struct vm_map_insert args;

    cr_assert(zero(int, vm_object_create_default(&rig.sys, 64, &object)));
    args = args_at(SRC, 24, object);
    args.offset = args.growth = 40;
    args.eflags = MAP_ENTRY_GROWDOWN;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    cr_assert(zero(int, wire(SRC, 24, true)));
    rig_store(&rig, at(SRC, 0) - PAGE_SIZE, 9);
    cr_expect(eq(uint, wirings(object, 40, 64), 1));
    cr_expect(zero(uint, wirings(object, 39, 40)));
    cr_expect(zero(uint, entry_at(SRC - PAGE_SIZE)->wired_count));
    cr_expect(zero(uint, entry_at(SRC - PAGE_SIZE)->eflags & MAP_ENTRY_USER_WIRED));
    rig_store(&rig, SRC - 39 * PAGE_SIZE, 10);
    cr_expect(eq(int, rig_touch(&rig, SRC - 40 * PAGE_SIZE, VM_PROT_READ), VM_NOFAULT));
    cr_assert(zero(int, unwire(SRC, 24, true)));
    cr_expect(eq(ptr, entry_at(SRC), entry_at(SRC - PAGE_SIZE)), "merged again");
    cr_expect(eq(u64, rig_load(&rig, SRC - PAGE_SIZE), 9));
}

CHECKED_TEST(vm_fault_wire, a_page_is_waited_for)
{
    struct vm_object *object = map_new(SRC, NPAGES, VM_PROT_RW);
    struct rig_fault fault;
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(DST, NPAGES, file);

    (void)object;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    pager.wait = true;
    rig_fault_start(&fault, &rig, DST, VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    rig_pager_release(&pager);
    cr_assert(zero(int, wire(DST, NPAGES, true)));
    cr_expect(eq(int, rig_fault_join(&fault), VM_OK));
    cr_expect(eq(uint, wirings(file, 0, NPAGES), 1));
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(DST), gpa_from_u64(at(DST, NPAGES)))));
}
