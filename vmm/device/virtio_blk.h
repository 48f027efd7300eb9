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
 * Locks: the worker's; `ring` is not held while the disk works.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "vmm/device/disk.h"
#include "vmm/device/virtio.h"
#include "vmm/device/virtio_worker.h"

struct virtio_blk; /* virtio_blk.c */

struct virtio_blk_setup {
    struct disk *disk; /* becomes the device's */
    unsigned index;    /* the disk's name for the guest is vkvm-disk-INDEX */
    struct irq_line line;
    struct virtio_memory memory;
    struct virtio_turns turns;
    /* Tell, as one line, that the disk failed; VIRTIO_BLK_TOLD times at most.  Worker's thread. */
    void (*tell)(void *context, const char *line); /* context: that of the turns */
};

#define VIRTIO_BLK_TOLD 8u

/* Returns 0 and *blkp, or -ENOMEM: the disk is still the caller's. */
int virtio_blk_create(const struct virtio_blk_setup *setup, struct virtio_blk **blkp)
    __attribute__((warn_unused_result));

/* What a transport needs. */
struct virtio_device *virtio_blk_device(struct virtio_blk *blk);

/*
 * Who serves it: virtio_worker_start, _stop and _await, which waits for the disk; virtio_worker_unref
 * frees the device.
 */
struct virtio_worker *virtio_blk_worker(struct virtio_blk *blk);

#endif
