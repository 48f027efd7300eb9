/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page of zeros need not be written to leave memory: more of them than there is memory go, and come
 * back as zeros, without a byte of swap.  Runs with --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"

#define BUDGET 256 /* pages */
#define PAGES UINT64_C(1024)

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t start, pages_out;

    access_init();
    test_begin("pages that are only read leave memory without being written");
    start = ram_alloc_run(PAGES, PAGE_SIZE);
    since = counters_now();
    for (unsigned pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < PAGES; i++)
            expect_load(start + i * PAGE_SIZE + i % 512 * 8, 0);
    pages_out = counters_now().pages_out - since.pages_out;
    EXPECT(pages_out < PAGES / 8, "%lu pages were written", pages_out);
    EXPECT_COUNT(since, zero_pages, >= 2 * PAGES - BUDGET);
    EXPECT_COUNT(since, pages_in, < PAGES / 8);
    test_end();
    return test_summary();
}
