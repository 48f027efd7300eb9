/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame store, the direct map, the page array and the extents.
 *
 * Extents are a buddy allocator over slots: blocks of 2^order slots, aligned to
 * their size, each known by one record.  An extent is one block; a large one, which
 * would waste much that way, is several in a row (extent_round).  A record is in the tree of blocks in
 * use or in the tree of free blocks of its order, so bookkeeping grows with the
 * number of extents, not with the size of the store.  Freeing needs no memory.
 * The lowest fitting block is taken, which keeps the touched part of the sparse
 * page array together.
 */
#include "vmm/vpagetable/vm_system.h"

#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_page.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STORE_PAGES_DEFAULT ((uint64_t)1 << 28)

#define VM_SUPER_PAGES 512 /* PMAP_CHUNK_PAGES */

/* One host page of the page array describes the slots of one word of `moved`. */
#define SLOTS_PER_WORD 64
_Static_assert(SLOTS_PER_WORD * sizeof(struct vm_page) == PAGE_SIZE,
               "vm_extent_free gives the page array back by words of `moved`");

/* An extent of at least 2^EXTENT_LARGE_ORDER slots (1 GiB) takes sixteenths of a power of two. */
#define EXTENT_LARGE_ORDER 18
#define EXTENT_STEP_BITS 4

struct vm_extent {
    RB_ENTRY(vm_extent) link; /* extent_lock */
    uint64_t first;           /* extent_lock: slot */
    unsigned order;           /* extent_lock */
};

RB_HEAD(vm_extent_tree, vm_extent);

struct vm_extents {
    struct vm_extent_tree used;                         /* extent_lock: owned */
    struct vm_extent_tree free[VM_STORE_ORDER_MAX + 1]; /* extent_lock: owned, by order */
};

static int
extent_compare(const struct vm_extent *a, const struct vm_extent *b)
{
    return (a->first > b->first) - (a->first < b->first);
}

RB_GENERATE_INTERNAL(vm_extent_tree, vm_extent, link, extent_compare,
                     __attribute__((unused)) static)

static struct vm_extent *
extent_find(struct vm_extent_tree *tree, uint64_t first)
{
    struct vm_extent key = { .first = first };

    return RB_FIND(vm_extent_tree, tree, &key);
}

static struct vm_extent *
extent_new(uint64_t first, unsigned order)
{
    struct vm_extent *extent = malloc(sizeof(*extent));

    if (extent != NULL) {
        extent->first = first;
        extent->order = order;
    }
    return extent;
}

/* The smallest order whose blocks hold npages; more than VM_STORE_ORDER_MAX if none does. */
static unsigned
extent_order(uint64_t npages)
{
    return npages == 1 ? 0 : 64 - (unsigned)__builtin_clzll(npages - 1);
}

/* Put a block, in no tree, among the free ones, merged with its free buddies. */
static void
extent_release(struct vm_extents *extents, struct vm_extent *extent)
{
    while (extent->order < VM_STORE_ORDER_MAX) {
        struct vm_extent_tree *tree = &extents->free[extent->order];
        uint64_t npages = (uint64_t)1 << extent->order;
        struct vm_extent *buddy = extent_find(tree, extent->first ^ npages);

        if (buddy == NULL)
            break;
        RB_REMOVE(vm_extent_tree, tree, buddy);
        free(buddy);
        extent->first &= ~npages;
        extent->order++;
    }
    RB_INSERT(vm_extent_tree, &extents->free[extent->order], extent);
}

/* The lowest free block of the smallest order that is at least `order`, taken out of its tree. */
static struct vm_extent *
extent_take(struct vm_extents *extents, unsigned order)
{
    for (unsigned i = order; i <= VM_STORE_ORDER_MAX; i++) {
        struct vm_extent *extent = RB_MIN(vm_extent_tree, &extents->free[i]);

        if (extent != NULL) {
            RB_REMOVE(vm_extent_tree, &extents->free[i], extent);
            return extent;
        }
    }
    return NULL;
}

/*
 * Slots that an extent of npages takes: a power of two, but a large one only as many sixteenths
 * of it as it needs, so that 1.2 TiB do not take 2.
 */
static uint64_t
extent_round(uint64_t npages)
{
    unsigned order = extent_order(npages);
    uint64_t step;

    if (order > VM_STORE_ORDER_MAX || order < EXTENT_LARGE_ORDER)
        return (uint64_t)1 << (order > VM_STORE_ORDER_MAX ? VM_STORE_ORDER_MAX : order);
    step = (uint64_t)1 << (order - EXTENT_STEP_BITS);
    return (npages + step - 1) & ~(step - 1);
}

/* The order of the first block of an extent that has `npages` slots left. */
static unsigned
extent_first_order(uint64_t npages)
{
    return 63 - (unsigned)__builtin_clzll(npages);
}

/* Give back the blocks in use that make up [first, first + npages), npages as extent_round has it. */
static void
extents_release(struct vm_extents *extents, uint64_t first, uint64_t npages)
{
    while (npages != 0) {
        unsigned order = extent_first_order(npages);
        struct vm_extent *extent = extent_find(&extents->used, first);

        assert(extent != NULL && extent->order == order);
        RB_REMOVE(vm_extent_tree, &extents->used, extent);
        extent_release(extents, extent);
        first += (uint64_t)1 << order;
        npages -= (uint64_t)1 << order;
    }
}

/*
 * Cut a block, in no tree, to the blocks that npages slots need, largest first; what is left
 * over becomes free blocks.  On failure all of it is free.
 */
static int
extent_cut(struct vm_extents *extents, struct vm_extent *extent, uint64_t npages)
{
    uint64_t first = extent->first, left = npages;

    while (left != (uint64_t)1 << extent->order) {
        unsigned half = extent->order - 1;
        uint64_t half_pages = (uint64_t)1 << half;
        struct vm_extent *upper = extent_new(extent->first + half_pages, half);

        if (upper == NULL) {
            extent_release(extents, extent);
            extents_release(extents, first, npages - left);
            return -ENOMEM;
        }
        extent->order = half;
        if (left > half_pages) {
            RB_INSERT(vm_extent_tree, &extents->used, extent);
            left -= half_pages;
            extent = upper;
        } else {
            RB_INSERT(vm_extent_tree, &extents->free[half], upper);
        }
    }
    RB_INSERT(vm_extent_tree, &extents->used, extent);
    return 0;
}

static int
extents_alloc(struct vm_extents *extents, uint64_t npages, uint64_t *firstp)
{
    struct vm_extent *extent = extent_take(extents, extent_order(npages));
    uint64_t first;
    int error;

    if (extent == NULL)
        return -ENOSPC;
    first = extent->first;
    error = extent_cut(extents, extent, extent_round(npages));
    if (error == 0)
        *firstp = first;
    return error;
}

static void
extent_tree_destroy(struct vm_extent_tree *tree)
{
    struct vm_extent *extent;

    while ((extent = RB_ROOT(tree)) != NULL) {
        RB_REMOVE(vm_extent_tree, tree, extent);
        free(extent);
    }
}

static void
extents_destroy(struct vm_extents *extents)
{
    if (extents == NULL)
        return;
    assert(RB_EMPTY(&extents->used));
    for (unsigned i = 0; i <= VM_STORE_ORDER_MAX; i++)
        extent_tree_destroy(&extents->free[i]);
    free(extents);
}

/* All of [0, store_pages) free, as the largest aligned blocks it is made of. */
static struct vm_extents *
extents_create(uint64_t store_pages)
{
    struct vm_extents *extents = malloc(sizeof(*extents));
    uint64_t first = 0;

    if (extents == NULL)
        return NULL;
    RB_INIT(&extents->used);
    for (unsigned i = 0; i <= VM_STORE_ORDER_MAX; i++)
        RB_INIT(&extents->free[i]);
    while (first < store_pages) {
        unsigned order = 63 - (unsigned)__builtin_clzll(store_pages - first);
        struct vm_extent *extent = extent_new(first, order);

        if (extent == NULL) {
            extents_destroy(extents);
            return NULL;
        }
        RB_INSERT(vm_extent_tree, &extents->free[order], extent);
        first += (uint64_t)1 << order;
    }
    return extents;
}

/* Address space for the direct map, aligned as the frames of a superpage are. */
static int
reserve_aligned(uint64_t size, void **atp)
{
    const uint64_t align = (uint64_t)VM_SUPER_PAGES << PAGE_SHIFT;
    uint8_t *at =
        mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t head;

    if (at == MAP_FAILED)
        return -errno;
    head = -(uintptr_t)at & (align - 1);
    if (head != 0)
        munmap(at, head);
    munmap(at + head + size, align - head);
    *atp = at + head;
    return 0;
}

/* Map the frame store for the monitor. */
static int
direct_map(struct vm_system *sys)
{
    const uint64_t size = sys->store_pages * PAGE_SIZE;
    void *at = NULL;
    int error = reserve_aligned(size, &at);

    if (error != 0)
        return error;
    sys->direct_map = mmap(at, size, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_SHARED | MAP_FIXED,
                           sys->memfd, 0);
    if (sys->direct_map != MAP_FAILED)
        return 0;
    error = -errno;
    sys->direct_map = NULL;
    munmap(at, size);
    return error;
}

/* Zero memory of which only the touched pages cost anything. */
static int
sparse_map(uint64_t size, void *at)
{
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_NORESERVE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED)
        return -errno;
    memcpy(at, &map, sizeof(map));
    return 0;
}

static void
sparse_unmap(void *map, uint64_t size)
{
    if (map != NULL)
        munmap(map, size);
}

static uint64_t
moved_size(const struct vm_system *sys)
{
    uint64_t words = (sys->store_pages + SLOTS_PER_WORD - 1) / SLOTS_PER_WORD;

    return words * sizeof(*sys->moved);
}

/* Drop whatever system_map had acquired. */
static void
system_unmap(struct vm_system *sys)
{
    extents_destroy(sys->extents);
    sparse_unmap(sys->left_groups, moved_size(sys) / SLOTS_PER_WORD + sizeof(*sys->left_groups));
    sparse_unmap(sys->left, moved_size(sys));
    sparse_unmap(sys->moved, moved_size(sys));
    sparse_unmap(sys->pages, sys->store_pages * sizeof(*sys->pages));
    sparse_unmap(sys->direct_map, sys->store_pages * PAGE_SIZE);
    if (sys->memfd >= 0)
        close(sys->memfd);
}

static int
system_map(struct vm_system *sys)
{
    int error;

    sys->memfd = memfd_create("vkvm-ram", MFD_CLOEXEC);
    if (sys->memfd < 0 || ftruncate(sys->memfd, (off_t)(sys->store_pages * PAGE_SIZE)) != 0)
        return -errno;
    error = direct_map(sys);
    if (error == 0)
        error = sparse_map(sys->store_pages * sizeof(*sys->pages), &sys->pages);
    if (error == 0)
        error = sparse_map(moved_size(sys), &sys->moved);
    if (error == 0)
        error = sparse_map(moved_size(sys), &sys->left);
    if (error == 0)
        error = sparse_map(moved_size(sys) / SLOTS_PER_WORD + sizeof(*sys->left_groups),
                           &sys->left_groups);
    if (error != 0)
        return error;
    sys->extents = extents_create(sys->store_pages);
    return sys->extents == NULL ? -ENOMEM : 0;
}

int
vm_system_init(struct vm_system *sys, const struct vm_system_config *config)
{
    uint64_t store_pages = config->store_pages != 0 ? config->store_pages : STORE_PAGES_DEFAULT;
    int error;

    if (store_pages > VM_STORE_PAGES_MAX ||
        (config->ram_budget != 0 && config->ram_budget < VM_RAM_BUDGET_MIN))
        return -EINVAL;
    memset(sys, 0, sizeof(*sys));
    sys->store_pages = store_pages;
    sys->ram_budget = config->ram_budget != 0 ? config->ram_budget : UINT64_MAX;
    sys->left_max = vm_frames_left_max(sys);
    sys->tunables.fast_fault = true;
    sys->tunables.prefault_pages = VM_PREFAULT_DEFAULT;
    error = system_map(sys);
    if (error != 0) {
        system_unmap(sys);
        return error;
    }
    vm_mutex_init(&sys->extent_lock);
    vm_mutex_init(&sys->moved_lock);
    vm_mutex_init(&sys->files_lock);
    vm_cond_init(&sys->file_gone);
    LIST_INIT(&sys->files);
    vm_mutex_init(&sys->shadow_lock);
    for (unsigned i = 0; i < PV_PARTS; i++)
        vm_mutex_init(&sys->pv_part[i].lock);
    vm_rwlock_init(&sys->pmaps_lock);
    vm_mutex_init(&sys->queue_lock);
    vm_cond_init(&sys->scan_ended);
    for (unsigned i = 0; i < PQ_COUNT; i++)
        TAILQ_INIT(&sys->queues[i]);
    vm_budget_init(sys);
    return 0;
}

void
vm_system_fini(struct vm_system *sys)
{
    assert(vm_budget_resident(sys) == 0);
    vm_budget_fini(sys);
    system_unmap(sys);
    vm_cond_fini(&sys->scan_ended);
    vm_mutex_fini(&sys->queue_lock);
    vm_rwlock_fini(&sys->pmaps_lock);
    for (unsigned i = 0; i < PV_PARTS; i++)
        vm_mutex_fini(&sys->pv_part[i].lock);
    vm_mutex_fini(&sys->shadow_lock);
    vm_cond_fini(&sys->file_gone);
    vm_mutex_fini(&sys->files_lock);
    vm_mutex_fini(&sys->moved_lock);
    vm_mutex_fini(&sys->extent_lock);
}

int
vm_extent_alloc(struct vm_system *sys, uint64_t npages, uint64_t *first)
{
    int error;

    if (npages == 0)
        return -EINVAL;
    vm_mutex_lock(&sys->extent_lock);
    error = extents_alloc(sys->extents, npages, first);
    vm_mutex_unlock(&sys->extent_lock);
    return error;
}

/*
 * Give the host the page array's memory for npages slots from `first`, whole
 * words of `moved` only.  Slots with a moved frame must stay: they say which.
 * A smaller extent shares its host page with others and is left alone.
 */
static void
slots_release(struct vm_system *sys, uint64_t first, uint64_t npages)
{
    uint64_t end = first + npages;
    bool any = atomic_load(&sys->moved_slots) != 0;

    while (first < end) {
        uint64_t next = any ? first : end;

        while (next < end && atomic_load(&sys->moved[next / SLOTS_PER_WORD]) == 0)
            next += SLOTS_PER_WORD;
        if (next > first)
            madvise(&sys->pages[first], (next - first) * sizeof(*sys->pages), MADV_DONTNEED);
        first = next + SLOTS_PER_WORD;
    }
}

void
vm_extent_free(struct vm_system *sys, uint64_t first, uint64_t npages)
{
    uint64_t slots = extent_round(npages);

    if (slots >= SLOTS_PER_WORD)
        slots_release(sys, first, slots);
    vm_mutex_lock(&sys->extent_lock);
    extents_release(sys->extents, first, slots);
    vm_mutex_unlock(&sys->extent_lock);
}

bool
vm_slot_is_moved(struct vm_system *sys, uint64_t slot)
{
    return (atomic_load(&sys->moved[slot / SLOTS_PER_WORD]) >> slot % SLOTS_PER_WORD & 1) != 0;
}

bool
vm_slots_are_moved(struct vm_system *sys, uint64_t slot, uint64_t npages)
{
    assert(slot % SLOTS_PER_WORD == 0 && npages % SLOTS_PER_WORD == 0);
    for (uint64_t i = 0; i < npages; i += SLOTS_PER_WORD) {
        if (atomic_load(&sys->moved[(slot + i) / SLOTS_PER_WORD]) != 0)
            return true;
    }
    return false;
}

void
vm_slot_set_moved(struct vm_system *sys, uint64_t slot, bool moved)
{
    _Atomic uint64_t *word = &sys->moved[slot / SLOTS_PER_WORD];
    uint64_t bit = (uint64_t)1 << (slot % SLOTS_PER_WORD);

    if (vm_slot_is_moved(sys, slot) == moved)
        return;
    if (moved) {
        atomic_fetch_or(word, bit);
        atomic_fetch_add(&sys->moved_slots, 1);
    } else {
        atomic_fetch_and(word, ~bit);
        atomic_fetch_sub(&sys->moved_slots, 1);
    }
}
