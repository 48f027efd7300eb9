/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs touch the same fresh pages at once, in RAM, a region and a window: each page is made once,
 * and no addition is lost.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/race.h"
#include "guest/lib/region.h"
#include "guest/lib/window.h"

#define PAGES UINT64_C(256)
#define NEAR 16 /* some of RAM may be there already, next to the window's table */

static uint64_t places[3]; /* RAM, region, window: PAGES pages each */

/* Ring 3, on every vCPU. */
static uint64_t
add_everywhere(uint64_t cpu)
{
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t page = cpu % 2 == 0 ? i : PAGES - 1 - i;

        for (unsigned place = 0; place < 3; place++)
            __atomic_fetch_add((uint64_t *)(places[place] + page * PAGE_SIZE), cpu + 1,
                               __ATOMIC_RELAXED);
    }
    return 0;
}

int
guest_main(void)
{
    uint64_t ncpus = fdt_machine()->ncpus, wrong = 0;
    struct vkvm_statistics since;
    struct window window;

    access_init();
    test_begin("vCPUs that touch a page at once make it once");
    window_init_mapped(&window, &vpte64, PAGES);
    places[0] = ram_alloc_run(PAGES, PAGES * PAGE_SIZE);
    places[1] = region_make(PAGES, REGION_RW);
    places[2] = window.start;
    since = counters_now();
    race(add_everywhere);
    EXPECT_COUNT(since, zero_pages, >= 3 * PAGES - NEAR);
    EXPECT_COUNT(since, zero_pages, <= 3 * PAGES + 4 * ncpus);
    EXPECT_COUNT(since, vpte_m, >= PAGES);
    EXPECT_COUNT(since, vpte_m, <= PAGES + 4);
    for (unsigned place = 0; place < 3; place++)
        for (uint64_t i = 0; i < PAGES; i++)
            wrong += *ram_word(places[place] + i * PAGE_SIZE) != ncpus * (ncpus + 1) / 2;
    EXPECT(wrong == 0, "%lu pages lost an addition", wrong);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
