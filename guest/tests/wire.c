/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wired pages stay in memory, whatever is paged out; unwired ones leave again.
 * Runs with a RAM budget of 1 MiB (256 pages) and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 32
#define SIZE (PAGES * PAGE_SIZE)
#define BUDGET 256
#define PRESSURE_PAGES (4 * BUDGET)

static uint64_t pressure;

/* Ring 3: use more memory than there is. */
static uint64_t
press(uint64_t argument)
{
    for (uint64_t page = 0; page < PRESSURE_PAGES; page++)
        *(uint64_t *)(pressure + page * PAGE_SIZE) = argument + page;
    return 0;
}

/* Ring 3. */
static uint64_t
sum(uint64_t start)
{
    uint64_t total = 0;

    for (uint64_t page = 0; page < PAGES; page++)
        total += *(uint64_t *)(start + page * PAGE_SIZE);
    return total;
}

static uint64_t
page_ins(void)
{
    struct vkvm_statistics statistics = { 0 };

    doorbell_statistics(&statistics);
    return statistics.page_in;
}

/*
 * Page-ins that reading the range costs after much else was used, and a few for code and stack;
 * its bytes are checked.
 */
static uint64_t
page_ins_after_pressure(uint64_t start)
{
    uint64_t before;

    ring3_call(press, start);
    before = page_ins();
    EXPECT(ring3_call(sum, start) == PAGES * 7, "other bytes");
    return page_ins() - before;
}

static void
wired_pages_stay(uint64_t start)
{
    uint64_t reads;

    test_begin("wired pages stay in memory, and leave when they are unwired");
    for (uint64_t page = 0; page < PAGES; page++)
        *ram_word(start + page * PAGE_SIZE) = 7;
    EXPECT(doorbell_wire(start, SIZE) == 0, "WIRE");
    reads = page_ins_after_pressure(start);
    EXPECT(reads < PAGES / 2, "%lu page-ins while wired", reads);
    EXPECT(doorbell_unwire(start, SIZE / 2) == 0, "UNWIRE of a half");
    EXPECT(doorbell_unwire(start + SIZE / 2, SIZE / 2) == 0, "UNWIRE of the other");
    reads = page_ins_after_pressure(start);
    EXPECT(reads >= PAGES / 2, "%lu page-ins after UNWIRE", reads);
    test_end();
}

static void
wiring_is_checked(uint64_t start)
{
    struct window window;

    test_begin("WIRE and UNWIRE check everything");
    EXPECT(doorbell_wire(start + 8, SIZE) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_wire(start, 0) == -VKVM_EINVAL, "empty");
    EXPECT(doorbell_wire(VKVM_WINDOW_BASE - PAGE_SIZE, PAGE_SIZE) == -VKVM_ENOENT, "nothing there");
    EXPECT(doorbell_unwire(start, SIZE) == -VKVM_EINVAL, "not wired");
    window_init(&window, &vpte64, 16);
    EXPECT(doorbell_wire(window.start, window.size) == -VKVM_EINVAL, "a window");
    window_fini(&window);
    EXPECT(doorbell_wire(pressure, PRESSURE_PAGES * PAGE_SIZE) == -VKVM_ENOMEM, "over the budget");
    EXPECT(doorbell_unwire(pressure, PRESSURE_PAGES * PAGE_SIZE) == -VKVM_EINVAL, "wired a part");
    EXPECT(doorbell_wire(start, SIZE) == 0, "WIRE after all");
    EXPECT(doorbell_unwire(start, SIZE) == 0, "UNWIRE after all");
    test_end();
}

int
guest_main(void)
{
    uint64_t start;

    access_init();
    /* One page-in reads one page then: they can be counted. */
    doorbell_advise(0, fdt_machine()->memory_size, VKVM_ADVICE_RANDOM);
    start = ram_alloc_run(PAGES, PAGE_SIZE);
    pressure = ram_alloc_run(PRESSURE_PAGES, PAGE_SIZE);
    wired_pages_stay(start);
    wiring_is_checked(start);
    return test_summary();
}
