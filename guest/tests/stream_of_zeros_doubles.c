/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who touches fresh memory page by page gets as many pages ahead as lie behind: the faults of a stream
 * are its logarithm, and a few for each 2 MiB.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/ram.h"

#define PAGES UINT64_C(512)

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t start;

    access_init();
    test_begin("a stream over fresh memory doubles what it is given");
    start = ram_alloc_run(PAGES, PAGES * PAGE_SIZE);
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(start + i * PAGE_SIZE, i);
    EXPECT_COUNT(since, zero_pages, == PAGES);
    EXPECT_COUNT(since, zero_fill, >= 2);
    EXPECT_COUNT(since, zero_fill, <= 16);
    EXPECT_COUNT(since, prefaulted, >= PAGES - 16);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(start + i * PAGE_SIZE, i);
    EXPECT_COUNT(since, zero_pages, == PAGES);
    test_end();
    return test_summary();
}
