/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Through a root with PS there is no table: a walk sets no A and no M, and what was read can be
 * written without another fault, since there is no M that could be missed.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGES 4

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;
    uint64_t run;

    access_init();
    test_begin("a root with PS sets no bits, and a read of it maps writable");
    window_init_mapped(&window, &vpte64, PAGES);
    run = ram_alloc_run(PAGES, PAGE_SIZE);
    EXPECT(doorbell_setmap(window.start, window.size, run | VPTE_RW | VKVM_VPTE_PS) == 0, "SETMAP");
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_load(window_address(&window, i), 0);
        expect_store(window_address(&window, i), i + 1);
    }
    EXPECT_COUNT(since, walks, == PAGES);
    EXPECT_COUNT(since, vpte_a, == 0);
    EXPECT_COUNT(since, vpte_m, == 0);
    for (uint64_t i = 0; i < PAGES; i++)
        EXPECT(*ram_word(run + i * PAGE_SIZE) == i + 1, "page %lu", i);
    window_fini(&window);
    test_end();
    return test_summary();
}
