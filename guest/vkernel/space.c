/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address spaces: slots, x86 page tables, regions.
 */
#include "guest/vkernel/space.h"

#include "guest/lib/doorbell.h"
#include "guest/lib/ram.h"
#include "guest/lib/string.h"
#include "guest/vkernel/abi.h"
#include "guest/vkernel/kernel.h"

#include <stddef.h>

#define SPACE_PAGES (USER_SIZE >> PAGE_SHIFT)
#define SPACE_LAST_ID 65534 /* 65535 is the template's: space_copy.c */

/* x86 page table bits (Intel SDM vol. 3, 4.5). */
#define X86_PRESENT 0x1u
#define X86_WRITE 0x2u
#define X86_USER 0x4u
#define X86_LARGE 0x80u
#define X86_LARGE_SIZE 0x200000u

/* guest.ld: the programs' image, by the addresses processes use. */
extern char user_text_start[], user_text_end[], user_data_end[];

static const struct region_ops *const space_ops[SPACE_KINDS] = {
    [SPACE_VPTE] = &space_vpte_ops,
    [SPACE_COPY] = &space_copy_ops,
};

static struct {
    bool used;
    uint64_t cr3[SPACE_KINDS]; /* 0 = not made yet */
} space_slots[SPACE_MAX];

static uint64_t space_kernel_directory; /* page directory of [0, 1 GiB), for all */
static uint64_t space_last_id;

static uint64_t
space_window(unsigned slot)
{
    return VKVM_WINDOW_BASE + (uint64_t)slot * USER_SIZE;
}

static uint64_t
space_memory(unsigned slot)
{
    return space_window(SPACE_MAX + slot);
}

static uint64_t
space_pindex(uint64_t address)
{
    return (address - USER_BASE) >> PAGE_SHIFT;
}

static uint64_t
space_address(uint64_t pindex)
{
    return USER_BASE + (pindex << PAGE_SHIFT);
}

void
space_boot(void)
{
    uint64_t *directory = (uint64_t *)ram_alloc();

    if (directory == NULL)
        kernel_panic("no memory for page tables");
    for (uint64_t i = 0; i < 512; i++)
        directory[i] = (i * X86_LARGE_SIZE) | X86_PRESENT | X86_WRITE | X86_LARGE;
    space_kernel_directory = (uint64_t)directory;
}

/* Where a space of this kind has the byte at offset. */
static uint64_t
space_gpa(unsigned slot, enum space_kind kind, uint64_t offset)
{
    bool mapping = offset >= USER_MAPPINGS - USER_BASE && offset < USER_MAPPINGS_END - USER_BASE;

    if (kind == SPACE_VPTE || mapping)
        return space_window(slot) + offset;
    return space_memory(slot) + offset;
}

/*
 * The x86 page tables of a space, for good: [0, 1 GiB) is the kernel's (the trap entry needs
 * it), [USER_BASE, USER_END) window and memory.  What is where in them is not x86's business.
 */
static uint64_t
space_make_x86(unsigned slot, enum space_kind kind)
{
    uint64_t top = ram_alloc();
    uint64_t middle = ram_alloc();
    uint64_t directory = ram_alloc();

    if (top == 0 || middle == 0 || directory == 0)
        return 0;
    *(uint64_t *)top = middle | X86_PRESENT | X86_WRITE | X86_USER;
    ((uint64_t *)middle)[0] = space_kernel_directory | X86_PRESENT | X86_WRITE;
    ((uint64_t *)middle)[USER_BASE >> 30] = directory | X86_PRESENT | X86_WRITE | X86_USER;
    for (uint64_t i = 0; i < USER_SIZE / X86_LARGE_SIZE; i++)
        ((uint64_t *)directory)[i] = space_gpa(slot, kind, i * X86_LARGE_SIZE) | X86_PRESENT |
                                     X86_WRITE | X86_USER | X86_LARGE;
    return top;
}

/* Take a free slot; its number, or SPACE_MAX. */
static unsigned
space_take_slot(enum space_kind kind)
{
    unsigned slot = 0;

    while (slot < SPACE_MAX && space_slots[slot].used)
        slot++;
    if (slot == SPACE_MAX)
        return SPACE_MAX;
    if (space_slots[slot].cr3[kind] == 0)
        space_slots[slot].cr3[kind] = space_make_x86(slot, kind);
    if (space_slots[slot].cr3[kind] == 0)
        return SPACE_MAX;
    space_slots[slot].used = true;
    return slot;
}

/* A space without regions. */
static bool
space_create_empty(struct space *space, enum space_kind kind, uint64_t quota)
{
    unsigned slot = space_take_slot(kind);

    if (slot == SPACE_MAX)
        return false;
    *space = (struct space){ .kind = kind,
                             .slot = slot,
                             .id = space_last_id % SPACE_LAST_ID + 1,
                             .window = space_window(slot),
                             .memory = space_memory(slot),
                             .cr3 = space_slots[slot].cr3[kind],
                             .table = { .format = kernel_options.format },
                             .heap_end = space_pindex(USER_HEAP),
                             .mappings_end = space_pindex(USER_MAPPINGS),
                             .quota = quota };
    space_last_id = space->id;
    if (doorbell_vmspace_create(space->id) == 0)
        return true;
    space_slots[slot].used = false;
    return false;
}

static bool
space_add_region(struct space *space, enum region_kind kind, uint64_t start, uint64_t end,
                 struct shm *shm)
{
    bool mapping = kind == REGION_SHARED || kind == REGION_PRIVATE;
    struct region region = { kind, start, end, shm,
                             mapping ? &space_vpte_ops : space_ops[space->kind] };

    if (space->nregions == SPACE_MAX_REGIONS || !region.ops->add(space, &region))
        return false;
    space->regions[space->nregions++] = region;
    return true;
}

void
space_destroy(struct space *space)
{
    if (doorbell_vmspace_destroy(space->id) != 0)
        kernel_panic("VMSPACE_DESTROY refused");
    for (unsigned i = 0; i < space->nregions; i++) {
        space->regions[i].ops->drop(space, &space->regions[i]);
        if (space->regions[i].shm != NULL)
            shm_unref(space->regions[i].shm);
    }
    if (space->table.root != 0)
        vpte_table_fini(&space->table);
    space_slots[space->slot].used = false;
}

bool
space_create(struct space *space, enum space_kind kind, uint64_t quota)
{
    uint64_t text_end = space_pindex((uint64_t)user_text_end);

    if (!space_create_empty(space, kind, quota))
        return false;
    if (space_add_region(space, REGION_TEXT, 0, text_end, NULL) &&
        space_add_region(space, REGION_DATA, text_end, space_pindex((uint64_t)user_data_end),
                         NULL) &&
        space_add_region(space, REGION_ZERO, SPACE_PAGES - (USER_STACK >> PAGE_SHIFT), SPACE_PAGES,
                         NULL))
        return true;
    space_destroy(space);
    return false;
}

uint64_t
space_grow(struct space *space, uint64_t npages)
{
    uint64_t start = space->heap_end;
    struct region *last = &space->regions[space->nregions - 1];

    if (npages == 0 || npages > space_pindex(USER_MAPPINGS) - start)
        return 0;
    if (last->kind == REGION_ZERO && last->end == start && last->ops->vptes)
        last->end += npages;
    else if (!space_add_region(space, REGION_ZERO, start, start + npages, NULL))
        return 0;
    space->heap_end += npages;
    return space_address(start);
}

uint64_t
space_map(struct space *space, enum region_kind kind, struct shm *shm, uint64_t npages)
{
    uint64_t start = space->mappings_end;
    uint64_t limit = space_pindex(USER_MAPPINGS_END);

    if (npages > limit - start || !space_add_region(space, kind, start, start + npages, shm))
        return 0;
    space->mappings_end += npages;
    return space_address(start);
}

/* A region of the parent's becomes one of the child's. */
static bool
space_fork_region(struct space *child, struct space *parent, const struct region *region)
{
    bool ok = region->ops->fork(child, parent, region);

    child->regions[child->nregions++] = *region;
    if (region->shm != NULL)
        shm_ref(region->shm);
    return ok;
}

bool
space_fork(struct space *child, struct space *parent)
{
    bool ok = true;
    bool inval = false;

    if (!space_create_empty(child, parent->kind, parent->quota))
        return false;
    child->heap_end = parent->heap_end;
    child->mappings_end = parent->mappings_end;
    for (unsigned i = 0; i < parent->nregions && ok; i++) {
        ok = space_fork_region(child, parent, &parent->regions[i]);
        inval |= parent->regions[i].ops->vptes;
    }
    if (inval)
        space_inval(parent, 0, SPACE_PAGES);
    if (!ok)
        space_destroy(child);
    return ok;
}

const struct region *
space_region(const struct space *space, uint64_t pindex)
{
    for (unsigned i = 0; i < space->nregions; i++) {
        if (pindex >= space->regions[i].start && pindex < space->regions[i].end)
            return &space->regions[i];
    }
    return NULL;
}

uint64_t
space_offset(const struct space *space, uint64_t gpa)
{
    if (gpa - space->window < USER_SIZE)
        return gpa - space->window;
    if (space->kind == SPACE_COPY && gpa - space->memory < USER_SIZE)
        return gpa - space->memory;
    return UINT64_MAX;
}

bool
space_fault(struct space *space, uint64_t pindex, bool write)
{
    const struct region *region = space_region(space, pindex);

    return region != NULL && region->ops->fault(space, pindex, write);
}

/* Where the kernel has the byte at a process's address, for reading or writing; 0 = nowhere. */
static uint64_t
space_find(struct space *space, uint64_t address, bool write)
{
    const struct region *region;
    uint64_t page;

    if (address < USER_BASE || address >= USER_END)
        return 0;
    region = space_region(space, space_pindex(address));
    if (region == NULL)
        return 0;
    page = region->ops->find(space, region, space_pindex(address), write);
    return page != 0 ? page + (address & PAGE_MASK) : 0;
}

static uint64_t
space_chunk(uint64_t address, uint64_t size)
{
    uint64_t room = PAGE_SIZE - (address & PAGE_MASK);

    return size < room ? size : room;
}

bool
space_copy_in(struct space *space, uint64_t address, void *to, uint64_t size)
{
    while (size > 0) {
        uint64_t n = space_chunk(address, size);
        uint64_t from = space_find(space, address, false);

        if (from == 0)
            return false;
        memcpy(to, (const void *)from, n);
        to = (char *)to + n;
        address += n;
        size -= n;
    }
    return true;
}

bool
space_copy_out(struct space *space, uint64_t address, const void *from, uint64_t size)
{
    while (size > 0) {
        uint64_t n = space_chunk(address, size);
        uint64_t to = space_find(space, address, true);

        if (to == 0)
            return false;
        memcpy((void *)to, from, n);
        from = (const char *)from + n;
        address += n;
        size -= n;
    }
    return true;
}
