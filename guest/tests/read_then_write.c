/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page that was read through a window stays write-protected until its M is set, so
 * that the first write is seen.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

static void
the_write_after_a_read_sets_m(const struct vpte_format *format, const char *name)
{
    struct window window;
    uint64_t frame;

    test_begin(name);
    window_init(&window, format, 16);
    frame = window_map_new(&window, 3, VPTE_RW);
    *ram_word(frame) = 41;
    EXPECT(access_load(window_address(&window, 3), (struct access_fault *)0) == 41, "wrong data");
    EXPECT((vpte_get(&window.table, 3) & VPTE_AM) == VKVM_VPTE_A, "after the read: 0x%lx",
           vpte_get(&window.table, 3));
    access_store(window_address(&window, 3), 42, (struct access_fault *)0);
    EXPECT((vpte_get(&window.table, 3) & VPTE_AM) == VPTE_AM, "after the write: 0x%lx",
           vpte_get(&window.table, 3));
    EXPECT(*ram_word(frame) == 42, "RAM has %lu", *ram_word(frame));
    window_fini(&window);
    test_end();
}

static void
clearing_m_makes_the_next_write_seen(void)
{
    struct window window;

    test_begin("after M was cleared and INVAL, the next write sets it again");
    window_init(&window, &vpte64, 16);
    window_map_new(&window, 3, VPTE_RW);
    access_store(window_address(&window, 3), 1, (struct access_fault *)0);
    window_clear_am(&window, 3);
    (void)access_load(window_address(&window, 3), (struct access_fault *)0);
    EXPECT((vpte_get(&window.table, 3) & VKVM_VPTE_M) == 0, "the read set M");
    access_store(window_address(&window, 3), 2, (struct access_fault *)0);
    EXPECT(vpte_get(&window.table, 3) & VKVM_VPTE_M, "the write went unseen");
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    the_write_after_a_read_sets_m(&vpte64, "the write after a read sets M (vpte64)");
    the_write_after_a_read_sets_m(&vpte32, "the write after a read sets M (vpte32)");
    clearing_m_makes_the_next_write_seen();
    return test_summary();
}
