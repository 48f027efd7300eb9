/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM looks the same at its own address and through a window, whichever side wrote last.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/ring3.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 256
#define ROUNDS 4

static struct window window;
static uint64_t frames[PAGES];

static uint64_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* In ring 3: write at random through one side, read through the other; returns differences. */
static uint64_t
compare_sides(uint64_t seed)
{
    uint64_t differences = 0;

    for (unsigned i = 0; i < ROUNDS * PAGES; i++) {
        uint64_t pindex = next_random(&seed) % PAGES;
        uint64_t offset = next_random(&seed) % 512 * 8;
        volatile uint64_t *through_window =
            (volatile uint64_t *)(window_address(&window, pindex) + offset);
        volatile uint64_t *direct = ram_word(frames[pindex] + offset);

        if (i & 1) {
            *through_window = seed;
            differences += *direct != seed;
        } else {
            *direct = seed;
            differences += *through_window != seed;
        }
    }
    return differences;
}

int
guest_main(void)
{
    uint64_t differences;

    access_init();
    test_begin("RAM is the same at its own address and through a window");
    window_init(&window, &vpte64, PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        frames[i] = window_map_new(&window, (i * 37) % PAGES, VPTE_RW);
    for (uint64_t i = 0; i < PAGES; i++)
        frames[i] = vpte_frame(vpte_get(&window.table, i));
    differences = ring3_call(compare_sides, 1);
    EXPECT(differences == 0, "%lu differences", differences);
    test_end();
    return test_summary();
}
