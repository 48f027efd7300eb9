/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two windows with one table: both show the same pages, A and M are set once, and each has mappings
 * of its own.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGES 4
#define SIZE (PAGES * PAGE_SIZE)

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;
    uint64_t other;

    access_init();
    test_begin("two windows with one table share its A and M, and not their mappings");
    window_init_mapped(&window, &vpte64, PAGES);
    other = window.start + 16 * SIZE;
    EXPECT(doorbell_vmspace_map(WINDOW_VMSPACE, other, SIZE, window.table.root,
                                VKVM_MAP_READ | VKVM_MAP_WRITE) == 0,
           "VMSPACE_MAP");
    expect_store(window_address(&window, 2), 7);
    since = counters_now();
    expect_load(other + 2 * PAGE_SIZE, 7);
    expect_store(other + 2 * PAGE_SIZE, 8);
    expect_load(window_address(&window, 2), 8);
    EXPECT_COUNT(since, walks, == 1);
    EXPECT_COUNT(since, vpte_a, == 0);
    EXPECT_COUNT(since, vpte_m, == 0);

    doorbell_inval(other, SIZE);
    since = counters_now();
    expect_load(window_address(&window, 2), 8);
    EXPECT_COUNT(since, walks, == 0);
    expect_load(other + 2 * PAGE_SIZE, 8);
    EXPECT_COUNT(since, walks, == 1);
    window_fini(&window);
    test_end();
    return test_summary();
}
