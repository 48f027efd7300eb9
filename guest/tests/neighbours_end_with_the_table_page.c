/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Neighbours come along from the last table page of a walk only: the next one was not walked to, and
 * gets no A.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define LAST 511                           /* of the first table page, vpte64 */
#define PLACE (VKVM_WINDOW_BASE + 0x80000) /* so that no 2 MiB end with that page */

/* What is behind the table page in RAM looks like an entry of it. */
static void
lay_trap(const struct window *window)
{
    uint64_t table = (uint64_t)vpte_entry(&window->table, 0);
    uint64_t behind = table + PAGE_SIZE;

    *ram_word(behind) = ram_alloc() | VPTE_RW;
}

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("neighbours come along up to the end of the table page");
    window_init_at(&window, &vpte64, PLACE, LAST + 8);
    for (uint64_t i = LAST - 7; i < LAST + 8; i++)
        *ram_word(window_map_new(&window, i, VPTE_RW)) = i;
    lay_trap(&window);
    EXPECT(doorbell_advise(window.start, window.size, VKVM_ADVICE_SEQUENTIAL) == 0, "ADVISE");
    since = counters_now();
    expect_load(window_address(&window, LAST - 7), LAST - 7);
    expect_load(window_address(&window, LAST), LAST);
    EXPECT_COUNT(since, walks, == 1);
    EXPECT_COUNT(since, prefaulted, == 7);
    EXPECT((vpte_get(&window.table, LAST) & VPTE_AM) == VKVM_VPTE_A, "the last one: 0x%lx",
           vpte_get(&window.table, LAST));
    EXPECT((vpte_get(&window.table, LAST + 1) & VPTE_AM) == 0, "the next one: 0x%lx",
           vpte_get(&window.table, LAST + 1));
    expect_load(window_address(&window, LAST + 1), LAST + 1);
    EXPECT_COUNT(since, walks, == 2);
    window_fini(&window);
    test_end();
    return test_summary();
}
