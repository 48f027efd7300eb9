/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptions of machines for tests: made, written, read, compared, and drafted to be changed. */
#ifndef DESCRIPTION_RIG_H
#define DESCRIPTION_RIG_H

#include "guest/include/vkvm_abi.h"
#include "tests/unit/environment.h"
#include "vmm/boot/description.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#define TREE_SIZE ((size_t)64 << 10)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A machine with something of everything. */
static inline struct description
full_description(void)
{
    static const char words[] = "one\0two words\0";
    struct description d = {
        .exact_faults = true,
        .ram_budget = 8 << 20,
        .swap = "/swap file",
        .arguments = words,
        .arguments_size = sizeof(words),
    };

    machine_init(&d.machine);
    machine_set_memory(&d.machine, (uint64_t)100 << 30);
    d.machine.nvcpus = 3;
    d.machine.nwindows = 2;
    d.machine.windows[0] = (struct machine_window){ .start = { 0x1000000000 },
                                                    .size = 0x200000,
                                                    .format = &vpte64_format,
                                                    .root = 0x123456789003,
                                                    .protection = VM_PROT_ALL };
    d.machine.windows[1] = (struct machine_window){ .start = { 0x1000400000 },
                                                    .size = 0x1000,
                                                    .format = &vpte32_format,
                                                    .protection = VM_PROT_RW };
    d.machine.nfiles = 2;
    d.machine.files[0] = (struct machine_file){
        .start = { 0x1001000000 }, .size = 0x3000, .path = "a,b", .path_size = 3, .shared = true
    };
    d.machine.files[1] = (struct machine_file){ .start = { 0x1002000000 },
                                                .size = 0x1000,
                                                .offset = 0x5000,
                                                .path = "/c",
                                                .path_size = 2,
                                                .read_only = true };
    cr_assert(eq(int, cpu_features_add(&d.features, "pku=off"), 0));
    cr_assert(eq(int, cpu_features_add(&d.features, "umip=on"), 0));
    return d;
}

static inline struct description
pc_description(void)
{
    struct description d = { .command_line = "console=ttyS0  quiet" };

    machine_init(&d.machine);
    machine_set_memory(&d.machine, (uint64_t)5 << 30);
    d.machine.ndisks = 2;
    d.machine.disks[0] =
        (struct machine_disk){ .path = "root.img", .path_size = 8, .discard = true };
    d.machine.disks[1] =
        (struct machine_disk){ .path = "nbd://host/x", .path_size = 12, .read_only = true };
    machine_make_pc(&d.machine);
    machine_set_balloon(&d.machine, true);
    d.machine.ram_file =
        (struct machine_file){ .offset = 0x10000, .path = "ram", .path_size = 3, .shared = true };
    return d;
}

static inline struct vm_fdt
written(const struct description *description)
{
    struct failure failure = { .message = "" };
    struct vm_fdt fdt;

    cr_assert(eq(int, description_write(description, &fdt, &failure), 0), "%s", failure.message);
    cr_assert(eq(int, fdt_check_full(fdt.data, fdt.size), 0));
    return fdt;
}

static inline int
read_tree(const struct vm_fdt *fdt, struct description *to, struct failure *failure)
{
    const struct description_source source = { .fdt = fdt, .name = "tree" };

    return description_read(&source, to, failure);
}

static inline bool
same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static inline void
expect_same_file(const struct machine_file *a, const struct machine_file *b)
{
    cr_expect(eq(u64, gpa_to_u64(a->start), gpa_to_u64(b->start)));
    cr_expect(eq(u64, a->size, b->size));
    cr_expect(eq(u64, a->offset, b->offset));
    cr_expect(eq(sz, a->path_size, b->path_size));
    cr_assert(eq(int, a->path == NULL, b->path == NULL));
    cr_expect(a->path == NULL || memcmp(a->path, b->path, a->path_size) == 0, "another name");
    cr_expect(a->shared == b->shared && a->read_only == b->read_only);
}

static inline void
expect_same_window(const struct machine_window *a, const struct machine_window *b)
{
    cr_expect(eq(u64, gpa_to_u64(a->start), gpa_to_u64(b->start)));
    cr_expect(eq(u64, a->size, b->size));
    cr_expect(a->format == b->format);
    cr_expect(eq(u64, a->root, b->root));
    cr_expect(eq(int, (int)a->protection, (int)b->protection));
}

static inline void
expect_same_device(const struct machine_device *a, const struct machine_device *b)
{
    cr_expect(eq(int, (int)a->kind, (int)b->kind));
    cr_expect(eq(uint, a->port, b->port));
    cr_expect(eq(uint, a->nports, b->nports));
    cr_expect(eq(uint, a->line, b->line));
    cr_expect(eq(u64, gpa_to_u64(a->start), gpa_to_u64(b->start)));
    cr_expect(eq(u64, a->size, b->size));
    cr_expect(eq(uint, a->disk, b->disk));
}

static inline void
expect_same_disk(const struct machine_disk *a, const struct machine_disk *b)
{
    cr_assert(eq(sz, a->path_size, b->path_size));
    cr_expect(memcmp(a->path, b->path, a->path_size) == 0, "another name");
    cr_expect(a->read_only == b->read_only && a->discard == b->discard);
}

static inline void
expect_same_machine(const struct machine *a, const struct machine *b)
{
    cr_expect(eq(int, (int)a->kind, (int)b->kind));
    cr_expect(eq(int, (int)a->absent, (int)b->absent));
    cr_expect(eq(uint, a->nvcpus, b->nvcpus));
    cr_assert(eq(uint, a->nram, b->nram));
    cr_assert(eq(uint, a->nwindows, b->nwindows));
    cr_assert(eq(uint, a->nfiles, b->nfiles));
    cr_assert(eq(uint, a->ndevices, b->ndevices));
    cr_assert(eq(uint, a->ndisks, b->ndisks));
    for (unsigned i = 0; i < a->nram; i++)
        cr_expect(a->ram[i].start.value == b->ram[i].start.value &&
                  a->ram[i].size == b->ram[i].size);
    for (unsigned i = 0; i < a->nwindows; i++)
        expect_same_window(&a->windows[i], &b->windows[i]);
    for (unsigned i = 0; i < a->nfiles; i++)
        expect_same_file(&a->files[i], &b->files[i]);
    for (unsigned i = 0; i < a->ndevices; i++)
        expect_same_device(&a->devices[i], &b->devices[i]);
    for (unsigned i = 0; i < a->ndisks; i++)
        expect_same_disk(&a->disks[i], &b->disks[i]);
    expect_same_file(&a->ram_file, &b->ram_file);
}

static inline void
expect_same(const struct description *a, const struct description *b)
{
    expect_same_machine(&a->machine, &b->machine);
    cr_expect(eq(u64, a->ram_budget, b->ram_budget));
    cr_expect(a->exact_faults == b->exact_faults);
    cr_expect(same_text(a->swap, b->swap));
    cr_expect(same_text(a->command_line, b->command_line));
    cr_assert(eq(sz, a->arguments_size, b->arguments_size));
    cr_expect(a->arguments_size == 0 || memcmp(a->arguments, b->arguments, a->arguments_size) == 0);
    cr_assert(eq(uint, a->features.n, b->features.n));
    for (unsigned i = 0; i < a->features.n; i++)
        cr_expect(a->features.choices[i].feature == b->features.choices[i].feature &&
                  a->features.choices[i].on == b->features.choices[i].on);
}

/* Written again, a tree that was read is what it was. */
static inline void
expect_stable(const struct vm_fdt *fdt, const struct description *read)
{
    struct vm_fdt again = written(read);

    cr_expect(eq(sz, again.size, fdt->size));
    cr_expect(again.size == fdt->size && memcmp(again.data, fdt->data, fdt->size) == 0);
    vm_fdt_fini(&again);
}

/* A tree in a buffer with room, to be changed. */
struct draft {
    struct vm_fdt fdt;
};

static inline struct draft
draft_of(const struct description *description)
{
    struct vm_fdt fdt = written(description);
    struct draft draft = { .fdt = { .data = calloc(1, TREE_SIZE), .size = TREE_SIZE } };

    cr_assert(draft.fdt.data != NULL);
    cr_assert(eq(int, fdt_open_into(fdt.data, draft.fdt.data, (int)TREE_SIZE), 0));
    vm_fdt_fini(&fdt);
    return draft;
}

#endif
