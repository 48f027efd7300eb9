/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PS in the root makes the window a linear view of RAM from the root's frame on, with no table
 * and no A or M anywhere.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 40

int
guest_main(void)
{
    struct window window;
    struct access_fault fault;
    uint64_t run;

    access_init();
    run = ram_alloc_run(PAGES, PAGE_SIZE);

    test_begin("a root with PS shows RAM linearly");
    window_init(&window, &vpte64, PAGES);
    EXPECT(doorbell_setmap(window.start, window.size, run | VPTE_RW | VKVM_VPTE_PS) == 0, "SETMAP");
    for (uint64_t i = 0; i < PAGES; i++) {
        *ram_word(run + i * PAGE_SIZE) = ~i;
        EXPECT(access_load(window_address(&window, i), &fault) == ~i && fault.count == 0,
               "page %lu", i);
    }
    access_store(window_address(&window, PAGES - 1), 1, &fault);
    EXPECT(fault.count == 0 && *ram_word(run + (PAGES - 1) * PAGE_SIZE) == 1, "write lost");
    test_end();

    test_begin("a root without W refuses writes");
    EXPECT(doorbell_setmap(window.start, window.size,
                           run | VKVM_VPTE_V | VKVM_VPTE_R | VKVM_VPTE_PS) == 0,
           "SETMAP");
    access_store(window_address(&window, 1), 2, &fault);
    EXPECT(access_faulted_with(&fault, VKVM_PF_PRESENT | VKVM_PF_WRITE), "error 0x%lx",
           fault.error);
    test_end();

    test_begin("a root without V refuses everything");
    EXPECT(doorbell_setmap(window.start, window.size, 0) == 0, "SETMAP");
    (void)access_load(window_address(&window, 1), &fault);
    EXPECT(access_faulted_with(&fault, 0), "error 0x%lx", fault.error);
    test_end();
    window_fini(&window);
    return test_summary();
}
