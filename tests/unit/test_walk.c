/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm walk` below its command line: one access through tables in memory, the file
 * under it with all its failures, and what accesses are read.  The walks
 * themselves are in test_vpte.c and test_x86_walk.c.
 */
#include "vmm/cli/walk_file.h"
#include "vmm/cli/walk_options.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define PASS (VPTE_V | VPTE_R | VPTE_W | VPTE_X)
#define NPAGES 8

/* A path of four tables, pages 1 to 4, to page 6; all entries are the pages' first. */
static _Alignas(4096) uint64_t pages[NPAGES][512];

static const struct walk_tables vpte_tables = {
    .format = { .vpte = &vpte64_format },
    .root = 1 << 12 | PASS,
    .object_pages = NPAGES,
};

static void
write_path(void)
{
    static const unsigned next[] = { 2, 3, 4, 6 };

    memset(pages, 0, sizeof(pages));
    for (unsigned i = 0; i < 4; i++)
        pages[i + 1][0] = next[i] << 12 | PASS;
}

/* context: NULL, or the table that cannot be had and the error. */
struct failing {
    vm_pindex_t table;
    int error;
};

static int
memory_page(void *context, vm_pindex_t table, void **page)
{
    const struct failing *failing = context;

    if (failing != NULL && failing->table == table)
        return failing->error;
    *page = pages[table];
    return 0;
}

Test(walk, tables_in_memory_are_walked_where_they_are)
{
    const struct walk_memory memory = { .page = memory_page };
    struct walk_outcome outcome;

    write_path();
    cr_assert(zero(int, walk_translate(&vpte_tables, &memory, 0x123, VM_PROT_READ, &outcome)));
    cr_assert(eq(int, outcome.result, WALK_OK));
    cr_assert(eq(u64, outcome.phys, 6 << 12 | 0x123));
    cr_assert(eq(uint, outcome.nentries, 4));
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(eq(uint, outcome.entries[i].level, i + 1));
        cr_assert(eq(u64, outcome.entries[i].at, (i + 1) << 12));
        cr_assert(eq(u64, outcome.entries[i].after, pages[i + 1][0]));
        cr_assert(eq(u64, outcome.entries[i].after,
                     outcome.entries[i].value | VPTE_A | (i < 3 ? VPTE_M : 0)));
    }
}

Test(walk, a_table_that_the_memory_lacks_is_a_bad_frame_and_an_error_is_an_error)
{
    for (unsigned level = 1; level <= 4; level++) {
        struct failing failing = { .table = level, .error = -ENODATA };
        const struct walk_memory memory = { .page = memory_page, .context = &failing };
        struct walk_outcome outcome;

        write_path();
        cr_assert(zero(int, walk_translate(&vpte_tables, &memory, 0, VM_PROT_READ, &outcome)));
        cr_assert(eq(int, outcome.result, WALK_BAD_FRAME));
        cr_assert(eq(uint, outcome.level, level - 1));
        cr_assert(eq(uint, outcome.nentries, level - 1));
        failing.error = -EIO;
        cr_assert(eq(int, walk_translate(&vpte_tables, &memory, 0, VM_PROT_READ, &outcome), -EIO));
    }
}

Test(walk, every_format_has_a_name_and_every_result_too)
{
    static const char *const names[] = { "vpte64", "vpte32", "x86_64", "x86_64-la57", "ept" };
    struct walk_format format;

    for (unsigned i = 0; i < 5; i++) {
        cr_assert(walk_format_find(names[i], &format));
        cr_assert(ne(int, format.vpte != NULL, format.x86 != NULL));
        cr_assert(strcmp(format.vpte != NULL ? format.vpte->name : format.x86->name, names[i]) ==
                  0);
    }
    cr_assert(not(walk_format_find("", &format)));
    for (unsigned i = 0; i < WALK_RESULT_COUNT; i++)
        cr_assert(walk_result_name((enum walk_result)i) != NULL);
}

/* The file's descriptor by name, so that walk_file opens it. */
static int
memory_file(char name[32])
{
    int fd = memfd_create("walk", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    cr_assert(ge(int, fd, 0));
    cr_assert(eq(i64, pwrite(fd, pages, sizeof(pages), 0), sizeof(pages)));
    snprintf(name, 32, "/proc/self/fd/%d", fd);
    return fd;
}

static uint64_t
file_entry(int fd, uint64_t offset)
{
    uint64_t value;

    cr_assert(eq(i64, pread(fd, &value, sizeof(value), (off_t)offset), sizeof(value)));
    return value;
}

Test(walk, a_file_that_shrinks_or_grows_under_the_walk_is_seen_as_it_is)
{
    static struct walk_file file;
    struct walk_outcome outcome;
    struct failure failure;
    char name[32];
    int fd;

    write_path();
    fd = memory_file(name);
    cr_assert(zero(int, walk_file_open(&file, name, true, &failure)));
    cr_assert(eq(u64, file.npages, NPAGES));
    for (unsigned level = 4; level >= 1; level--) {
        cr_assert(zero(int, ftruncate(fd, (level << 12) + 4095))); /* in part is not enough */
        cr_assert(zero(int, walk_file_translate(&file, &vpte_tables, 0, VM_PROT_WRITE, &outcome,
                                                &failure)));
        cr_assert(eq(int, outcome.result, WALK_BAD_FRAME));
        cr_assert(eq(uint, outcome.level, level - 1));
    }
    cr_assert(eq(i64, lseek(fd, 0, SEEK_END), 4096 + 4095));
    cr_assert(eq(i64, pwrite(fd, pages, sizeof(pages), 0), sizeof(pages)));
    cr_assert(
        zero(int, walk_file_translate(&file, &vpte_tables, 0, VM_PROT_WRITE, &outcome, &failure)));
    cr_assert(eq(int, outcome.result, WALK_OK));
    cr_assert(eq(u64, file_entry(fd, 0x4000), 6 << 12 | PASS | VPTE_A | VPTE_M));
    walk_file_close(&file);
    close(fd);
}

Test(walk, a_file_opened_for_reading_is_never_written)
{
    static struct walk_file file;
    struct walk_outcome outcome;
    struct failure failure;
    char name[32];
    int fd;

    write_path();
    fd = memory_file(name);
    cr_assert(zero(int, walk_file_open(&file, name, false, &failure)));
    cr_assert(eq(int, fcntl(file.fd, F_GETFL) & O_ACCMODE, O_RDONLY));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(zero(int, walk_file_translate(&file, &vpte_tables, 0, VM_PROT_WRITE, &outcome,
                                                &failure)));
        cr_assert(eq(u64, outcome.entries[3].value, 6 << 12 | PASS));
        cr_assert(eq(u64, outcome.entries[3].after, 6 << 12 | PASS | VPTE_A | VPTE_M));
    }
    for (unsigned level = 1; level <= 4; level++)
        cr_assert(eq(u64, file_entry(fd, level << 12), pages[level][0]));
    walk_file_close(&file);
    close(fd);
}

Test(walk, a_file_that_cannot_be_written_is_one_error)
{
    static struct walk_file file;
    struct walk_outcome outcome;
    struct failure failure;
    char name[32];
    int fd;

    write_path();
    fd = memory_file(name);
    cr_assert(zero(int, walk_file_open(&file, name, true, &failure)));
    cr_assert(zero(int, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)));
    cr_assert(eq(int, walk_file_translate(&file, &vpte_tables, 0, VM_PROT_READ, &outcome, &failure),
                 CLI_FAILED));
    cr_assert(strstr(failure.message, "cannot write") != NULL, "%s", failure.message);
    walk_file_close(&file);
    close(fd);
}

Test(walk, a_file_that_cannot_be_read_is_one_error)
{
    static struct walk_file file;
    struct walk_outcome outcome;
    struct failure failure;

    file.name = "gone";
    file.fd = -1;
    cr_assert(eq(int, walk_file_translate(&file, &vpte_tables, 0, VM_PROT_READ, &outcome, &failure),
                 CLI_FAILED));
    cr_assert(strstr(failure.message, "cannot read 'gone'") != NULL, "%s", failure.message);
    walk_file_close(&file);
}

/* The addresses around the limits of each format; remedies are tested by tests/cli/walk.sh. */
Test(walk, an_address_fits_up_to_the_last_bit_a_format_translates)
{
    static const struct {
        const char *format;
        uint64_t root, last, first_high; /* no address from last + 1 to first_high - 1 */
    } rows[] = {
        { "vpte64", 0, 0x0000FFFFFFFFFFFF, 0 },
        { "vpte32", 0, 0x00000000FFFFFFFF, 0 },
        { "x86_64", 0, 0x00007FFFFFFFFFFF, 0xFFFF800000000000 },
        { "x86_64-la57", 0, 0x00FFFFFFFFFFFFFF, 0xFF00000000000000 },
        { "ept", 0x1E, 0x0000FFFFFFFFFFFF, 0 },
        { "ept", 0x26, 0x01FFFFFFFFFFFFFF, 0 },
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct walk_tables tables = { .root = rows[i].root };
        uint64_t remedy;

        cr_assert(walk_format_find(rows[i].format, &tables.format));
        cr_expect(walk_address_fits(&tables, rows[i].last, &remedy));
        cr_expect(not(walk_address_fits(&tables, rows[i].last + 1, &remedy)));
        cr_expect(not(walk_address_fits(&tables, rows[i].first_high - 1, &remedy)));
        cr_expect(
            eq(int, walk_address_fits(&tables, UINT64_MAX, &remedy), rows[i].first_high != 0));
        if (rows[i].first_high != 0)
            cr_expect(walk_address_fits(&tables, rows[i].first_high, &remedy));
    }
}

/* Read accesses from text. */
static int
read_text(struct walk_accesses *accesses, const char *text, size_t size, struct failure *failure)
{
    const struct walk_options options = { .tables = vpte_tables, .format_name = "vpte64" };
    char *copy = malloc(size + 1);
    FILE *input;
    int status;

    cr_assert(copy != NULL);
    memcpy(copy, text, size);
    input = fmemopen(copy, size + 1, "r"); /* one more: it refuses an empty buffer */
    cr_assert(input != NULL);
    copy[size] = '\n';
    *accesses = (struct walk_accesses){ .list = NULL };
    status = walk_accesses_read(accesses, &options, input, failure);
    fclose(input);
    free(copy);
    return status;
}

Test(walk, many_accesses_are_read_in_their_order)
{
    enum {
        COUNT = 1000
    };
    static char text[COUNT * 16];
    struct walk_accesses accesses;
    struct failure failure;
    size_t size = 0;

    for (unsigned i = 0; i < COUNT; i++)
        size += (size_t)sprintf(text + size, "%c:0x%x\n", "rwx"[i % 3], i * 0x1001);
    cr_assert(zero(int, read_text(&accesses, text, size, &failure)));
    cr_assert(eq(sz, accesses.count, COUNT));
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert(eq(u64, accesses.list[i].address, i * 0x1001));
        cr_assert(eq(uint, accesses.list[i].access, 1u << i % 3));
        cr_assert(walk_access_letter(accesses.list[i].access)[0] == "rwx"[i % 3]);
    }
    walk_accesses_free(&accesses);
}

Test(walk, random_input_is_read_or_refused_in_one_line, .timeout = 120)
{
    static const char alphabet[] = "rwx::0x19afF \n\n\t\r-,";
    unsigned read = 0, refused = 0;

    for (unsigned i = 0; i < 100000; i++) {
        struct walk_accesses accesses;
        struct failure failure = { .message = "" };
        uint8_t bytes[48];
        char text[sizeof(bytes) / 2];
        size_t size;

        cr_assert(eq(i64, getrandom(bytes, sizeof(bytes), 0), sizeof(bytes)));
        size = bytes[0] % sizeof(text);
        for (unsigned b = 0; b < size; b++) /* mostly of the alphabet, sometimes any byte */
            text[b] = (char)(bytes[sizeof(text) + b] < 250
                                 ? (uint8_t)alphabet[bytes[b] % (sizeof(alphabet) - 1)]
                                 : bytes[b]);
        if (read_text(&accesses, text, size, &failure) == CLI_OK) {
            read++;
        } else {
            refused++;
            cr_assert(strstr(failure.message, ": give ") != NULL, "%s", failure.message);
        }
        walk_accesses_free(&accesses);
    }
    cr_assert(gt(uint, read, 0));
    cr_assert(gt(uint, refused, 0));
}
