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

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPARE_SLOTS 1024

/* Opening a FIFO must not wait for its other end; files and block devices ignore O_NONBLOCK. */
#define OPEN_FLAGS (O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

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

static const struct swap_device_io host_io = {
    .read = preadv,
    .write = pwritev,
};

/* ---- Slots. ---- */

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

unsigned
swap_slots_alloc(struct swap_device *device, unsigned n, uint64_t *slot)
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

void
swap_slot_free(struct swap_device *device, uint64_t slot)
{
    vm_mutex_lock(&device->lock);
    assert(slot < device->npages && slot_used(device, slot));
    device->bitmap[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    device->used--;
    device->longest = SWAP_CLUSTER;
    vm_mutex_unlock(&device->lock);
}

/* ---- Moving bytes. ---- */

void
swap_device_note(struct swap_device *device, int error)
{
    atomic_store(&device->error, error);
}

void
swap_device_transfer(struct swap_device *device, struct vm_page **m, unsigned count, uint64_t slot,
                     bool *done, bool reading)
{
    struct page_io io = {
        .call = reading ? device->io->read : device->io->write,
        .fd = device->fd,
        .m = m,
        .done = done,
        .start = slot << PAGE_SHIFT,
        .size = (uint64_t)count << PAGE_SHIFT,
    };

    for (unsigned i = 0; i < count; i++)
        done[i] = true;
    page_io_run(&io);
    if (io.error != 0)
        swap_device_note(device, io.error);
}

/* ---- Opening and closing. ---- */

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
