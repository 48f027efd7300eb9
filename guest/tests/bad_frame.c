/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A frame beyond the object, of the page or of a table page, is the guest's own fault and
 * says so: the reserved bit in the error code.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define BAD (VKVM_PF_PRESENT | VKVM_PF_RESERVED)

static void
beyond(const struct window *window, const char *what)
{
    struct access_fault fault;

    doorbell_inval(window->start, window->size);
    (void)access_load(window_address(window, 0), &fault);
    EXPECT(access_faulted_with(&fault, BAD), "%s: load: error 0x%lx", what, fault.error);
    access_store(window_address(window, 0), 1, &fault);
    EXPECT(access_faulted_with(&fault, BAD | VKVM_PF_WRITE), "%s: store: error 0x%lx", what,
           fault.error);
}

static void
frames_beyond_ram(const struct vpte_format *format, const char *name)
{
    struct window window;
    uint64_t end = fdt_machine()->memory_size;
    uint64_t last = format->entry_size == 4 ? 0xfffff000 : VKVM_VPTE_FRAME;

    test_begin(name);
    window_init(&window, format, 16);
    vpte_map(&window.table, 0, end, VPTE_RW);
    beyond(&window, "the first page behind RAM");
    vpte_map(&window.table, 0, last, VPTE_RW);
    beyond(&window, "the last frame there is");
    vpte_write(&window.table, vpte_entry_at(&window.table, 0, 1), end | VPTE_RW);
    beyond(&window, "a table page behind RAM");
    vpte_write(&window.table, vpte_entry_at(&window.table, 0, 1),
               (end - PAGE_SIZE) | VPTE_RW | VKVM_VPTE_PS);
    doorbell_inval(window.start, window.size);
    EXPECT(access_load(window_address(&window, 0), (struct access_fault *)0) ==
               *ram_word(end - PAGE_SIZE),
           "the last page of RAM is inside");
    doorbell_setmap(window.start, window.size, end | VPTE_RW);
    beyond(&window, "a root behind RAM");
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    frames_beyond_ram(&vpte64, "frames beyond RAM are refused (vpte64)");
    frames_beyond_ram(&vpte32, "frames beyond RAM are refused (vpte32)");
    return test_summary();
}
