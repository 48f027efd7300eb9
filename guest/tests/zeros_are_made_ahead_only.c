/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Neighbours of zeros are made ahead of a stream and never behind a page: who goes down gets each page
 * by a fault of its own, and who jumps about no others.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/ram.h"

#define PAGES UINT64_C(32)
#define RUN UINT64_C(512)

static void
touched(uint64_t step, const char *name)
{
    struct vkvm_statistics since;
    uint64_t start;

    test_begin(name);
    start = ram_alloc_run(RUN, RUN * PAGE_SIZE);
    since = counters_now();
    for (uint64_t i = 1; i <= PAGES; i++)
        expect_store(start + (RUN - step * i) % RUN * PAGE_SIZE, i);
    EXPECT_COUNT(since, zero_fill, == PAGES);
    EXPECT_COUNT(since, zero_pages, == PAGES);
    EXPECT_COUNT(since, resident_pages, == PAGES);
    test_end();
}

int
guest_main(void)
{
    access_init();
    touched(1, "a stream downwards is made page by page");
    touched(13, "pages here and there are made alone");
    return test_summary();
}
