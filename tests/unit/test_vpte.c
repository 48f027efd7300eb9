/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walker against the model (vpte_model.h): every combination of the flags V,
 * PS, R, W, X, A and M at any two levels of a path, all of them together for two
 * tables, for each access and format.  Then frames and neighbours.
 */
#include "vmm/vpagetable/vpte.h"

#include "tests/unit/vpte_model.h"
#include "tests/unit/vpte_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

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

Test(vpte, an_entry_that_leads_out_of_the_object_is_a_bad_frame_with_a_and_m_set)
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
                    for (unsigned access = 0; access < 3; access++) {
                        model.access = access;
                        compare_walk(&model);
                    }
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
    memcpy(next.entry, model->after, sizeof(next.entry));
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
