/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address spaces: windows, x86 page tables, regions, fork.
 */
#include "guest/vkernel/space.h"

#include "guest/lib/doorbell.h"
#include "guest/lib/ram.h"
#include "guest/lib/string.h"
#include "guest/vkernel/abi.h"
#include "guest/vkernel/fault.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/page.h"
#include "guest/vkernel/swap.h"

#include <stddef.h>

#define WINDOW_PAGES (USER_SIZE >> PAGE_SHIFT)
#define WINDOW_FLAGS (VKVM_MAP_READ | VKVM_MAP_WRITE | VKVM_MAP_EXECUTE)

/* x86 page table bits (Intel SDM vol. 3, 4.5). */
#define X86_PRESENT 0x1u
#define X86_WRITE 0x2u
#define X86_USER 0x4u
#define X86_LARGE 0x80u
#define X86_LARGE_SIZE 0x200000u

/* guest.ld: the programs' image, by the addresses processes use. */
extern char user_text_start[], user_text_end[], user_data_end[];

static struct {
    bool used;
    uint64_t cr3; /* 0 = not made yet */
} space_windows[SPACE_MAX];

static uint64_t space_kernel_directory; /* page directory of [0, 1 GiB), for all */
static uint64_t space_last_id;

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

/*
 * The x86 page tables of a window, for good: [0, 1 GiB) is the kernel's (the trap entry needs
 * it), [USER_BASE, USER_END) the window.  What is where in the window is the vptes' business.
 */
static uint64_t
space_make_x86(uint64_t window)
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
        ((uint64_t *)directory)[i] =
            (window + i * X86_LARGE_SIZE) | X86_PRESENT | X86_WRITE | X86_USER | X86_LARGE;
    return top;
}

/* Take a free window; its number, or SPACE_MAX. */
static unsigned
space_take_window(void)
{
    unsigned slot = 0;

    while (slot < SPACE_MAX && space_windows[slot].used)
        slot++;
    if (slot == SPACE_MAX)
        return SPACE_MAX;
    if (space_windows[slot].cr3 == 0)
        space_windows[slot].cr3 = space_make_x86(VKVM_WINDOW_BASE + (uint64_t)slot * USER_SIZE);
    if (space_windows[slot].cr3 == 0)
        return SPACE_MAX;
    space_windows[slot].used = true;
    return slot;
}

/* Let vkvm expose the window: a vmspace with one mapping. */
static bool
space_open_window(const struct space *space)
{
    if (doorbell_vmspace_create(space->id) != 0)
        return false;
    if (doorbell_vmspace_map(space->id, space->window, USER_SIZE, space->table.root,
                             WINDOW_FLAGS | space->table.format->map_flag) == 0)
        return true;
    doorbell_vmspace_destroy(space->id);
    return false;
}

/* A space without regions. */
static bool
space_create_empty(struct space *space, uint64_t quota)
{
    unsigned slot = space_take_window();

    if (slot == SPACE_MAX)
        return false;
    *space = (struct space){ .slot = slot,
                             .id = space_last_id % 65535 + 1,
                             .window = VKVM_WINDOW_BASE + (uint64_t)slot * USER_SIZE,
                             .cr3 = space_windows[slot].cr3,
                             .quota = quota };
    space_last_id = space->id;
    if (vpte_table_init(&space->table, kernel_options.format)) {
        if (space_open_window(space))
            return true;
        vpte_table_fini(&space->table);
    }
    space_windows[slot].used = false;
    return false;
}

static bool
space_add_region(struct space *space, enum region_kind kind, uint64_t start, uint64_t end,
                 struct shm *shm)
{
    if (space->nregions == SPACE_MAX_REGIONS)
        return false;
    space->regions[space->nregions++] = (struct region){ kind, start, end, shm };
    return true;
}

bool
space_create(struct space *space, uint64_t quota)
{
    if (!space_create_empty(space, quota))
        return false;
    space_add_region(space, REGION_TEXT, 0, space_pindex((uint64_t)user_text_end), NULL);
    space_add_region(space, REGION_DATA, space_pindex((uint64_t)user_text_end),
                     space_pindex((uint64_t)user_data_end), NULL);
    space_add_region(space, REGION_ZERO, WINDOW_PAGES - (USER_STACK >> PAGE_SHIFT), WINDOW_PAGES,
                     NULL);
    space->heap_end = space_pindex(USER_HEAP);
    space->mappings_end = space_pindex(USER_MAPPINGS);
    return true;
}

uint64_t
space_grow(struct space *space, uint64_t npages)
{
    uint64_t start = space->heap_end;
    struct region *last = &space->regions[space->nregions - 1];

    if (npages == 0 || npages > space_pindex(USER_MAPPINGS) - start)
        return 0;
    if (last->kind == REGION_ZERO && last->end == start)
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
    uint64_t limit = WINDOW_PAGES - (USER_STACK >> PAGE_SHIFT);

    if (npages > limit - start || !space_add_region(space, kind, start, start + npages, shm))
        return 0;
    space->mappings_end += npages;
    return space_address(start);
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

/*
 * One vpte of the parent, to be shared.  Taking W away and reading A and M is one atomic
 * step: without W vkvm sets no M any more.  Writes through mappings that vkvm still holds
 * are possible until the INVAL at the end, but only to pages whose M was set before.
 */
static uint64_t
space_share_vpte(struct space *parent, void *entry, const struct region *region)
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
space_fork_run(struct space *child, struct space *parent, const struct region *region,
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
        value = space_share_vpte(parent, from, region);
        vpte_write(&child->table, to, value);
        if (value & VKVM_VPTE_V)
            space_count(child, vpte_frame(value), 1);
        from = vpte_next(&parent->table, from);
        to = vpte_next(&child->table, to);
    }
    return true;
}

static bool
space_fork_region(struct space *child, struct space *parent, const struct region *region)
{
    uint64_t npages;

    for (uint64_t pindex = region->start; pindex < region->end; pindex += npages) {
        npages = vpte_run(&parent->table, pindex);
        if (npages > region->end - pindex)
            npages = region->end - pindex;
        if (!space_fork_run(child, parent, region, pindex, npages))
            return false;
    }
    return true;
}

bool
space_fork(struct space *child, struct space *parent)
{
    bool ok = true;

    if (!space_create_empty(child, parent->quota))
        return false;
    child->heap_end = parent->heap_end;
    child->mappings_end = parent->mappings_end;
    child->nregions = parent->nregions;
    for (unsigned i = 0; i < parent->nregions; i++) {
        child->regions[i] = parent->regions[i];
        if (child->regions[i].shm != NULL)
            shm_ref(child->regions[i].shm);
    }
    for (unsigned i = 0; i < parent->nregions && ok; i++)
        ok = space_fork_region(child, parent, &parent->regions[i]);
    space_inval(parent, 0, WINDOW_PAGES);
    if (!ok)
        space_destroy(child);
    return ok;
}

/* Give up what a vpte refers to.  No window uses it any more. */
static void
space_drop_vpte(struct space *space, void *entry)
{
    uint64_t old = vpte_read(&space->table, entry);

    if (old & VKVM_VPTE_V)
        page_unref(vpte_frame(old));
    else if (swap_is_vpte(old))
        swap_unref(swap_slot(old));
}

static void
space_drop_region(struct space *space, const struct region *region)
{
    for (uint64_t pindex = region->start; pindex < region->end; pindex++) {
        void *entry = vpte_entry(&space->table, pindex);

        if (entry != NULL)
            space_drop_vpte(space, entry);
        else
            pindex += vpte_run(&space->table, pindex) - 1;
    }
    if (region->shm != NULL)
        shm_unref(region->shm);
}

void
space_destroy(struct space *space)
{
    if (doorbell_vmspace_destroy(space->id) != 0)
        kernel_panic("VMSPACE_DESTROY refused");
    for (unsigned i = 0; i < space->nregions; i++)
        space_drop_region(space, &space->regions[i]);
    vpte_table_fini(&space->table);
    space_windows[space->slot].used = false;
}

/* Where RAM at GPA 0 has the byte at a process's address, for reading or writing; 0 = nowhere. */
static uint64_t
space_find(struct space *space, uint64_t address, bool write)
{
    uint64_t pindex = space_pindex(address);
    uint64_t need = VKVM_VPTE_R | (write ? VKVM_VPTE_W : 0);
    uint64_t gpa;

    if (address < USER_BASE || address >= USER_END)
        return 0;
    if (!vpte_lookup(&space->table, pindex, need, &gpa)) {
        if (!fault_resolve(space, pindex, write) || !vpte_lookup(&space->table, pindex, need, &gpa))
            return 0;
    }
    if (write)
        page_at(gpa)->dirty = true;
    return gpa + (address & PAGE_MASK);
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
