/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual copies: their costs, generations of them, and copies among everything else. */
#include "tests/unit/map_copy_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>

/* --- Costs --------------------------------------------------------------- */

/* A frame store that has room for many large objects; no RAM is mapped. */
static void
init_large(void)
{
    const struct vm_system_config config = { .store_pages = 1 << 22 };

    cr_assert(zero(int, vm_system_init(&rig.sys, &config)));
    fake_pmap_init(&rig.fake);
    cr_assert(zero(int, pmap_init(&rig.pmap, &rig.sys, &fake_pmap_ops, &rig.fake)));
    vm_map_init(&rig.map, &rig.sys, &rig.pmap);
    rig.ram = NULL;
}

CHECKED_TEST(vm_map_copy, a_thousand_copies_of_a_gibibyte_do_nothing_per_page)
{
    const uint64_t npages = UINT64_C(1) << 18;
    const uint64_t far = UINT64_C(1) << 40;
    struct vm_object *object;
    struct vm_map_insert args;

    vm_map_copy_teardown();
    init_large();
    cr_assert(zero(int, vm_object_create_default(&rig.sys, npages, &object)));
    args = args_at(far, npages, object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    rig_store(&rig, far, 1);
    rig_store(&rig, at(far, npages - 1), 2);
    for (uint64_t i = 1; i <= 8; i++) {
        cr_assert(zero(int, copy_pages(far, far + (i << 31), npages)));
        cr_expect(eq(uint, rig.fake.protected_pages, 2), "what is mapped, once");
        cr_expect(eq(uint, rig.fake.protects, 2));
    }
    for (uint64_t i = 0; i < 1000; i++) {
        cr_assert(zero(int, copy_pages(far, far + (UINT64_C(9) << 31), npages)));
        cr_assert(zero(int, remove_pages(far + (UINT64_C(9) << 31), npages)));
    }
    cr_expect(le(u64, vm_budget_resident(&rig.sys), 8));
    cr_expect(eq(u64, rig_load(&rig, at(far + (UINT64_C(8) << 31), npages - 1)), 2));
}

/* All on one object, in pieces. */
CHECKED_TEST(vm_map_copy, ten_thousand_entries_are_copied_at_once)
{
    const uint64_t npages = 20000;
    unsigned before;

    map_new(SRC, npages);
    for (uint64_t i = 0; i < npages; i += 2)
        cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(at(SRC, i)),
                                          gpa_from_u64(at(SRC, i + 1)), VM_ADVICE_RANDOM)));
    before = rig.map.nentries;
    cr_expect(ge(uint, before, 20000));
    cr_assert(zero(int, copy_pages(SRC, DST, npages)));
    cr_expect(eq(uint, rig.map.nentries, 2 * before - 1));
    rig_store(&rig, at(DST, 9999), 3);
    cr_expect(zero(u64, rig_load(&rig, at(SRC, 9999))));
    cr_assert(zero(int, remove_pages(DST, npages)));
}

/* --- Generations --------------------------------------------------------- */

CHECKED_TEST(vm_map_copy, a_thousand_generations_show_each_what_it_was_given)
{
    uint64_t here = SRC, there = DST;

    map_new(here, 8);
    fill(here, 8, 1000);
    for (uint64_t generation = 1; generation <= 1000; generation++) {
        uint64_t swap = here;

        cr_assert(zero(int, copy_pages(here, there, 8)));
        rig_store(&rig, at(there, generation % 8), 1000 * generation);
        rig_store(&rig, at(here, (generation + 1) % 8), 5);
        cr_assert(eq(u64, rig_load(&rig, at(there, generation % 8)), 1000 * generation));
        if (generation > 8)
            cr_assert(
                eq(u64, rig_load(&rig, at(there, (generation + 1) % 8)), 1000 * (generation - 7)));
        cr_assert(zero(int, remove_pages(here, 8)));
        here = there;
        there = swap;
    }
}

CHECKED_TEST(vm_map_copy, a_thousand_copies_that_go_again_leave_one_object)
{
    struct vm_object *object = map_new(SRC, 8);

    fill(SRC, 8, 1000);
    for (uint64_t generation = 1; generation <= 1000; generation++) {
        cr_assert(zero(int, copy_pages(SRC, DST, 8)));
        rig_store(&rig, at(DST, 1), generation);
        cr_assert(eq(u64, rig_load(&rig, at(DST, 2)), 1002));
        cr_assert(zero(int, remove_pages(DST, 8)));
        rig_store(&rig, SRC, generation);
        cr_assert(eq(ptr, entry_at(SRC)->object, object));
    }
    cr_expect(eq(uint, object->ref_count, 1));
    cr_expect(eq(u64, object->resident_count, 8));
}

/* --- Everything at once.  Where threads look, assert() ends the test process  */

/*
 * Owners, each with a range of its own in which every page always has one of the
 * values of its owner; copiers copy from it and look at what they got; everybody else
 * drops mappings, clips, wires and changes roots.
 */
#define OWNERS 2
#define HAMMER_PAGES 16u
#define HAMMER_ROUNDS 300u

static _Atomic unsigned hammer_owners;
static _Atomic unsigned hammer_copies;

static uint64_t
owner_base(unsigned owner)
{
    return SRC * (owner + 1);
}

/* Page `page` of owner's range in its round `round`: the page tells itself from others. */
static uint64_t
owner_value(unsigned owner, unsigned page, uint64_t round)
{
    return (uint64_t)(owner + 1) << 56 | (uint64_t)page << 48 | round;
}

static uint64_t
guest_load(uint64_t gpa, bool *mapped)
{
    struct vm_fault_info info;
    uint64_t value;

    *mapped = true;
    while (!fake_guest_load(&rig.fake, gpa_from_u64(gpa), &value)) {
        enum vm_result result =
            vm_fault(&rig.map, gpa_from_u64(gpa), VM_PROT_READ, VM_FAULT_BURST, &info);

        if (result == VM_INVALID_ADDRESS) {
            *mapped = false;
            return 0;
        }
        assert(result == VM_OK);
    }
    return value;
}

static void
guest_store(uint64_t gpa, uint64_t value)
{
    struct vm_fault_info info;

    while (!fake_guest_store(&rig.fake, gpa_from_u64(gpa), value))
        assert(vm_fault(&rig.map, gpa_from_u64(gpa), VM_PROT_WRITE, VM_FAULT_BURST, &info) ==
               VM_OK);
}

static void *
owner_thread(void *argument)
{
    unsigned owner = *(unsigned *)argument;
    uint64_t base = owner_base(owner);
    bool mapped;

    for (uint64_t round = 1; round <= HAMMER_ROUNDS; round++) {
        for (unsigned i = 0; i < HAMMER_PAGES; i++) {
            assert(guest_load(at(base, i), &mapped) == owner_value(owner, i, round - 1) && mapped);
            guest_store(at(base, i), owner_value(owner, i, round));
        }
    }
    atomic_fetch_sub(&hammer_owners, 1);
    return NULL;
}

/* A copy has for each page a value of one round, no later than those of pages before it. */
static void
copier_check(unsigned owner, uint64_t dst)
{
    uint64_t first = 0;
    bool mapped;

    for (unsigned i = 0; i < HAMMER_PAGES; i++) {
        uint64_t value = guest_load(at(dst, i), &mapped);
        uint64_t round = value & 0xffffffff;

        assert(mapped && value == owner_value(owner, i, round));
        if (i == 0)
            first = round;
        assert(round <= first && round + 1 >= first);
    }
}

static void *
copier_thread(void *argument)
{
    unsigned owner = *(unsigned *)argument;
    uint64_t dst = DST * 4 + owner_base(owner);
    bool mapped;

    do { /* at least once, however late this thread comes to run */
        assert(copy_pages(owner_base(owner), dst, HAMMER_PAGES) == 0);
        copier_check(owner, dst);
        guest_store(at(dst, 3), 12345);
        assert(guest_load(at(dst, 3), &mapped) == 12345 && mapped);
        guest_store(at(dst, 3),
                    owner_value(owner, 3, guest_load(at(dst, 2), &mapped) & 0xffffffff));
        copier_check(owner, dst);
        assert(copy_pages(dst, dst + DST, HAMMER_PAGES) == 0);
        assert(remove_pages(at(dst, 1), 2) == 0);
        assert(remove_pages(dst, HAMMER_PAGES) == 0);
        copier_check(owner, dst + DST);
        assert(remove_pages(dst + DST, HAMMER_PAGES) == 0);
        atomic_fetch_add(&hammer_copies, 1);
    } while (atomic_load(&hammer_owners) != 0);
    return NULL;
}

/* What must never show: mappings go, entries are clipped and merged. */
static void *
spoiler_thread(void *argument)
{
    unsigned n = 0;

    (void)argument;
    while (atomic_load(&hammer_owners) != 0) {
        uint64_t base = owner_base(n++ % OWNERS);
        gpa_t start = gpa_from_u64(at(base, n % 7));
        gpa_t end = gpa_from_u64(at(base, 8 + n % 7));

        assert(vm_map_inval(&rig.map, start, end) == 0);
        assert(vm_map_advise(&rig.map, start, end, n % 2 ? VM_ADVICE_RANDOM : VM_ADVICE_NORMAL) ==
               0);
        assert(vm_map_setmap(&rig.map, gpa_from_u64(RIG_WINDOW), gpa_from_u64(at(RIG_WINDOW, 4)),
                             rig_pte(1, RIG_PASS)) == 0);
        sched_yield();
    }
    return NULL;
}

/* The window on RAM shows pages 8 to 11; parts of it get other roots and lose them. */
static void *
window_thread(void *argument)
{
    bool mapped;

    (void)argument;
    while (atomic_load(&hammer_owners) != 0) {
        for (unsigned i = 0; i < 4; i++)
            assert(guest_load(at(RIG_WINDOW, i), &mapped) == 800 + i && mapped);
        assert(vm_map_setmap(&rig.map, gpa_from_u64(at(RIG_WINDOW, 1)),
                             gpa_from_u64(at(RIG_WINDOW, 3)), rig_pte(1, RIG_PASS)) == 0);
    }
    return NULL;
}

static void *
wirer_thread(void *argument)
{
    uint64_t base = owner_base(*(unsigned *)argument);

    while (atomic_load(&hammer_owners) != 0) {
        assert(vm_map_wire(&rig.map, gpa_from_u64(at(base, 5)), gpa_from_u64(at(base, 9)), true) ==
               0);
        sched_yield();
        assert(vm_map_unwire(&rig.map, gpa_from_u64(at(base, 5)), gpa_from_u64(at(base, 9)),
                             true) == 0);
        sched_yield();
    }
    return NULL;
}

static void
hammer_start(pthread_t *thread, void *(*function)(void *), unsigned *argument)
{
    cr_assert(zero(int, pthread_create(thread, NULL, function, argument)));
}

static void
hammer_prepare(void)
{
    for (unsigned level = 1; level < 4; level++)
        rig_vpte_set(&rig, level, 0, rig_pte(level + 1, RIG_PASS));
    for (unsigned i = 0; i < 4; i++) {
        rig_vpte_set(&rig, 4, i, rig_pte(8 + i, RIG_PASS));
        rig_store(&rig, at(0, 8 + i), 800 + i);
    }
    rig_window(&rig, RIG_WINDOW, 4, VM_PROT_RW, &vpte64_format, rig_pte(1, RIG_PASS));
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        map_new(owner_base(owner), HAMMER_PAGES);
        for (unsigned i = 0; i < HAMMER_PAGES; i++)
            rig_store(&rig, at(owner_base(owner), i), owner_value(owner, i, 0));
    }
}

/* `wire`: copies of what is wired are not of one moment, so nobody looks at them then. */
static void
hammer(bool wire)
{
    unsigned owners[OWNERS] = { 0, 1 };
    pthread_t threads[3 * OWNERS + 2];
    unsigned n = 0;

    hammer_prepare();
    atomic_store(&hammer_owners, OWNERS);
    for (unsigned i = 0; i < OWNERS; i++) {
        hammer_start(&threads[n++], owner_thread, &owners[i]);
        hammer_start(&threads[n++], wire ? wirer_thread : copier_thread, &owners[i]);
    }
    hammer_start(&threads[n++], spoiler_thread, NULL);
    hammer_start(&threads[n++], window_thread, NULL);
    for (unsigned i = 0; i < n; i++)
        cr_assert(zero(int, pthread_join(threads[i], NULL)));
    cr_expect(wire || atomic_load(&hammer_copies) > 0);
}

CHECKED_TEST(vm_map_copy, copies_faults_inval_setmap_and_unmaps_at_once_lose_no_byte)
{
    hammer(false);
}

CHECKED_TEST(vm_map_copy, wiring_among_faults_inval_and_clips_loses_no_byte_and_no_count)
{
    hammer(true);
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        const struct vm_object *object = entry_at(owner_base(owner))->object;

        cr_expect(zero(uint, entry_at(at(owner_base(owner), 6))->wired_count));
        for (unsigned i = 0; i < HAMMER_PAGES; i++)
            cr_expect(zero(uint, rig.sys.pages[object->extent + i].wire_count));
    }
}

/* Many threads touch an entry that needs a copy, or must grow, at the same time. */
static void *
toucher_thread(void *argument)
{
    unsigned self = *(unsigned *)argument;
    bool mapped;

    for (unsigned i = 0; i < 32; i++) {
        guest_store(at(DST, 2 + i) + 8 * self, i * 10 + self);
        assert(guest_load(at(DST, 2 + i) + 8 * self, &mapped) == i * 10 + self && mapped);
        assert(guest_load(at(SRC, 2 + i) + 8 * self, &mapped) == 0 && mapped);
    }
    return NULL;
}

CHECKED_TEST(vm_map_copy, an_entry_is_shadowed_and_grown_once_by_many_that_touch_it)
{
    unsigned numbers[4] = { 0, 1, 2, 3 };
    pthread_t threads[4];

    map_stack(at(SRC, 40), 40);
    for (unsigned round = 0; round < 50; round++) {
        cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
        for (unsigned i = 0; i < 4; i++)
            hammer_start(&threads[i], toucher_thread, &numbers[i]);
        for (unsigned i = 0; i < 4; i++)
            cr_assert(zero(int, pthread_join(threads[i], NULL)));
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned page = 0; page < 32; page++)
                cr_assert(eq(u64, rig_load(&rig, at(DST, 2 + page) + 8 * i), page * 10 + i));
        }
        cr_assert(zero(int, remove_pages(DST, NPAGES)));
    }
}
