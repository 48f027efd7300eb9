/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a virtio device is to any transport: features, status, configuration, interrupt, and
 * queues.  A device type fills in struct virtio_config; a transport (virtio_mmio.h) offers the
 * rest to the driver.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.1 to 2.4 and 3.
 *
 * Locks: `virtio` guards status and interrupts, and is held while the line is set; innermost but
 * for what sets the line.  The calls to the device type are made without it.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "vmm/device/irq.h"
#include "vmm/device/virtqueue.h"
#include "vmm/vpagetable/vm_lock.h"

/* What the device type does when the driver asks for it, in a vCPU's thread; none waits for I/O. */
struct virtio_ops {
    /* Start a queue; `features` were agreed on.  Returns 0, or -EINVAL: it is broken. */
    int (*start)(void *context, unsigned queue, const struct virtqueue_layout *at,
                 uint64_t features);
    /* Stop it: on return no guest memory is touched for a request of before, nor ever again. */
    void (*stop)(void *context, unsigned queue);
    /* Something is available, perhaps, in whichever queue. */
    void (*notify)(void *context);
};

/* Queues of a device, at most. */
#define VIRTIO_QUEUES_MAX 5u

struct virtio_config {
    uint32_t id;       /* VIRTIO_ID_* */
    uint64_t features; /* offered; VIRTIO_F_VERSION_1 is added */
    const void *space; /* borrowed: the configuration space, constant */
    size_t space_size;
    unsigned nqueues;             /* 1 to VIRTIO_QUEUES_MAX */
    const struct virtio_ops *ops; /* borrowed */
    void *context;                /* borrowed: for ops */
    struct irq_line line;
};

struct virtio_device {
    struct virtio_config config; /* (c) */
    struct vm_mutex lock;        /* virtio: guards the rest */
    unsigned status;             /* VIRTIO_CONFIG_S_* */
    unsigned interrupts;         /* VIRTIO_MMIO_INT_*: not acknowledged yet */
    uint64_t accepted;           /* features, constant once VIRTIO_CONFIG_S_FEATURES_OK is set */
};

void virtio_init(struct virtio_device *device, const struct virtio_config *config);
void virtio_fini(struct virtio_device *device);

/* --- For the transport, in a vCPU's thread ---------------------------------- */

/* The driver accepts these features of word `index`, 32 each; in vain once they are agreed on. */
void virtio_accept(struct virtio_device *device, unsigned index, uint32_t features);

/*
 * The driver writes the status: 0 resets the device, other bits are added.  FEATURES_OK stays clear
 * when the features cannot be, DRIVER_OK while there is no agreement.
 */
void virtio_set_status(struct virtio_device *device, unsigned status);

unsigned virtio_status(struct virtio_device *device);

/*
 * The driver has set a queue, which the device has, up.  In vain before FEATURES_OK.  Returns whether it
 * runs.
 */
bool virtio_start_queue(struct virtio_device *device, unsigned queue,
                        const struct virtqueue_layout *at);

/* The driver notifies; in vain unless the device runs. */
void virtio_notify(struct virtio_device *device);

unsigned virtio_interrupts(struct virtio_device *device);
void virtio_acknowledge(struct virtio_device *device, unsigned interrupts);

/* --- For the device type, in any thread -------------------------------------- */

/* Requests were given back, and the driver wants to know. */
void virtio_interrupt(struct virtio_device *device);

/* The driver broke a rule: nothing goes on until it resets the device. */
void virtio_need_reset(struct virtio_device *device);

#endif
