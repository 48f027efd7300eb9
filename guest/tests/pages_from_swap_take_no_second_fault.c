/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that comes back from swap can be written to at once: only where a virtual page table wants
 * its M set is the first write seen.  Runs with --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/ram.h"
#include "guest/lib/ring3.h"

#define PAGES UINT64_C(1024)

static uint64_t start;

static volatile uint64_t *
page(uint64_t i)
{
    return (volatile uint64_t *)(start + i * PAGE_SIZE);
}

/* Ring 3. */
static uint64_t
fill(uint64_t value)
{
    for (uint64_t i = 0; i < PAGES; i++)
        *page(i) = value + i;
    return 0;
}

/* Read each page, then add 1 to it.  Returns how many of these writes took a fault. */
static uint64_t
count_second_faults(void)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t was = *page(i);
        uint64_t before = counters_now().faults;

        *page(i) = was + 1;
        count += counters_now().faults != before;
    }
    return count;
}

/* Ring 3.  Returns how many pages hold something else. */
static uint64_t
count_wrong(uint64_t value)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < PAGES; i++)
        wrong += *page(i) != value + i;
    return wrong;
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t count;

    access_init();
    test_begin("a page from swap is read, and then written to without a fault");
    start = ram_alloc_run(PAGES, PAGE_SIZE);
    ring3_call(fill, 7);
    since = counters_now();
    count = count_second_faults();
    EXPECT_COUNT(since, pages_in, >= PAGES / 2);
    /* Page-out may unmap a page between the two. */
    EXPECT(count < PAGES / 8, "%lu pages took two faults", count);
    test_end();

    test_begin("what was written without a fault goes to swap and comes back");
    EXPECT(ring3_call(count_wrong, 8) == 0, "other bytes");
    EXPECT(ring3_call(count_wrong, 8) == 0, "other bytes");
    test_end();
    return test_summary();
}
