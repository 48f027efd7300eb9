/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page without W, in its vpte or in its window, cannot be written, whether it was read before
 * or not, and nothing is lost or set by the attempt.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define READ_ONLY (VKVM_VPTE_V | VKVM_VPTE_R)
#define WRITE_REFUSED (VKVM_PF_PRESENT | VKVM_PF_WRITE)

static void
a_vpte_without_w_refuses_a_write(bool read_first, const char *name)
{
    struct window window;
    struct access_fault fault;
    uint64_t frame;

    test_begin(name);
    window_init(&window, &vpte64, 16);
    frame = window_map_new(&window, 2, READ_ONLY);
    *ram_word(frame) = 7;
    if (read_first)
        EXPECT(access_load(window_address(&window, 2), (struct access_fault *)0) == 7, "data");
    access_store(window_address(&window, 2), 8, &fault);
    EXPECT(access_faulted_with(&fault, WRITE_REFUSED), "count %u error 0x%lx", fault.count,
           fault.error);
    EXPECT(*ram_word(frame) == 7, "the write got through");
    EXPECT((vpte_get(&window.table, 2) & VKVM_VPTE_M) == 0, "M was set");
    EXPECT(access_load(window_address(&window, 2), &fault) == 7 && fault.count == 0,
           "unreadable afterwards");
    window_fini(&window);
    test_end();
}

static void
a_read_only_window_refuses_a_write(void)
{
    struct window window;
    struct access_fault fault;
    uint64_t frame;

    test_begin("a window that lost its write permission refuses a write");
    window_init(&window, &vpte64, 16);
    frame = window_map_new(&window, 2, VPTE_RW);
    access_store(window_address(&window, 2), 5, &fault);
    EXPECT(fault.count == 0, "first write refused");
    EXPECT(doorbell_protect(window.start, window.size, VKVM_MAP_READ) == 0, "PROTECT");
    access_store(window_address(&window, 2), 6, &fault);
    EXPECT(access_faulted_with(&fault, WRITE_REFUSED), "count %u error 0x%lx", fault.count,
           fault.error);
    EXPECT(*ram_word(frame) == 5, "RAM has %lu", *ram_word(frame));
    EXPECT(doorbell_protect(window.start, window.size, VKVM_MAP_READ | VKVM_MAP_WRITE) == 0,
           "PROTECT back");
    access_store(window_address(&window, 2), 6, &fault);
    EXPECT(fault.count == 0 && *ram_word(frame) == 6, "not writable again");
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    a_vpte_without_w_refuses_a_write(false, "a vpte without W refuses a write");
    a_vpte_without_w_refuses_a_write(true, "a vpte without W refuses a write after a read");
    a_read_only_window_refuses_a_write();
    return test_summary();
}
