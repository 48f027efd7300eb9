/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bits of an entry that are the guest's own mean nothing to a walk and stay as they are when A and M
 * are set: U, MANAGED, G, WIRED and, in a vpte64, those above the frame.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGE 2
#define OWN UINT64_C(0xfff0000000000f80)

static void
own_bits_stay(const struct vpte_format *format, uint64_t own, const char *name)
{
    struct window window;
    struct vkvm_statistics since;

    test_begin(name);
    window_init_mapped(&window, format, 8);
    for (unsigned level = 1; level <= format->levels; level++)
        vpte_set_bits(&window.table, vpte_entry_at(&window.table, PAGE, level), own);
    since = counters_now();
    expect_store(window_address(&window, PAGE), 1);
    EXPECT_COUNT(since, vpte_a, == format->levels);
    EXPECT_COUNT(since, vpte_m, == format->levels);
    for (unsigned level = 1; level <= format->levels; level++)
        EXPECT((window_entry(&window, PAGE, level) & (own | VPTE_AM)) == (own | VPTE_AM),
               "level %u: 0x%lx", level, window_entry(&window, PAGE, level));
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    own_bits_stay(&vpte64, OWN, "the guest's own bits mean nothing and stay (vpte64)");
    own_bits_stay(&vpte32, (uint32_t)OWN, "the guest's own bits mean nothing and stay (vpte32)");
    return test_summary();
}
