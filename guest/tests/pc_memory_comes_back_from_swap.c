/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A system that knows nothing of vkvm uses four times the memory there is.  Runs with --ram 1M and swap.
 */
#include "guest/pc/pc.h"

#define PAGES 1024u
#define ROUNDS 2u

int
pc_main(void)
{
    pc_test_begin("a PC's memory comes back from swap as it was written");
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        pc_fill(PAGES, round);
        PC_EXPECT_EQ(pc_count_wrong(PAGES, round), 0);
        PC_EXPECT_EQ(pc_count_wrong(PAGES, round), 0);
    }
    pc_test_end();
    return pc_test_summary();
}
