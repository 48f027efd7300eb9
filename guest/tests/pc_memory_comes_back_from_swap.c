/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A system that knows nothing of vkvm uses twice the memory there is.  Runs with --ram 1M and swap.
 */
#include "guest/pc/pc.h"

#define PAGES 512u

int
pc_main(void)
{
    pc_test_begin("a PC's memory comes back from swap as it was written");
    pc_fill(PAGES, 1);
    PC_EXPECT_EQ(pc_count_wrong(PAGES, 1), 0);
    PC_EXPECT_EQ(pc_count_wrong(PAGES, 1), 0);
    pc_test_end();
    return pc_test_summary();
}
