/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of a virtual page table are RAM: they go to swap when they are not used and come back with the
 * A and M that vkvm has set.  Runs with --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/pressure.h"
#include "guest/lib/window.h"

#define APART 512 /* pages: each in a table page of its own */
#define PAGES 24

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("A and M survive the page-out of their table pages");
    window_init(&window, &vpte64, APART * PAGES);
    for (uint64_t i = 0; i < PAGES; i++) {
        window_map_new(&window, APART * i, VPTE_RW);
        expect_store(window_address(&window, APART * i), 100 + i);
        if (i % 2 != 0)
            window_clear_am(&window, APART * i);
    }
    since = counters_now();
    pressure();
    EXPECT_COUNT(since, pages_out, >= PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        EXPECT((vpte_get(&window.table, APART * i) & VPTE_AM) == (i % 2 == 0 ? VPTE_AM : 0),
               "page %lu: 0x%lx", i, vpte_get(&window.table, APART * i));
    EXPECT_COUNT(since, pages_in, >= 1);

    pressure();
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_load(window_address(&window, APART * i), 100 + i);
        EXPECT(window_entry(&window, APART * i, vpte64.levels) & VKVM_VPTE_A, "page %lu: no A", i);
    }
    EXPECT_COUNT(since, walks, >= PAGES);
    EXPECT_COUNT(since, page_in, >= 1);
    pressure();
    pressure();
    for (uint64_t i = 0; i < PAGES; i++)
        EXPECT(vpte_get(&window.table, APART * i) & VKVM_VPTE_A, "page %lu: A was lost", i);
    window_fini(&window);
    test_end();
    return test_summary();
}
