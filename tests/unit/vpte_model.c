/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model: facts per level in tables, then a closure over "a changed table
 * marks the entry above".
 */
#include "tests/unit/vpte_model.h"

#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))

enum {
    BIT_VALID = 0,
    BIT_STOP = 1,
    BIT_ACCESSED = 5,
    BIT_MODIFIED = 6
};

/* The permission bit each access needs, and what it leaves behind. */
static const unsigned needs[] = { 2, 3, 4 };
static const uint64_t leaves[] = {
    BIT(BIT_ACCESSED),
    BIT(BIT_ACCESSED) | BIT(BIT_MODIFIED),
    BIT(BIT_ACCESSED),
};

static const struct shape {
    unsigned tables;
    unsigned low_bits[MODEL_LEVELS + 1]; /* untranslated bits at an entry of level l */
    unsigned frame_low, frame_high;
} shapes[] = {
    { 2, { 20, 10, 0 }, 12, 31 },
    { 4, { 36, 27, 18, 9, 0 }, 12, 51 },
};

static uint64_t
frame_of(const struct shape *shape, uint64_t entry)
{
    return (entry << (63 - shape->frame_high)) >> (63 - shape->frame_high + shape->frame_low);
}

static enum model_result
verdict(const struct vpte_model *model, unsigned level)
{
    uint64_t entry = model->entry[level];

    if (!(entry & BIT(BIT_VALID)))
        return MODEL_INVALID;
    return entry & BIT(needs[model->access]) ? MODEL_OK : MODEL_PROTECTION;
}

/* Find the deciding level; all levels before it have passed, it may or may not have. */
static bool
decide(struct vpte_model *model, const struct shape *shape)
{
    for (model->level = 0;; model->level++) {
        uint64_t entry = model->entry[model->level];
        bool last = (entry & BIT(BIT_STOP)) || model->level == shape->tables;
        uint64_t reach = BIT(shape->low_bits[model->level]);
        uint64_t target = frame_of(shape, entry) + (last ? model->page % reach : 0);

        model->result = verdict(model, model->level);
        if (model->result != MODEL_OK)
            return false;
        if (model->page >= BIT(shape->low_bits[0]) || target >= model->object_pages) {
            model->result = MODEL_BAD_FRAME;
            return true;
        }
        if (last) {
            model->answer = target;
            return true;
        }
    }
}

static void
mark(struct vpte_model *model, unsigned passed)
{
    const uint64_t both = BIT(BIT_ACCESSED) | BIT(BIT_MODIFIED);
    uint64_t wanted[MODEL_LEVELS + 2] = { 0 };
    bool grew = true;

    for (unsigned l = 1; l <= passed; l++)
        wanted[l] = leaves[model->access];
    while (grew) {
        grew = false;
        for (unsigned l = 1; l < MODEL_LEVELS; l++) {
            bool below_changes = wanted[l + 1] & ~model->entry[l + 1];

            if (below_changes && (wanted[l] & both) != both) {
                wanted[l] |= both;
                grew = true;
            }
        }
    }
    for (unsigned l = 1; l <= passed; l++) {
        uint64_t added = wanted[l] & ~model->entry[l];

        model->after[l] |= added;
        model->dirty |= added ? 1u << l : 0;
        model->a_set += !!(added & BIT(BIT_ACCESSED));
        model->m_set += !!(added & BIT(BIT_MODIFIED));
        model->dir_m_set += model->access != MODEL_WRITE && (added & BIT(BIT_MODIFIED));
    }
}

void
vpte_model_run(struct vpte_model *model)
{
    const struct shape *shape = &shapes[model->wide];
    bool passed;

    memcpy(model->after, model->entry, sizeof(model->after));
    model->dirty = model->a_set = model->m_set = model->dir_m_set = 0;
    passed = decide(model, shape);
    mark(model, passed ? model->level : model->level ? model->level - 1 : 0);

    model->writable = true;
    for (unsigned l = 0; l <= model->level; l++)
        model->writable = model->writable && (model->entry[l] & BIT(needs[MODEL_WRITE]));
    if (model->level > 0 && !(model->after[model->level] & BIT(BIT_MODIFIED)))
        model->writable = false;
}
