/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A read of a page whose M is set maps it writable: the next write can be seen no better than it was.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGE 2

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("a page with M, mapped by a read, takes a write without a fault");
    window_init_mapped(&window, &vpte64, 8);
    expect_store(window_address(&window, PAGE), 1);
    doorbell_inval(window.start, window.size);
    since = counters_now();
    expect_load(window_address(&window, PAGE), 1);
    expect_store(window_address(&window, PAGE), 2);
    EXPECT_COUNT(since, walks, == 1);
    EXPECT(*ram_word(vpte_frame(vpte_get(&window.table, PAGE))) == 2, "the write went elsewhere");
    test_end();

    test_begin("without M it is mapped read-only, and the write takes another");
    window_clear_am(&window, PAGE);
    since = counters_now();
    expect_load(window_address(&window, PAGE), 2);
    EXPECT_COUNT(since, walks, == 1);
    expect_store(window_address(&window, PAGE), 3);
    EXPECT_COUNT(since, walks, == 2);
    window_fini(&window);
    test_end();
    return test_summary();
}
