/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio block device.
 *
 * A request is work in turns: with guest memory, and with the disk (virtio_worker.h).  Before each
 * turn with memory the worker asks whether the VM has ended, and then whether the driver has stopped
 * the queue since the request was taken: `generation`.
 */
#include "vmm/device/virtio_blk.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is moved between two looks at the VM. */
#define BUFFER_SIZE ((size_t)128 << 10)

/* Ranges of one discard or write-zeroes request, and the sectors of each: a GiB. */
#define RANGES_MAX 32u
#define RANGE_SECTORS_MAX (1u << 21)

#define FEATURE(name) ((uint64_t)1 << (name))

struct virtio_blk {
    struct virtio_blk_setup setup;  /* (c) disk owned */
    struct virtio_blk_config space; /* (c) */
    struct virtio_device device;
    struct virtio_worker worker;
    struct virtqueue queue; /* ring */
    uint64_t features;      /* ring: agreed on */
    unsigned generation;    /* ring: how often the queue was stopped */
    /* The worker's: */
    unsigned ntold;
    struct virtqueue_layout rings; /* where the queue was when it was last looked at */
    struct virtqueue_chain chain;  /* the request's */
    uint8_t *buffer;               /* owned: BUFFER_SIZE bytes */
};

/* A request under way, whose chain is blk->chain. */
struct request {
    unsigned generation;
    bool write_through; /* what is written is to be safe at once */
    uint32_t type;
    uint64_t sector;
    uint64_t size;    /* bytes of data, without header and status */
    uint64_t written; /* ... that are in guest memory */
};

/* --- Turns ------------------------------------------------------------------ */

/* Bytes of the request's chain that a turn needs: of what the device writes, or reads. */
struct span {
    bool written;
    uint64_t offset;
    uint64_t size;
};

/*
 * A turn for a request.  Its bytes are brought in before it, so that whoever pauses the VM need not wait
 * for a slow swap device.  Returns false when nobody waits for the request's answer any more.
 */
static bool
enter_for(struct virtio_blk *blk, const struct request *request, const struct span *span)
    VM_TRY_ACQUIRES(true, &blk->worker.ring) VM_NO_LOCK_ANALYSIS
{
    if (!virtio_worker_begin(&blk->worker))
        return false;
    virtqueue_fetch(&blk->setup.memory, &blk->chain, span->written, span->offset, span->size);
    virtio_worker_enter(&blk->worker);
    if (blk->generation == request->generation && blk->queue.ready)
        return true;
    virtio_worker_leave(&blk->worker);
    return false;
}

/* Copy data of the request to the guest, or from it. */
static int
give_data(struct virtio_blk *blk, struct request *request, uint64_t offset, size_t size)
{
    int error;

    if (!enter_for(blk, request, &(struct span){ true, offset, size }))
        return -ECANCELED;
    error = virtqueue_write(&blk->queue, &blk->chain, offset, blk->buffer, size);
    virtio_worker_leave(&blk->worker);
    if (error == 0)
        request->written = offset + size;
    return error;
}

static int
take_data(struct virtio_blk *blk, const struct request *request, uint64_t offset, size_t size)
{
    uint64_t start = sizeof(struct virtio_blk_outhdr) + offset;
    int error;

    if (!enter_for(blk, request, &(struct span){ false, start, size }))
        return -ECANCELED;
    error = virtqueue_read(&blk->queue, &blk->chain, start, blk->buffer, size);
    virtio_worker_leave(&blk->worker);
    return error;
}

/* --- Requests ---------------------------------------------------------------- */

/* What is behind a disk's failure, and what can be done.  libnbd says ENOTCONN of a server that is gone. */
static const char *
explain(int error)
{
    switch (error) {
    case -ENOSPC:
    case -EDQUOT:
        return "make room where its file is";
    case -ENODATA:
        return "its file was cut: make it as long as it was";
    case -ENOTCONN:
    case -ECONNRESET:
    case -EPIPE:
    case -ESHUTDOWN:
        return "its server is gone: the guest sees I/O errors until it is started anew";
    default:
        return "the guest sees an I/O error";
    }
}

/* What failed in the disk is told; what the guest asked for is its own affair. */
static int
tell(struct virtio_blk *blk, const struct request *request, const char *what, uint64_t offset,
     int error)
{
    char line[192];

    if (error == 0 || error == -ECANCELED || blk->ntold == VIRTIO_BLK_TOLD)
        return error;
    blk->ntold++;
    snprintf(line, sizeof(line), "disk %u: cannot %s at offset %" PRIu64 ": %s: %s",
             blk->setup.index, what, offset, strerror(-error), explain(error));
    if (!enter_for(blk, request, &(struct span){ .size = 0 }))
        return -ECANCELED;
    if (blk->setup.tell != NULL)
        blk->setup.tell(blk->setup.turns.context, line);
    virtio_worker_leave(&blk->worker);
    return error;
}

/* Do the sectors exist? */
static bool
in_disk(const struct virtio_blk *blk, uint64_t sector, uint64_t size)
{
    uint64_t sectors = blk->setup.disk->size / DISK_SECTOR;

    return size % DISK_SECTOR == 0 && size / DISK_SECTOR <= sectors &&
           sector <= sectors - size / DISK_SECTOR;
}

/* How much of a request that is done up to `done` is moved next. */
static size_t
part_of(const struct request *request, uint64_t done)
{
    return (size_t)vm_min(request->size - done, BUFFER_SIZE);
}

/* The handlers of requests return 0, or -EOPNOTSUPP, -ECANCELED: no answer; else it is an I/O error. */
static int
do_in(struct virtio_blk *blk, struct request *request)
{
    struct disk *disk = blk->setup.disk;
    uint64_t start = request->sector * DISK_SECTOR, done;
    int error = in_disk(blk, request->sector, request->size) ? 0 : -EINVAL;

    for (done = 0; error == 0 && done < request->size; done += part_of(request, done)) {
        size_t part = part_of(request, done);

        error = disk->ops->read(disk, blk->buffer, part, start + done);
        error = tell(blk, request, "read", start + done, error);
        if (error == 0)
            error = give_data(blk, request, done, part);
    }
    return error;
}

static int
flush(struct virtio_blk *blk, const struct request *request)
{
    struct disk *disk = blk->setup.disk;

    return disk->read_only ? 0 : tell(blk, request, "flush", 0, disk->ops->flush(disk));
}

static int
do_out(struct virtio_blk *blk, struct request *request)
{
    struct disk *disk = blk->setup.disk;
    uint64_t start = request->sector * DISK_SECTOR, done;
    int error = !disk->read_only && in_disk(blk, request->sector, request->size) ? 0 : -EINVAL;

    for (done = 0; error == 0 && done < request->size; done += part_of(request, done)) {
        size_t part = part_of(request, done);

        error = take_data(blk, request, done, part);
        if (error != 0)
            break;
        error = disk->ops->write(disk, blk->buffer, part, start + done);
        error = tell(blk, request, "write", start + done, error);
    }
    return error == 0 && request->write_through ? flush(blk, request) : error;
}

static int
do_flush(struct virtio_blk *blk, struct request *request)
{
    return flush(blk, request);
}

static int
do_get_id(struct virtio_blk *blk, struct request *request)
{
    size_t size = (size_t)vm_min(request->size, VIRTIO_BLK_ID_BYTES);

    memset(blk->buffer, 0, VIRTIO_BLK_ID_BYTES);
    snprintf((char *)blk->buffer, VIRTIO_BLK_ID_BYTES, "vkvm-disk-%u", blk->setup.index);
    return size == 0 ? 0 : give_data(blk, request, 0, size);
}

/* One range of a discard or write-zeroes request. */
static int
clear_range(struct virtio_blk *blk, const struct request *request,
            const struct virtio_blk_discard_write_zeroes *range)
{
    struct disk *disk = blk->setup.disk;
    uint64_t start = le64toh(range->sector) * DISK_SECTOR;
    uint64_t size = (uint64_t)le32toh(range->num_sectors) * DISK_SECTOR;
    uint32_t flags = le32toh(range->flags);
    bool unmap = flags == VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP && disk->discards;

    if (flags > (request->type == VIRTIO_BLK_T_DISCARD ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
        return -EOPNOTSUPP;
    if (le32toh(range->num_sectors) > RANGE_SECTORS_MAX ||
        !in_disk(blk, le64toh(range->sector), size))
        return -EINVAL;
    if (size == 0)
        return 0;
    if (request->type == VIRTIO_BLK_T_DISCARD)
        return tell(blk, request, "discard", start, disk->ops->discard(disk, size, start));
    return tell(blk, request, "write zeros", start, disk->ops->zero(disk, size, start, unmap));
}

static int
do_ranges(struct virtio_blk *blk, struct request *request)
{
    struct virtio_blk_discard_write_zeroes ranges[RANGES_MAX];
    const struct disk *disk = blk->setup.disk;
    int error;

    if (disk->read_only || request->size == 0 || request->size > sizeof(ranges) ||
        request->size % sizeof(ranges[0]) != 0)
        return -EINVAL;
    if (request->type == VIRTIO_BLK_T_DISCARD && !disk->discards)
        return -EOPNOTSUPP;
    error = take_data(blk, request, 0, request->size);
    if (error != 0)
        return error;
    memcpy(ranges, blk->buffer, request->size);
    for (size_t i = 0; i < request->size / sizeof(ranges[0]) && error == 0; i++)
        error = clear_range(blk, request, &ranges[i]);
    return error == 0 && request->write_through ? flush(blk, request) : error;
}

/* What each type of request does, and whether its data goes to the guest. */
static const struct handler {
    uint32_t type;
    bool gives;
    int (*handle)(struct virtio_blk *blk, struct request *request);
} handlers[] = {
    { VIRTIO_BLK_T_IN, true, do_in },           { VIRTIO_BLK_T_OUT, false, do_out },
    { VIRTIO_BLK_T_FLUSH, false, do_flush },    { VIRTIO_BLK_T_GET_ID, true, do_get_id },
    { VIRTIO_BLK_T_DISCARD, false, do_ranges }, { VIRTIO_BLK_T_WRITE_ZEROES, false, do_ranges },
};

/* Returns the status for the guest, or -ECANCELED. */
static int
handle(struct virtio_blk *blk, struct request *request)
{
    int error = -EOPNOTSUPP;

    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].type != request->type)
            continue;
        request->size = handlers[i].gives ? blk->chain.write_size - 1
                                          : blk->chain.read_size - sizeof(struct virtio_blk_outhdr);
        error = handlers[i].handle(blk, request);
        break;
    }
    if (error == -ECANCELED)
        return error;
    return error == 0             ? VIRTIO_BLK_S_OK
           : error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP
                                  : VIRTIO_BLK_S_IOERR;
}

/* --- The worker -------------------------------------------------------------- */

/* The header of the request that was taken.  Locked: ring. */
static int
read_header(struct virtio_blk *blk, struct request *request)
{
    struct virtio_blk_outhdr header;
    int error;

    if (blk->chain.read_size < sizeof(header) || blk->chain.write_size == 0)
        return virtqueue_break(&blk->queue, "a request without header or status");
    error = virtqueue_read(&blk->queue, &blk->chain, 0, &header, sizeof(header));
    if (error == -EFAULT)
        return virtqueue_break(&blk->queue, "a header that is not in memory");
    *request = (struct request){
        .generation = blk->generation,
        .write_through = (blk->features & FEATURE(VIRTIO_BLK_F_FLUSH)) == 0,
        .type = le32toh(header.type),
        .sector = le64toh(header.sector),
    };
    return error;
}

/* Returns whether there is a request. */
static bool
take_request(struct virtio_blk *blk, struct request *request)
{
    int error;

    if (!virtio_worker_begin(&blk->worker))
        return false;
    virtqueue_fetch_rings(&blk->setup.memory, &blk->rings);
    virtio_worker_enter(&blk->worker);
    blk->rings = blk->queue.at;
    error = virtqueue_take(&blk->queue, &blk->chain);
    if (error == 1) {
        error = read_header(blk, request);
        error = error == 0 ? 1 : error;
    }
    if (error == -EPROTO)
        virtio_need_reset(&blk->device);
    virtio_worker_leave(&blk->worker);
    return error == 1;
}

/* Locked: ring. */
static int
put_status(struct virtio_blk *blk, const struct request *request, uint8_t status, bool *interrupt)
{
    uint64_t last = blk->chain.write_size - 1;
    uint32_t written = (uint32_t)(request->written == last ? last + 1 : request->written);
    int error = virtqueue_write(&blk->queue, &blk->chain, last, &status, sizeof(status));

    if (error == -EFAULT)
        return virtqueue_break(&blk->queue, "a status that is not in memory");
    return error != 0 ? error : virtqueue_put(&blk->queue, blk->chain.head, written, interrupt);
}

static void
finish_request(struct virtio_blk *blk, const struct request *request, uint8_t status)
{
    bool interrupt = false;
    int error;

    if (!enter_for(blk, request, &(struct span){ true, blk->chain.write_size - 1, 1 }))
        return;
    error = put_status(blk, request, status, &interrupt);
    if (error == -EPROTO)
        virtio_need_reset(&blk->device);
    else if (error == 0 && interrupt)
        virtio_interrupt(&blk->device);
    virtio_worker_leave(&blk->worker);
}

static void
serve(void *device)
{
    struct virtio_blk *blk = device;
    struct request request;
    int status;

    while (take_request(blk, &request)) {
        status = handle(blk, &request);
        if (status >= 0)
            finish_request(blk, &request, (uint8_t)status);
    }
}

static void
stop_disk(void *device)
{
    struct virtio_blk *blk = device;

    disk_stop(blk->setup.disk);
}

static void
release(void *device)
{
    struct virtio_blk *blk = device;

    disk_close(blk->setup.disk);
    virtio_fini(&blk->device);
    virtio_worker_fini(&blk->worker);
    free(blk->buffer);
    free(blk);
}

static const struct virtio_worker_ops worker_ops = { serve, stop_disk, release };

/* --- What the driver asks for ------------------------------------------------- */

static int
on_start(void *context, unsigned queue, const struct virtqueue_layout *at, uint64_t features)
{
    struct virtio_blk *blk = context;
    int error;

    (void)queue;
    vm_mutex_lock(&blk->worker.ring);
    blk->features = features;
    error = virtqueue_start(&blk->queue, at, features);
    vm_mutex_unlock(&blk->worker.ring);
    return error;
}

static void
on_stop(void *context, unsigned queue)
{
    struct virtio_blk *blk = context;

    (void)queue;
    vm_mutex_lock(&blk->worker.ring);
    blk->generation++;
    virtqueue_stop(&blk->queue);
    vm_mutex_unlock(&blk->worker.ring);
}

static void
on_notify(void *context)
{
    struct virtio_blk *blk = context;

    virtio_worker_notify(&blk->worker);
}

static const struct virtio_ops blk_ops = {
    .start = on_start,
    .stop = on_stop,
    .notify = on_notify,
};

/* --- Its life ----------------------------------------------------------------- */

static uint64_t
offered_features(const struct disk *disk)
{
    uint64_t features = FEATURE(VIRTIO_BLK_F_SEG_MAX) | FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
                        FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                        FEATURE(VIRTIO_RING_F_EVENT_IDX);

    if (disk->read_only)
        return features | FEATURE(VIRTIO_BLK_F_RO);
    if (disk->discards)
        features |= FEATURE(VIRTIO_BLK_F_DISCARD);
    return features | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
}

/* Two descriptors of a chain are header and status. */
static void
fill_space(struct virtio_blk_config *space, const struct disk *disk)
{
    *space = (struct virtio_blk_config){
        .capacity = htole64(disk->size / DISK_SECTOR),
        .seg_max = htole32(VIRTQUEUE_MAX - 2),
        .blk_size = htole32(disk->block_size),
        .max_discard_sectors = htole32(RANGE_SECTORS_MAX),
        .max_discard_seg = htole32(RANGES_MAX),
        .discard_sector_alignment = htole32(disk->block_size / DISK_SECTOR),
        .max_write_zeroes_sectors = htole32(RANGE_SECTORS_MAX),
        .max_write_zeroes_seg = htole32(RANGES_MAX),
        .write_zeroes_may_unmap = disk->discards,
    };
}

int
virtio_blk_create(const struct virtio_blk_setup *setup, struct virtio_blk **blkp)
{
    struct virtio_blk *blk = malloc(sizeof(*blk));
    uint8_t *buffer = malloc(BUFFER_SIZE);

    if (blk == NULL || buffer == NULL) {
        free(blk);
        free(buffer);
        return -ENOMEM;
    }
    *blk = (struct virtio_blk){ .setup = *setup, .buffer = buffer };
    fill_space(&blk->space, setup->disk);
    virtio_init(&blk->device, &(struct virtio_config){
                                  .id = VIRTIO_ID_BLOCK,
                                  .features = offered_features(setup->disk),
                                  .space = &blk->space,
                                  .space_size = sizeof(blk->space),
                                  .nqueues = 1,
                                  .ops = &blk_ops,
                                  .context = blk,
                                  .line = setup->line,
                              });
    virtio_worker_init(&blk->worker, &worker_ops, blk, &setup->turns);
    virtqueue_init(&blk->queue, &blk->setup.memory);
    *blkp = blk;
    return 0;
}

struct virtio_device *
virtio_blk_device(struct virtio_blk *blk)
{
    return &blk->device;
}

struct virtio_worker *
virtio_blk_worker(struct virtio_blk *blk)
{
    return &blk->worker;
}
