/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data survives page-out: many times what the RAM budget holds is written and read
 * back, in RAM, and through a window in another order.
 *
 * The boot argument "pages=N" says how many pages are used, "passes=N" how often.
 * Without it the test finds out nothing about a budget that is large enough.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES_DEFAULT 8192 /* 32 MiB */
#define PASSES_DEFAULT 2
#define WORDS (PAGE_SIZE / sizeof(uint64_t))
#define STRIDE 1021 /* odd: pages of the window in another order than in RAM */

/* Where a pass writes or reads: page i lies at start + i * PAGE_SIZE. */
struct area {
    uint64_t start;
    uint64_t npages;
    uint64_t salt;
};

/* What word `word` of a page must hold; never 0, which is what a lost page reads as. */
static inline uint64_t
expected_word(uint64_t salt, uint64_t page, uint64_t word)
{
    return (((salt << 32 | page) * UINT64_C(0x9e3779b97f4a7c15)) ^ word) | 1;
}

/* Ring 3. */
static uint64_t
fill(uint64_t argument)
{
    const struct area *area = (const struct area *)argument;

    for (uint64_t page = 0; page < area->npages; page++) {
        uint64_t *word = (uint64_t *)(area->start + page * PAGE_SIZE);

        for (uint64_t i = 0; i < WORDS; i++)
            word[i] = expected_word(area->salt, page, i);
    }
    return 0;
}

/* Ring 3.  Returns how many pages hold something else. */
static uint64_t
count_wrong(uint64_t argument)
{
    const struct area *area = (const struct area *)argument;
    uint64_t wrong = 0;

    for (uint64_t page = 0; page < area->npages; page++) {
        const uint64_t *word = (const uint64_t *)(area->start + page * PAGE_SIZE);
        uint64_t difference = 0;

        for (uint64_t i = 0; i < WORDS; i++)
            difference |= word[i] ^ expected_word(area->salt, page, i);
        wrong += difference != 0;
    }
    return wrong;
}

static void
fill_and_check(struct area *area, uint64_t salt)
{
    area->salt = salt;
    ring3_call(fill, (uint64_t)area);
    EXPECT(ring3_call(count_wrong, (uint64_t)area) == 0, "pass %lu", salt);
    EXPECT(ring3_call(count_wrong, (uint64_t)area) == 0, "pass %lu, read again", salt);
}

static void
ram_keeps_its_bytes(struct area *area, uint64_t passes)
{
    test_begin("RAM keeps its bytes, whatever is paged out");
    for (uint64_t pass = 1; pass <= passes; pass++)
        fill_and_check(area, pass);
    test_end();
}

/* Page i of the window is page i * STRIDE of the RAM area. */
static void
map_scattered(struct window *window, const struct area *area)
{
    for (uint64_t page = 0; page < area->npages; page++)
        EXPECT(vpte_map(&window->table, page,
                        area->start + page * STRIDE % area->npages * PAGE_SIZE, VPTE_RW),
               "no RAM for table pages");
}

static void
a_window_keeps_its_bytes(const struct area *ram, uint64_t passes)
{
    struct window window;
    struct area area = { .npages = ram->npages };

    test_begin("what is written through a window is kept, and M is set in every entry");
    window_init(&window, &vpte64, area.npages);
    map_scattered(&window, ram);
    area.start = window.start;
    for (uint64_t pass = 1; pass <= passes; pass++)
        fill_and_check(&area, 1000 + pass);
    for (uint64_t page = 0; page < area.npages; page++)
        EXPECT((vpte_get(&window.table, page) & VPTE_AM) == VPTE_AM, "page %lu", page);
    window_fini(&window);
    test_end();
}

static void
memory_stays_within_the_budget(uint64_t budget)
{
    struct vkvm_statistics statistics = { 0 };

    test_begin("resident memory stays within the budget");
    if (budget == 0)
        test_skip("no budget=N given");
    doorbell_statistics(&statistics);
    EXPECT(budget == 0 || statistics.resident_pages <= budget, "%lu pages are resident",
           statistics.resident_pages);
    EXPECT(budget == 0 || statistics.page_in != 0, "nothing was paged in");
    test_note("%lu pages, %lu page-in faults", statistics.resident_pages, statistics.page_in);
    test_end();
}

int
guest_main(void)
{
    uint64_t passes;
    struct area area;

    access_init();
    passes = fdt_argument_number("passes", PASSES_DEFAULT);
    area.npages = fdt_argument_number("pages", PAGES_DEFAULT);
    area.start = ram_alloc_run(area.npages, PAGE_SIZE);
    test_begin("there is RAM for the test");
    EXPECT(area.start != 0, "--memory is too small for %lu pages", area.npages);
    test_end();
    if (area.start != 0) {
        ram_keeps_its_bytes(&area, passes);
        a_window_keeps_its_bytes(&area, passes);
        memory_stays_within_the_budget(fdt_argument_number("budget", 0));
    }
    return test_summary();
}
