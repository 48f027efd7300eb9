/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A wired region is not shared with its copy: all pages are copied by COPY, and a write of either side
 * takes no fault for that.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define PAGES 8
#define SIZE (PAGES * PAGE_SIZE)

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t source, copy;

    access_init();
    test_begin("COPY of a wired region copies its pages");
    source = region_make(PAGES, REGION_RW);
    EXPECT(doorbell_wire(source, SIZE) == 0, "WIRE");
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(region_page(source, i), 100 + i);
    EXPECT_COUNT(since, faults, == 0);
    copy = region_copy(source, PAGES);
    EXPECT_COUNT(since, resident_pages, == PAGES);
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(region_page(source, i), 200 + i);
    EXPECT_COUNT(since, faults, == 0);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(region_page(copy, i), 100 + i);
    EXPECT_COUNT(since, cow, == 0);
    EXPECT(doorbell_unwire(source, SIZE) == 0, "UNWIRE");
    test_end();
    return test_summary();
}
