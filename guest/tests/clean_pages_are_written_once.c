/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page that came back from swap and was only read since is still there: it leaves again without being
 * written.  Runs with --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/ram.h"
#include "guest/lib/ring3.h"

#define PAGES UINT64_C(1024)
#define BUDGET 256

static uint64_t start;

/* Ring 3. */
static uint64_t
fill(uint64_t value)
{
    for (uint64_t i = 0; i < PAGES; i++)
        *(volatile uint64_t *)(start + i * PAGE_SIZE) = value + i;
    return 0;
}

/* Ring 3.  Returns how many pages hold something else. */
static uint64_t
count_wrong(uint64_t value)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < PAGES; i++)
        wrong += *(volatile uint64_t *)(start + i * PAGE_SIZE) != value + i;
    return wrong;
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t pages_out;

    access_init();
    test_begin("pages that are only read are written to swap once");
    start = ram_alloc_run(PAGES, PAGE_SIZE);
    ring3_call(fill, 7);
    EXPECT(ring3_call(count_wrong, 7) == 0, "other bytes");
    since = counters_now();
    EXPECT(ring3_call(count_wrong, 7) == 0, "other bytes");
    pages_out = counters_now().pages_out - since.pages_out;
    EXPECT_COUNT(since, pages_in, >= PAGES - BUDGET);
    EXPECT(pages_out < PAGES / 8, "%lu pages were written", pages_out);
    test_end();

    test_begin("pages that are written between are written again");
    ring3_call(fill, 8);
    EXPECT(ring3_call(count_wrong, 8) == 0, "other bytes");
    pages_out = counters_now().pages_out - since.pages_out;
    EXPECT(pages_out >= PAGES - BUDGET, "%lu pages were written", pages_out);
    test_end();
    return test_summary();
}
