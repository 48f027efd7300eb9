/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walker against the model (vpte_model.h): every combination of the flags V,
 * PS, R, W, X, A and M at any two levels of a path, all of them together for two
 * tables, for each access and format.  Then frames, neighbours, and races with a
 * guest that changes entries under the walk.
 */
#include "tests/unit/vpte_model.h"
#include "vmm/vpagetable/vpte.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_SETS 128
#define OBJECT_PAGES 64
#define PASS (VPTE_V | VPTE_R | VPTE_W | VPTE_X)

/* A path: one table page per level, at these page indexes of a small object. */
static _Alignas(4096) uint8_t store[OBJECT_PAGES][4096];
static const uint64_t table_page[MODEL_LEVELS] = { 3, 5, 6, 9 };
#define RESULT_PAGE 17

static const struct vpte_format *const formats[] = { &vpte32_format, &vpte64_format };
static const vm_prot_t accesses[] = { VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE };
static const char *const access_names[] = { "read", "write", "fetch" };
static const enum vm_result results[] = {
    VM_OK,
    VM_VPTE_INVALID,
    VM_VPTE_PROTECTION,
    VM_BAD_FRAME,
};

/* Different index bits at each level, none zero. */
static uint64_t
path_pindex(const struct vpte_format *format)
{
    uint64_t pindex = 0;

    for (unsigned level = 1; level <= format->levels; level++)
        pindex = pindex << format->page_bits | (level * 37 + 2);
    return pindex;
}

static void *
path_entry(const struct vpte_format *format, uint64_t pindex, unsigned level)
{
    unsigned shift = (format->levels - level) * format->page_bits;
    uint64_t index = (pindex >> shift) % (4096 / format->entry_size);

    return store[table_page[level - 1]] + index * format->entry_size;
}

static void
entry_write(const struct vpte_format *format, void *entry, uint64_t value)
{
    memcpy(entry, &value, format->entry_size); /* little endian */
}

static uint64_t
entry_read(const struct vpte_format *format, const void *entry)
{
    uint64_t value = 0;

    memcpy(&value, entry, format->entry_size);
    return value;
}

static void
flags_print(uint64_t value, char *to)
{
    static const char names[][3] = { "V", "PS", "R", "W", "X", "A", "M" };

    for (unsigned bit = 0; bit < 7; bit++) {
        if (value & (1u << bit))
            to += sprintf(to, "%s%s", names[bit], bit < 6 ? "." : "");
    }
    sprintf(to, "(%llx)", (unsigned long long)value >> 12);
}

/* The combination by name: "vpte64 write [V.R.W.(3)] [..]". */
static void
combination_print(const struct vpte_model *model, const char *what, uint64_t got, uint64_t want)
{
    const struct vpte_format *format = formats[model->wide];

    fprintf(stderr, "%s %s page %llx:", format->name, access_names[model->access],
            (unsigned long long)model->page);
    for (unsigned level = 0; level <= format->levels; level++) {
        char text[64];

        flags_print(model->entry[level], text);
        fprintf(stderr, " %u[%s]", level, text);
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

static enum vm_result
walk_to_end(struct vpte_walk *walk, const struct vpte_format *format, vpte_t root, uint64_t pindex,
            vm_prot_t access, uint64_t object_pages)
{
    enum vm_result result = vpte_walk_start(walk, format, root, pindex, access, object_pages);

    while (result == VM_OK && !vpte_walk_done(walk)) {
        vm_pindex_t table;

        result = vpte_walk_table(walk, &table);
        if (result == VM_OK)
            result = vpte_walk_step(walk, store[table]);
    }
    return result;
}

static void
path_write(const struct vpte_model *model)
{
    const struct vpte_format *format = formats[model->wide];

    for (unsigned level = 1; level <= format->levels; level++)
        entry_write(format, path_entry(format, model->page, level), model->entry[level]);
}

/* The path's entries down to level `last` afterwards. */
static void
path_compare(const struct vpte_model *model, unsigned last)
{
    static const char *const names[] = { "", "entry 1", "entry 2", "entry 3", "entry 4" };
    const struct vpte_format *format = formats[model->wide];

    for (unsigned level = 1; level <= last; level++) {
        AGREE(model, names[level], entry_read(format, path_entry(format, model->page, level)),
              model->after[level]);
    }
}

static void
compare_walk(struct vpte_model *model)
{
    const struct vpte_format *format = formats[model->wide];
    vm_pindex_t pindex = UINT64_MAX;
    struct vpte_walk walk;
    enum vm_result result;

    vpte_model_run(model);
    path_write(model);
    result = walk_to_end(&walk, format, model->entry[0], model->page, accesses[model->access],
                         model->object_pages);
    if (result == VM_OK)
        result = vpte_walk_result(&walk, &pindex);

    AGREE(model, "the result", result, results[model->result]);
    AGREE(model, "the level", walk.level, model->level);
    AGREE(model, "the deciding entry", walk.steps[walk.level].value, model->after[model->level]);
    AGREE(model, "the entry first read", walk.steps[walk.level].before, model->entry[model->level]);
    path_compare(model, format->levels); /* what the walk never reached included */
    AGREE(model, "the set of dirty tables", walk.dirtied, model->dirty);
    AGREE(model, "the count of A", walk.a_set, model->a_set);
    AGREE(model, "the count of M", walk.m_set, model->m_set);
    AGREE(model, "the count of directory M", walk.dir_m_set, model->dir_m_set);
    if (result == VM_OK) {
        AGREE(model, "the page", pindex, model->answer);
        AGREE(model, "writable", vpte_walk_writable(&walk), model->writable);
    }
}

/* Entries that pass any access; `am` bit 0 gives them A, bit 1 gives them M. */
static void
model_init(struct vpte_model *model, const struct vpte_format *format, unsigned am)
{
    memset(model, 0, sizeof *model);
    model->wide = format == &vpte64_format;
    model->page = path_pindex(format);
    model->object_pages = OBJECT_PAGES;
    for (unsigned level = 0; level <= format->levels; level++) {
        uint64_t frame = level < format->levels ? table_page[level] : RESULT_PAGE;

        model->entry[level] = frame << 12 | PASS | (am & 1 ? VPTE_A : 0) | (am & 2 ? VPTE_M : 0);
    }
}

static void
set_flags(struct vpte_model *model, unsigned level, uint64_t flags)
{
    model->entry[level] = (model->entry[level] & ~(uint64_t)(FLAG_SETS - 1)) | flags;
}

/* All flag sets of levels `upper` and `lower` on a path that otherwise passes. */
static void
compare_pair(const struct vpte_format *format, unsigned upper, unsigned lower, unsigned am,
             uint64_t page)
{
    struct vpte_model model;

    model_init(&model, format, am);
    model.page = page;
    for (unsigned access = 0; access < 3; access++) {
        model.access = access;
        for (uint64_t high = 0; high < FLAG_SETS; high++) {
            set_flags(&model, upper, high);
            for (uint64_t low = 0; low < FLAG_SETS; low++) {
                set_flags(&model, lower, low);
                compare_walk(&model);
            }
        }
    }
}

static void
compare_all_pairs(const struct vpte_format *format, uint64_t page)
{
    for (unsigned am = 0; am < 4; am++) {
        for (unsigned lower = 1; lower <= format->levels; lower++) {
            for (unsigned upper = 0; upper < lower; upper++)
                compare_pair(format, upper, lower, am, page);
        }
    }
}

Test(vpte, every_pair_of_flag_sets_walks_as_the_model_says_vpte64, .timeout = 240)
{
    compare_all_pairs(&vpte64_format, path_pindex(&vpte64_format));
}

Test(vpte, every_pair_of_flag_sets_walks_as_the_model_says_vpte32, .timeout = 240)
{
    compare_all_pairs(&vpte32_format, path_pindex(&vpte32_format));
}

/* With all-zero upper indexes a PS entry's page lies inside the small object. */
Test(vpte, every_pair_of_flag_sets_with_large_pages_inside_the_object, .timeout = 240)
{
    compare_all_pairs(&vpte64_format, 7);
    compare_all_pairs(&vpte32_format, 7);
}

Test(vpte, all_flag_sets_of_root_directory_and_entry_together_vpte32, .timeout = 240)
{
    struct vpte_model model;

    model_init(&model, &vpte32_format, 0);
    model.page = 5;
    for (unsigned access = 0; access < 3; access++) {
        model.access = access;
        for (uint64_t flags = 0; flags < FLAG_SETS * FLAG_SETS * FLAG_SETS; flags++) {
            set_flags(&model, 0, flags % FLAG_SETS);
            set_flags(&model, 1, flags / FLAG_SETS % FLAG_SETS);
            set_flags(&model, 2, flags / FLAG_SETS / FLAG_SETS);
            compare_walk(&model);
        }
    }
}

/* A and M of every level at once, where nothing fails: all shapes of W7's chain. */
Test(vpte, every_combination_of_accessed_and_modified_at_all_levels)
{
    for (unsigned wide = 0; wide < 2; wide++) {
        struct vpte_model model;

        for (unsigned am = 0; am < 1024; am++) {
            model_init(&model, formats[wide], 0);
            for (unsigned level = 0; level <= formats[wide]->levels; level++)
                model.entry[level] |= (am >> (2 * level) & 3) * VPTE_A;
            for (unsigned access = 0; access < 3; access++) {
                model.access = access;
                compare_walk(&model);
            }
        }
    }
}

Test(vpte, a_table_page_or_result_beyond_the_object_is_a_bad_frame)
{
    static const uint64_t beyond[] = { OBJECT_PAGES - 1, OBJECT_PAGES, 0xFFFFF };

    for (unsigned wide = 0; wide < 2; wide++) {
        for (unsigned level = 0; level <= formats[wide]->levels; level++) {
            for (unsigned i = 0; i < 3; i++) {
                for (unsigned ps = 0; ps < 2; ps++) {
                    struct vpte_model model;

                    if (i == 0 && level < formats[wide]->levels && !ps)
                        continue; /* inside, but no table of the path */
                    model_init(&model, formats[wide], 0);
                    model.entry[level] = beyond[i] << 12 | PASS | (ps ? VPTE_PS : 0);
                    compare_walk(&model);
                }
            }
        }
    }
}

Test(vpte, the_result_is_a_sum_that_may_carry_into_the_frame)
{
    vm_pindex_t pindex;
    struct vpte_walk walk;

    cr_assert(eq(int,
                 walk_to_end(&walk, &vpte64_format, 0x1FFull << 12 | PASS | VPTE_PS, 0x201,
                             VM_PROT_READ, UINT64_MAX),
                 VM_OK));
    cr_assert(eq(int, vpte_walk_result(&walk, &pindex), VM_OK));
    cr_assert(eq(u64, pindex, 0x400));
}

Test(vpte, software_bits_and_bits_outside_the_frame_are_neither_used_nor_lost)
{
    uint64_t extra = VPTE_U | VPTE_MANAGED | VPTE_G | VPTE_WIRED | 0xFFF0000000000800;
    struct vpte_model model;

    model_init(&model, &vpte64_format, 0);
    for (unsigned level = 0; level <= 4; level++)
        model.entry[level] |= extra;
    compare_walk(&model);
}

Test(vpte, a_page_index_beyond_the_format_is_a_bad_frame_decided_by_the_root)
{
    for (unsigned wide = 0; wide < 2; wide++) {
        struct vpte_model model;

        model_init(&model, formats[wide], 0);
        model.page = UINT64_C(1) << (formats[wide]->frame_end - 12);
        model.object_pages = UINT64_MAX;
        compare_walk(&model);
        model.entry[0] |= VPTE_PS;
        compare_walk(&model);
        model.page--;
        compare_walk(&model);
    }
}

Test(vpte, a_table_that_is_its_own_directory_can_be_walked)
{
    struct vpte_walk walk;
    vm_pindex_t pindex;

    /* Entry 0 of page 3 points to page 3: all four levels are one entry. */
    entry_write(&vpte64_format, store[3], 3u << 12 | PASS);
    cr_assert(eq(int,
                 walk_to_end(&walk, &vpte64_format, 3u << 12 | PASS, 0, VM_PROT_READ, OBJECT_PAGES),
                 VM_OK));
    cr_assert(eq(int, vpte_walk_result(&walk, &pindex), VM_OK));
    cr_assert(eq(u64, pindex, 3));
    cr_assert(eq(u64, entry_read(&vpte64_format, store[3]), 3u << 12 | PASS | VPTE_A));

    /* Its last entry is another one of the same page: the directory entry gets M. */
    entry_write(&vpte64_format, store[3] + 8, 4u << 12 | PASS);
    cr_assert(eq(int,
                 walk_to_end(&walk, &vpte64_format, 3u << 12 | PASS, 1, VM_PROT_READ, OBJECT_PAGES),
                 VM_OK));
    cr_assert(eq(u64, entry_read(&vpte64_format, store[3]), 3u << 12 | PASS | VPTE_A | VPTE_M));
    cr_assert(eq(u64, entry_read(&vpte64_format, store[3] + 8), 4u << 12 | PASS | VPTE_A));
}

/* Walk down to the entry of `level`, which is read by the next step. */
static void
walk_above(struct vpte_walk *walk, const struct vpte_model *model, unsigned level)
{
    vm_pindex_t table;

    path_write(model);
    cr_assert(eq(int,
                 vpte_walk_start(walk, &vpte64_format, model->entry[0], model->page,
                                 accesses[model->access], OBJECT_PAGES),
                 VM_OK));
    for (unsigned l = 1; l < level; l++) {
        cr_assert(eq(int, vpte_walk_table(walk, &table), VM_OK));
        cr_assert(eq(int, vpte_walk_step(walk, store[table]), VM_OK));
    }
}

static void
put_entry(const struct vpte_model *model, unsigned level, uint64_t value)
{
    entry_write(&vpte64_format, path_entry(&vpte64_format, model->page, level), value);
}

static uint64_t
get_entry(const struct vpte_model *model, unsigned level)
{
    return entry_read(&vpte64_format, path_entry(&vpte64_format, model->page, level));
}

Test(vpte, a_directory_entry_that_was_replaced_stops_the_walk_before_it_marks_the_table)
{
    const uint64_t replaced[] = { 0, table_page[3] << 12 | VPTE_V | VPTE_R, 8u << 12 | PASS };
    struct vpte_model model;
    struct vpte_walk walk;

    for (unsigned i = 0; i < 3; i++) {
        model_init(&model, &vpte64_format, 1);
        model.entry[4] &= ~(uint64_t)VPTE_A;
        walk_above(&walk, &model, 4);
        put_entry(&model, 3, replaced[i]);
        cr_assert(eq(int, vpte_walk_step(&walk, store[table_page[3]]), VM_RETRY));
        cr_assert(eq(u64, get_entry(&model, 3), replaced[i]));
        cr_assert(eq(u64, get_entry(&model, 4), model.entry[4]));
    }
}

Test(vpte, a_directory_whose_a_was_cleared_under_the_walk_gets_it_back_with_m)
{
    struct vpte_model model;
    struct vpte_walk walk;

    model_init(&model, &vpte64_format, 1);
    model.entry[4] &= ~(uint64_t)VPTE_A;
    walk_above(&walk, &model, 4);
    put_entry(&model, 3, model.entry[3] & ~(uint64_t)VPTE_A);
    cr_assert(eq(int, vpte_walk_step(&walk, store[table_page[3]]), VM_OK));
    cr_assert(eq(u64, get_entry(&model, 3), model.entry[3] | VPTE_A | VPTE_M));
    cr_assert(eq(u64, get_entry(&model, 4), model.entry[4] | VPTE_A));
}

/*
 * One entry at two levels: marking it as a directory changes it between the read
 * and the compare-exchange of the lower level, which must notice.
 */
Test(vpte, an_entry_that_changes_between_check_and_exchange_is_checked_again)
{
    uint64_t both = 3u << 12 | PASS, other = 3u << 12 | PASS | VPTE_A;
    struct vpte_walk walk;
    vm_pindex_t table;

    /* Levels 1, 2 and 4 use entry 0 of page 3, level 3 entry 1 of the same page. */
    entry_write(&vpte64_format, store[3], both);
    entry_write(&vpte64_format, store[3] + 8, other);
    cr_assert(eq(int,
                 vpte_walk_start(&walk, &vpte64_format, 3u << 12 | PASS, 1u << 9, VM_PROT_READ,
                                 OBJECT_PAGES),
                 VM_OK));
    for (unsigned l = 1; l < 4; l++) {
        cr_assert(eq(int, vpte_walk_table(&walk, &table), VM_OK));
        cr_assert(eq(int, vpte_walk_step(&walk, store[table]), VM_OK));
    }
    cr_assert(eq(uint, walk.a_set, 1));
    entry_write(&vpte64_format, store[3], both);
    cr_assert(eq(int, vpte_walk_step(&walk, store[3]), VM_OK));
    cr_assert(eq(u64, entry_read(&vpte64_format, store[3]), both | VPTE_A | VPTE_M));
    cr_assert(eq(u64, entry_read(&vpte64_format, store[3] + 8), other | VPTE_M));
    cr_assert(eq(uint, walk.a_set, 2)); /* by the directory's mark alone */
}

Test(vpte, formats_are_found_by_name)
{
    cr_assert(vpte_format_find("vpte64") == &vpte64_format);
    cr_assert(vpte_format_find("vpte32") == &vpte32_format);
    cr_assert(vpte_format_find("vpte128") == NULL);
    for (unsigned i = 0; i < 2; i++) {
        const struct vpte_format *f = formats[i];

        cr_assert(eq(uint, f->levels * f->page_bits + PAGE_SHIFT, f->frame_end));
        cr_assert(eq(uint, (1u << f->page_bits) * f->entry_size, 4096));
        cr_assert(le(uint, f->levels, VPTE_MAX_LEVELS));
    }
}

/*
 * The neighbour must be what a read walk of that page would give, on the table as
 * the first walk left it.
 */
static void
compare_neighbour(struct vpte_model *model, int distance, uint64_t beside)
{
    const struct vpte_format *format = formats[model->wide];
    struct vpte_model next;
    struct vpte_walk walk;
    vm_pindex_t pindex = UINT64_MAX;
    bool writable = false;
    enum vm_result result;

    vpte_model_run(model);
    path_write(model);
    if (walk_to_end(&walk, format, model->entry[0], model->page, accesses[model->access],
                    model->object_pages) != VM_OK)
        return;
    next = *model;
    memcpy(next.entry, model->after, sizeof next.entry);
    next.access = MODEL_READ;
    next.page = model->page + (uint64_t)(int64_t)distance;
    if (model->level == format->levels) {
        next.entry[format->levels] = beside;
        entry_write(format, path_entry(format, next.page, format->levels), beside);
    }
    vpte_model_run(&next);
    result = vpte_walk_neighbour(&walk, distance, &pindex, &writable);
    AGREE(&next, "the neighbour's result", result, results[next.result]);
    path_compare(&next, model->level);
    if (result == VM_OK) {
        AGREE(&next, "the neighbour's page", pindex, next.answer);
        AGREE(&next, "the neighbour's writability", writable, next.writable);
    }
    AGREE(&next, "the walk's own page", walk.pindex, model->page);
    AGREE(&next, "the walk's own entry", walk.steps[walk.level].value, model->after[model->level]);
}

Test(vpte, a_neighbour_is_a_read_walk_of_the_page_beside, .timeout = 120)
{
    static const int distances[] = { 1, -1, 40 };

    for (unsigned i = 0; i < 2 * 4 * 3 * 3; i++) {
        const struct vpte_format *format = formats[i % 2];
        struct vpte_model model;

        model_init(&model, format, i / 2 % 4);
        model.access = i / 8 % 3;
        for (uint64_t upper = 0; upper < FLAG_SETS; upper++) {
            for (unsigned level = 0; level < format->levels; level++) {
                uint64_t was = model.entry[level];

                set_flags(&model, level, upper);
                for (uint64_t flags = 0; flags < FLAG_SETS; flags += upper % 8 ? 7 : 1)
                    compare_neighbour(&model, distances[i / 24], 11u << 12 | flags);
                model.entry[level] = was;
            }
        }
    }
}

Test(vpte, a_neighbour_is_never_given_m_by_prefault)
{
    struct vpte_model model;
    struct vpte_walk walk;
    vm_pindex_t pindex;
    bool writable;

    model_init(&model, &vpte64_format, 0);
    path_write(&model);
    entry_write(&vpte64_format, path_entry(&vpte64_format, model.page + 1, 4), 8u << 12 | PASS);
    cr_assert(eq(int,
                 walk_to_end(&walk, &vpte64_format, model.entry[0], model.page, VM_PROT_WRITE,
                             OBJECT_PAGES),
                 VM_OK));
    cr_assert(eq(int, vpte_walk_neighbour(&walk, 1, &pindex, &writable), VM_OK));
    cr_assert(eq(u64, pindex, 8));
    cr_assert(not(writable));
    cr_assert(eq(u64, entry_read(&vpte64_format, path_entry(&vpte64_format, model.page + 1, 4)),
                 8u << 12 | PASS | VPTE_A));
}

Test(vpte, a_neighbour_outside_the_last_table_page_or_ps_entry_is_not_found)
{
    struct vpte_walk walk;
    vm_pindex_t pindex;
    bool writable;

    for (unsigned i = 0; i < 2; i++) {
        struct vpte_model model;
        int last = (1 << formats[i]->page_bits) - 1;

        model_init(&model, formats[i], 0);
        model.page = 0;
        path_write(&model);
        cr_assert(eq(int,
                     walk_to_end(&walk, formats[i], model.entry[0], 0, VM_PROT_READ, OBJECT_PAGES),
                     VM_OK));
        cr_assert(eq(int, vpte_walk_neighbour(&walk, -1, &pindex, &writable), VM_INVALID_ADDRESS));
        cr_assert(
            eq(int, vpte_walk_neighbour(&walk, last + 1, &pindex, &writable), VM_INVALID_ADDRESS));
        cr_assert(eq(int, vpte_walk_neighbour(&walk, last, &pindex, &writable), VM_VPTE_INVALID));

        model.entry[1] |= VPTE_PS;
        path_write(&model);
        last = (1 << (formats[i]->levels - 1) * formats[i]->page_bits) - 1;
        cr_assert(eq(int,
                     walk_to_end(&walk, formats[i], model.entry[0], 0, VM_PROT_READ, UINT64_MAX),
                     VM_OK));
        cr_assert(eq(int, vpte_walk_neighbour(&walk, last, &pindex, &writable), VM_OK));
        cr_assert(eq(u64, pindex, table_page[1] + (unsigned)last));
        cr_assert(
            eq(int, vpte_walk_neighbour(&walk, last + 1, &pindex, &writable), VM_INVALID_ADDRESS));
        cr_assert(eq(int, vpte_walk_neighbour(&walk, -1, &pindex, &writable), VM_INVALID_ADDRESS));
    }
}

/* Races: one thread is the guest, one walks. */

#define RACE_ROUNDS 200000

static _Atomic uint64_t *
atomic_entry(uint64_t pindex, unsigned level)
{
    return (_Atomic uint64_t *)path_entry(&vpte64_format, pindex, level);
}

struct race {
    struct vpte_model model; /* the path */
    vm_prot_t access;
    _Atomic bool stop;
    _Atomic uint64_t walks; /* finished, in any way */
    _Atomic uint64_t m_set;
    _Atomic uint64_t ok;
};

static void *
race_walker(void *arg)
{
    struct race *race = arg;

    while (!atomic_load(&race->stop)) {
        struct vpte_walk walk;
        enum vm_result result = walk_to_end(&walk, &vpte64_format, race->model.entry[0],
                                            race->model.page, race->access, OBJECT_PAGES);

        atomic_fetch_add(&race->m_set, walk.m_set);
        atomic_fetch_add(&race->ok, result == VM_OK);
        atomic_fetch_add(&race->walks, 1);
        if (result != VM_OK)
            sched_yield();
    }
    return NULL;
}

static void
race_start(struct race *race, vm_prot_t access, unsigned am, pthread_t *thread)
{
    memset(race, 0, sizeof *race);
    model_init(&race->model, &vpte64_format, am);
    race->access = access;
    path_write(&race->model);
    cr_assert(zero(int, pthread_create(thread, NULL, race_walker, race)));
}

static void
race_stop(struct race *race, pthread_t thread)
{
    atomic_store(&race->stop, true);
    pthread_join(thread, NULL);
}

/* Wait until every walk that was under way has ended. */
static void
race_settle(struct race *race)
{
    uint64_t seen = atomic_load(&race->walks);

    while (atomic_load(&race->walks) < seen + 2)
        sched_yield();
}

Test(vpte, no_update_of_a_guest_is_lost_to_the_write_back, .timeout = 120)
{
    struct race race;
    pthread_t thread;
    _Atomic uint64_t *entry;

    race_start(&race, VM_PROT_WRITE, 3, &thread);
    entry = atomic_entry(race.model.page, 4);
    for (unsigned i = 0; i < RACE_ROUNDS; i++) {
        atomic_fetch_add(entry, UINT64_C(1) << 52); /* ignored bits: a counter */
        atomic_fetch_and(entry, ~(uint64_t)(VPTE_A | VPTE_M));
    }
    race_stop(&race, thread);
    cr_assert(eq(u64, atomic_load(entry) >> 52, RACE_ROUNDS % 4096));
    cr_assert(gt(u64, atomic_load(&race.ok), 0));
}

Test(vpte, every_m_that_is_set_is_in_the_value_the_guest_swaps_out, .timeout = 120)
{
    struct race race;
    pthread_t thread;
    _Atomic uint64_t *entry;
    uint64_t clean, seen = 0, dirt = 0;

    race_start(&race, VM_PROT_WRITE, 3, &thread);
    clean = RESULT_PAGE << 12 | PASS;
    entry = atomic_entry(race.model.page, 4);
    seen -= (atomic_load(entry) & VPTE_M) != 0; /* the first one was not set by a walk */
    for (unsigned i = 0; i < RACE_ROUNDS; i++) {
        seen += (atomic_exchange(entry, 0) & VPTE_M) != 0;
        if (i % 64 == 0)
            sched_yield();
        dirt |= atomic_load(entry); /* W5: nothing is set on an invalid entry */
        atomic_store(entry, clean);
        if (i % 16 == 0)
            sched_yield();
    }
    race_stop(&race, thread);
    seen += (atomic_load(entry) & VPTE_M) != 0;
    cr_assert(zero(u64, dirt));
    cr_assert(eq(u64, seen, atomic_load(&race.m_set)));
    cr_assert(gt(u64, seen, 0));
}

Test(vpte, a_guest_that_swaps_a_directory_out_sees_m_or_stops_the_walk, .timeout = 120)
{
    uint64_t directory = table_page[3] << 12 | PASS, leaf = RESULT_PAGE << 12 | PASS;
    _Atomic uint64_t *upper, *lower;
    unsigned touched = 0, stopped = 0;
    struct race race;
    pthread_t thread;

    race_start(&race, VM_PROT_READ, 3, &thread);
    upper = atomic_entry(race.model.page, 3);
    lower = atomic_entry(race.model.page, 4);
    for (unsigned i = 0; i < RACE_ROUNDS / 20; i++) {
        uint64_t old;

        atomic_store(upper, 0);
        race_settle(&race);
        atomic_store(lower, leaf);
        atomic_store(upper, directory);
        for (volatile unsigned wait = 0; wait < i % 512; wait++)
            ;
        old = atomic_exchange(upper, 0);
        race_settle(&race);
        if (atomic_load(lower) & VPTE_A) {
            touched++;
            cr_assert(ne(u64, old & VPTE_M, 0),
                      "the table changed, but its directory says it did not");
        } else {
            stopped++;
        }
    }
    race_stop(&race, thread);
    cr_assert(gt(uint, touched, 0));
    cr_assert(gt(uint, stopped, 0));
}

/* Bits flip at all levels: whatever the walk returns, software bits are as the guest left them. */
Test(vpte, flags_that_flip_at_all_levels_never_leave_a_mark_on_a_forbidding_entry, .timeout = 120)
{
    struct race race;
    pthread_t thread;

    race_start(&race, VM_PROT_WRITE, 0, &thread);
    for (unsigned i = 0; i < RACE_ROUNDS; i++) {
        unsigned level = 1 + i % 4;
        uint64_t frame = race.model.entry[level] & ~UINT64_C(0xFFF);
        _Atomic uint64_t *entry = atomic_entry(race.model.page, level);

        /* Without W a write walk may not set anything. */
        atomic_store(entry, frame | (PASS & ~VPTE_W));
        if (i % 32 == 0)
            sched_yield();
        cr_assert(eq(u64, atomic_load(entry), frame | (PASS & ~VPTE_W)));
        atomic_store(entry, frame | PASS);
    }
    race_stop(&race, thread);
    cr_assert(gt(u64, atomic_load(&race.ok), 0));
}
