/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file that the command line maps twice is one object: what is written through one mapping is
 * there in the other, at once and whatever has been written back meanwhile.
 *
 * The first file is shared and writable.  The second is the same file again: shared, read-only or
 * not; or private, which shows the same until it is written to.  The smaller one counts.
 */
#include "guest/lib/access.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"
#include "guest/lib/test.h"

#define WORDS 4 /* of a page, spread over it */

static uint64_t npages;

static uint64_t
place(const struct fdt_file *file, uint64_t page, unsigned word)
{
    return file->start + page * PAGE_SIZE + word * (PAGE_SIZE / WORDS);
}

static uint64_t
load(const struct fdt_file *file, uint64_t page, unsigned word)
{
    struct access_fault fault;
    uint64_t value = access_load(place(file, page, word), &fault);

    EXPECT(fault.count == 0, "page %lu cannot be read: error 0x%lx", page, fault.error);
    return value;
}

static void
store(const struct fdt_file *file, uint64_t page, unsigned word, uint64_t value)
{
    struct access_fault fault;

    access_store(place(file, page, word), value, &fault);
    EXPECT(fault.count == 0, "page %lu cannot be written: error 0x%lx", page, fault.error);
}

/* Write through one, read through the other. */
static void
expect_seen(const struct fdt_file *from, const struct fdt_file *to, uint64_t salt)
{
    for (uint64_t page = 0; page < npages; page++) {
        for (unsigned word = 0; word < WORDS; word++) {
            uint64_t value = salt + page * WORDS + word;

            store(from, page, word, value);
            EXPECT(load(to, page, word) == value, "page %lu word %u shows 0x%lx instead of 0x%lx",
                   page, word, load(to, page, word), value);
        }
    }
}

static void
the_other_sees_each_write(const struct fdt_file *file, const struct fdt_file *alias)
{
    test_begin("what is written through one mapping of a file the other shows at once");
    for (uint64_t page = 0; page < npages; page++)
        EXPECT(load(alias, page, 0) == load(file, page, 0), "page %lu differs", page);
    expect_seen(file, alias, 0x1000);
    expect_seen(file, alias, 0x2000);
    test_end();
}

static void
the_other_sees_writes_after_sync(const struct fdt_file *file, const struct fdt_file *alias)
{
    test_begin("SYNC changes nothing of that");
    for (uint64_t salt = 0x3000; salt < 0x6000; salt += 0x1000) {
        EXPECT(doorbell_sync(file->start, npages * PAGE_SIZE) == 0, "SYNC");
        EXPECT(load(alias, 0, 0) == load(file, 0, 0), "SYNC lost something");
        expect_seen(file, alias, salt);
    }
    test_end();
}

static void
both_write(const struct fdt_file *file, const struct fdt_file *alias)
{
    test_begin("two writers of a file see each other");
    expect_seen(alias, file, 0x7000);
    store(file, 0, 0, 1);
    store(alias, 0, 1, 2);
    EXPECT(doorbell_sync(alias->start, npages * PAGE_SIZE) == 0, "SYNC");
    EXPECT(load(alias, 0, 0) == 1 && load(file, 0, 1) == 2, "one overwrote the other's");
    test_end();
}

static void
private_writes_stay(const struct fdt_file *file, const struct fdt_file *alias)
{
    test_begin("a private mapping keeps what it wrote to itself, and shows it from then on");
    store(file, 1, 0, 0x8000);
    store(alias, 1, 0, 0x9000);
    EXPECT(load(file, 1, 0) == 0x8000, "the file has 0x%lx", load(file, 1, 0));
    store(file, 1, 0, 0xa000);
    EXPECT(load(alias, 1, 0) == 0x9000, "its own is 0x%lx", load(alias, 1, 0));
    test_end();
}

int
guest_main(void)
{
    const struct fdt_file *file = &fdt_machine()->files[0], *alias = &fdt_machine()->files[1];

    access_init();
    test_begin("the device tree has the file twice");
    EXPECT(fdt_machine()->nfiles == 2, "%u files", fdt_machine()->nfiles);
    test_end();
    if (fdt_machine()->nfiles != 2)
        return test_summary();
    npages = (file->size < alias->size ? file->size : alias->size) / PAGE_SIZE;
    the_other_sees_each_write(file, alias);
    the_other_sees_writes_after_sync(file, alias);
    if ((alias->protection & VKVM_MAP_WRITE) == 0)
        return test_summary();
    if (alias->shared)
        both_write(file, alias);
    else
        private_writes_stay(file, alias);
    return test_summary();
}
