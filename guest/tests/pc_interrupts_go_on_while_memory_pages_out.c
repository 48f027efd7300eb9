/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The timer interrupts a system at any moment of its page faults, and the handler has faults of its own.
 * Runs with --ram 1M and swap.
 */
#include "guest/pc/pc.h"

#define PAGES 512u
#define LOG_PAGES 64u /* the handler's, behind them */
#define TICKS 100u

static volatile uint32_t ticks;

/* Count in a page of its own each time. */
static void
count_tick(void)
{
    *pc_word(PAGES + ticks % LOG_PAGES, ticks % LOG_PAGES) += 1;
    ticks++;
}

static uint32_t
count_logged(void)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < LOG_PAGES; i++)
        sum += *pc_word(PAGES + i, i);
    return sum;
}

int
pc_main(void)
{
    pc_test_begin("interrupts come while a PC's memory pages out, and none is lost");
    pc_timer_start(count_tick);
    for (uint32_t round = 1; round == 1 || ticks < TICKS; round++) {
        pc_fill(PAGES, round);
        PC_EXPECT_EQ(pc_count_wrong(PAGES, round), 0);
    }
    __asm__ volatile("cli");
    PC_EXPECT_EQ(count_logged(), ticks);
    pc_test_end();
    return pc_test_summary();
}
