/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SETMAP, also with the root that is there, unmaps the whole window, and no other one.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGES 8
#define SIZE (PAGES * PAGE_SIZE)

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;
    uint64_t other;

    access_init();
    test_begin("after SETMAP every page of the window is walked to again");
    window_init_mapped(&window, &vpte64, PAGES);
    other = window.start + SIZE;
    EXPECT(doorbell_vmspace_map(WINDOW_VMSPACE, other, SIZE, window.table.root,
                                VKVM_MAP_READ | VKVM_MAP_WRITE) == 0,
           "VMSPACE_MAP next to it");
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(window_address(&window, i), i);
    expect_load(other, 0);
    EXPECT(doorbell_setmap(window.start, SIZE, window.table.root) == 0, "SETMAP");
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(window_address(&window, i), i);
    EXPECT_COUNT(since, walks, == PAGES);
    EXPECT_COUNT(since, vpte_a, == 0);
    expect_load(other, 0);
    EXPECT_COUNT(since, walks, == PAGES);
    window_fini(&window);
    test_end();
    return test_summary();
}
