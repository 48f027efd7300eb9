/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Permissions are checked at every level, the root included.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGE 9

/* What a load and a store must do when only `bits` are set at one level. */
static void
expect_access(const struct window *window, uint64_t bits, unsigned level)
{
    uint64_t address = window_address(window, PAGE);
    uint64_t present = bits & VKVM_VPTE_V ? VKVM_PF_PRESENT : 0;
    struct access_fault fault;

    (void)access_load(address, &fault);
    if ((bits & VKVM_VPTE_V) && (bits & VKVM_VPTE_R))
        EXPECT(fault.count == 0, "level %u bits 0x%lx: load refused", level, bits);
    else
        EXPECT(access_faulted_with(&fault, present), "level %u bits 0x%lx: load: error 0x%lx",
               level, bits, fault.error);
    access_store(address, 1, &fault);
    if ((bits & VKVM_VPTE_V) && (bits & VKVM_VPTE_W))
        EXPECT(fault.count == 0, "level %u bits 0x%lx: store refused", level, bits);
    else
        EXPECT(access_faulted_with(&fault, present | VKVM_PF_WRITE),
               "level %u bits 0x%lx: store: error 0x%lx", level, bits, fault.error);
}

static void
every_combination_at(struct window *window, unsigned level)
{
    void *entry = vpte_entry_at(&window->table, PAGE, level);
    uint64_t frame = vpte_frame(vpte_read(&window->table, entry));

    for (uint64_t i = 0; i < 8; i++) {
        uint64_t bits =
            (i & 1 ? VKVM_VPTE_V : 0) | (i & 2 ? VKVM_VPTE_R : 0) | (i & 4 ? VKVM_VPTE_W : 0);

        vpte_write(&window->table, entry, frame | bits);
        doorbell_inval(window->start, window->size);
        expect_access(window, bits, level);
    }
    vpte_write(&window->table, entry, frame | VPTE_RW);
    doorbell_inval(window->start, window->size);
}

static void
permissions_of(const struct vpte_format *format, const char *name)
{
    struct window window;

    test_begin(name);
    window_init(&window, format, 16);
    window_map_new(&window, PAGE, VPTE_RW);
    for (unsigned level = 1; level <= format->levels; level++)
        every_combination_at(&window, level);
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t bits =
            (i & 1 ? VKVM_VPTE_V : 0) | (i & 2 ? VKVM_VPTE_R : 0) | (i & 4 ? VKVM_VPTE_W : 0);

        doorbell_setmap(window.start, window.size, vpte_frame(window.table.root) | bits);
        expect_access(&window, bits, 0);
    }
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    permissions_of(&vpte64, "V, R and W are checked at every level of vpte64");
    permissions_of(&vpte32, "V, R and W are checked at every level of vpte32");
    return test_summary();
}
