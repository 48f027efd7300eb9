/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks of the processor's own tables.  Rules X1 to X8 and sources stand in x86_walk.h.
 */
#include "vmm/x86_64/x86_walk.h"

#include <assert.h>
#include <string.h>

#define INDEX_BITS 9 /* per level */
#define BIT(n) ((uint64_t)1 << (n))

/* Bits high..low. */
#define BITS(high, low) ((UINT64_MAX >> (63 - (high))) & ~(BIT(low) - 1))

/* Paging: SDM vol. 3, 4.5, tables of the formats of paging-structure entries. */
#define PAGING_P BIT(0)
#define PAGING_RW BIT(1)
#define PAGING_US BIT(2)
#define PAGING_A BIT(5)
#define PAGING_D BIT(6)
#define PAGING_XD BIT(63)

/* EPT: SDM vol. 3, 28.3.2, tables of the formats of EPT entries. */
#define EPT_R BIT(0)
#define EPT_W BIT(1)
#define EPT_X BIT(2)
#define EPT_RWX (EPT_R | EPT_W | EPT_X)
#define EPT_A BIT(8)
#define EPT_D BIT(9)

/* EPTP: SDM vol. 3, 24.6.11. */
#define EPTP_AD BIT(6)
#define EPTP_RESERVED BITS(11, 8)

/* CR3 bits that enable linear-address masking (LAM57, LAM48); it concerns pointers, not tables. */
#define CR3_LAM BITS(62, 61)

#define LARGE BIT(7) /* both families; only in a PDPTE or PDE (X3) */

/* Levels still to come below an entry, by name. */
enum {
    BELOW_PTE = 0,
    BELOW_PDE = 1,
    BELOW_PDPTE = 2
};

const struct x86_walk_format x86_walk_4level = { .name = "x86_64", .levels = 4 };
const struct x86_walk_format x86_walk_5level = { .name = "x86_64-la57", .levels = 5 };
const struct x86_walk_format x86_walk_ept = { .name = "ept", .ept = true };

const struct x86_walk_format *
x86_walk_format_find(const char *name)
{
    static const struct x86_walk_format *const formats[] = {
        &x86_walk_4level,
        &x86_walk_5level,
        &x86_walk_ept,
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

/* EPTP bits 5:3 are the number of levels less one. */
static unsigned
eptp_levels(uint64_t eptp)
{
    return (unsigned)(eptp >> 3 & 7) + 1;
}

static bool
is_five_level(const struct x86_walk_format *format, uint64_t root)
{
    return (format->ept ? eptp_levels(root) : format->levels) == 5;
}

unsigned
x86_walk_address_bits(const struct x86_walk_format *format, uint64_t root)
{
    return PAGE_SHIFT + INDEX_BITS * (is_five_level(format, root) ? 5 : 4);
}

/* Physical address bits that this processor does not have: `top` down to MAXPHYADDR. */
static uint64_t
beyond_physical(const struct x86_walk_tables *tables, unsigned top)
{
    return BITS(top, 0) & ~(BIT(tables->maxphyaddr) - 1);
}

/* X7.  For EPTP these are the checks of VM entry: SDM vol. 3, 26.2.1.1. */
static bool
root_is_reserved(const struct x86_walk_tables *tables)
{
    uint64_t root = tables->root, type = root & 7;

    if (!tables->format->ept)
        return (root & beyond_physical(tables, 63) & ~CR3_LAM) != 0;
    return (type != 0 && type != 6) || (eptp_levels(root) != 4 && eptp_levels(root) != 5) ||
           (root & (EPTP_RESERVED | beyond_physical(tables, 63))) != 0;
}

static const uint64_t *
last_value(const struct x86_walk *walk)
{
    return &walk->steps[walk->level].value;
}

/* Levels below the walk's entry that are left out or still to come. */
static unsigned
levels_below(const struct x86_walk *walk)
{
    return (walk->shift - PAGE_SHIFT) / INDEX_BITS;
}

bool
x86_walk_done(const struct x86_walk *walk)
{
    unsigned below = levels_below(walk);

    return walk->level != 0 && (below == BELOW_PTE || (below <= BELOW_PDPTE && /* X3 */
                                                       (*last_value(walk) & LARGE) != 0));
}

static bool
is_present(const struct x86_walk *walk, uint64_t value)
{
    return (value & (walk->tables->format->ept ? EPT_RWX : PAGING_P)) != 0; /* X1 */
}

/* Address bits of a large page's entry that its size leaves unused. */
static uint64_t
large_reserved(const struct x86_walk *walk)
{
    unsigned low = walk->tables->format->ept ? PAGE_SHIFT : PAGE_SHIFT + 1; /* bit 12 is PAT */

    return BITS(walk->shift - 1, low);
}

/* X2 for what only EPT has: 28.3.3.1. */
static bool
ept_is_misconfigured(const struct x86_walk *walk, uint64_t value)
{
    uint64_t type = value >> 3 & 7;

    if ((value & (EPT_R | EPT_W)) == EPT_W)
        return true;
    if (x86_walk_done(walk))
        return type == 2 || type == 3 || type == 7;
    return (value & BITS(6, 3)) != 0;
}

/* X2, for the present entry that the walk has just read. */
static bool
is_reserved(const struct x86_walk *walk)
{
    uint64_t value = *last_value(walk);
    unsigned below = levels_below(walk);

    if ((value & beyond_physical(walk->tables, 51)) != 0)
        return true;
    if (below > BELOW_PDPTE && (value & LARGE) != 0)
        return true;
    if (below != BELOW_PTE && x86_walk_done(walk) && (value & large_reserved(walk)) != 0)
        return true;
    return walk->tables->format->ept && ept_is_misconfigured(walk, value);
}

static bool
ept_entry_allows(const struct x86_walk *walk, uint64_t value)
{
    return (value & (walk->access == VM_PROT_WRITE     ? EPT_W
                     : walk->access == VM_PROT_EXECUTE ? EPT_X
                                                       : EPT_R)) != 0;
}

static bool
paging_entry_allows(const struct x86_walk *walk, uint64_t value)
{
    if (walk->tables->user && (value & PAGING_US) == 0)
        return false;
    if (walk->access == VM_PROT_WRITE)
        return (value & PAGING_RW) != 0;
    return walk->access != VM_PROT_EXECUTE || (value & PAGING_XD) == 0;
}

/* X4 */
static bool
entries_allow(const struct x86_walk *walk)
{
    bool ept = walk->tables->format->ept;

    for (unsigned level = 1; level <= walk->level; level++) {
        uint64_t value = walk->steps[level].value;

        if (!(ept ? ept_entry_allows(walk, value) : paging_entry_allows(walk, value)))
            return false;
    }
    return true;
}

/* X5 */
static void
mark_entry(struct x86_walk *walk)
{
    struct x86_walk_step *step = &walk->steps[walk->level];

    step->value |= walk->accessed;
    if (x86_walk_done(walk) && walk->access == VM_PROT_WRITE)
        step->value |= walk->dirty;
    if (*step->entry != step->value)
        *step->entry = step->value;
}

enum x86_walk_result
x86_walk_start(struct x86_walk *walk, const struct x86_walk_tables *tables, uint64_t address,
               vm_prot_t access)
{
    bool ept = tables->format->ept;
    bool keeps_ad = !ept || (tables->root & EPTP_AD) != 0; /* X6 */

    walk->tables = tables;
    walk->address = address;
    walk->access = access;
    walk->level = 0;
    walk->shift = x86_walk_address_bits(tables->format, tables->root);
    walk->accessed = !keeps_ad ? 0 : ept ? EPT_A : PAGING_A;
    walk->dirty = !keeps_ad ? 0 : ept ? EPT_D : PAGING_D;
    walk->steps[0] = (struct x86_walk_step){ .value = tables->root, .before = tables->root };
    return root_is_reserved(tables) ? X86_WALK_RESERVED : X86_WALK_OK;
}

enum x86_walk_result
x86_walk_table(const struct x86_walk *walk, vm_pindex_t *table)
{
    vm_pindex_t frame = (*last_value(walk) & BITS(51, PAGE_SHIFT)) >> PAGE_SHIFT;

    if (frame >= walk->tables->object_pages) /* X8 */
        return X86_WALK_BAD_FRAME;
    *table = frame;
    return X86_WALK_OK;
}

enum x86_walk_result
x86_walk_step(struct x86_walk *walk, void *table)
{
    struct x86_walk_step *step;

    assert(!x86_walk_done(walk));
    walk->shift -= INDEX_BITS;
    walk->level++;
    step = &walk->steps[walk->level];
    step->entry = (uint64_t *)table + (walk->address >> walk->shift & (BIT(INDEX_BITS) - 1));
    step->value = *step->entry;
    step->before = step->value;
    if (!is_present(walk, step->value))
        return X86_WALK_INVALID;
    if (is_reserved(walk))
        return X86_WALK_RESERVED;
    if (x86_walk_done(walk) && !entries_allow(walk))
        return X86_WALK_PROTECTION;
    mark_entry(walk);
    return X86_WALK_OK;
}

enum x86_walk_result
x86_walk_result(const struct x86_walk *walk, uint64_t *phys)
{
    uint64_t within = BIT(walk->shift) - 1;
    uint64_t result =
        (*last_value(walk) & BITS(51, PAGE_SHIFT) & ~within) | (walk->address & within);

    if (result >> PAGE_SHIFT >= walk->tables->object_pages) /* X8 */
        return X86_WALK_BAD_FRAME;
    *phys = result;
    return X86_WALK_OK;
}
