/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a walk looks up is the page's number in its window, wherever the window lies.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PLACE (VKVM_WINDOW_BASE + 0x40003000)
#define PAGES 4

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("page 0 of a window uses index 0 at every level, wherever the window lies");
    window_init_at(&window, &vpte64, PLACE, PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        *ram_word(window_map_new(&window, i, VPTE_RW)) = 100 + i;
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(PLACE + i * PAGE_SIZE, 100 + i);
    EXPECT_COUNT(since, walks, >= 1);
    EXPECT_COUNT(since, failed, == 0);
    window_fini(&window);
    test_end();
    return test_summary();
}
