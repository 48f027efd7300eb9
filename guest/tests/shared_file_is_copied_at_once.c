/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * COPY of a shared file copies its pages at once: what is written to the file later, by whomever, is
 * no business of the copy.  Needs a file, --map ...,shared, of some pages.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/region.h"

#define PAGES 4

int
guest_main(void)
{
    const struct fdt_machine *machine = fdt_machine();
    struct vkvm_statistics since;
    uint64_t file, copy, word;

    access_init();
    test_begin("COPY of a shared file copies its pages");
    EXPECT(machine->nfiles == 1 && machine->files[0].shared, "no shared file");
    file = machine->files[0].start;
    since = counters_now();
    copy = region_copy(file, machine->files[0].size / PAGE_SIZE);
    EXPECT_COUNT(since, pages_in, >= PAGES);
    word = access_load(file, (struct access_fault *)0);
    for (uint64_t i = 0; i < PAGES; i++)
        expect_store(file + i * PAGE_SIZE, 100 + i);
    for (uint64_t i = 0; i < PAGES; i++) {
        expect_load(region_page(copy, i), word);
        expect_store(region_page(copy, i), 200 + i);
        expect_load(file + i * PAGE_SIZE, 100 + i);
    }
    EXPECT_COUNT(since, cow, == 0);
    test_end();
    return test_summary();
}
