/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ring 0, which a software KVM emulates, and ring 3, which runs natively, do the same through a window
 * and in RAM: they see each other's writes, take the same walks and set the same bits.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/ring3.h"
#include "guest/lib/window.h"

#define PAGES 16

struct word {
    uint64_t address;
    uint64_t value;
};

static uint64_t
add(uint64_t argument)
{
    const struct word *word = (const struct word *)argument;

    return *(volatile uint64_t *)word->address += word->value;
}

static uint64_t
add_in(unsigned ring, uint64_t address, uint64_t value)
{
    struct word word = { address, value };

    return ring == 0 ? add((uint64_t)&word) : ring3_call(add, (uint64_t)&word);
}

/* One ring writes first, the other one then. */
static void
add_in_turns(struct window *window, unsigned first)
{
    struct vkvm_statistics since = counters_now();

    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t address = window_address(window, i);
        uint64_t frame = vpte_frame(vpte_get(&window->table, i));

        EXPECT(add_in(first, address, i) == i, "page %lu in ring %u", i, first);
        EXPECT(add_in(3 - first, address, 100) == 100 + i, "page %lu in ring %u", i, 3 - first);
        EXPECT(add_in(first, frame, 1000) == 1100 + i, "RAM of page %lu in ring %u", i, first);
        EXPECT(add_in(3 - first, address, 0) == 1100 + i, "page %lu again", i);
    }
    /* A read and then a write: the read maps the page, the write sets its M. */
    EXPECT_COUNT(since, vpte_m, >= PAGES);
    EXPECT_COUNT(since, vpte_m, <= PAGES + 4);
    EXPECT_COUNT(since, walks, >= PAGES);
    EXPECT_COUNT(since, walks, <= 2 * PAGES);
}

int
guest_main(void)
{
    struct window window;

    access_init();
    test_begin("what ring 0 writes ring 3 sees, with the same bits");
    window_init_mapped(&window, &vpte64, PAGES);
    add_in_turns(&window, 0);
    window_fini(&window);
    test_end();

    test_begin("what ring 3 writes ring 0 sees, with the same bits");
    window_init_mapped(&window, &vpte64, PAGES);
    add_in_turns(&window, 3);
    window_fini(&window);
    test_end();
    return test_summary();
}
