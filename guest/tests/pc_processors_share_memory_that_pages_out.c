/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two processors add to the same words, more pages than there are, one of them upwards and one downwards.
 * Runs with --ram 1M, swap and 2 vCPUs.
 */
#include "guest/pc/pc.h"

#define PAGES 512u
#define ROUNDS 4u

static volatile bool done;

static void
add(uint32_t page, uint32_t amount)
{
    __asm__ volatile("lock addl %1, %0" : "+m"(*pc_word(page, page % 1024)) : "r"(amount) : "cc");
}

static void
add_downwards(void)
{
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t page = PAGES; page-- > 0;)
            add(page, 0x10000);
    done = true;
}

int
pc_main(void)
{
    uint32_t wrong = 0;

    pc_test_begin("no addition of two processors is lost while a PC's memory pages out");
    pc_cpu_start(add_downwards);
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t page = 0; page < PAGES; page++)
            add(page, 1);
    while (!done)
        pc_pause();
    for (uint32_t page = 0; page < PAGES; page++)
        wrong += *pc_word(page, page % 1024) != ROUNDS * 0x10001;
    PC_EXPECT_EQ(wrong, 0);
    pc_test_end();
    return pc_test_summary();
}
