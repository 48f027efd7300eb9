/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a copy shares with a region is its own when the region goes: no page is copied any more, and
 * none is left over.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define PAGES 8

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t source, copy;

    access_init();
    test_begin("the pages of a region that goes become those of its copy");
    since = counters_now();
    source = region_make(PAGES, REGION_RW);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(region_page(source, i), 100 + i);
    copy = region_copy(source, PAGES);
    expect_store(region_page(copy, 3), 203);
    EXPECT_COUNT(since, cow, == 1);
    EXPECT_COUNT(since, resident_pages, == PAGES + 1);
    region_end(source, PAGES);
    EXPECT_COUNT(since, resident_pages, == PAGES);
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_load(region_page(copy, i), i == 3 ? 203 : 100 + i);
        expect_store(region_page(copy, i), 300 + i);
        expect_load(region_page(copy, i), 300 + i);
    }
    EXPECT_COUNT(since, cow, == 1);
    EXPECT_COUNT(since, resident_pages, == PAGES);
    region_end(copy, PAGES);
    EXPECT_COUNT(since, resident_pages, == 0);
    test_end();
    return test_summary();
}
