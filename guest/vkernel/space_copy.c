/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of vkvm's: one host region (REGION_MAP) for each region, forked by COPY.
 *
 * The programs' image lies in two host regions of the kernel's own, the template, made when it
 * is first needed; processes start with copies of them.  The kernel reaches all these through the
 * boot identity map, where an access that no region allows would be its own fault: so
 * space.c looks the region up first.
 */
#include "guest/lib/doorbell.h"
#include "guest/lib/ram.h"
#include "guest/lib/string.h"
#include "guest/vkernel/abi.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/space.h"

#define MEMORY_FLAGS (VKVM_MAP_READ | VKVM_MAP_WRITE | VKVM_MAP_EXECUTE)
#define TEXT_FLAGS (VKVM_MAP_READ | VKVM_MAP_EXECUTE)

/* The template's vmspace and GPA, behind those of all spaces. */
#define TEMPLATE_ID 65535
#define TEMPLATE (VKVM_WINDOW_BASE + UINT64_C(2) * SPACE_MAX * USER_SIZE)

/* guest.ld: where the programs are loaded, page 0 of every space. */
extern char user_image[];

static bool copy_made[REGION_DATA + 1]; /* templates, by region kind */

static uint64_t
copy_size(const struct region *region)
{
    return (region->end - region->start) << PAGE_SHIFT;
}

/* See that there is a template of an image region. */
static bool
copy_need_template(const struct region *region)
{
    uint64_t at = TEMPLATE + (region->start << PAGE_SHIFT);
    bool *made = &copy_made[region->kind];

    if (*made)
        return true;
    if (!copy_made[REGION_TEXT] && !copy_made[REGION_DATA] &&
        doorbell_vmspace_create(TEMPLATE_ID) != 0)
        return false;
    if (doorbell_region_map(TEMPLATE_ID, at, copy_size(region), MEMORY_FLAGS) != 0)
        kernel_panic("no memory for the programs' image");
    memcpy((void *)at, user_image + (region->start << PAGE_SHIFT), copy_size(region));
    if (region->kind == REGION_TEXT && doorbell_protect(at, copy_size(region), TEXT_FLAGS) != 0)
        kernel_panic("PROTECT refused");
    *made = true;
    return true;
}

static bool
copy_add(struct space *space, const struct region *region)
{
    uint64_t offset = region->start << PAGE_SHIFT;
    uint64_t at = space->memory + offset;

    kernel_counts.host_regions++;
    if (region->kind == REGION_ZERO)
        return doorbell_region_map(space->id, at, copy_size(region), MEMORY_FLAGS) == 0;
    return copy_need_template(region) &&
           doorbell_copy(space->id, TEMPLATE + offset, at, copy_size(region)) == 0;
}

static bool
copy_fork(struct space *child, struct space *parent, const struct region *region)
{
    uint64_t offset = region->start << PAGE_SHIFT;

    kernel_counts.host_copies++;
    return doorbell_copy(child->id, parent->memory + offset, child->memory + offset,
                         copy_size(region)) == 0;
}

/* It went with the vmspace. */
static void
copy_drop(struct space *space, const struct region *region)
{
    (void)space;
    (void)region;
}

/* vkvm resolves what is allowed, and delivers only what is not. */
static bool
copy_fault(struct space *space, uint64_t pindex, bool write)
{
    (void)space;
    (void)pindex;
    (void)write;
    return false;
}

static uint64_t
copy_find(struct space *space, const struct region *region, uint64_t pindex, bool write)
{
    if (write && region->kind == REGION_TEXT)
        return 0;
    return space->memory + (pindex << PAGE_SHIFT);
}

const struct region_ops space_copy_ops = {
    .add = copy_add,
    .fork = copy_fork,
    .drop = copy_drop,
    .fault = copy_fault,
    .find = copy_find,
};
