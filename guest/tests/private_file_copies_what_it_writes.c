/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A private mapping of a file reads the file's pages, and gets a copy of those that it writes.
 * Needs a file, --map ...,private, that has the same words in each page.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"

#define PAGE 2

int
guest_main(void)
{
    const struct fdt_machine *machine = fdt_machine();
    struct vkvm_statistics since;
    uint64_t page, word;

    access_init();
    test_begin("a write to a private mapping copies one page, once");
    EXPECT(machine->nfiles == 1 && !machine->files[0].shared, "no private file");
    page = machine->files[0].start + PAGE * PAGE_SIZE;
    since = counters_now();
    word = access_load(page + PAGE_SIZE, (struct access_fault *)0);
    expect_load(page, word);
    EXPECT_COUNT(since, pages_in, >= 2);
    EXPECT_COUNT(since, cow, == 0);
    expect_store(page + 8, 1);
    expect_store(page + 16, 2);
    EXPECT_COUNT(since, cow, == 1);
    expect_load(page, word);
    expect_load(page + 8, 1);
    expect_load(page + 16, 2);
    expect_load(page + PAGE_SIZE, word);
    EXPECT_COUNT(since, pages_out, == 0);
    test_end();
    return test_summary();
}
