/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of the walker: a path of tables in a small object, walked and compared with the
 * model (vpte_model.h).  A file that includes this has its own.
 */
#ifndef VPTE_RIG_H
#define VPTE_RIG_H

#include "tests/unit/vpte_model.h"
#include "vmm/vpagetable/vpte.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
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
static inline uint64_t
path_pindex(const struct vpte_format *format)
{
    uint64_t pindex = 0;

    for (unsigned level = 1; level <= format->levels; level++)
        pindex = pindex << format->page_bits | (level * 37 + 2);
    return pindex;
}

static inline void *
path_entry(const struct vpte_format *format, uint64_t pindex, unsigned level)
{
    unsigned shift = (format->levels - level) * format->page_bits;
    uint64_t index = (pindex >> shift) % (4096 / format->entry_size);

    return store[table_page[level - 1]] + index * format->entry_size;
}

static inline void
entry_write(const struct vpte_format *format, void *entry, uint64_t value)
{
    memcpy(entry, &value, format->entry_size); /* little endian */
}

static inline uint64_t
entry_read(const struct vpte_format *format, const void *entry)
{
    uint64_t value = 0;

    memcpy(&value, entry, format->entry_size);
    return value;
}

static inline void
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
static inline void
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

static inline enum vm_result
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

static inline void
path_write(const struct vpte_model *model)
{
    const struct vpte_format *format = formats[model->wide];

    for (unsigned level = 1; level <= format->levels; level++)
        entry_write(format, path_entry(format, model->page, level), model->entry[level]);
}

/* The path's entries down to level `last` afterwards. */
static inline void
path_compare(const struct vpte_model *model, unsigned last)
{
    static const char *const names[] = { "", "entry 1", "entry 2", "entry 3", "entry 4" };
    const struct vpte_format *format = formats[model->wide];

    for (unsigned level = 1; level <= last; level++) {
        AGREE(model, names[level], entry_read(format, path_entry(format, model->page, level)),
              model->after[level]);
    }
}

static inline void
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
static inline void
model_init(struct vpte_model *model, const struct vpte_format *format, unsigned am)
{
    memset(model, 0, sizeof(*model));
    model->wide = format == &vpte64_format;
    model->page = path_pindex(format);
    model->object_pages = OBJECT_PAGES;
    for (unsigned level = 0; level <= format->levels; level++) {
        uint64_t frame = level < format->levels ? table_page[level] : RESULT_PAGE;

        model->entry[level] = frame << 12 | PASS | (am & 1 ? VPTE_A : 0) | (am & 2 ? VPTE_M : 0);
    }
}

static inline void
set_flags(struct vpte_model *model, unsigned level, uint64_t flags)
{
    model->entry[level] = (model->entry[level] & ~(uint64_t)(FLAG_SETS - 1)) | flags;
}

#endif
