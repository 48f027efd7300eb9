/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Neighbours that are mapped along with a page have their A set early, as hardware may, and their M
 * never: the first write of each is a walk of its own.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGES 8

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("neighbours of a written page get A and no M");
    window_init(&window, &vpte64, PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        *ram_word(window_map_new(&window, i, VPTE_RW)) = i;
    EXPECT(doorbell_advise(window.start, window.size, VKVM_ADVICE_SEQUENTIAL) == 0, "ADVISE");
    since = counters_now();
    expect_store(window_address(&window, 0), 100);
    EXPECT_COUNT(since, prefaulted, == PAGES - 1);
    for (uint64_t i = 1; i < PAGES; i++) {
        EXPECT((vpte_get(&window.table, i) & VPTE_AM) == VKVM_VPTE_A, "page %lu: 0x%lx", i,
               vpte_get(&window.table, i));
        expect_load(window_address(&window, i), i);
    }
    EXPECT_COUNT(since, walks, == 1);
    test_end();

    test_begin("the first write of a neighbour is seen");
    for (uint64_t i = 1; i < PAGES; i++) {
        expect_store(window_address(&window, i), 100 + i);
        EXPECT(vpte_get(&window.table, i) & VKVM_VPTE_M, "page %lu: no M", i);
    }
    EXPECT_COUNT(since, walks, == PAGES);
    window_fini(&window);
    test_end();
    return test_summary();
}
