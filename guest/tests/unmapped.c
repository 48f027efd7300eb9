/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses that no map entry covers are refused, cleanly and every time.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

int
guest_main(void)
{
    struct window window;
    uint64_t end;

    access_init();
    end = fdt_machine()->memory_size;
    test_begin("an address behind RAM is refused");
    expect_refused(end);
    expect_refused(end + (64u << 20) + 8);
    expect_refused((UINT64_C(4) << 30) - 8);
    test_end();

    test_begin("an address between windows is refused, before and after a window was there");
    expect_refused(VKVM_WINDOW_BASE);
    window_init(&window, &vpte64, 16);
    window_map_new(&window, 0, VPTE_RW);
    access_store(window_address(&window, 0), 1, (struct access_fault *)0);
    window_fini(&window);
    expect_refused(VKVM_WINDOW_BASE);
    test_end();
    return test_summary();
}
