/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio block device: a queue of requests and a disk.
 *
 * One worker serves the queue, one request after the other, so that nobody else waits for the disk
 * or for a page of the guest's.  Data goes through a buffer of the device: while the disk works
 * no guest memory is touched.  That is why the guest may reset the device, the VM may pause, and
 * the VM may end while a request is stuck in the disk; what the disk says then is dropped, or waits.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 5.2.
 *
 * Locks: `ring`: the queue, and all accesses to guest memory; it comes before the map's locks
 * and is not held while the disk works.  `served`: what the worker is to do; innermost.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "vmm/base/workers.h"
#include "vmm/device/disk.h"
#include "vmm/device/virtio.h"

struct virtio_blk; /* virtio_blk.c */

struct virtio_blk_setup {
    struct disk *disk; /* becomes the device's */
    unsigned index;    /* the disk's name for the guest is vkvm-disk-INDEX */
    struct irq_line line;
    struct virtio_memory memory;
    /* The worker begins, before it serves.  NULL = nothing is to be done. */
    void (*begin)(void *context);
    /*
     * Around everything that the worker does with guest memory: the first waits while the VM
     * pauses, the second says that the worker does no more.  NULL = it never pauses.
     */
    void (*enter)(void *context);
    void (*leave)(void *context);
    /* Tell, as one line, that the disk failed; VIRTIO_BLK_TOLD times at most.  Worker's thread. */
    void (*tell)(void *context, const char *line);
    void *context; /* borrowed, until virtio_blk_stop returns */
};

#define VIRTIO_BLK_TOLD 8u

/* Returns 0 and *blkp, or -ENOMEM: the disk is still the caller's. */
int virtio_blk_create(const struct virtio_blk_setup *config, struct virtio_blk **blkp)
    __attribute__((warn_unused_result));

/* What a transport needs. */
struct virtio_device *virtio_blk_device(struct virtio_blk *blk);

/*
 * Have a worker serve the device until virtio_blk_stop.  Its signals are those of the caller.
 * Returns 0; what workers_begin said.
 */
int virtio_blk_start(struct virtio_blk *blk, struct workers *workers)
    __attribute__((warn_unused_result));

/*
 * Nothing more is served: on return no memory of the guest is touched, and nothing of the setup is
 * called, any more.  The memory's functions fail soon by now, and `enter` does not wait.
 */
void virtio_blk_stop(struct virtio_blk *blk);

/*
 * Wait, after virtio_blk_stop, until the worker is done, but no longer than until `deadline`
 * (clock_now_ns).  Returns whether it is: if not, it is stuck in the disk.
 */
bool virtio_blk_await(struct virtio_blk *blk, uint64_t deadline);

/*
 * The device is not needed any more; a worker that is stuck frees it when it comes back.
 * After virtio_blk_stop, unless it was never started.
 */
void virtio_blk_destroy(struct virtio_blk *blk);

#endif
