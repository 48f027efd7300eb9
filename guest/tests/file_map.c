/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that the command line maps, shared, private or read-only: their bytes are there,
 * writes go where they should, and SYNC writes them back.
 *
 * The file has FILE_BYTES bytes, lines of 16 characters, and is mapped with some pages
 * to spare.  If it is mapped twice, first shared and then read-only, the second mapping shows
 * what SYNC wrote.  What is in the file afterwards tests/cli/run.sh looks at.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define FILE_BYTES 41060
#define FILE_PAGES (FILE_BYTES / PAGE_SIZE) /* whole ones */
#define LINE UINT64_C(0x3736353433323130)   /* "01234567" */
#define MARK UINT64_C(0x6d766b766d766b76)   /* "vkvmvkvm" */
#define SYNCED_PAGE 3
#define UNSYNCED_PAGE 5
#define WRITE_REFUSED (VKVM_PF_PRESENT | VKVM_PF_WRITE)

static const struct fdt_file *
file_of(unsigned index)
{
    return &fdt_machine()->files[index];
}

static bool
is_writable(const struct fdt_file *file)
{
    return (file->protection & VKVM_MAP_WRITE) != 0;
}

static uint64_t
word_at(const struct fdt_file *file, uint64_t page, uint64_t offset)
{
    return access_load(file->start + page * PAGE_SIZE + offset, (struct access_fault *)0);
}

static void
the_bytes_are_the_files(const struct fdt_file *file)
{
    test_begin("a mapped file has its bytes, and zeros after them in its last page");
    for (uint64_t page = 0; page <= FILE_PAGES; page++)
        EXPECT(word_at(file, page, 0) == LINE, "page %lu has 0x%lx", page, word_at(file, page, 0));
    EXPECT(word_at(file, FILE_PAGES, 96) == 0x33323130, "0x%lx", word_at(file, FILE_PAGES, 96));
    EXPECT(word_at(file, FILE_PAGES, 104) == 0, "no zeros after the end");
    test_end();
}

static void
beyond_the_end_is_a_fault(const struct fdt_file *file)
{
    struct access_fault fault;

    test_begin("a page beyond the file's end cannot be read");
    EXPECT(file->size > (FILE_PAGES + 1) * PAGE_SIZE, "mapped only %lu bytes", file->size);
    access_load(file->start + (FILE_PAGES + 1) * PAGE_SIZE, &fault);
    EXPECT(access_faulted_with(&fault, 0), "count %u error 0x%lx", fault.count, fault.error);
    test_end();
}

static void
a_read_only_file_refuses_writes(const struct fdt_file *file)
{
    struct access_fault fault;

    test_begin("a read-only file refuses a write");
    access_store(file->start + SYNCED_PAGE * PAGE_SIZE, MARK, &fault);
    EXPECT(access_faulted_with(&fault, WRITE_REFUSED), "count %u error 0x%lx", fault.count,
           fault.error);
    EXPECT(word_at(file, SYNCED_PAGE, 0) == LINE, "it was written");
    test_end();
}

static void
write_mark(const struct fdt_file *file, uint64_t page, uint64_t offset)
{
    struct access_fault fault;

    access_store(file->start + page * PAGE_SIZE + offset, MARK, &fault);
    EXPECT(fault.count == 0, "page %lu: vector %u error 0x%lx", page, fault.vector, fault.error);
    EXPECT(word_at(file, page, offset) == MARK, "page %lu does not keep it", page);
}

static void
writes_are_kept_and_synced(const struct fdt_file *file)
{
    uint64_t synced = file->start + SYNCED_PAGE * PAGE_SIZE;

    test_begin("writes to a file are kept, and SYNC takes any part of it");
    write_mark(file, SYNCED_PAGE, 0);
    write_mark(file, UNSYNCED_PAGE, 8);
    write_mark(file, FILE_PAGES, 208);
    EXPECT(doorbell_sync(synced, PAGE_SIZE) == 0, "one page");
    EXPECT(word_at(file, SYNCED_PAGE, 0) == MARK, "lost by SYNC");
    write_mark(file, SYNCED_PAGE, 16);
    test_end();
}

static void
the_file_has_what_was_synced(const struct fdt_file *shared, const struct fdt_file *other)
{
    uint64_t page = SYNCED_PAGE + 1;

    test_begin("after SYNC the file has it");
    write_mark(shared, page, 32);
    EXPECT(doorbell_sync(shared->start + page * PAGE_SIZE, PAGE_SIZE) == 0, "SYNC");
    EXPECT(word_at(other, page, 32) == MARK, "the file has 0x%lx", word_at(other, page, 32));
    test_end();
}

static void
sync_checks_its_range(const struct fdt_file *file)
{
    test_begin("SYNC checks its range");
    EXPECT(doorbell_sync(file->start, file->size) == 0, "all of it");
    EXPECT(doorbell_sync(file->start + 8, PAGE_SIZE) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_sync(file->start, 0) == -VKVM_EINVAL, "empty");
    EXPECT(doorbell_sync(file->start, file->size + PAGE_SIZE) == -VKVM_EINVAL, "sticks out");
    EXPECT(doorbell_sync(file->start - PAGE_SIZE, PAGE_SIZE) == -VKVM_ENOENT, "before it");
    EXPECT(doorbell_sync(0, PAGE_SIZE) == -VKVM_ENOENT, "RAM");
    EXPECT(doorbell_sync(file->start, UINT64_MAX & ~PAGE_MASK) == -VKVM_EINVAL, "wraps");
    test_end();
}

static void
test_file(const struct fdt_file *file)
{
    the_bytes_are_the_files(file);
    beyond_the_end_is_a_fault(file);
    if (is_writable(file))
        writes_are_kept_and_synced(file);
    else
        a_read_only_file_refuses_writes(file);
    sync_checks_its_range(file);
}

int
guest_main(void)
{
    access_init();
    test_begin("the device tree has the files");
    EXPECT(fdt_machine()->nfiles != 0, "none");
    test_end();
    if (fdt_machine()->nfiles == 2 && file_of(0)->shared && is_writable(file_of(0)))
        the_file_has_what_was_synced(file_of(0), file_of(1));
    else if (fdt_machine()->nfiles != 0)
        test_file(file_of(0));
    return test_summary();
}
