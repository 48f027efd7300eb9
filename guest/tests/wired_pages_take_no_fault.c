/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After WIRE no access of the range faults, in RAM and in a region; when the pages are mapped no more,
 * they still are in memory.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define PAGES 16
#define SIZE (PAGES * PAGE_SIZE)

static void
wired(uint64_t start, const char *name)
{
    struct vkvm_statistics since;

    test_begin(name);
    since = counters_now();
    EXPECT(doorbell_wire(start, SIZE) == 0, "WIRE");
    EXPECT_COUNT(since, zero_pages, == PAGES);
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_load(region_page(start, i), 0);
        expect_store(region_page(start, i), 100 + i);
    }
    EXPECT_COUNT(since, faults, == 0);
    EXPECT(doorbell_inval(start, SIZE) == 0, "INVAL");
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(region_page(start, i), 100 + i);
    EXPECT_COUNT(since, zero_fill, == 0);
    EXPECT_COUNT(since, resident, >= 1);
    EXPECT(doorbell_unwire(start, SIZE) == 0, "UNWIRE");
    test_end();
}

int
guest_main(void)
{
    access_init();
    wired(ram_alloc_run(PAGES, UINT64_C(2) << 20), "wired RAM takes no fault");
    wired(region_make(PAGES, REGION_RW), "a wired region takes no fault");
    return test_summary();
}
