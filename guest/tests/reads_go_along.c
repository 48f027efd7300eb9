/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With normal advice a page that is read from a file brings its neighbours from there, up to where a
 * stream is expected: a file is read in a few reads, each of its pages once.
 * Needs a file, --map, of some pages.
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
    test_begin("neighbours of a page of a file are read along");
    EXPECT(fdt_machine()->nfiles == 1, "no file");
    since = counters_now();
    word = access_load(file->start, (struct access_fault *)0);
    EXPECT_COUNT(since, pages_in, >= 8);
    EXPECT_COUNT(since, page_in, == 1);
    for (uint64_t i = 1; i < PAGES; i++)
        expect_load(file->start + i * PAGE_SIZE, word);
    EXPECT_COUNT(since, page_in, <= 2);
    EXPECT_COUNT(since, pages_in, >= PAGES);
    EXPECT_COUNT(since, pages_in, <= PAGES + 1);
    EXPECT_COUNT(since, prefaulted, >= 4);
    test_end();
    return test_summary();
}
