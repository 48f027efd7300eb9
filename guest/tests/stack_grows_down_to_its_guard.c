/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stack has its last page; it grows down to whatever page is touched, by pages of zeros, and never
 * into its first one, which is a guard.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define PAGES 32

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t stack, copy;

    access_init();
    test_begin("a stack grows down as it is touched");
    stack = region_make(PAGES, REGION_RW | VKVM_MAP_STACK);
    EXPECT(doorbell_inval(region_page(stack, PAGES - 1), PAGE_SIZE) == 0, "no last page");
    EXPECT(doorbell_inval(region_page(stack, PAGES - 2), PAGE_SIZE) == -VKVM_ENOENT, "too large");
    since = counters_now();
    for (uint64_t i = PAGES - 1; i >= PAGES - 4; i--) {
        expect_load(region_page(stack, i), 0);
        expect_store(region_page(stack, i), 100 + i);
    }
    EXPECT_COUNT(since, zero_pages, == 4);
    expect_store(region_page(stack, 1), 101);
    EXPECT(doorbell_inval(region_page(stack, 1), (PAGES - 1) * PAGE_SIZE) == 0, "did not grow");
    expect_load(region_page(stack, PAGES - 4), 100 + PAGES - 4);
    EXPECT_COUNT(since, delivered, == 0);
    test_end();

    test_begin("a stack never grows into its first page");
    expect_load_refused(stack, VKVM_PF_PRESENT);
    expect_store_refused(region_page(stack, 1) - 8, VKVM_PF_PRESENT);
    expect_load_refused(stack - 8, 0);
    test_end();

    test_begin("the copy of a stack is a stack");
    copy = region_copy(stack, PAGES);
    expect_load(region_page(copy, 1), 101);
    expect_store_refused(copy, VKVM_PF_PRESENT);
    region_end(stack, PAGES);
    expect_load(region_page(copy, PAGES - 1), 100 + PAGES - 1);
    region_end(copy, PAGES);
    expect_load_refused(region_page(stack, PAGES - 1), 0);
    test_end();
    return test_summary();
}
