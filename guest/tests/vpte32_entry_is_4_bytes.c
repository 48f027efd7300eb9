/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A and M are set in the 4 bytes of a vpte32, and nowhere else.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGE 6
#define GARBAGE 0x5a5a5000u /* not valid */

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;
    uint32_t *entry;

    access_init();
    test_begin("a walk leaves the entries on both sides of a vpte32 alone");
    window_init(&window, &vpte32, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    entry = vpte_entry(&window.table, PAGE);
    entry[-1] = GARBAGE;
    entry[1] = ~GARBAGE & ~VKVM_VPTE_V;
    since = counters_now();
    expect_store(window_address(&window, PAGE), 1);
    EXPECT((entry[0] & VPTE_AM) == VPTE_AM, "0x%x", entry[0]);
    EXPECT(entry[-1] == GARBAGE, "before it: 0x%x", entry[-1]);
    EXPECT(entry[1] == (~GARBAGE & ~VKVM_VPTE_V), "behind it: 0x%x", entry[1]);
    EXPECT_COUNT(since, vpte_a, == 2);
    EXPECT_COUNT(since, vpte_m, == 2);
    window_fini(&window);
    test_end();
    return test_summary();
}
