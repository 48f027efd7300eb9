/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of a shared file that were written go to the file when memory is short, and come back from
 * there.  Needs a file, --map ...,shared; --ram 1M and swap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/pressure.h"
#include "guest/lib/ram.h"

#define PAGES 10
#define ROUNDS 6

int
guest_main(void)
{
    const struct fdt_file *file = &fdt_machine()->files[0];
    struct vkvm_statistics since;

    access_init();
    test_begin("what was written to a shared file comes back from it");
    EXPECT(fdt_machine()->nfiles == 1 && file->shared, "no shared file");
    EXPECT(doorbell_advise(file->start, file->size, VKVM_ADVICE_RANDOM) == 0, "ADVISE");
    since = counters_now();
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (uint64_t i = 0; i < PAGES; i++)
            expect_store(file->start + i * PAGE_SIZE + 8 * round, round * 100 + i);
        pressure();
        pressure();
        for (uint64_t i = 0; i < PAGES; i++)
            expect_load(file->start + i * PAGE_SIZE + 8 * round, round * 100 + i);
    }
    EXPECT_COUNT(since, page_in, > PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_load(file->start + i * PAGE_SIZE + 8, 100 + i);
    test_end();
    return test_summary();
}
