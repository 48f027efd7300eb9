/* SPDX-License-Identifier: BSD-2-Clause */
/* Sorted ranges: what a search finds, whatever was searched for, added or removed before. */
#include "vmm/vpagetable/vm_ranges.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/environment.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

#define MANY 300u /* ranges, each of GAP pages after GAP pages of nothing */
#define GAP 10u

static char owners[MANY];
static struct vm_ranges ranges;

/* Range i ends at (2 * i + 2) * GAP. */
static void
add(unsigned i)
{
    uint64_t end = (2 * i + 2) * GAP;

    cr_assert(vm_ranges_reserve(&ranges) == 0);
    vm_ranges_insert(&ranges, vm_ranges_search(&ranges, end - 1), end, &owners[i]);
}

static void
add_all(void)
{
    for (unsigned i = 0; i < MANY; i++)
        add(i);
}

static void
remove_all(void)
{
    while (ranges.n != 0)
        vm_ranges_remove(&ranges, ranges.n / 2);
    vm_ranges_fini(&ranges);
}

/* The search, without hints and steps. */
static unsigned
plain_search(uint64_t page)
{
    unsigned i = 0;

    while (i < ranges.n && ranges.ranges[i].end <= page)
        i++;
    return i;
}

static void
expect_search(uint64_t page)
{
    unsigned found = vm_ranges_search(&ranges, page);

    cr_assert(found == plain_search(page), "page %u: %u", (unsigned)page, found);
    cr_assert(vm_ranges_search(&ranges, page) == found, "and again, from the hint");
}

Test(vm_ranges, where_nothing_is_nothing_is_found)
{
    cr_expect(vm_ranges_search(&ranges, 5) == 0 && vm_ranges_after(&ranges, 5) == NULL);
    vm_ranges_fini(&ranges);
}

Test(vm_ranges, a_search_finds_the_first_range_that_ends_after_the_page)
{
    add_all();
    cr_expect(vm_ranges_after(&ranges, 0) == &owners[0], "also if it begins later");
    cr_expect(vm_ranges_after(&ranges, 2 * GAP - 1) == &owners[0]);
    cr_expect(vm_ranges_after(&ranges, 2 * GAP) == &owners[1]);
    cr_expect(vm_ranges_after(&ranges, 2 * MANY * GAP - 1) == &owners[MANY - 1]);
    cr_expect(vm_ranges_after(&ranges, 2 * MANY * GAP) == NULL);
    cr_expect(vm_ranges_after(&ranges, UINT64_MAX) == NULL);
    for (uint64_t page = 0; page <= 2 * MANY * GAP; page++)
        expect_search(page);
    remove_all();
}

Test(vm_ranges, a_search_finds_the_same_whatever_the_hints_say)
{
    add_all();
    for (unsigned guess = 0; guess < MANY + 3; guess++) {
        for (uint64_t page = guess % 7; page <= 2 * MANY * GAP; page += 7) {
            for (unsigned i = 0; i < ranges.capacity; i++)
                atomic_store(&ranges.hints[i], guess == MANY + 2 ? UINT_MAX : guess);
            cr_assert(vm_ranges_search(&ranges, page) == plain_search(page));
        }
    }
    remove_all();
}

Test(vm_ranges, a_search_finds_what_is_there_after_ranges_came_and_went)
{
    bool there[MANY] = { false };

    environment_seed("vm_ranges");
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rand() % MANY;
        uint64_t last = (2 * i + 2) * GAP - 1;

        cr_assert(there[i] == (vm_ranges_after(&ranges, last) == &owners[i]));
        if (there[i])
            vm_ranges_remove(&ranges, vm_ranges_search(&ranges, last));
        else
            add(i);
        there[i] = !there[i];
        expect_search((unsigned)rand() % (2 * MANY * GAP + 1));
    }
    remove_all();
}

Test(vm_ranges, an_insert_that_was_reserved_needs_no_memory)
{
    unsigned reserved = 0;

    add_all();
    for (; reserved < 1000; reserved++)
        cr_assert(vm_ranges_reserve(&ranges) == 0);
    alloc_failure_set(1);
    for (unsigned i = 0; i < reserved; i++)
        vm_ranges_insert(&ranges, ranges.n, UINT64_MAX - 1000 + i, NULL);
    alloc_failure_set(0);
    cr_expect(ranges.n == MANY + reserved && vm_ranges_after(&ranges, 0) == &owners[0]);
    remove_all();
}

Test(vm_ranges, without_memory_nothing_is_reserved_and_what_was_there_stays)
{
    for (unsigned i = 0; i < MANY; i++) {
        for (unsigned nth = 1; nth <= 2 && ranges.n == ranges.capacity; nth++) {
            alloc_failure_set(nth);
            cr_assert(vm_ranges_reserve(&ranges) == -ENOMEM);
            cr_assert(ranges.n == i && ranges.reserved == 0);
            expect_search(i * GAP);
        }
        add(i);
    }
    remove_all();
}

Test(vm_ranges, a_reservation_that_is_not_needed_leaves_its_room_to_others)
{
    add(0);
    while (ranges.n + ranges.reserved < ranges.capacity)
        cr_assert(vm_ranges_reserve(&ranges) == 0);
    vm_ranges_unreserve(&ranges);
    alloc_failure_set(1);
    add(1);
    alloc_failure_set(0);
    cr_expect(vm_ranges_after(&ranges, 2 * GAP) == &owners[1]);
    while (ranges.reserved != 0)
        vm_ranges_unreserve(&ranges);
    remove_all();
}
