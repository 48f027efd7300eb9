/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * COPY copies no page: reading either side costs none, the first write of a page costs one, the second
 * none.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define PAGES 8

static void
expect_pages(uint64_t region, uint64_t value)
{
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(region_page(region, i), value + i);
}

static void
store_pages(uint64_t region, uint64_t value)
{
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(region_page(region, i), value + i);
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t source, copy;

    access_init();
    test_begin("a copy shares its pages until they are written");
    source = region_make(PAGES, REGION_RW);
    store_pages(source, 100);
    since = counters_now();
    copy = region_copy(source, PAGES);
    expect_pages(copy, 100);
    expect_pages(source, 100);
    EXPECT_COUNT(since, cow, == 0);
    EXPECT_COUNT(since, resident_pages, == 0);
    store_pages(copy, 200);
    store_pages(copy, 300);
    EXPECT_COUNT(since, cow, == PAGES);
    EXPECT_COUNT(since, resident_pages, == PAGES);
    expect_pages(source, 100);
    expect_pages(copy, 300);
    test_end();

    test_begin("a write of the source does not show in the copy");
    copy = region_copy(source, PAGES);
    store_pages(source, 400);
    expect_pages(copy, 100);
    expect_pages(source, 400);
    test_end();
    return test_summary();
}
