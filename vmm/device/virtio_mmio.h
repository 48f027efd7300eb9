/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio over memory-mapped registers, version 2: a page of registers on the bus.
 *
 * Registers are 32 bits wide; what is narrower, wider or beside them reads as zeros and is lost
 * when written, but for the configuration space, which takes 1, 2, 4 and 8 bytes.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 4.2.
 *
 * Locks: the range's, which is therefore not BUS_UNLOCKED; it comes before the device's.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "vmm/device/bus.h"
#include "vmm/device/virtio.h"

#define VIRTIO_MMIO_SIZE 0x1000u

struct virtio_mmio {
    struct virtio_device *device; /* (c) borrowed; the rest is guarded by the range's lock */
    uint32_t features_index;      /* which 32 of the features the driver reads */
    uint32_t accepted_index;      /* ... and writes */
    uint32_t queue_index;         /* which queue the driver asks for, or sets up */
    struct virtio_mmio_queue {
        bool ready; /* it runs, and `at` stays */
        struct virtqueue_layout at;
    } queues[VIRTIO_QUEUES_MAX]; /* as many as the device has */
};

void virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_device *device);

/* bus_access_fn of VIRTIO_MMIO_SIZE bytes of memory. */
int virtio_mmio_access(void *device, const struct bus_access *access);

#endif
