/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With random advice each page of a file is read by itself, when it is needed.
 * Needs a file, --map, of whole pages with a remainder.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"

#define PAGES 10

int
guest_main(void)
{
    const struct fdt_file *file = &fdt_machine()->files[0];
    struct vkvm_statistics since;
    uint64_t word;

    access_init();
    test_begin("random advice reads the page alone");
    EXPECT(fdt_machine()->nfiles == 1, "no file");
    EXPECT(doorbell_advise(file->start, file->size, VKVM_ADVICE_RANDOM) == 0, "ADVISE");
    since = counters_now();
    word = access_load(file->start, (struct access_fault *)0);
    for (uint64_t i = 1; i < PAGES; i++) {
        expect_load(file->start + i * PAGE_SIZE, word);
        EXPECT_COUNT(since, pages_in, == i + 1);
    }
    EXPECT_COUNT(since, page_in, == PAGES);
    EXPECT_COUNT(since, prefaulted, == 0);
    test_end();
    return test_summary();
}
