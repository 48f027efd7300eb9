/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap pager; see swap_pager.h.
 *
 * Slots of a device are bits in a bitmap.  An allocation asks for a run and takes the
 * first that is long enough from where the last one ended, in a part of the device that
 * is about twice what is in use; if there is none, for half as many.  A length that was not found is not looked for again until something is
 * freed, so a nearly full device costs little.
 *
 * An object's index is a tree of blocks, each with the slots of BLOCK_PAGES pages; a
 * block without a slot is freed.
 *
 * Invariants:
 *  1. A bit of the device is set exactly while one page of one object has the slot, or
 *     one thread is about to give it to one.
 *  2. A page's slot changes only while the page is busy with the caller or not
 *     resident with O held.
 */
#include "vmm/pager/swap_pager.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define IOV_BATCH 32
#define BLOCK_PAGES 16
#define SPARE_SLOTS 1024
#define NO_SLOT UINT32_MAX

struct swap_device {
    int fd;                          /* (c) owned */
    uint64_t npages;                 /* (c) */
    const struct swap_device_io *io; /* (c) borrowed */
    _Atomic int error;               /* (a) negative errno of the latest failure */
    struct vm_mutex lock;            /* guards what follows */
    uint64_t *bitmap;                /* owned; bits beyond npages are set */
    uint64_t used;
    uint64_t next;    /* where to look first */
    unsigned longest; /* no free run is known to be longer */
};

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
    struct vm_mutex lock;       /* guards what follows */
    struct swap_tree blocks;
    uint64_t count; /* slots */
};

static const struct swap_device_io host_io = {
    .read = preadv,
    .write = pwritev,
};

/* ---- Slots of a device. ---- */

static bool
slot_used(const struct swap_device *device, uint64_t slot)
{
    return (device->bitmap[slot / 64] >> (slot % 64) & 1) != 0;
}

/* The first free slot at or after `slot`, or npages. */
static uint64_t
slot_next_free(const struct swap_device *device, uint64_t slot)
{
    uint64_t words = (device->npages + 63) / 64;
    uint64_t word = slot / 64;
    uint64_t bits;

    if (slot >= device->npages)
        return device->npages;
    bits = ~device->bitmap[word] & (UINT64_MAX << (slot % 64));
    while (bits == 0) {
        if (++word == words)
            return device->npages;
        bits = ~device->bitmap[word];
    }
    return word * 64 + (unsigned)__builtin_ctzll(bits);
}

/* How many free slots follow each other from `slot` on, at most max. */
static unsigned
slot_run(const struct swap_device *device, uint64_t slot, unsigned max)
{
    unsigned run = 0;

    while (run < max && slot + run < device->npages && !slot_used(device, slot + run))
        run++;
    return run;
}

/* A run of n free slots that begins in [from, end); npages if there is none. */
static uint64_t
slot_find(const struct swap_device *device, uint64_t from, uint64_t end, unsigned n)
{
    while ((from = slot_next_free(device, from)) < end) {
        unsigned run = slot_run(device, from, n);

        if (run == n)
            return from;
        from += run;
    }
    return device->npages;
}

static void
slot_mark(struct swap_device *device, uint64_t slot, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        device->bitmap[(slot + i) / 64] |= (uint64_t)1 << ((slot + i) % 64);
    device->used += n;
    device->next = slot + n;
}

/*
 * Runs begin below this: only about half of it is in use, so there are long ones, and
 * slots are used again before a file grows.
 */
static uint64_t
slots_end(const struct swap_device *device)
{
    uint64_t end = 2 * device->used + SPARE_SLOTS;

    return end < device->npages ? end : device->npages;
}

/* Take up to n slots in a row.  Returns how many, 0 = there is none; *slot is the first. */
static unsigned
slots_alloc(struct swap_device *device, unsigned n, uint64_t *slot)
{
    uint64_t found = device->npages, end;

    vm_mutex_lock(&device->lock);
    end = slots_end(device);
    if (n > device->longest)
        n = device->longest;
    while (n != 0) {
        found = slot_find(device, device->next, end, n);
        if (found == device->npages)
            found = slot_find(device, 0, device->next < end ? device->next : end, n);
        if (found != device->npages)
            break;
        n /= 2;
        device->longest = n;
    }
    if (n != 0)
        slot_mark(device, found, n);
    vm_mutex_unlock(&device->lock);
    *slot = found;
    return n;
}

static void
slot_free(struct swap_device *device, uint64_t slot)
{
    vm_mutex_lock(&device->lock);
    assert(slot < device->npages && slot_used(device, slot));
    device->bitmap[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    device->used--;
    device->longest = SWAP_CLUSTER;
    vm_mutex_unlock(&device->lock);
}

/* ---- An object's index. ---- */

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
        slot_free(index->device, block_take(index, block, (unsigned)(pindex % BLOCK_PAGES)));
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

/* ---- Moving bytes. ---- */

/* A transfer between pages in a row and slots in a row. */
struct transfer {
    struct swap_device *device;
    struct vm_page **m;
    bool *done; /* per page: true until it fails */
    unsigned count;
    uint64_t slot; /* of m[0] */
    uint64_t at;   /* bytes moved or given up so far */
};

/* The memory of what is still to be moved; pages whose frames are neighbours share an entry. */
static int
transfer_iov(const struct transfer *t, struct iovec *iov)
{
    uint64_t size = (uint64_t)t->count << PAGE_SHIFT;
    int count = 0;

    for (uint64_t at = t->at; at < size; at = (at | PAGE_MASK) + 1) {
        uint64_t skip = at & PAGE_MASK;
        uint8_t *base = (uint8_t *)vm_page_address(t->m[at >> PAGE_SHIFT]) + skip;
        size_t length = PAGE_SIZE - skip;

        if (count > 0 && (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len == base)
            iov[count - 1].iov_len += length;
        else if (count == IOV_BATCH)
            break;
        else
            iov[count++] = (struct iovec){ .iov_base = base, .iov_len = length };
    }
    return count;
}

/* Move all bytes by `move`; a page that cannot be moved is stepped over. */
static void
transfer_run(struct transfer *t,
             ssize_t (*move)(int fd, const struct iovec *iov, int count, off_t offset))
{
    uint64_t size = (uint64_t)t->count << PAGE_SHIFT;
    struct iovec iov[IOV_BATCH];

    while (t->at < size) {
        int count = transfer_iov(t, iov);
        ssize_t moved = move(t->device->fd, iov, count, (off_t)((t->slot << PAGE_SHIFT) + t->at));

        if (moved > 0) {
            t->at += (uint64_t)moved;
        } else if (moved == 0 || errno != EINTR) {
            atomic_store(&t->device->error, moved == 0 ? -EIO : -errno);
            t->done[t->at >> PAGE_SHIFT] = false;
            t->at = (t->at | PAGE_MASK) + 1;
        }
    }
}

static void
transfer_pages(struct swap_device *device, struct vm_page **m, unsigned count, uint64_t slot,
               bool *done, bool reading)
{
    struct transfer t = { .device = device, .m = m, .done = done, .count = count, .slot = slot };

    for (unsigned i = 0; i < count; i++)
        done[i] = true;
    transfer_run(&t, reading ? device->io->read : device->io->write);
}

/* ---- The pager. ---- */

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
        transfer_pages(index->device, &m[i], run, slot, &done[i], true);
        if (reqpage >= i && reqpage < i + run)
            result = done[reqpage] ? VM_PAGER_OK : VM_PAGER_ERROR;
    }
    return result;
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
    unsigned run = slots_alloc(index->device, count, slot);
    unsigned noted = 0;

    if (run == 0) {
        *result = VM_PAGER_FAIL;
        return 0;
    }
    vm_mutex_lock(&index->lock);
    while (noted < run && index_set(index, pindex + noted, (uint32_t)(*slot + noted)))
        noted++;
    vm_mutex_unlock(&index->lock);
    for (unsigned i = noted; i < run; i++)
        slot_free(index->device, *slot + i);
    if (noted == 0) {
        atomic_store(&index->device->error, -ENOMEM);
        *result = VM_PAGER_ERROR;
    }
    return noted;
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
        transfer_pages(index->device, &m[i], run, slot, &done[i], false);
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
                slot_free(index->device, block_take(index, block, i));
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
            slot_free(from->device, block_take(from, block, i));
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

static const struct vm_pager_ops swap_pager_ops = {
    .name = "swap",
    .haspage = swap_haspage,
    .getpages = swap_getpages,
    .putpages = swap_putpages,
    .dealloc = swap_dealloc,
    .adopt = swap_adopt,
    .freespace = swap_freespace,
    .move = swap_move,
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

/* ---- The device. ---- */

/* How many pages the device has: what was asked for, or what its size says. */
static int
device_size(int fd, uint64_t max_pages, uint64_t *npages)
{
    struct stat st;
    off_t size;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return -ENODEV;
    size = lseek(fd, 0, SEEK_END);
    if (size < 0)
        return -errno;
    if (S_ISBLK(st.st_mode) && max_pages > (uint64_t)size >> PAGE_SHIFT)
        return -ENOSPC;
    *npages = max_pages != 0 ? max_pages : (uint64_t)size >> PAGE_SHIFT;
    if (*npages > SWAP_PAGES_MAX)
        return -EOVERFLOW;
    return *npages == 0 ? -EINVAL : 0;
}

static int
device_check(int fd, uint64_t max_pages, uint64_t *npages)
{
    int error = device_size(fd, max_pages, npages);

    if (error != 0)
        return error;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    return 0;
}

static struct swap_device *
device_new(int fd, uint64_t npages, const struct swap_device_io *io)
{
    struct swap_device *device = malloc(sizeof(*device));
    uint64_t words = (npages + 63) / 64;

    if (device == NULL)
        return NULL;
    *device = (struct swap_device){ .fd = fd, .npages = npages, .io = io, .longest = SWAP_CLUSTER };
    device->bitmap = calloc(words, sizeof(*device->bitmap));
    if (device->bitmap == NULL) {
        free(device);
        return NULL;
    }
    if (npages % 64 != 0)
        device->bitmap[words - 1] = UINT64_MAX << (npages % 64);
    vm_mutex_init(&device->lock);
    return device;
}

int
swap_device_open_io(const char *path, uint64_t max_pages, const struct swap_device_io *io,
                    struct swap_device **devicep)
{
    /* Opening a FIFO must not wait for its other end; files and block devices ignore the flag. */
    const int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, max_pages != 0 ? flags | O_CREAT : flags, 0600);
    struct swap_device *device;
    uint64_t npages = 0;
    int error;

    if (fd < 0)
        return errno == ENOENT && max_pages == 0 ? -EINVAL : -errno;
    error = device_check(fd, max_pages, &npages);
    if (error != 0) {
        close(fd);
        return error;
    }
    device = device_new(fd, npages, io);
    if (device == NULL) {
        close(fd);
        return -ENOMEM;
    }
    *devicep = device;
    return 0;
}

int
swap_device_open(const char *path, uint64_t max_pages, struct swap_device **devicep)
{
    return swap_device_open_io(path, max_pages, &host_io, devicep);
}

void
swap_device_close(struct swap_device *device)
{
    assert(device->used == 0);
    vm_mutex_fini(&device->lock);
    close(device->fd);
    free(device->bitmap);
    free(device);
}

void
swap_device_attach(struct swap_device *device, struct vm_system *sys)
{
    assert(sys->swap == NULL);
    sys->swap = device;
    sys->swap_pager = &swap_pager_ops;
}

uint64_t
swap_device_pages(const struct swap_device *device)
{
    return device->npages;
}

uint64_t
swap_device_used(struct swap_device *device)
{
    uint64_t used;

    vm_mutex_lock(&device->lock);
    used = device->used;
    vm_mutex_unlock(&device->lock);
    return used;
}

int
swap_device_error(const struct swap_device *device)
{
    return atomic_load(&device->error);
}
