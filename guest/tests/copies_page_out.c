/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region and its copy keep their bytes while the pages that they share, and those that they do not,
 * go to swap and come back.  Runs with --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/pressure.h"
#include "guest/lib/region.h"

#define PAGES 32

static void
expect_pages(uint64_t region, uint64_t base, uint64_t even)
{
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(region_page(region, i), (i % 2 == 0 ? even : base) + i);
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t source, copy;

    access_init();
    test_begin("a region and its copy go to swap and come back, each with its own bytes");
    source = region_make(PAGES, REGION_RW);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(region_page(source, i), 100 + i);
    pressure();
    copy = region_copy(source, PAGES);
    pressure();
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i += 2)
        expect_store(region_page(copy, i), 200 + i);
    EXPECT_COUNT(since, cow, == PAGES / 2);
    EXPECT_COUNT(since, pages_in, >= 1);
    for (unsigned round = 0; round < 2; round++) {
        since = counters_now();
        pressure();
        expect_pages(source, 100, 100);
        expect_pages(copy, 100, 200);
        EXPECT_COUNT(since, page_in, >= 1);
        EXPECT_COUNT(since, cow, == 0);
    }
    region_end(source, PAGES);
    pressure();
    expect_pages(copy, 100, 200);
    test_end();
    return test_summary();
}
