/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CONSOLE_WRITE and CONSOLE_READ: bad pointers, short counts, the end of input (there is none at
 * all here; tests/kvm/host_bus.c has some).
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/string.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

static void
writing_stops_at_what_cannot_be_read(void)
{
    static const char text[] = "CONSOLE_WRITE prints what can be read\n";
    uint64_t end = fdt_machine()->memory_size, size = sizeof(text) - 1;

    test_begin("CONSOLE_WRITE takes what can be read and says how much that was");
    memcpy((void *)(end - size), text, size);
    EXPECT(doorbell_console_write((void *)(end - size), size) == (int64_t)size, "up to the end");
    EXPECT(doorbell_console_write((void *)(end - size), size + 1) == (int64_t)size, "beyond it");
    EXPECT(doorbell_console_write((void *)end, 1) == -VKVM_EFAULT, "behind RAM");
    EXPECT(doorbell_console_write((void *)(UINT64_MAX - 3), 8) == -VKVM_EFAULT, "around the end");
    EXPECT(doorbell_console_write(text, 0) == 0, "nothing");
    EXPECT(doorbell_console_write((void *)end, 0) == 0, "nothing, from nowhere");
    test_end();
}

/* Text behind two vptes, to show that a buffer may be in a window and may cross pages. */
static void
a_buffer_may_lie_in_a_window(void)
{
    static const char text[] = "a line across two pages of a window\n";
    const uint64_t half = 10;
    struct window window;
    uint64_t first, second;

    test_begin("CONSOLE_WRITE takes a buffer in a window, up to an entry that is not valid");
    window_init(&window, &vpte64, 4);
    second = window_map_new(&window, 1, VPTE_RW);
    first = window_map_new(&window, 0, VPTE_RW);
    memcpy((void *)(first + PAGE_SIZE - half), text, half);
    memcpy((void *)second, text + half, sizeof(text) - 1 - half);
    EXPECT(doorbell_console_write((void *)(window_address(&window, 1) - half), sizeof(text) - 1) ==
               (int64_t)(sizeof(text) - 1),
           "both pages");
    EXPECT(doorbell_console_write((void *)(window_address(&window, 2) - 1), 2) == 1, "one byte");
    EXPECT(doorbell_console_write((void *)window_address(&window, 2), 1) == -VKVM_EFAULT, "none");
    window_fini(&window);
    test_end();
}

static void
reading_tells_the_end_of_input(void)
{
    uint64_t end = fdt_machine()->memory_size;
    static char buffer[16];

    test_begin("CONSOLE_READ tells the end of input, and checks its buffer first");
    EXPECT(doorbell_console_read((void *)end, 1) == -VKVM_EFAULT, "behind RAM");
    EXPECT(doorbell_console_read((void *)(UINT64_MAX - 3), 8) == -VKVM_EFAULT, "around the end");
    EXPECT(doorbell_console_read(buffer, 0) == 0, "nothing");
    EXPECT(doorbell_console_read(buffer, sizeof(buffer)) == -VKVM_ENODATA, "the end");
    EXPECT(doorbell_console_read(buffer, sizeof(buffer)) == -VKVM_ENODATA, "and again");
    test_end();
}

int
guest_main(void)
{
    access_init();
    writing_stops_at_what_cannot_be_read();
    a_buffer_may_lie_in_a_window();
    reading_tells_the_end_of_input();
    return test_summary();
}
