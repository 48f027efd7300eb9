/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SETMAP: another root, at once and for the whole window.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 32

static void
two_tables_take_turns(void)
{
    struct window window;
    struct vpte_table other;
    struct access_fault fault;
    uint64_t frame;

    test_begin("SETMAP switches between two tables");
    window_init(&window, &vpte64, PAGES);
    vpte_table_init(&other, &vpte64);
    for (uint64_t i = 0; i < PAGES; i++) {
        frame = window_map_new(&window, i, VPTE_RW);
        *ram_word(frame) = 1000 + i;
        frame = ram_alloc();
        vpte_map(&other, i, frame, VPTE_RW);
        *ram_word(frame) = 2000 + i;
    }
    for (unsigned turn = 0; turn < 4; turn++) {
        const struct vpte_table *table = turn & 1 ? &other : &window.table;
        uint64_t base = turn & 1 ? 2000 : 1000;

        EXPECT(doorbell_setmap(window.start, window.size, table->root) == 0, "SETMAP");
        for (uint64_t i = 0; i < PAGES; i++)
            EXPECT(access_load(window_address(&window, i), &fault) == base + i, "turn %u page %lu",
                   turn, i);
    }
    window_fini(&window);
    test_end();
}

static void
setmap_refuses_nonsense(void)
{
    struct window window;

    test_begin("SETMAP refuses RAM, parts of a window and what is not mapped");
    window_init(&window, &vpte64, PAGES);
    EXPECT(doorbell_setmap(0, PAGE_SIZE, 0) == -VKVM_EINVAL, "RAM");
    EXPECT(doorbell_setmap(window.start, window.size - PAGE_SIZE, 0) == -VKVM_EINVAL, "a part");
    EXPECT(doorbell_setmap(window.start + 8, window.size, 0) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_setmap(window.start + window.size, PAGE_SIZE, 0) == -VKVM_ENOENT, "no window");
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    two_tables_take_turns();
    setmap_refuses_nonsense();
    return test_summary();
}
