/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page that is shown by a window pages out as any page of RAM; when it comes back it is mapped as its
 * entry says: a write is seen where M is clear, and nothing is where the guest took the entry away.
 * Runs with --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/pressure.h"
#include "guest/lib/window.h"

#define PAGES 32

int
guest_main(void)
{
    struct window window;
    struct vkvm_statistics since;

    access_init();
    test_begin("pages of a window go to swap and come back as their entries say");
    window_init_mapped(&window, &vpte64, PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(window_address(&window, i), 100 + i);
    pressure();
    for (uint64_t i = 0; i < PAGES; i += 2)
        vpte_clear_bits(&window.table, vpte_entry(&window.table, i), VKVM_VPTE_M);
    vpte_unmap(&window.table, 1);
    doorbell_inval(window.start, window.size);
    pressure();
    since = counters_now();
    expect_load_refused(window_address(&window, 1), 0);
    for (uint64_t i = 2; i < PAGES; i++) {
        expect_load(window_address(&window, i), 100 + i);
        EXPECT((vpte_get(&window.table, i) & VPTE_AM) == (i % 2 == 0 ? VKVM_VPTE_A : VPTE_AM),
               "page %lu: 0x%lx", i, vpte_get(&window.table, i));
    }
    EXPECT_COUNT(since, page_in, >= 1);
    for (uint64_t i = 2; i < PAGES; i += 2)
        expect_store(window_address(&window, i), 200 + i);
    EXPECT_COUNT(since, vpte_m, == PAGES / 2 - 1);
    pressure();
    for (uint64_t i = 2; i < PAGES; i++)
        expect_load(window_address(&window, i), (i % 2 == 0 ? 200 : 100) + i);
    window_fini(&window);
    test_end();
    return test_summary();
}
