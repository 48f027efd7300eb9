/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * M in directories: when the walk changes an entry, the entry one level up, which points to the
 * changed table page, gets A and M; when it changes nothing, nothing is set.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGE 4

static void
load(const struct window *window)
{
    (void)access_load(window_address(window, PAGE), (struct access_fault *)0);
}

static void
a_first_read_marks_every_directory_modified(const struct vpte_format *format, const char *name)
{
    struct window window;

    test_begin(name);
    window_init(&window, format, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    window_clear_am(&window, PAGE);
    load(&window);
    for (unsigned level = 1; level < format->levels; level++)
        EXPECT((window_entry(&window, PAGE, level) & VPTE_AM) == VPTE_AM, "level %u: 0x%lx", level,
               window_entry(&window, PAGE, level));
    window_fini(&window);
    test_end();
}

static void
a_read_that_changes_nothing_marks_nothing(void)
{
    struct window window;
    unsigned levels = vpte64.levels;

    test_begin("a read that finds A set everywhere marks no directory modified");
    window_init(&window, &vpte64, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    load(&window);
    for (unsigned level = 1; level <= levels; level++)
        vpte_clear_bits(&window.table, vpte_entry_at(&window.table, PAGE, level), VKVM_VPTE_M);
    doorbell_inval(window.start, window.size);
    load(&window);
    for (unsigned level = 1; level <= levels; level++)
        EXPECT((window_entry(&window, PAGE, level) & VPTE_AM) == VKVM_VPTE_A, "level %u: 0x%lx",
               level, window_entry(&window, PAGE, level));
    window_fini(&window);
    test_end();
}

static void
only_the_levels_above_a_change_are_marked(void)
{
    struct window window;

    test_begin("an entry whose table page did not change keeps M clear");
    window_init(&window, &vpte64, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    load(&window);
    window_clear_am(&window, PAGE);
    for (unsigned level = 1; level <= 3; level++)
        vpte_write(&window.table, vpte_entry_at(&window.table, PAGE, level),
                   window_entry(&window, PAGE, level) | VKVM_VPTE_A);
    load(&window);
    EXPECT((window_entry(&window, PAGE, 3) & VKVM_VPTE_M), "level 3 points to the changed page");
    EXPECT((window_entry(&window, PAGE, 2) & VKVM_VPTE_M), "level 2 points to level 3's page");
    EXPECT((window_entry(&window, PAGE, 4) & VKVM_VPTE_M) == 0, "the page itself was only read");
    window_fini(&window);
    test_end();
}

static void
a_read_only_directory_gets_m_too(void)
{
    struct window window;
    void *directory;

    test_begin("a directory entry without W gets M when its table page changes");
    window_init(&window, &vpte64, 16);
    window_map_new(&window, PAGE, VKVM_VPTE_V | VKVM_VPTE_R);
    window_clear_am(&window, PAGE);
    directory = vpte_entry_at(&window.table, PAGE, 3);
    vpte_clear_bits(&window.table, directory, VKVM_VPTE_W);
    load(&window);
    EXPECT((vpte_read(&window.table, directory) & VPTE_AM) == VPTE_AM, "0x%lx",
           vpte_read(&window.table, directory));
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    a_first_read_marks_every_directory_modified(
        &vpte64, "a first read marks every directory modified (vpte64)");
    a_first_read_marks_every_directory_modified(
        &vpte32, "a first read marks every directory modified (vpte32)");
    a_read_that_changes_nothing_marks_nothing();
    only_the_levels_above_a_change_are_marked();
    a_read_only_directory_gets_m_too();
    return test_summary();
}
