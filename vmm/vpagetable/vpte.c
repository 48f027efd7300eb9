/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual page table entries.  Rules W1 to W9 stand in vpte.h.
 *
 * The guest may change any entry at any time: each one is read once into the
 * walk's step, checked there, and changed only by a compare-exchange against the
 * value that was checked.  No entry is locked, so a loop over a failing
 * compare-exchange is bounded: a guest that keeps writing an entry costs itself
 * retries, not us a thread.
 */
#include "vmm/vpagetable/vpte.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#define VPTE_AM ((vpte_t)(VPTE_A | VPTE_M))

/* Compare-exchanges lost in a row before a walk starts over. */
#define VPTE_TRIES 16

const struct vpte_format vpte64_format = {
    .name = "vpte64",
    .frame_end = 48,
    .page_bits = 9,
    .entry_size = 8,
    .levels = 4,
    .frame_mask = 0x000FFFFFFFFFF000u,
};

const struct vpte_format vpte32_format = {
    .name = "vpte32",
    .frame_end = 32,
    .page_bits = 10,
    .entry_size = 4,
    .levels = 2,
    .frame_mask = 0xFFFFF000u,
};

const struct vpte_format *
vpte_format_find(const char *name)
{
    static const struct vpte_format *const formats[] = { &vpte64_format, &vpte32_format };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

enum vm_result
vpte_check(vpte_t vpte, vm_prot_t access)
{
    if ((vpte & VPTE_V) == 0)
        return VM_VPTE_INVALID;
    if ((access & VM_PROT_READ) != 0 && (vpte & VPTE_R) == 0)
        return VM_VPTE_PROTECTION;
    if ((access & VM_PROT_WRITE) != 0 && (vpte & VPTE_W) == 0)
        return VM_VPTE_PROTECTION;
    if ((access & VM_PROT_EXECUTE) != 0 && (vpte & VPTE_X) == 0)
        return VM_VPTE_PROTECTION;
    return VM_OK;
}

static vpte_t
vpte_load(const struct vpte_format *format, void *entry)
{
    if (format->entry_size == sizeof(uint32_t))
        return atomic_load_explicit((_Atomic uint32_t *)entry, memory_order_acquire);
    return atomic_load_explicit((_Atomic uint64_t *)entry, memory_order_acquire);
}

/* Replace *expected by desired; on failure *expected is what stands there instead. */
static bool
vpte_exchange(const struct vpte_format *format, void *entry, vpte_t *expected, vpte_t desired)
{
    if (format->entry_size == sizeof(uint32_t)) {
        uint32_t value = (uint32_t)*expected;
        bool done =
            atomic_compare_exchange_strong((_Atomic uint32_t *)entry, &value, (uint32_t)desired);

        *expected = value;
        return done;
    }
    return atomic_compare_exchange_strong((_Atomic uint64_t *)entry, expected, desired);
}

/* W4: add bits to the entry of a level, or learn what it has become. */
static bool
vpte_set(struct vpte_walk *walk, unsigned level, vpte_t bits)
{
    struct vpte_step *step = &walk->steps[level];
    vpte_t added = bits & ~step->value;

    if (!vpte_exchange(walk->format, step->entry, &step->value, step->value | bits))
        return false;
    step->value |= bits;
    walk->a_set += (added & VPTE_A) != 0;
    walk->m_set += (added & VPTE_M) != 0;
    walk->dirtied |= 1u << level;
    return true;
}

/*
 * W7: the table page that the entry of `level` points to is about to change.
 * An upper entry that differs in A and M only still passes its check (another
 * walk, or a guest that clears them, was there); any other change ends the walk.
 */
static enum vm_result
vpte_mark_directory(struct vpte_walk *walk, unsigned level)
{
    struct vpte_step *step = &walk->steps[level];

    for (unsigned tries = 0; tries < VPTE_TRIES; tries++) {
        vpte_t checked = step->value;
        enum vm_result result;

        if (level == 0 || (checked & VPTE_AM) == VPTE_AM) /* W8 */
            return VM_OK;
        result = vpte_mark_directory(walk, level - 1);
        if (result != VM_OK)
            return result;
        if (vpte_set(walk, level, VPTE_AM)) {
            walk->dir_m_set += (checked & VPTE_M) == 0;
            return VM_OK;
        }
        if (((step->value ^ checked) & ~VPTE_AM) != 0)
            return VM_RETRY;
    }
    return VM_RETRY;
}

/* W1, W4 to W7 for the entry that the step of the walk's level has read. */
static enum vm_result
vpte_touch(struct vpte_walk *walk, vm_prot_t access)
{
    struct vpte_step *step = &walk->steps[walk->level];
    vpte_t bits = (access & VM_PROT_WRITE) != 0 ? VPTE_AM : VPTE_A; /* W6 */

    for (unsigned tries = 0; tries < VPTE_TRIES; tries++) {
        enum vm_result result = vpte_check(step->value, access);

        if (result != VM_OK) /* W5 */
            return result;
        if ((step->value & bits) == bits)
            return VM_OK;
        result = vpte_mark_directory(walk, walk->level - 1);
        if (result != VM_OK)
            return result;
        if (vpte_set(walk, walk->level, bits))
            return VM_OK;
    }
    return VM_RETRY;
}

/* The bits of an entry that the access passes without changing anything (W1, W6). */
static vpte_t
vpte_settled(vm_prot_t access)
{
    vpte_t bits = VPTE_V | VPTE_A;

    if ((access & VM_PROT_READ) != 0)
        bits |= VPTE_R;
    if ((access & VM_PROT_WRITE) != 0)
        bits |= VPTE_W | VPTE_M;
    if ((access & VM_PROT_EXECUTE) != 0)
        bits |= VPTE_X;
    return bits;
}

/* Index in its table page of the entry that the walk's level uses. */
static uint64_t
vpte_index(const struct vpte_walk *walk)
{
    return (walk->pindex >> walk->shift) & (((uint64_t)1 << walk->format->page_bits) - 1);
}

enum vm_result
vpte_walk_start(struct vpte_walk *walk, const struct vpte_format *format, vpte_t root,
                vm_pindex_t pindex, vm_prot_t access, uint64_t object_pages)
{
    enum vm_result result;

    walk->format = format;
    walk->access = access;
    walk->pindex = pindex;
    walk->object_pages = object_pages;
    walk->settled = vpte_settled(access);
    walk->level = 0;
    walk->shift = format->frame_end - PAGE_SHIFT;
    walk->steps[0] = (struct vpte_step){ .entry = NULL, .value = root, .before = root };
    walk->a_set = 0;
    walk->m_set = 0;
    walk->dir_m_set = 0;
    walk->dirtied = 0;

    result = vpte_check(root, access);
    if (result == VM_OK && (pindex >> walk->shift) != 0)
        result = VM_BAD_FRAME;
    return result;
}

enum vm_result
vpte_walk_step(struct vpte_walk *walk, void *table)
{
    struct vpte_step *step = &walk->steps[walk->level + 1];

    assert(!vpte_walk_done(walk));
    walk->shift -= walk->format->page_bits;
    walk->level++;
    step->entry = (uint8_t *)table + vpte_index(walk) * walk->format->entry_size;
    step->value = vpte_load(walk->format, step->entry);
    step->before = step->value;
    if ((step->value & walk->settled) == walk->settled)
        return VM_OK; /* as nearly always: vpte_touch would find nothing to do */
    return vpte_touch(walk, walk->access);
}

enum vm_result
vpte_walk_result(const struct vpte_walk *walk, vm_pindex_t *pindex)
{
    return vpte_walk_table(walk, pindex);
}

bool
vpte_walk_writable(const struct vpte_walk *walk)
{
    for (unsigned level = 0; level <= walk->level; level++) {
        if ((walk->steps[level].value & VPTE_W) == 0)
            return false;
    }
    return walk->level == 0 || (walk->steps[walk->level].value & VPTE_M) != 0; /* W8 */
}

/*
 * Make the walk one of the page `distance` pages away; false if its last table
 * page, or its PS entry, does not reach there.
 */
static bool
vpte_shift_walk(struct vpte_walk *walk, int distance)
{
    struct vpte_step *step = &walk->steps[walk->level];
    unsigned reach = walk->shift != 0 ? walk->shift : walk->format->page_bits;
    vm_pindex_t pindex = walk->pindex + (uint64_t)(int64_t)distance;

    if (((pindex ^ walk->pindex) >> reach) != 0)
        return false;
    walk->pindex = pindex;
    if (walk->shift == 0) {
        step->entry = (uint8_t *)step->entry + distance * (int)walk->format->entry_size;
        step->value = vpte_load(walk->format, step->entry);
        step->before = step->value;
    }
    return true;
}

/* The upper levels were checked for the walk's own access only. */
static enum vm_result
vpte_check_upper(const struct vpte_walk *walk, vm_prot_t access)
{
    for (unsigned level = 0; level < walk->level; level++) {
        enum vm_result result = vpte_check(walk->steps[level].value, access);

        if (result != VM_OK)
            return result;
    }
    return VM_OK;
}

enum vm_result
vpte_walk_neighbour(struct vpte_walk *walk, int distance, vm_pindex_t *pindex, bool *writable)
{
    struct vpte_step last = walk->steps[walk->level];
    vm_pindex_t origin = walk->pindex;
    enum vm_result result = vpte_check_upper(walk, VM_PROT_READ);

    if (result != VM_OK)
        return result;
    if (!vpte_shift_walk(walk, distance))
        return VM_INVALID_ADDRESS;
    if (walk->level == 0)
        result = vpte_check(last.value, VM_PROT_READ);
    else
        result = vpte_touch(walk, VM_PROT_READ);
    if (result == VM_OK)
        result = vpte_walk_result(walk, pindex);
    if (result == VM_OK)
        *writable = vpte_walk_writable(walk);
    if (walk->shift == 0)
        walk->steps[walk->level] = last;
    walk->pindex = origin;
    return result;
}
