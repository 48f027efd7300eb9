/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Zero-fill: memory nobody wrote reads as zeros, in RAM and through a window, and
 * each page was made by a fault.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 64
#define APART 256 /* pages: further than prefault reaches */

static uint64_t
sum_words(uint64_t address, uint64_t bytes)
{
    uint64_t sum = 0;

    for (uint64_t at = 0; at < bytes; at += 512)
        sum |= access_load(address + at, (struct access_fault *)0);
    return sum;
}

static void
fresh_ram_reads_as_zeros(void)
{
    uint64_t run = ram_alloc_run(APART + PAGES, PAGE_SIZE) + APART * PAGE_SIZE;
    struct vkvm_statistics before = { 0 }, after = { 0 };

    test_begin("fresh RAM reads as zeros");
    doorbell_statistics(&before);
    EXPECT(sum_words(run, PAGES * PAGE_SIZE) == 0, "RAM at 0x%lx is not zero", run);
    doorbell_statistics(&after);
    EXPECT(after.resident_pages >= before.resident_pages + PAGES, "%lu pages were made",
           after.resident_pages - before.resident_pages);
    test_end();
}

static void
fresh_page_through_a_window_reads_as_zeros(void)
{
    struct window window;
    struct access_fault fault;
    uint64_t frame;

    test_begin("a fresh page reads as zeros through a window");
    window_init(&window, &vpte64, PAGES);
    frame = window_map_new(&window, 5, VPTE_RW);
    EXPECT(sum_words(window_address(&window, 5), PAGE_SIZE) == 0, "frame 0x%lx", frame);
    access_store(window_address(&window, 5) + 8, 77, &fault);
    EXPECT(fault.count == 0, "vector %u", fault.vector);
    EXPECT(*ram_word(frame + 8) == 77, "RAM has %lu", *ram_word(frame + 8));
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    fresh_ram_reads_as_zeros();
    fresh_page_through_a_window_reads_as_zeros();
    return test_summary();
}
