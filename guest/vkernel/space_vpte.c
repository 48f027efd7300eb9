/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of the kernel's own RAM in a window, arranged by vptes.  fault.c fills them.
 *
 * A space gets its window, which covers all of it, and its table with its first region of
 * this sort.
 */
#include "guest/lib/doorbell.h"
#include "guest/lib/ram.h"
#include "guest/vkernel/abi.h"
#include "guest/vkernel/fault.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/page.h"
#include "guest/vkernel/space.h"
#include "guest/vkernel/swap.h"

#include <stddef.h>

#define WINDOW_FLAGS (VKVM_MAP_READ | VKVM_MAP_WRITE | VKVM_MAP_EXECUTE)

void
space_inval(const struct space *space, uint64_t pindex, uint64_t npages)
{
    kernel_counts.invals++;
    if (doorbell_inval(space->window + (pindex << PAGE_SHIFT), npages << PAGE_SHIFT) != 0)
        kernel_panic("INVAL refused");
}

void
space_count(struct space *space, uint64_t gpa, int change)
{
    if (page_at(gpa)->kind == PAGE_ANON)
        space->resident += (uint64_t)(int64_t)change;
}

/* Let vkvm expose the window, unless it does. */
static bool
vpte_need_window(struct space *space)
{
    if (space->table.root != 0)
        return true;
    if (!vpte_table_init(&space->table, kernel_options.format))
        return false;
    if (doorbell_vmspace_map(space->id, space->window, USER_SIZE, space->table.root,
                             WINDOW_FLAGS | space->table.format->map_flag) == 0)
        return true;
    vpte_table_fini(&space->table);
    return false;
}

static bool
vpte_add(struct space *space, const struct region *region)
{
    (void)region;
    return vpte_need_window(space);
}

/*
 * One vpte of the parent, to be shared.  Taking W away and reading A and M is one atomic
 * step: without W vkvm sets no M any more.  Writes through mappings that vkvm still holds
 * are possible until the INVAL at the end, but only to pages whose M was set before.
 */
static uint64_t
vpte_share(struct space *parent, void *entry, const struct region *region)
{
    uint64_t bits = VKVM_VPTE_A | VKVM_VPTE_M | (region->kind != REGION_SHARED ? VKVM_VPTE_W : 0);
    uint64_t old = vpte_read(&parent->table, entry);

    if (swap_is_vpte(old)) {
        swap_ref(swap_slot(old));
        return old;
    }
    if (!(old & VKVM_VPTE_V))
        return 0;
    old = vpte_clear_bits(&parent->table, entry, bits);
    page_harvest(vpte_frame(old), old);
    page_ref(vpte_frame(old));
    return old & ~bits;
}

/* The vptes of one region, from pindex to the end of its table page or of the region. */
static bool
vpte_fork_run(struct space *child, struct space *parent, const struct region *region,
              uint64_t pindex, uint64_t npages)
{
    char *from = vpte_entry(&parent->table, pindex);
    char *to;
    uint64_t value;

    if (from == NULL)
        return true;
    to = vpte_entry_make(&child->table, pindex);
    if (to == NULL)
        return false;
    for (uint64_t i = 0; i < npages; i++) {
        value = vpte_share(parent, from, region);
        vpte_write(&child->table, to, value);
        if (value & VKVM_VPTE_V)
            space_count(child, vpte_frame(value), 1);
        from = vpte_next(&parent->table, from);
        to = vpte_next(&child->table, to);
    }
    return true;
}

static bool
vpte_fork(struct space *child, struct space *parent, const struct region *region)
{
    uint64_t npages;

    if (!vpte_need_window(child))
        return false;
    for (uint64_t pindex = region->start; pindex < region->end; pindex += npages) {
        npages = vpte_run(&parent->table, pindex);
        if (npages > region->end - pindex)
            npages = region->end - pindex;
        if (!vpte_fork_run(child, parent, region, pindex, npages))
            return false;
    }
    return true;
}

/* Give up what a vpte refers to.  No window uses it any more. */
static void
vpte_drop_one(struct space *space, void *entry)
{
    uint64_t old = vpte_read(&space->table, entry);

    if (old & VKVM_VPTE_V)
        page_unref(vpte_frame(old));
    else if (swap_is_vpte(old))
        swap_unref(swap_slot(old));
}

static void
vpte_drop(struct space *space, const struct region *region)
{
    for (uint64_t pindex = region->start; pindex < region->end; pindex++) {
        void *entry = vpte_entry(&space->table, pindex);

        if (entry != NULL)
            vpte_drop_one(space, entry);
        else
            pindex += vpte_run(&space->table, pindex) - 1;
    }
}

/* The page in RAM, found in the vptes: the kernel never touches a window. */
static uint64_t
vpte_find(struct space *space, const struct region *region, uint64_t pindex, bool write)
{
    uint64_t need = VKVM_VPTE_R | (write ? VKVM_VPTE_W : 0);
    uint64_t gpa;

    (void)region;
    if (!vpte_lookup(&space->table, pindex, need, &gpa)) {
        if (!fault_resolve(space, pindex, write) || !vpte_lookup(&space->table, pindex, need, &gpa))
            return 0;
    }
    if (write)
        page_at(gpa)->dirty = true;
    return gpa;
}

static bool
vpte_fault(struct space *space, uint64_t pindex, bool write)
{
    kernel_counts.vpte_faults++;
    return fault_resolve(space, pindex, write);
}

const struct region_ops space_vpte_ops = {
    .vptes = true,
    .add = vpte_add,
    .fork = vpte_fork,
    .drop = vpte_drop,
    .fault = vpte_fault,
    .find = vpte_find,
};
