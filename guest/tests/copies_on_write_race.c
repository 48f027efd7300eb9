/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs write to the same shared pages of a region's copy at once, and one reads the region: each
 * page is copied once, no write is lost and none shows in the region.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/race.h"
#include "guest/lib/region.h"

#define PAGES UINT64_C(128)

/*
 * A fault thread may come to a write's message when a neighbour's has answered it long since: if the region
 * was copied meanwhile, the source gets a page of its own.
 */
#define LATE 8

static uint64_t source, copy;

/* Ring 3, on every vCPU: returns how many pages of the source show a write. */
static uint64_t
write_copy(uint64_t cpu)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t page = cpu % 2 == 0 ? i : PAGES - 1 - i;

        *(volatile uint64_t *)(region_page(copy, page) + 8 * cpu) = 1000 + cpu;
        wrong += *(volatile uint64_t *)(region_page(source, page) + 8 * cpu) != 7;
    }
    return wrong;
}

int
guest_main(void)
{
    uint64_t ncpus = fdt_machine()->ncpus, wrong = 0;
    struct vkvm_statistics since;

    access_init();
    test_begin("vCPUs that write to a shared page at once copy it once");
    source = region_make(PAGES, REGION_RW);
    for (uint64_t i = 0; i < PAGES; i++)
        for (uint64_t cpu = 0; cpu < ncpus; cpu++)
            *(volatile uint64_t *)(region_page(source, i) + 8 * cpu) = 7;
    copy = region_copy(source, PAGES);
    since = counters_now();
    wrong = race(write_copy);
    EXPECT(wrong == 0, "%lu writes show in the source", wrong);
    EXPECT_COUNT(since, cow, >= PAGES);
    EXPECT_COUNT(since, cow, <= PAGES + LATE);
    for (uint64_t i = 0; i < PAGES; i++)
        for (uint64_t cpu = 0; cpu < ncpus; cpu++)
            wrong += *(volatile uint64_t *)(region_page(copy, i) + 8 * cpu) != 1000 + cpu;
    EXPECT(wrong == 0, "%lu writes were lost", wrong);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
