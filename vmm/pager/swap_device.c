/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap device; see swap_device.h.
 *
 * Slots are bits in a bitmap.  An allocation asks for a run and takes the first that is
 * long enough from where the last one ended, in a part of the device that is about twice
 * what is in use; if there is none, for half as many.  A length that was not found is not
 * looked for again until something is freed, so a nearly full device costs little.
 */
#include "vmm/pager/swap_device.h"

#include "vmm/base/failure.h"
#include "vmm/pager/swap_sums.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPARE_SLOTS 1024

/* Opening a FIFO must not wait for its other end; files and block devices ignore O_NONBLOCK. */
#define OPEN_FLAGS (O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* What somebody was told about. */
struct loss {
    uint64_t slot;
    int error; /* negative errno */
};

struct swap_device {
    int fd;                                        /* (c) owned */
    char *path;                                    /* (c) owned: as messages name it */
    uint64_t npages;                               /* (c) */
    const struct swap_device_io *io;               /* (c) borrowed */
    void (*lost)(void *context, const char *line); /* (c) NULL = nobody is told */
    void *lost_context;                            /* (c) borrowed */
    _Atomic int error;                             /* (a) negative errno of the latest failure */
    struct vm_mutex lock;                          /* swap */
    uint64_t *bitmap;                              /* swap: owned; bits beyond npages are set */
    uint64_t used;                                 /* swap: slots */
    uint64_t next;                                 /* swap: where to look first */
    unsigned longest;                              /* swap: no free run is known to be longer */
    struct swap_sums *sums; /* swap: owned; the sum of a slot in use is its owner's */
    struct loss told;       /* swap: the last one */
    unsigned ntold;         /* swap */
};

static const struct swap_device_io host_io = {
    .read = preadv,
    .write = pwritev,
};

/* --- Slots --------------------------------------------------------------- */

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

/* Returns how many of the n slots are in use now; fewer when memory for their sums runs out. */
static unsigned
slot_mark(struct swap_device *device, uint64_t slot, unsigned n)
{
    unsigned marked = 0;

    while (marked < n && swap_sums_use(device->sums, slot + marked)) {
        device->bitmap[(slot + marked) / 64] |= (uint64_t)1 << ((slot + marked) % 64);
        marked++;
    }
    device->used += marked;
    device->next = slot + marked;
    return marked;
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

int
swap_slots_alloc(struct swap_device *device, unsigned n, uint64_t *slot)
{
    uint64_t found = device->npages, end;
    int taken = 0;

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
        taken = (int)slot_mark(device, found, n);
    vm_mutex_unlock(&device->lock);
    *slot = found;
    return n != 0 && taken == 0 ? -ENOMEM : taken;
}

void
swap_slot_free(struct swap_device *device, uint64_t slot)
{
    vm_mutex_lock(&device->lock);
    assert(slot < device->npages && slot_used(device, slot));
    device->bitmap[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    swap_sums_free(device->sums, slot);
    device->used--;
    device->longest = SWAP_CLUSTER;
    vm_mutex_unlock(&device->lock);
}

bool
swap_device_is_roomy(struct swap_device *device)
{
    return swap_device_used(device) < device->npages - device->npages / 8;
}

/* --- Moving bytes -------------------------------------------------------- */

void
swap_device_note(struct swap_device *device, int error)
{
    atomic_store(&device->error, error);
}

/* Is the loss to be told, and is it the last one that is? */
static bool
loss_is_news(struct swap_device *device, uint64_t slot, int error, bool *last)
{
    bool news;

    vm_mutex_lock(&device->lock);
    news = device->ntold < SWAP_LOSSES_TOLD &&
           (device->told.slot != slot || device->told.error != error);
    if (news) {
        device->told = (struct loss){ .slot = slot, .error = error };
        device->ntold++;
    }
    *last = device->ntold == SWAP_LOSSES_TOLD;
    vm_mutex_unlock(&device->lock);
    return news;
}

static const char *
loss_cause(int error)
{
    switch (error) {
    case -ENODATA:
        return "the file ends before it: it was made shorter while it was in use";
    case -EBADMSG:
        return "it is not what was written there: the file was changed while it was in use, or "
               "its disk is failing";
    default:
        return strerror(-error);
    }
}

static void
tell_loss(struct swap_device *device, uint64_t slot, int error)
{
    char line[1024];
    bool last;

    if (device->lost == NULL || !loss_is_news(device, slot, error, &last))
        return;
    snprintf(line, sizeof(line),
             "swap " FAILURE_NAME ": the page at offset %" PRIu64 " cannot be read: %s%s",
             device->path, slot << PAGE_SHIFT, loss_cause(error),
             last ? " (more of these are only counted)" : "");
    device->lost(device->lost_context, line);
}

static void
transfer_init(struct page_io *io, const struct swap_device *device, struct vm_page **m,
              unsigned count, uint64_t slot, bool *done)
{
    *io = (struct page_io){
        .fd = device->fd,
        .m = m,
        .done = done,
        .start = slot << PAGE_SHIFT,
        .size = (uint64_t)count << PAGE_SHIFT,
    };
    for (unsigned i = 0; i < count; i++)
        done[i] = true;
}

/* What was read is right only if it has the sum of what was written. */
static void
check_pages(struct swap_device *device, struct page_io *io, unsigned count, uint64_t slot)
{
    for (unsigned i = 0; i < count; i++) {
        if (!io->done[i] || swap_sums_match(device->sums, slot + i, vm_page_address(io->m[i])))
            continue;
        io->done[i] = false;
        io->why[i] = -EBADMSG;
        io->error = -EBADMSG;
    }
}

void
swap_device_read(struct swap_device *device, struct vm_page **m, unsigned count, uint64_t slot,
                 unsigned needed, bool *done)
{
    int why[SWAP_CLUSTER + 1];
    struct page_io io;

    assert(count <= SWAP_CLUSTER + 1);
    transfer_init(&io, device, m, count, slot, done);
    io.call = device->io->read;
    io.end = -ENODATA;
    io.why = why;
    page_io_run(&io);
    check_pages(device, &io, count, slot);
    if (io.error != 0)
        swap_device_note(device, io.error);
    if (needed < count && !done[needed])
        tell_loss(device, slot + needed, why[needed]);
}

int
swap_device_peek(struct swap_device *device, uint64_t slot, void *page)
{
    int got = page_io_peek(device->io->read, device->fd, slot << PAGE_SHIFT, page);

    if (got < 0)
        return got;
    if ((uint64_t)got < PAGE_SIZE)
        return -ENODATA;
    return swap_sums_match(device->sums, slot, page) ? 0 : -EBADMSG;
}

bool
swap_device_has(const struct swap_device *device, uint64_t slot, const void *page)
{
    return swap_sums_match(device->sums, slot, page);
}

void
swap_device_write(struct swap_device *device, struct vm_page **m, unsigned count, uint64_t slot,
                  bool *done)
{
    struct page_io io;

    for (unsigned i = 0; i < count; i++)
        swap_sums_set(device->sums, slot + i, vm_page_address(m[i]));
    transfer_init(&io, device, m, count, slot, done);
    io.call = device->io->write;
    io.end = -EIO;
    page_io_run(&io);
    if (io.error != 0)
        swap_device_note(device, io.error);
}

void
swap_device_on_loss(struct swap_device *device, void (*lost)(void *context, const char *line),
                    void *context)
{
    device->lost = lost;
    device->lost_context = context;
}

/* --- Opening and closing ------------------------------------------------- */

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

static void
device_free(struct swap_device *device)
{
    free(device->bitmap);
    free(device->path);
    if (device->sums != NULL)
        swap_sums_destroy(device->sums);
    free(device);
}

/* The path in memory of the device's own, or NULL. */
static char *
path_copy(const char *path)
{
    size_t size = strlen(path) + 1;
    char *copy = malloc(size);

    return copy != NULL ? memcpy(copy, path, size) : NULL;
}

static struct swap_device *
device_new(int fd, const char *path, uint64_t npages, const struct swap_device_io *io)
{
    struct swap_device *device = malloc(sizeof(*device));
    uint64_t words = (npages + 63) / 64;

    if (device == NULL)
        return NULL;
    *device = (struct swap_device){ .fd = fd, .npages = npages, .io = io, .longest = SWAP_CLUSTER };
    device->bitmap = calloc(words, sizeof(*device->bitmap));
    device->path = path_copy(path);
    device->sums = swap_sums_create(npages);
    if (device->bitmap == NULL || device->path == NULL || device->sums == NULL) {
        device_free(device);
        return NULL;
    }
    if (npages % 64 != 0)
        device->bitmap[words - 1] = UINT64_MAX << (npages % 64);
    vm_mutex_init(&device->lock);
    return device;
}

static int
open_path(const char *path, int flags, const struct swap_device_io *io)
{
    return io->open != NULL ? io->open(path, flags, 0600) : open(path, flags, 0600);
}

/* Make an empty file if there is nothing. */
static int
make_file(const char *path, const struct swap_device_io *io)
{
    int fd = open_path(path, OPEN_FLAGS | O_CREAT, io);

    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/*
 * Returns the descriptor or -errno.  O_EXCL is a block device's here: the host has it mounted,
 * swaps to it or the like, or it is ours alone from now on.  So it is never beside O_CREAT,
 * where it would mean something else; files ignore it.
 */
static int
open_exclusive(const char *path, bool create, const struct swap_device_io *io)
{
    int fd = open_path(path, OPEN_FLAGS | O_EXCL, io);
    int error;

    if (fd >= 0)
        return fd;
    if (errno != ENOENT)
        return -errno;
    if (!create)
        return -EINVAL;
    error = make_file(path, io);
    if (error != 0)
        return error;
    fd = open_path(path, OPEN_FLAGS | O_EXCL, io);
    return fd < 0 ? -errno : fd;
}

int
swap_device_open_io(const char *path, uint64_t max_pages, const struct swap_device_io *io,
                    struct swap_device **devicep)
{
    int fd = open_exclusive(path, max_pages != 0, io);
    struct swap_device *device;
    uint64_t npages = 0;
    int error;

    if (fd < 0)
        return fd;
    error = device_check(fd, max_pages, &npages);
    if (error != 0) {
        close(fd);
        return error;
    }
    device = device_new(fd, path, npages, io);
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
    device_free(device);
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
