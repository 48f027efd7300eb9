/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INVAL of some pages: those are walked to again, and their neighbours are not.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGES 8

static void
load_all(const struct window *window)
{
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(window_address(window, i), 0);
}

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("INVAL unmaps the pages it is given and no others");
    window_init_mapped(&window, &vpte64, PAGES);
    load_all(&window);
    since = counters_now();
    load_all(&window);
    EXPECT_COUNT(since, walks, == 0);
    EXPECT(doorbell_inval(window_address(&window, 3), 2 * PAGE_SIZE) == 0, "INVAL");
    load_all(&window);
    EXPECT_COUNT(since, walks, == 2);
    EXPECT_COUNT(since, invals, == 1);
    EXPECT(doorbell_inval(window.start, window.size) == 0, "INVAL of all");
    load_all(&window);
    EXPECT_COUNT(since, walks, == 2 + PAGES);
    EXPECT_COUNT(since, vpte_a, == 0);
    window_fini(&window);
    test_end();
    return test_summary();
}
