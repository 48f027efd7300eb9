/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap pager; see swap_pager.h.
 *
 * An object's index is a tree of blocks, each with the slots of BLOCK_PAGES pages; a
 * block without a slot is freed.
 *
 * Invariant: a page's slot changes only while the page is busy with the caller or not
 * resident with O held.
 */
#include "vmm/pager/swap_pager.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_PAGES 16
#define NO_SLOT UINT32_MAX

/* The slots of pages [key * BLOCK_PAGES, (key + 1) * BLOCK_PAGES). */
struct swap_block {
    RB_ENTRY(swap_block) link;
    uint64_t key;
    unsigned used;
    uint32_t slot[BLOCK_PAGES];
};

RB_HEAD(swap_tree, swap_block);

/* What vm_object.swap points to. */
struct swap_index {
    struct swap_device *device; /* (c) borrowed */
    struct vm_mutex lock;       /* index */
    struct swap_tree blocks;    /* index: owned */
    uint64_t count;             /* index: slots */
};

/* --- An object's index --------------------------------------------------- */

static int
block_compare(const struct swap_block *a, const struct swap_block *b)
{
    return (a->key > b->key) - (a->key < b->key);
}

RB_GENERATE_INTERNAL(swap_tree, swap_block, link, block_compare, __attribute__((unused)) static)

static struct swap_block *
block_find(struct swap_index *index, vm_pindex_t pindex)
{
    struct swap_block key = { .key = pindex / BLOCK_PAGES };

    return RB_FIND(swap_tree, &index->blocks, &key);
}

static struct swap_block *
block_create(struct swap_index *index, vm_pindex_t pindex)
{
    struct swap_block *block = malloc(sizeof(*block));

    if (block == NULL)
        return NULL;
    block->key = pindex / BLOCK_PAGES;
    block->used = 0;
    for (unsigned i = 0; i < BLOCK_PAGES; i++)
        block->slot[i] = NO_SLOT;
    RB_INSERT(swap_tree, &index->blocks, block);
    return block;
}

/* The page's slot, or NO_SLOT. */
static uint32_t
index_slot(struct swap_index *index, vm_pindex_t pindex)
{
    const struct swap_block *block = block_find(index, pindex);

    return block != NULL ? block->slot[pindex % BLOCK_PAGES] : NO_SLOT;
}

/* Give the page a slot; it has none.  Returns false when there is no memory. */
static bool
index_set(struct swap_index *index, vm_pindex_t pindex, uint32_t slot)
{
    struct swap_block *block = block_find(index, pindex);

    if (block == NULL)
        block = block_create(index, pindex);
    if (block == NULL)
        return false;
    assert(block->slot[pindex % BLOCK_PAGES] == NO_SLOT);
    block->slot[pindex % BLOCK_PAGES] = slot;
    block->used++;
    index->count++;
    return true;
}

/* Take slot i out of a block, which may go.  Returns the slot. */
static uint32_t
block_take(struct swap_index *index, struct swap_block *block, unsigned i)
{
    uint32_t slot = block->slot[i];

    block->slot[i] = NO_SLOT;
    index->count--;
    if (--block->used == 0) {
        RB_REMOVE(swap_tree, &index->blocks, block);
        free(block);
    }
    return slot;
}

/* Free the page's slot if it has one. */
static void
index_clear(struct swap_index *index, vm_pindex_t pindex)
{
    struct swap_block *block = block_find(index, pindex);

    if (block != NULL && block->slot[pindex % BLOCK_PAGES] != NO_SLOT)
        swap_slot_free(index->device, block_take(index, block, (unsigned)(pindex % BLOCK_PAGES)));
}

static struct swap_index *
index_of(const struct vm_object *object)
{
    return object->swap;
}

/* How many pages in direction `step` have the slots that follow the page's the same way. */
static unsigned
index_run(struct swap_index *index, vm_pindex_t pindex, int step, uint64_t room)
{
    uint32_t slot = index_slot(index, pindex);
    unsigned run = 0;

    while (run < SWAP_CLUSTER && run < room) {
        int64_t distance = step * (int64_t)(run + 1);
        uint32_t other = index_slot(index, pindex + (uint64_t)distance);

        if (other == NO_SLOT || (int64_t)other != (int64_t)slot + distance)
            break;
        run++;
    }
    return run;
}

/* --- The pager ----------------------------------------------------------- */

static bool
swap_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    struct swap_index *index = index_of(object);
    bool has;

    vm_mutex_lock(&index->lock);
    has = pindex < object->size && index_slot(index, pindex) != NO_SLOT;
    if (before != NULL)
        *before = has ? index_run(index, pindex, -1, pindex) : 0;
    if (after != NULL)
        *after = has ? index_run(index, pindex, 1, object->size - pindex - 1) : 0;
    vm_mutex_unlock(&index->lock);
    return has;
}

/* How many pages from m[0] on have slots in a row; 0 = the first has none. */
static unsigned
read_run(struct swap_index *index, struct vm_page **m, unsigned count, uint64_t *slot)
{
    vm_pindex_t pindex = vm_page_pindex(m[0]);
    uint32_t first;
    unsigned run;

    vm_mutex_lock(&index->lock);
    first = index_slot(index, pindex);
    run = first != NO_SLOT ? index_run(index, pindex, 1, count - 1) + 1 : 0;
    vm_mutex_unlock(&index->lock);
    *slot = first;
    return run;
}

static enum vm_pager_result
swap_getpages(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage,
              bool *done)
{
    struct swap_index *index = index_of(object);
    enum vm_pager_result result = VM_PAGER_FAIL;
    unsigned run;

    memset(done, 0, count * sizeof(*done));
    for (unsigned i = 0; i < count; i += run != 0 ? run : 1) {
        uint64_t slot;

        run = read_run(index, &m[i], count - i, &slot);
        for (unsigned j = i; j < i + run; j++)
            vm_page_flag_clear(m[j], VM_PAGE_ZERO);
        swap_device_read(index->device, &m[i], run, slot,
                         reqpage >= i && reqpage < i + run ? reqpage - i : run, &done[i]);
        if (reqpage >= i && reqpage < i + run)
            result = done[reqpage] ? VM_PAGER_OK : VM_PAGER_ERROR;
    }
    return result;
}

/* The page's slot now, or NO_SLOT. */
static uint32_t
current_slot(struct swap_index *index, vm_pindex_t pindex)
{
    uint32_t slot;

    vm_mutex_lock(&index->lock);
    slot = index_slot(index, pindex);
    vm_mutex_unlock(&index->lock);
    return slot;
}

/* What was read counts only if it was the page's slot all the time. */
static enum vm_pager_result
swap_peek(struct vm_object *object, vm_pindex_t pindex, void *page)
{
    struct swap_index *index = index_of(object);
    uint32_t slot = current_slot(index, pindex);
    int error;

    if (slot == NO_SLOT)
        return VM_PAGER_FAIL;
    error = swap_device_peek(index->device, slot, page);
    if (current_slot(index, pindex) != slot)
        return VM_PAGER_FAIL;
    return error == 0 ? VM_PAGER_OK : VM_PAGER_ERROR;
}

/* Forget where the pages were before: that copy is out of date. */
static void
write_forget(struct swap_index *index, vm_pindex_t pindex, unsigned count)
{
    vm_mutex_lock(&index->lock);
    for (unsigned i = 0; i < count; i++)
        index_clear(index, pindex + i);
    vm_mutex_unlock(&index->lock);
}

/*
 * Give the pages from pindex on slots in a row, as many as there are, at most count.
 * Returns how many have one now; with 0 *result says why.
 */
static unsigned
write_prepare(struct swap_index *index, vm_pindex_t pindex, unsigned count, uint64_t *slot,
              enum vm_pager_result *result)
{
    int run = swap_slots_alloc(index->device, count, slot);
    int noted = 0;

    if (run <= 0) {
        if (run < 0)
            swap_device_note(index->device, run);
        *result = run < 0 ? VM_PAGER_ERROR : VM_PAGER_FAIL;
        return 0;
    }
    vm_mutex_lock(&index->lock);
    while (noted < run &&
           index_set(index, pindex + (unsigned)noted, (uint32_t)(*slot + (unsigned)noted)))
        noted++;
    vm_mutex_unlock(&index->lock);
    for (int i = noted; i < run; i++)
        swap_slot_free(index->device, *slot + (unsigned)i);
    if (noted == 0) {
        swap_device_note(index->device, -ENOMEM);
        *result = VM_PAGER_ERROR;
    }
    return (unsigned)noted;
}

/* After the write: what succeeded is clean, what failed has no slot.  Did all succeed? */
static bool
write_finish(struct swap_index *index, struct vm_page **m, unsigned count, const bool *done)
{
    bool all = true;

    for (unsigned i = 0; i < count; i++) {
        if (done[i]) {
            atomic_store(&m[i]->dirty, 0);
        } else {
            write_forget(index, vm_page_pindex(m[i]), 1);
            all = false;
        }
    }
    return all;
}

static enum vm_pager_result
swap_putpages(struct vm_object *object, struct vm_page **m, unsigned count, bool *done)
{
    struct swap_index *index = index_of(object);
    vm_pindex_t pindex = vm_page_pindex(m[0]);
    enum vm_pager_result result = VM_PAGER_OK;
    unsigned run;

    memset(done, 0, count * sizeof(*done));
    write_forget(index, pindex, count);
    for (unsigned i = 0; i < count; i += run) {
        uint64_t slot;

        run = write_prepare(index, pindex + i, count - i, &slot, &result);
        if (run == 0)
            break;
        swap_device_write(index->device, &m[i], run, slot, &done[i]);
        if (!write_finish(index, &m[i], run, &done[i]))
            result = VM_PAGER_ERROR;
    }
    return result;
}

static void
swap_freespace(struct vm_object *object, vm_pindex_t pindex, uint64_t npages)
{
    struct swap_index *index = index_of(object);
    struct swap_block key = { .key = pindex / BLOCK_PAGES };
    struct swap_block *block, *next;

    vm_mutex_lock(&index->lock);
    for (block = RB_NFIND(swap_tree, &index->blocks, &key); block != NULL; block = next) {
        vm_pindex_t first = block->key * BLOCK_PAGES;

        next = RB_NEXT(swap_tree, &index->blocks, block);
        if (first >= pindex && first - pindex >= npages)
            break;
        for (unsigned i = 0, left = block->used; i < BLOCK_PAGES && left != 0; i++) {
            if (block->slot[i] == NO_SLOT)
                continue;
            left--;
            if (first + i >= pindex && first + i - pindex < npages)
                swap_slot_free(index->device, block_take(index, block, i));
        }
    }
    vm_mutex_unlock(&index->lock);
}

static int
swap_adopt(struct vm_object *object)
{
    struct swap_index *index = malloc(sizeof(*index));

    if (index == NULL)
        return -ENOMEM;
    index->device = object->sys->swap;
    index->count = 0;
    vm_mutex_init(&index->lock);
    RB_INIT(&index->blocks);
    object->swap = index;
    object->type = OBJT_SWAP;
    object->pager = object->sys->swap_pager;
    return 0;
}

static void
swap_dealloc(struct vm_object *object)
{
    struct swap_index *index = index_of(object);

    swap_freespace(object, 0, object->size);
    assert(index->count == 0);
    vm_mutex_fini(&index->lock);
    free(index);
    object->swap = NULL;
}

/* Does `to` want page t of its own?  Then it has none yet. */
static bool
move_wanted(struct vm_object *to, vm_pindex_t t) VM_REQUIRES(to->lock)
{
    return t < to->size && vm_page_lookup(to, t) == NULL && index_slot(index_of(to), t) == NO_SLOT;
}

/*
 * Move what the block has.  A slot is noted in `to` before it is taken from `from`;
 * nobody else looks at either in between, since both O are held.
 */
static int
move_block(struct swap_index *from, struct swap_block *block, struct vm_object *to,
           vm_pindex_t offset) VM_REQUIRES(to->lock)
{
    vm_pindex_t first = block->key * BLOCK_PAGES;

    for (unsigned i = 0, left = block->used; i < BLOCK_PAGES && left != 0; i++) {
        if (block->slot[i] == NO_SLOT)
            continue;
        left--;
        if (first + i < offset || !move_wanted(to, first + i - offset)) {
            swap_slot_free(from->device, block_take(from, block, i));
            continue;
        }
        if (!index_set(index_of(to), first + i - offset, block->slot[i]))
            return -ENOMEM;
        (void)block_take(from, block, i);
    }
    return 0;
}

/* The shadowing object's index comes before its backing object's, as their O do. */
static int
swap_move(struct vm_object *from_object, struct vm_object *to, vm_pindex_t offset)
    VM_REQUIRES(to->lock)
{
    struct swap_index *from = index_of(from_object);
    struct swap_block *block, *next;
    int error = 0;

    vm_mutex_lock(&index_of(to)->lock);
    vm_mutex_lock(&from->lock);
    for (block = RB_MIN(swap_tree, &from->blocks); block != NULL && error == 0; block = next) {
        next = RB_NEXT(swap_tree, &from->blocks, block);
        error = move_block(from, block, to, offset);
    }
    vm_mutex_unlock(&from->lock);
    vm_mutex_unlock(&index_of(to)->lock);
    return error;
}

static bool
swap_keeps(const struct vm_object *object)
{
    return swap_device_is_roomy(index_of(object)->device);
}

static bool
swap_same(struct vm_object *object, vm_pindex_t pindex, const void *page)
{
    struct swap_index *index = index_of(object);
    uint32_t slot = current_slot(index, pindex);

    return slot != NO_SLOT && swap_device_has(index->device, slot, page);
}

static int
swap_error(const struct vm_object *object)
{
    return swap_device_error(object->sys->swap);
}

static const struct vm_pager_ops swap_pager_ops = {
    .name = "swap",
    .haspage = swap_haspage,
    .getpages = swap_getpages,
    .peek = swap_peek,
    .putpages = swap_putpages,
    .error = swap_error,
    .dealloc = swap_dealloc,
    .adopt = swap_adopt,
    .freespace = swap_freespace,
    .move = swap_move,
    .keeps = swap_keeps,
    .same = swap_same,
};

uint64_t
swap_pager_count(struct vm_object *object)
{
    struct swap_index *index;
    uint64_t count = 0;

    vm_mutex_lock(&object->lock);
    index = index_of(object);
    if (index != NULL) {
        vm_mutex_lock(&index->lock);
        count = index->count;
        vm_mutex_unlock(&index->lock);
    }
    vm_mutex_unlock(&object->lock);
    return count;
}

void
swap_device_attach(struct swap_device *device, struct vm_system *sys)
{
    assert(sys->swap == NULL);
    sys->swap = device;
    sys->swap_pager = &swap_pager_ops;
}
