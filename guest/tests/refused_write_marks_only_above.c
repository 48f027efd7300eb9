/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An entry that refuses an access is left alone, and so is what lies below it; those above it, which
 * the walk has passed, have A and M.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGE 5

static void
refused_at(unsigned refusing)
{
    struct window window;
    struct vkvm_statistics since;

    window_init_mapped(&window, &vpte64, 8);
    vpte_clear_bits(&window.table, vpte_entry_at(&window.table, PAGE, refusing),
                    VKVM_VPTE_R | VKVM_VPTE_W);
    since = counters_now();
    expect_store_refused(window_address(&window, PAGE), VKVM_PF_PRESENT);
    EXPECT_COUNT(since, vpte_a, == refusing - 1);
    EXPECT_COUNT(since, vpte_m, == refusing - 1);
    for (unsigned level = 1; level <= vpte64.levels; level++)
        EXPECT((window_entry(&window, PAGE, level) & VPTE_AM) == (level < refusing ? VPTE_AM : 0),
               "refused at %u, level %u: 0x%lx", refusing, level,
               window_entry(&window, PAGE, level));
    window_fini(&window);
}

int
guest_main(void)
{
    access_init();
    test_begin("a refused write marks what it passed and nothing else");
    for (unsigned level = 1; level <= vpte64.levels; level++)
        refused_at(level);
    test_end();
    return test_summary();
}
