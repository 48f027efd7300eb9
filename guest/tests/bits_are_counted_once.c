/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A first read sets A at each level, and M in each directory, whose table page it changes; a first
 * write then sets the one M that is missing; after that there is nothing to set.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGE 1

static void
first_accesses(const struct vpte_format *format, const char *name)
{
    struct window window;
    struct vkvm_statistics since;

    test_begin(name);
    window_init_mapped(&window, format, 8);
    since = counters_now();
    expect_load(window_address(&window, PAGE), 0);
    EXPECT_COUNT(since, vpte_a, == format->levels);
    EXPECT_COUNT(since, vpte_m, == format->levels - 1);
    EXPECT_COUNT(since, vpte_dir_m, == format->levels - 1);
    since = counters_now();
    expect_store(window_address(&window, PAGE), 1);
    expect_store(window_address(&window, PAGE), 2);
    expect_load(window_address(&window, PAGE), 2);
    EXPECT_COUNT(since, vpte_a, == 0);
    EXPECT_COUNT(since, vpte_m, == 1);
    EXPECT_COUNT(since, walks, == 1);
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    first_accesses(&vpte64, "each A and M is set once and counted once (vpte64)");
    first_accesses(&vpte32, "each A and M is set once and counted once (vpte32)");
    return test_summary();
}
