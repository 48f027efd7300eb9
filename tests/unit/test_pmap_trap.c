/* SPDX-License-Identifier: BSD-2-Clause */
/* Trapped pages, over the fake machine half. */
#include "vmm/vpagetable/pmap_trap.h"

#include "tests/unit/pmap_rig.h"

#include <criterion/criterion.h>

/* What was told: how often, and the last page. */
struct touches {
    unsigned n;
    uint64_t page;
    bool mapped; /* the page was, when it was told */
};

static void
on_touched(void *context, uint64_t page)
{
    struct touches *touches = context;

    touches->n++;
    touches->page = page;
    touches->mapped = fake_pmap_lookup(&fake, gpa_from_u64(page << PAGE_SHIFT), NULL, NULL);
}

static void
trap(struct touches *touches, uint64_t i)
{
    uint64_t trapped = gpa_to_u64(natural_at(i)) >> PAGE_SHIFT;

    *touches = (struct touches){ .n = 0 };
    pmap_trap_set(&pmap, &trapped, 1, on_touched, touches);
    pmap_trap_close(&pmap);
}

CHECKED_TEST(pmap, who_demands_a_trapped_page_tells_before_it_is_mapped)
{
    struct touches touches;

    trap(&touches, 5);
    cr_assert(enter(natural_at(4), page(4), VM_PROT_READ) == 0);
    cr_expect(touches.n == 0);
    cr_assert(enter(natural_at(5), page(5), VM_PROT_READ) == 0);
    cr_expect(touches.n == 1 && touches.page == gpa_to_u64(natural_at(5)) >> PAGE_SHIFT);
    cr_expect(!touches.mapped && maps(natural_at(5), page(5), VM_PROT_READ));
}

CHECKED_TEST(pmap, a_neighbour_does_not_enter_a_trapped_page)
{
    struct touches touches;
    struct pmap_entered entered;

    trap(&touches, 2);
    cr_assert(enter_run(natural_at(0), 0, 4, VM_PROT_RW, 1, &entered) == 0);
    cr_expect(touches.n == 0 && entered.npages == 3 && maps_nothing(natural_at(2)));
    cr_expect(maps(natural_at(3), page(3), VM_PROT_RW));
}

CHECKED_TEST(pmap, closed_traps_are_not_mapped_and_tell_again)
{
    struct touches touches;

    cr_assert(enter(natural_at(5), page(5), VM_PROT_RW) == 0);
    trap(&touches, 5);
    cr_expect(maps_nothing(natural_at(5)));
    cr_assert(enter(natural_at(5), page(5), VM_PROT_RW) == 0);
    pmap_trap_close(&pmap);
    cr_expect(maps_nothing(natural_at(5)));
    cr_assert(enter(natural_at(5), page(5), VM_PROT_RW) == 0);
    cr_expect(touches.n == 2);
}

CHECKED_TEST(pmap, without_traps_nothing_is_told)
{
    struct touches touches;

    trap(&touches, 5);
    pmap_trap_set(&pmap, NULL, 0, NULL, NULL);
    cr_assert(enter(natural_at(5), page(5), VM_PROT_READ) == 0);
    cr_expect(touches.n == 0);
}
