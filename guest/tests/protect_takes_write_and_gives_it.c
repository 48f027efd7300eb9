/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PROTECT of a region: without write permission its pages can be read and not written, mapped or not;
 * with it again they are what they were, and no page was made anew.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define PAGES 4
#define SIZE (PAGES * PAGE_SIZE)

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t region;

    access_init();
    test_begin("PROTECT takes the write permission of a region and gives it back");
    region = region_make(PAGES, REGION_RW);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(region_page(region, i), 100 + i);
    since = counters_now();
    EXPECT(doorbell_protect(region, SIZE, VKVM_MAP_READ) == 0, "PROTECT");
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_store_refused(region_page(region, i), VKVM_PF_PRESENT);
        expect_load(region_page(region, i), 100 + i);
    }
    EXPECT_COUNT(since, delivered, == PAGES);
    EXPECT(doorbell_protect(region, SIZE, 0) == 0, "PROTECT from all");
    expect_load_refused(region, VKVM_PF_PRESENT);
    EXPECT(doorbell_protect(region, SIZE, REGION_RW) == 0, "PROTECT back");
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_load(region_page(region, i), 100 + i);
        expect_store(region_page(region, i), 200 + i);
    }
    EXPECT_COUNT(since, delivered, == PAGES + 1);
    EXPECT_COUNT(since, zero_pages, == 0);
    EXPECT_COUNT(since, cow, == 0);
    test_end();
    return test_summary();
}
