/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A and M as the guest sees them after each kind of access, at every level.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGE 6

static void
a_read_sets_a_at_every_level(const struct vpte_format *format, const char *name)
{
    struct window window;
    unsigned levels = format->levels;

    test_begin(name);
    window_init(&window, format, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    window_clear_am(&window, PAGE);
    (void)access_load(window_address(&window, PAGE), (struct access_fault *)0);
    for (unsigned level = 1; level <= levels; level++)
        EXPECT(window_entry(&window, PAGE, level) & VKVM_VPTE_A, "level %u: no A", level);
    EXPECT((window_entry(&window, PAGE, levels) & VKVM_VPTE_M) == 0, "a read set M");
    window_fini(&window);
    test_end();
}

static void
a_write_sets_a_and_m_at_every_level(const struct vpte_format *format, const char *name)
{
    struct window window;

    test_begin(name);
    window_init(&window, format, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    window_clear_am(&window, PAGE);
    access_store(window_address(&window, PAGE), 1, (struct access_fault *)0);
    for (unsigned level = 1; level <= format->levels; level++)
        EXPECT((window_entry(&window, PAGE, level) & VPTE_AM) == VPTE_AM, "level %u: 0x%lx", level,
               window_entry(&window, PAGE, level));
    window_fini(&window);
    test_end();
}

static void
an_untouched_entry_never_gets_m(void)
{
    struct window window;

    test_begin("neighbours of a written page never get M");
    window_init(&window, &vpte64, 64);
    for (uint64_t i = 0; i < 64; i++)
        window_map_new(&window, i, VPTE_RW);
    for (uint64_t i = 0; i < 64; i += 2)
        access_store(window_address(&window, i), i, (struct access_fault *)0);
    for (uint64_t i = 1; i < 64; i += 2)
        EXPECT((vpte_get(&window.table, i) & VKVM_VPTE_M) == 0, "page %lu has M", i);
    for (uint64_t i = 0; i < 64; i += 2)
        EXPECT(vpte_get(&window.table, i) & VKVM_VPTE_M, "page %lu has no M", i);
    window_fini(&window);
    test_end();
}

static void
a_refused_access_sets_nothing(void)
{
    struct window window;
    struct access_fault fault;

    test_begin("a refused access sets nothing in the entry that refused it");
    window_init(&window, &vpte64, 16);
    window_map_new(&window, PAGE, VKVM_VPTE_R | VKVM_VPTE_W);
    access_store(window_address(&window, PAGE), 1, &fault);
    EXPECT(fault.count == 1, "%u faults", fault.count);
    EXPECT((vpte_get(&window.table, PAGE) & VPTE_AM) == 0, "0x%lx", vpte_get(&window.table, PAGE));
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    a_read_sets_a_at_every_level(&vpte64, "a read sets A at every level (vpte64)");
    a_read_sets_a_at_every_level(&vpte32, "a read sets A at every level (vpte32)");
    a_write_sets_a_and_m_at_every_level(&vpte64, "a write sets A and M at every level (vpte64)");
    a_write_sets_a_and_m_at_every_level(&vpte32, "a write sets A and M at every level (vpte32)");
    an_untouched_entry_never_gets_m();
    a_refused_access_sets_nothing();
    return test_summary();
}
