/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that the guest reports as free: what goes, what stays, and that nothing is written for it. */
#include "vmm/vpagetable/vm_discard.h"

#include "tests/unit/swap_rig.h"

TestSuite(vm_discard, .timeout = 60);

static uint64_t
discard(struct rig *rig, uint64_t start, uint64_t end)
{
    return vm_discard(&rig->map, gpa_from_u64(start), gpa_from_u64(end));
}

Test(vm_discard, dirty_pages_go_without_a_write_and_read_as_zeros)
{
    struct rig rig;

    swap_rig(&rig, 0, 4096);
    fill(&rig, 100, 1500);
    cr_assert(eq(u64, discard(&rig, PAGE(200), PAGE(1300)), 1100));
    cr_expect(eq(u64, resident(&rig), 300));
    cr_expect(eq(u64, rig_meter(&rig, v_reported), 1100));
    cr_expect(eq(u64, rig_meter(&rig, v_discarded), 1100));
    cr_expect(eq(int, rig_mapped(&rig, PAGE(200)), VM_PROT_NONE));
    cr_expect(zero(u64, rig_system_meter(&rig, v_pageout)));
    check(&rig, 100, 200);
    check(&rig, 1300, 1500);
    for (unsigned p = 200; p < 1300; p++)
        cr_assert(zero(u64, rig_load(&rig, PAGE(p))));
    swap_fini(&rig);
}

Test(vm_discard, what_swap_has_goes_without_a_read)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 22));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 20));
    read_error = EIO;
    cr_assert(ge(u64, discard(&rig, PAGE(5), PAGE(15)), 1));
    cr_expect(eq(u64, swap_device_used(rig.sys.swap), 10));
    for (unsigned p = 5; p < 15; p++)
        cr_assert(zero(u64, rig_load(&rig, PAGE(p))));
    read_error = 0;
    check(&rig, 0, 5);
    check(&rig, 15, 20);
    swap_fini(&rig);
}

Test(vm_discard, a_page_that_is_there_in_part_stays)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    cr_expect(zero(u64, discard(&rig, PAGE(1) + 1, PAGE(3) - 1)));
    cr_expect(zero(u64, discard(&rig, PAGE(1) + 1, PAGE(1) + 2)));
    cr_expect(zero(u64, discard(&rig, PAGE(2), PAGE(1))));
    cr_expect(zero(u64, discard(&rig, UINT64_MAX, UINT64_MAX)));
    cr_expect(zero(u64, rig_meter(&rig, v_reported)));
    check(&rig, 0, 4);
    cr_expect(eq(u64, discard(&rig, PAGE(0) + 1, PAGE(3) + 1), 2));
    swap_fini(&rig);
}

Test(vm_discard, addresses_where_nothing_is_are_passed_over)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, RIG_PAGES - 2, RIG_PAGES);
    cr_expect(
        eq(u64, discard(&rig, PAGE(RIG_PAGES - 1), PAGE(RIG_PAGES) + ((uint64_t)1 << 32)), 1));
    check(&rig, RIG_PAGES - 2, RIG_PAGES - 1);
    swap_fini(&rig);
}

Test(vm_discard, busy_held_and_wired_pages_stay)
{
    struct rig rig;
    struct vm_page *m;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 10);
    rig_busy(rig_page(rig.ram, 2));
    vm_mutex_lock(&rig.ram->lock);
    m = vm_page_lookup(rig.ram, 4);
    vm_page_hold(m);
    vm_page_wire(vm_page_lookup(rig.ram, 6));
    vm_mutex_unlock(&rig.ram->lock);
    cr_expect(eq(u64, discard(&rig, PAGE(0), PAGE(10)), 7));
    rig_wakeup(rig_page(rig.ram, 2));
    vm_page_unhold(m);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_unwire(vm_page_lookup(rig.ram, 6), true);
    vm_mutex_unlock(&rig.ram->lock);
    for (unsigned p = 2; p < 7; p += 2)
        check(&rig, p, p + 1);
    swap_fini(&rig);
}

Test(vm_discard, a_wired_entry_stays)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 6);
    cr_assert(zero(int, vm_map_wire(&rig.map, gpa_from_u64(PAGE(2)), gpa_from_u64(PAGE(4)), true)));
    cr_expect(eq(u64, discard(&rig, PAGE(0), PAGE(6)), 4));
    check(&rig, 2, 4);
    cr_assert(
        zero(int, vm_map_unwire(&rig.map, gpa_from_u64(PAGE(2)), gpa_from_u64(PAGE(4)), true)));
    swap_fini(&rig);
}

Test(vm_discard, what_cannot_be_written_stays)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(PAGE(1)), gpa_from_u64(PAGE(2)),
                                       VM_PROT_READ)));
    cr_expect(eq(u64, discard(&rig, PAGE(0), PAGE(4)), 3));
    check(&rig, 1, 2);
    swap_fini(&rig);
}

/* Before the first write, and after it, on either side. */
Test(vm_discard, a_copy_keeps_its_bytes_and_so_does_its_source)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), gpa_from_u64(W(0)), PAGE(RIG_PAGES))));
    cr_expect(zero(u64, discard(&rig, PAGE(0), PAGE(4))));
    cr_expect(zero(u64, discard(&rig, W(0), W(4))));
    rig_store(&rig, PAGE(1), 77);
    rig_store(&rig, W(2), 78);
    cr_expect(zero(u64, discard(&rig, PAGE(0), PAGE(4))));
    cr_expect(zero(u64, discard(&rig, W(0), W(4))));
    cr_expect(eq(u64, rig_load(&rig, PAGE(1)), 77));
    cr_expect(eq(u64, rig_load(&rig, W(1)), 4));
    cr_expect(eq(u64, rig_load(&rig, W(2)), 78));
    cr_expect(eq(u64, rig_load(&rig, PAGE(2)), 7));
    swap_fini(&rig);
}

Test(vm_discard, pages_of_a_pager_stay)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    rig.ram->flags |= OBJ_WRITEBACK;
    rig_store(&rig, PAGE(3), 1234);
    cr_expect(zero(u64, discard(&rig, PAGE(0), PAGE(8))));
    cr_expect(eq(u64, rig_load(&rig, PAGE(3)), 1234));
    rig.ram->flags &= ~(unsigned)OBJ_WRITEBACK;
    rig_fini(&rig);
}

/* The window's own addresses are no RAM; RAM behind it is seen through the window as it is. */
Test(vm_discard, a_window_shows_that_its_page_is_zeros_again)
{
    struct rig rig;

    rig_window_init(&rig, 8, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_expect(zero(u64, discard(&rig, W(0), W(8))));
    cr_assert(eq(u64, discard(&rig, PAGE(106), PAGE(107)), 1));
    cr_expect(eq(int, rig_mapped(&rig, W(2)), VM_PROT_NONE));
    cr_expect(zero(u64, rig_load(&rig, W(2))));
    cr_expect(eq(u64, rig_load(&rig, W(3)), 3));
    rig_fini(&rig);
}

Test(vm_discard, it_ends_when_the_vm_does)
{
    const _Atomic bool stop = true;
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    rig.map.stop = &stop;
    cr_expect(zero(u64, discard(&rig, PAGE(0), PAGE(4))));
    rig.map.stop = NULL;
    check(&rig, 0, 4);
    swap_fini(&rig);
}

/* --- Beside everything else ------------------------------------------------- */

#define RACE_PAGES 64u
#define RACE_ROUNDS 400u

struct racer {
    struct rig *rig;
    unsigned first; /* of every other page: its own */
    unsigned nzeros;
};

/* A word that was written is there, or the page is zeros again. */
static void *
race(void *argument)
{
    struct racer *racer = argument;

    for (unsigned round = 1; round <= RACE_ROUNDS; round++) {
        for (unsigned p = racer->first; p < RACE_PAGES; p += 2) {
            uint64_t value = (uint64_t)round << 32 | p, found;

            rig_store(racer->rig, PAGE(p), value);
            found = rig_load(racer->rig, PAGE(p));
            racer->nzeros += found == 0;
            cr_assert(found == 0 || found == value);
        }
    }
    return NULL;
}

Test(vm_discard, beside_writers_and_page_out_a_page_is_what_was_written_or_zeros)
{
    struct rig rig;
    struct racer racers[2] = { { &rig, 0, 0 }, { &rig, 1, 0 } };
    pthread_t threads[2];

    swap_rig(&rig, RACE_PAGES / 2, 4096);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(zero(int, pthread_create(&threads[i], NULL, race, &racers[i])));
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        (void)discard(&rig, PAGE(round % 7), PAGE(RACE_PAGES));
        (void)vm_pageout_scan(&rig.sys, 8);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    rig_audit(&rig);
    swap_fini(&rig);
}
