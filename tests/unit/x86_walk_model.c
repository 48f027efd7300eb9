/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model: kinds of entries and masks.
 */
#include "tests/unit/x86_walk_model.h"

#include <string.h>

/* A kind: which entry, and whether it maps a page itself. */
enum kind {
    PTE,
    PDE,
    PDE_PAGE,
    PDPTE,
    PDPTE_PAGE,
    PML4E,
    PML5E
};

static const struct facts {
    uint64_t paging_zero; /* must be zero under paging ... */
    uint64_t ept_zero;    /* ... and under EPT */
    uint64_t page_size;   /* 0 = leads to a table */
} facts[] = {
    [PTE] = { 0, 0, 0x1000 },
    [PDE] = { 0, 0x78, 0 },
    [PDE_PAGE] = { 0x1FE000, 0x1FF000, 0x200000 },
    [PDPTE] = { 0, 0x78, 0 },
    [PDPTE_PAGE] = { 0x3FFFE000, 0x3FFFF000, 0x40000000 },
    [PML4E] = { 0x80, 0xF8, 0 },
    [PML5E] = { 0x80, 0xF8, 0 },
};

/* Sets of numbers, as bits: EPT permissions (XWR) and memory types that exist. */
#define EPT_GOOD_RIGHTS 0xBB /* 0, 1, 3, 4, 5, 7 */
#define EPT_GOOD_TYPES 0x73  /* 0, 1, 4, 5, 6 */

static enum kind
kind_of(const struct x86_model *model, unsigned level)
{
    bool page = model->entry[level] & 0x80;

    switch (model->tables - level) {
    case 0:
        return PTE;
    case 1:
        return page ? PDE_PAGE : PDE;
    case 2:
        return page ? PDPTE_PAGE : PDPTE;
    case 3:
        return PML4E;
    default:
        return PML5E;
    }
}

static bool
malformed(const struct x86_model *model, unsigned level)
{
    uint64_t entry = model->entry[level];
    enum kind kind = kind_of(model, level);
    uint64_t zero = model->ept ? facts[kind].ept_zero : facts[kind].paging_zero;

    for (unsigned bit = model->physical_bits; bit < 52; bit++)
        zero |= UINT64_C(1) << bit;
    if (entry & zero)
        return true;
    if (!model->ept)
        return false;
    return !(EPT_GOOD_RIGHTS >> entry % 8 & 1) ||
           (facts[kind].page_size && !(EPT_GOOD_TYPES >> entry / 8 % 8 & 1));
}

/* What the entries down to `last` allow together: bit 0 read, 1 write, 2 fetch. */
static unsigned
rights(const struct x86_model *model, unsigned last)
{
    unsigned all = 7;

    for (unsigned l = 1; l <= last; l++) {
        uint64_t entry = model->entry[l];
        unsigned here = 1 | (entry & 2) | (entry >> 63 ? 0 : 4);

        if (model->ept)
            here = entry & 7;
        else if (model->user && !(entry & 4))
            here = 0;
        all &= here;
    }
    return all;
}

static uint64_t
frame_of(uint64_t entry, uint64_t page_size)
{
    return entry & UINT64_C(0x000FFFFFFFFFF000) & ~(page_size - 1);
}

/* How the walk ends at this level; -1 = it leads on. */
static int
verdict(struct x86_model *model, unsigned level)
{
    uint64_t entry = model->entry[level], size, reach;

    if (level != 0 && !(entry & (model->ept ? 7 : 1)))
        return X86_MODEL_INVALID;
    if (level != 0 && malformed(model, level))
        return X86_MODEL_RESERVED;
    size = level != 0 ? facts[kind_of(model, level)].page_size : 0;
    if (size && !(rights(model, level) >> model->access & 1))
        return X86_MODEL_PROTECTION;
    reach = size ? frame_of(entry, size) + model->address % size : frame_of(entry, 0x1000);
    if (reach / 0x1000 >= model->object_pages)
        return X86_MODEL_BAD_FRAME;
    if (!size)
        return -1;
    model->answer = reach;
    return X86_MODEL_OK;
}

void
x86_model_run(struct x86_model *model)
{
    uint64_t accessed = model->ept ? 0x100 : 0x20, dirty = model->ept ? 0x200 : 0x40;
    int end;

    memcpy(model->after, model->entry, sizeof(model->after));
    for (model->level = 0; (end = verdict(model, model->level)) < 0; model->level++)
        ;
    model->result = (enum x86_model_result)end;
    if (!model->keeps_ad || model->level == 0)
        return;
    for (unsigned l = 1; l < model->level; l++)
        model->after[l] |= accessed;
    if (model->result != X86_MODEL_OK && model->result != X86_MODEL_BAD_FRAME)
        return;
    model->after[model->level] |= accessed;
    if (facts[kind_of(model, model->level)].page_size && model->access == X86_MODEL_WRITE)
        model->after[model->level] |= dirty;
}
