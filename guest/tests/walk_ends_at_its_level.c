/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A refused access says how many tables were read, what decided and how.  #VE only, whose area
 * has room for that.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/window.h"

#define PAGE 3
#define ALLOWS (VKVM_VE_READABLE | VKVM_VE_WRITABLE | VKVM_VE_EXECUTABLE)

/* The entry of that level says `bits`: where does a store end, and what does the entry allow? */
static void
expect_end(struct window *window, unsigned level, uint64_t bits, uint64_t allows)
{
    void *entry = vpte_entry_at(&window->table, PAGE, level);
    uint64_t old = vpte_swap(&window->table, entry, 0);
    struct access_fault fault;

    vpte_write(&window->table, entry, vpte_frame(old) | bits);
    doorbell_inval(window->start, window->size);
    access_store(window_address(window, PAGE) + 24, 1, &fault);
    EXPECT(fault.count == 1 && fault.ve.level == level, "level %u: %u exceptions, level %u", level,
           fault.count, fault.ve.level);
    EXPECT((fault.ve.qualification & ALLOWS) == allows, "level %u bits 0x%lx: 0x%lx", level, bits,
           fault.ve.qualification);
    EXPECT(fault.ve.gpa == window_address(window, PAGE) + 24, "level %u: gpa 0x%lx", level,
           fault.ve.gpa);
    vpte_write(&window->table, entry, old);
}

static void
every_level_of(const struct vpte_format *format, const char *name)
{
    struct window window;
    struct vkvm_statistics since;

    test_begin(name);
    window_init_mapped(&window, format, 8);
    since = counters_now();
    for (unsigned level = 1; level <= format->levels; level++) {
        expect_end(&window, level, 0, 0);
        expect_end(&window, level, VKVM_VPTE_V | VKVM_VPTE_R, VKVM_VE_READABLE);
    }
    EXPECT_COUNT(since, delivered, == 2 * format->levels);
    EXPECT_COUNT(since, walks_failed, >= 2 * format->levels);
    expect_store(window_address(&window, PAGE), 1);
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    every_level_of(&vpte64, "a refused walk says its level and what its entry allows (vpte64)");
    every_level_of(&vpte32, "a refused walk says its level and what its entry allows (vpte32)");
    return test_summary();
}
