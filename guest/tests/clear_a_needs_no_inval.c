/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nothing is mapped through an entry whose A is clear: it may be exchanged without INVAL, whatever was
 * touched around it.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGES 16
#define TOUCHED 4
#define UNREADABLE 9 /* ends the neighbours */

/* Another frame for each page that vkvm has not marked. */
static void
exchange_unmarked(struct window *window, bool *exchanged)
{
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t frame = ram_alloc();

        exchanged[i] = (vpte_get(&window->table, i) & VKVM_VPTE_A) == 0;
        *ram_word(frame) = 200 + i;
        if (exchanged[i])
            vpte_write(&window->table, vpte_entry(&window->table, i), frame | VPTE_RW);
    }
}

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;
    bool exchanged[PAGES];

    access_init();
    test_begin("an entry whose A is clear can be exchanged without INVAL");
    window_init(&window, &vpte64, PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        *ram_word(window_map_new(&window, i, i == UNREADABLE ? VKVM_VPTE_V : VPTE_RW)) = 100 + i;
    EXPECT(doorbell_advise(window.start, window.size, VKVM_ADVICE_SEQUENTIAL) == 0, "ADVISE");
    since = counters_now();
    expect_load(window_address(&window, TOUCHED), 100 + TOUCHED);
    EXPECT_COUNT(since, prefaulted, == UNREADABLE - TOUCHED - 1);
    exchange_unmarked(&window, exchanged);
    EXPECT(!exchanged[TOUCHED] && exchanged[UNREADABLE], "A is where it should not be");
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(window_address(&window, i), exchanged[i] ? 200 + i : 100 + i);
    EXPECT_COUNT(since, walks, >= 1);
    EXPECT_COUNT(since, invals, == 0);
    window_fini(&window);
    test_end();
    return test_summary();
}
