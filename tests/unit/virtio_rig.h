/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver's side of a virtqueue, in a guest memory that is an array: rings at fixed places, and
 * descriptors written one by one, so that a test can also write them wrong.
 */
#ifndef VIRTIO_RIG_H
#define VIRTIO_RIG_H

#include "vmm/device/virtqueue.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/virtio_ring.h>

#define RIG_MEMORY 0x40000u
#define RIG_DESCRIPTORS 0x1000u
#define RIG_DRIVER 0x2000u
#define RIG_DEVICE 0x3000u
#define RIG_INDIRECT 0x4000u
#define RIG_DATA 0x8000u

#define F_READ 0
#define F_WRITE VRING_DESC_F_WRITE
#define F_NEXT VRING_DESC_F_NEXT
#define F_INDIRECT VRING_DESC_F_INDIRECT

struct virtio_rig {
    uint8_t *memory; /* owned: RIG_MEMORY bytes */
    struct virtqueue_layout at;
    uint16_t offered; /* the available ring's index */
    /* What the device does: */
    int error;             /* what reads and writes return instead, unless 0 */
    _Atomic unsigned turn; /* 1 between enter and leave, else 0 */
    _Atomic unsigned nturns;
    bool turns; /* memory may be touched within turns only, and fetched outside them */
    uint8_t fetched[RIG_MEMORY]; /* by the device's thread; read when it is done */
    _Atomic uint32_t used;       /* the last index that it wrote to the used ring, | 0x10000 */
};

void virtio_rig_init(struct virtio_rig *rig, unsigned queue_size);
void virtio_rig_fini(struct virtio_rig *rig);

/* The memory of the rig; an access outside is -EFAULT. */
struct virtio_memory virtio_rig_memory(struct virtio_rig *rig);

/* Were all of these bytes fetched? */
bool virtio_rig_fetched(const struct virtio_rig *rig, uint64_t at, uint64_t size);

/* virtio_blk's enter and leave. */
void virtio_rig_enter(void *context);
void virtio_rig_leave(void *context);

uint16_t virtio_rig_word(const struct virtio_rig *rig, uint64_t at);
void virtio_rig_set_word(struct virtio_rig *rig, uint64_t at, uint16_t value);

/* Write descriptor i of the table at `table`. */
void virtio_rig_descriptor(struct virtio_rig *rig, uint64_t table, unsigned i, uint64_t address,
                           uint32_t size, uint16_t flags, uint16_t next);

/* Make a chain available; and tell how many were used, and the last of them. */
void virtio_rig_offer(struct virtio_rig *rig, uint16_t head);
uint16_t virtio_rig_used(const struct virtio_rig *rig, uint32_t *head, uint32_t *written);

#endif
