/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Without prefault (--prefault 0), without pages of zeros on suspicion (--no-fast-fault), or with random
 * advice ("advice=1") each fresh page is a fault of its own.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"

#define PAGES 64

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t start;

    access_init();
    test_begin("each page of a stream is a fault of its own");
    start = ram_alloc_run(PAGES, UINT64_C(2) << 20);
    if (fdt_argument_number("advice", 0) != 0)
        EXPECT(doorbell_advise(start, PAGES * PAGE_SIZE, VKVM_ADVICE_RANDOM) == 0, "ADVISE");
    since = counters_now();
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(start + i * PAGE_SIZE, i);
    EXPECT_COUNT(since, zero_fill, == PAGES);
    EXPECT_COUNT(since, zero_pages, == PAGES);
    test_end();
    return test_summary();
}
