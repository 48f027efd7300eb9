/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio memory balloon that is used for one thing only: the guest reports pages that it has freed
 * (free page reporting), and their memory goes.  The balloon stays empty.
 *
 * What is reported is the guest's word only: a range may be anywhere and of any size, and pages of it
 * may be in use.  The device passes ranges on as they are, those that the driver lets it write, and
 * gives the buffer back when their memory is gone; until then the driver does not use it.
 *
 * Queues 0 and 1 are those of the balloon itself: what comes there is given back as it is.  Which
 * queue the reports come through depends on who reads the specification: 4, or, counted without the queues
 * whose features are not offered, 2.  So any behind the first two is one.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 5.5.
 *
 * Locks: the worker's; `ring` is held while memory goes, for VIRTIO_BALLOON_TURN bytes at most.
 */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include "vmm/device/virtio.h"
#include "vmm/device/virtio_worker.h"

struct virtio_balloon; /* virtio_balloon.c */

struct virtio_balloon_setup {
    struct irq_line line;
    struct virtio_memory memory;
    struct virtio_turns turns;
    /* The guest does not use these bytes, any of them: worker's thread, in a turn.  Its context is
     * that of the turns. */
    void (*discard)(void *context, gpa_t gpa, uint64_t size);
};

/* What goes in one turn: whoever pauses the VM waits for that. */
#define VIRTIO_BALLOON_TURN ((uint64_t)16 << 20)

/* Returns 0 and *balloon, or -ENOMEM. */
int virtio_balloon_create(const struct virtio_balloon_setup *setup, struct virtio_balloon **balloon)
    __attribute__((warn_unused_result));

/* What a transport needs. */
struct virtio_device *virtio_balloon_device(struct virtio_balloon *balloon);

/* Who serves it: virtio_worker_start and _stop; virtio_worker_unref frees the device. */
struct virtio_worker *virtio_balloon_worker(struct virtio_balloon *balloon);

#endif
