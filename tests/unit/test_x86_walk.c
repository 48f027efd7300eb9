/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walker of the processor's tables against the model (x86_walk_model.h): every
 * set of the bits that matter, at each level and at any two levels of a path, for
 * each format, access and mode.  Then roots, frames and tables inside themselves.
 *
 * Each level's table has a gigabyte of page indexes to itself, so that low address
 * bits of its entry may be anything and it still leads to the same table.
 */
#include "tests/unit/x86_walk_model.h"
#include "vmm/x86_64/x86_walk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n) (UINT64_C(1) << (n))
#define GIB BIT(30)
#define GIB_PAGES BIT(18)
#define OBJECT_PAGES (7 * GIB_PAGES) /* tables in GiB 1 to 5, the result in GiB 6 */
#define PHYSICAL_BITS 40
#define OFFSET 0x678

#define PASS 0x7u      /* P, RW, US; EPT: R, W, X */
#define EPT_TYPE 0x20u /* write-through; with bit 4 too, write-back */
#define EPTP(levels, ad) ((uint64_t)((levels)-1) << 3 | ((ad) ? 0x40 : 0) | 6)

static _Alignas(4096) uint64_t store[8][512];

static const vm_prot_t accesses[] = { VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE };
static const char *const access_names[] = { "read", "write", "fetch" };
static const enum x86_walk_result results[] = {
    [X86_MODEL_OK] = X86_WALK_OK,
    [X86_MODEL_INVALID] = X86_WALK_INVALID,
    [X86_MODEL_PROTECTION] = X86_WALK_PROTECTION,
    [X86_MODEL_BAD_FRAME] = X86_WALK_BAD_FRAME,
    [X86_MODEL_RESERVED] = X86_WALK_RESERVED,
};

/* Bits that are tried in all sets, and what they are called. */
struct bits {
    unsigned count;
    unsigned bit[16];
    const char *name[16];
};

static const struct bits paging_bits = {
    9,
    { 0, 1, 2, 5, 6, 7, 13, 45, 63 },
    { "P", "RW", "US", "A", "D", "PS", "bit13", "bit45", "XD" },
};

static const struct bits paging_more_bits = {
    16,
    { 0, 1, 2, 4, 5, 6, 7, 8, 12, 13, 20, 21, 29, 45, 62, 63 },
    { "P", "RW", "US", "PCD", "A", "D", "PS", "G", "bit12", "bit13", "bit20", "bit21", "bit29",
      "bit45", "bit62", "XD" },
};

static const struct bits ept_bits = {
    9,
    { 0, 1, 2, 4, 7, 8, 9, 12, 45 },
    { "R", "W", "X", "bit4", "PS", "A", "D", "bit12", "bit45" },
};

static const struct bits ept_more_bits = {
    16,
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 20, 29, 45, 57, 63 },
    { "R", "W", "X", "bit3", "bit4", "bit5", "bit6", "PS", "A", "D", "bit12", "bit20", "bit29",
      "bit45", "bit57", "bit63" },
};

/* The entry's value for set number `set` of these bits. */
static uint64_t
bits_value(const struct bits *bits, unsigned set)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bits->count; i++)
        value |= (uint64_t)(set >> i & 1) << bits->bit[i];
    return value;
}

static const struct x86_walk_format *
format_of(const struct x86_model *model)
{
    if (model->ept)
        return &x86_walk_ept;
    return model->tables == 5 ? &x86_walk_5level : &x86_walk_4level;
}

/* The combination by name: "x86_64 user write: 1[P.RW (40000000)] ...". */
static void
combination_print(const struct x86_model *model, const char *what, uint64_t got, uint64_t want)
{
    const struct bits *bits = model->ept ? &ept_more_bits : &paging_more_bits;

    fprintf(stderr, "%s/%u%s%s %s %llx:", format_of(model)->name, model->tables,
            model->user ? " user" : "", model->ept && model->keeps_ad ? " A/D" : "",
            access_names[model->access], (unsigned long long)model->address);
    for (unsigned level = 0; level <= model->tables; level++) {
        fprintf(stderr, " %u[", level);
        for (unsigned i = 0; i < bits->count; i++) {
            if (model->entry[level] >> bits->bit[i] & 1)
                fprintf(stderr, "%s ", bits->name[i]);
        }
        fprintf(stderr, "= %llx]", (unsigned long long)model->entry[level]);
    }
    fprintf(stderr, ": %s is %llx, must be %llx\n", what, (unsigned long long)got,
            (unsigned long long)want);
}

#define AGREE(model, what, got, want)                               \
    do {                                                            \
        uint64_t got_ = (got), want_ = (want);                      \
        if (got_ != want_) {                                        \
            combination_print((model), (what), got_, want_);        \
            cr_fatal("walker and model disagree about %s", (what)); \
        }                                                           \
    } while (0)

/* Different index bits at each level, none zero. */
static uint64_t
path_address(unsigned tables)
{
    uint64_t address = 0;

    for (unsigned level = 1; level <= tables; level++)
        address = address << 9 | (level * 37 + 2);
    return address << 12 | OFFSET;
}

static uint64_t *
path_entry(const struct x86_model *model, unsigned level)
{
    return &store[level][model->address >> (12 + 9 * (model->tables - level)) & 511];
}

/* A path on which every access is allowed. */
static void
model_init(struct x86_model *model, bool ept, unsigned tables, bool keeps_ad)
{
    *model = (struct x86_model){
        .ept = ept,
        .tables = tables,
        .keeps_ad = keeps_ad,
        .physical_bits = PHYSICAL_BITS,
        .address = path_address(tables),
        .object_pages = OBJECT_PAGES,
    };
    for (unsigned level = 0; level <= tables; level++)
        model->entry[level] =
            (level < tables ? level + 1 : 6) * GIB | (level == 0 && ept ? EPTP(tables, keeps_ad)
                                                      : level == 0      ? 0
                                                                        : PASS);
    if (ept)
        model->entry[tables] |= EPT_TYPE;
}

static enum x86_walk_result
walk_to_end(struct x86_walk *walk, const struct x86_walk_tables *tables, uint64_t address,
            vm_prot_t access)
{
    enum x86_walk_result result = x86_walk_start(walk, tables, address, access);

    while (result == X86_WALK_OK && !x86_walk_done(walk)) {
        vm_pindex_t table = 0;

        result = x86_walk_table(walk, &table);
        if (result == X86_WALK_OK)
            result = x86_walk_step(walk, store[table / GIB_PAGES]);
    }
    return result;
}

static struct x86_walk_tables
tables_of(const struct x86_model *model)
{
    return (struct x86_walk_tables){
        .format = format_of(model),
        .root = model->entry[0],
        .object_pages = model->object_pages,
        .maxphyaddr = model->physical_bits,
        .user = model->user,
    };
}

static void
compare_walk(struct x86_model *model)
{
    static const char *const names[] = {
        "", "entry 1", "entry 2", "entry 3", "entry 4", "entry 5"
    };
    const struct x86_walk_tables tables = tables_of(model);
    uint64_t phys = UINT64_MAX;
    struct x86_walk walk;
    enum x86_walk_result result;

    x86_model_run(model);
    for (unsigned level = 1; level <= model->tables; level++)
        *path_entry(model, level) = model->entry[level];
    result = walk_to_end(&walk, &tables, model->address, accesses[model->access]);
    if (result == X86_WALK_OK)
        result = x86_walk_result(&walk, &phys);

    AGREE(model, "the result", result, results[model->result]);
    AGREE(model, "the level", walk.level, model->level);
    AGREE(model, "the entry first read", walk.steps[walk.level].before, model->entry[model->level]);
    AGREE(model, "the last value", walk.steps[walk.level].value, model->after[model->level]);
    for (unsigned level = 1; level <= model->tables; level++) /* also what it never reached */
        AGREE(model, names[level], *path_entry(model, level), model->after[level]);
    if (result == X86_WALK_OK)
        AGREE(model, "the address", phys, model->answer);
}

/* Each access, and under paging each mode. */
static void
compare_accesses(struct x86_model *model)
{
    for (unsigned access = 0; access < 3; access++) {
        model->access = access;
        for (unsigned user = 0; user < (model->ept ? 1 : 2); user++) {
            model->user = user;
            compare_walk(model);
        }
    }
}

static void
set_bits(struct x86_model *model, unsigned level, const struct bits *bits, unsigned set)
{
    uint64_t keep = ~bits_value(bits, ~0u);

    model->entry[level] = (model->entry[level] & keep) | bits_value(bits, set);
}

/* All sets of bits of levels `upper` and `lower` on a path that otherwise passes. */
static void
compare_pair(const struct x86_model *path, const struct bits *bits, unsigned upper, unsigned lower)
{
    struct x86_model model = *path;

    for (unsigned high = 0; high < 1u << bits->count; high++) {
        set_bits(&model, upper, bits, high);
        for (unsigned low = 0; low < 1u << bits->count; low++) {
            set_bits(&model, lower, bits, low);
            compare_accesses(&model);
        }
    }
}

static void
compare_single(const struct x86_model *path, const struct bits *bits)
{
    for (unsigned level = 1; level <= path->tables; level++) {
        struct x86_model model = *path;

        for (unsigned set = 0; set < 1u << bits->count; set++) {
            set_bits(&model, level, bits, set);
            compare_accesses(&model);
        }
    }
}

Test(x86_walk, every_pair_of_bit_sets_walks_as_the_model_says_x86_64, .timeout = 240)
{
    struct x86_model path;

    model_init(&path, false, 4, true);
    for (unsigned lower = 2; lower <= 4; lower++) {
        for (unsigned upper = 1; upper < lower; upper++)
            compare_pair(&path, &paging_bits, upper, lower);
    }
}

/* Below its first table a 5-level walk is a 4-level walk. */
Test(x86_walk, every_pair_of_bit_sets_walks_as_the_model_says_x86_64_la57, .timeout = 240)
{
    struct x86_model path;

    model_init(&path, false, 5, true);
    for (unsigned lower = 2; lower <= 5; lower++)
        compare_pair(&path, &paging_bits, 1, lower);
}

Test(x86_walk, every_pair_of_bit_sets_walks_as_the_model_says_ept, .timeout = 240)
{
    for (unsigned ad = 0; ad < 2; ad++) {
        struct x86_model path;

        model_init(&path, true, 4, ad);
        for (unsigned lower = 2; lower <= 4; lower++) {
            for (unsigned upper = 1; upper < lower; upper++)
                compare_pair(&path, &ept_bits, upper, lower);
        }
    }
}

Test(x86_walk, every_set_of_sixteen_bits_at_each_level_walks_as_the_model_says, .timeout = 240)
{
    for (unsigned tables = 4; tables <= 5; tables++) {
        struct x86_model path;

        model_init(&path, false, tables, true);
        compare_single(&path, &paging_more_bits);
        for (unsigned ad = 0; ad < 2; ad++) {
            model_init(&path, true, tables, ad);
            compare_single(&path, &ept_more_bits);
        }
    }
}

Test(x86_walk, an_address_bit_is_reserved_from_maxphyaddr_on)
{
    for (unsigned physical = X86_WALK_MAXPHYADDR_MIN; physical <= X86_WALK_MAXPHYADDR_MAX;
         physical++) {
        for (unsigned bit = 34; bit < 64; bit++) {
            for (unsigned ept = 0; ept < 2; ept++) {
                struct x86_model model;

                model_init(&model, ept, 4, true);
                model.physical_bits = physical;
                model.object_pages = UINT64_MAX;
                if (physical <= 34) /* the path's own frames need 33 bits */
                    continue;
                model.entry[4] |= BIT(bit);
                compare_accesses(&model);
            }
        }
    }
}

Test(x86_walk, a_table_page_or_result_beyond_the_object_is_a_bad_frame)
{
    for (unsigned ept = 0; ept < 2; ept++) {
        for (unsigned level = 0; level <= 4; level++) {
            for (unsigned large = 0; large < 2; large++) {
                struct x86_model model;

                model_init(&model, ept, 4, true);
                if (level == 2 || level == 3)
                    model.entry[level] |= large ? 0x80 : 0;
                model.entry[level] = (model.entry[level] & (GIB - 1)) | 7 * GIB;
                compare_accesses(&model);
                model.entry[level] = (model.entry[level] & (GIB - 1)) | 0xFF * GIB;
                compare_accesses(&model);
            }
        }
    }
}

Test(x86_walk, a_large_page_may_end_in_the_object_and_its_rest_is_a_bad_frame)
{
    struct x86_model model;

    model_init(&model, false, 4, true);
    model.entry[3] |= 0x80; /* 2 MiB at GiB 4; the address is page `at` of it */
    for (unsigned at = 0; at < 512; at++) {
        model.address = (path_address(4) & ~UINT64_C(0x1FFFFF)) | at << 12 | OFFSET;
        model.object_pages = 4 * GIB_PAGES + 100;
        compare_accesses(&model);
        cr_assert(eq(int, model.result, at < 100 ? X86_MODEL_OK : X86_MODEL_BAD_FRAME));
    }
}

/* The root's verdict: X86_WALK_RESERVED or not. */
static void
expect_root(const struct x86_walk_format *format, uint64_t root, unsigned maxphyaddr, bool good)
{
    const struct x86_walk_tables tables = {
        .format = format,
        .root = root,
        .object_pages = UINT64_MAX,
        .maxphyaddr = maxphyaddr,
    };
    struct x86_walk walk;

    cr_expect(eq(int, x86_walk_start(&walk, &tables, 0, VM_PROT_READ),
                 good ? X86_WALK_OK : X86_WALK_RESERVED),
              "%s root %llx", format->name, (unsigned long long)root);
    cr_expect(zero(uint, walk.level));
}

Test(x86_walk, a_cr3_is_reserved_above_maxphyaddr_but_for_address_masking)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        expect_root(&x86_walk_4level, BIT(bit), 40, bit < 40 || bit == 61 || bit == 62);
        expect_root(&x86_walk_5level, BIT(bit), 52, bit < 52 || bit == 61 || bit == 62);
    }
}

/* SDM vol. 3, 24.6.11 and 26.2.1.1 */
Test(x86_walk, an_eptp_must_have_a_memory_type_and_four_or_five_levels)
{
    for (unsigned low = 0; low < 4096; low++) {
        unsigned type = low % 8, levels = low / 8 % 8 + 1;
        bool good = (type == 0 || type == 6) && (levels == 4 || levels == 5) && low < 256;

        expect_root(&x86_walk_ept, 0x5000 | low, 52, good);
    }
    for (unsigned bit = 12; bit < 64; bit++)
        expect_root(&x86_walk_ept, BIT(bit) | EPTP(4, true), 40, bit < 40);
}

Test(x86_walk, a_reserved_root_comes_before_its_bad_frame)
{
    const struct x86_walk_tables tables = {
        .format = &x86_walk_4level,
        .root = BIT(45),
        .object_pages = 1,
        .maxphyaddr = 40,
    };
    struct x86_walk walk;

    cr_assert(eq(int, walk_to_end(&walk, &tables, 0, VM_PROT_READ), X86_WALK_RESERVED));
}

Test(x86_walk, formats_translate_48_or_57_bits)
{
    cr_assert(eq(uint, x86_walk_address_bits(&x86_walk_4level, 0), 48));
    cr_assert(eq(uint, x86_walk_address_bits(&x86_walk_5level, 0), 57));
    cr_assert(eq(uint, x86_walk_address_bits(&x86_walk_ept, EPTP(4, true)), 48));
    cr_assert(eq(uint, x86_walk_address_bits(&x86_walk_ept, EPTP(5, true)), 57));
    cr_assert(x86_walk_format_find("x86_64") == &x86_walk_4level);
    cr_assert(x86_walk_format_find("x86_64-la57") == &x86_walk_5level);
    cr_assert(x86_walk_format_find("ept") == &x86_walk_ept);
    cr_assert(x86_walk_format_find("npt") == NULL);
}

/* The usual self-map: an entry of the top table that points to the top table. */
Test(x86_walk, a_table_inside_itself_is_written_as_a_page_and_read_as_a_table)
{
    const struct x86_walk_tables tables = {
        .format = &x86_walk_4level,
        .root = GIB,
        .object_pages = OBJECT_PAGES,
        .maxphyaddr = 40,
    };
    struct x86_walk walk;
    uint64_t phys;

    store[1][511] = GIB | PASS;
    cr_assert(eq(int, walk_to_end(&walk, &tables, UINT64_MAX, VM_PROT_WRITE), X86_WALK_OK));
    cr_assert(eq(int, x86_walk_result(&walk, &phys), X86_WALK_OK));
    cr_assert(eq(u64, phys, GIB | 0xFFF));
    cr_assert(eq(u64, store[1][511], GIB | PASS | 0x60));
    for (unsigned level = 2; level <= 4; level++)
        cr_assert(eq(u64, walk.steps[level].before, GIB | PASS | 0x20));
}
