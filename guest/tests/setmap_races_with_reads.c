/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU reads through a window while another one lets it show one table and the other by turns: what
 * SETMAP has replaced is never seen after it returned.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/race.h"
#include "guest/lib/window.h"

#define PAGES 8
#define ROUNDS 200

static struct window window;
static uint64_t shown; /* what the window has shown since the last SETMAP returned, or more */
static uint32_t stop;

/* Ring 3.  Values only grow with the turns: a smaller one than was shown before is stale. */
static uint64_t
read_pages(void)
{
    uint64_t stale = 0;

    for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++) {
        uint64_t least = __atomic_load_n(&shown, __ATOMIC_ACQUIRE);

        stale += *(volatile uint64_t *)window_address(&window, i % PAGES) < least;
    }
    return stale;
}

/* In turn: the pages of the table that is not shown get the next value, then it is shown. */
static uint64_t
take_turns(struct vpte_table *tables, uint64_t (*frames)[PAGES])
{
    for (uint64_t turn = 1; turn <= ROUNDS; turn++) {
        for (unsigned i = 0; i < PAGES; i++)
            *ram_word(frames[turn % 2][i]) = turn;
        if (doorbell_setmap(window.start, window.size, tables[turn % 2].root) != 0)
            return turn;
        __atomic_store_n(&shown, turn, __ATOMIC_RELEASE);
    }
    return 0;
}

static uint64_t
on_vcpu(uint64_t cpu)
{
    static struct vpte_table tables[2];
    static uint64_t frames[2][PAGES];
    uint64_t failed;

    if (cpu != 0)
        return read_pages();
    tables[0] = window.table;
    vpte_table_init(&tables[1], &vpte64);
    for (unsigned i = 0; i < PAGES; i++) {
        frames[0][i] = vpte_frame(vpte_get(&tables[0], i));
        frames[1][i] = ram_alloc();
        vpte_map(&tables[1], i, frames[1][i], VPTE_RW);
    }
    failed = take_turns(tables, frames);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    return failed;
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t wrong;

    access_init();
    test_begin("no read sees what SETMAP has replaced");
    EXPECT(fdt_machine()->ncpus >= 2, "one vCPU");
    window_init_mapped(&window, &vpte64, PAGES);
    since = counters_now();
    wrong = race(on_vcpu);
    EXPECT(wrong == 0, "%lu stale reads", wrong);
    EXPECT_COUNT(since, setmaps, == ROUNDS);
    EXPECT_COUNT(since, failed, == 0);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
