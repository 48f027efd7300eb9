/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What virtio devices share.
 */
#include "vmm/device/virtio.h"

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#define VERSION_1 ((uint64_t)1 << VIRTIO_F_VERSION_1)

#define DRIVER_BITS                                                                     \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

void
virtio_init(struct virtio_device *device, const struct virtio_config *config)
{
    assert(config->nqueues >= 1 && config->nqueues <= VIRTIO_QUEUES_MAX);
    *device = (struct virtio_device){ .config = *config };
    device->config.features |= VERSION_1;
    vm_mutex_init(&device->lock);
}

void
virtio_fini(struct virtio_device *device)
{
    vm_mutex_fini(&device->lock);
}

/* Locked: virtio. */
static void
set_interrupts(struct virtio_device *device, unsigned interrupts)
{
    device->interrupts = interrupts;
    irq_line_set(&device->config.line, interrupts != 0);
}

/* --- The driver's side ------------------------------------------------------ */

void
virtio_accept(struct virtio_device *device, unsigned index, uint32_t features)
{
    unsigned shift = index * 32;

    vm_mutex_lock(&device->lock);
    if (index < 2 && (device->status & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
        device->accepted =
            (device->accepted & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)features << shift;
    vm_mutex_unlock(&device->lock);
}

static void
reset(struct virtio_device *device)
{
    for (unsigned i = 0; i < device->config.nqueues; i++)
        device->config.ops->stop(device->config.context, i);
    vm_mutex_lock(&device->lock);
    device->status = 0;
    device->accepted = 0;
    set_interrupts(device, 0);
    vm_mutex_unlock(&device->lock);
}

/* Which of the bits that the driver wants to add can be.  Locked: virtio. */
static unsigned
allowed(const struct virtio_device *device, unsigned wanted)
{
    wanted &= DRIVER_BITS;
    if ((device->accepted & ~device->config.features) != 0 || (device->accepted & VERSION_1) == 0)
        wanted &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    if (((device->status | wanted) & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
        wanted &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    return wanted;
}

void
virtio_set_status(struct virtio_device *device, unsigned status)
{
    unsigned before;
    bool started;

    if (status == 0) {
        reset(device);
        return;
    }
    vm_mutex_lock(&device->lock);
    before = device->status;
    device->status |= allowed(device, status);
    started = ((device->status & ~before) & VIRTIO_CONFIG_S_DRIVER_OK) != 0;
    vm_mutex_unlock(&device->lock);
    if (started)
        virtio_notify(device);
}

unsigned
virtio_status(struct virtio_device *device)
{
    unsigned status;

    vm_mutex_lock(&device->lock);
    status = device->status;
    vm_mutex_unlock(&device->lock);
    return status;
}

bool
virtio_start_queue(struct virtio_device *device, unsigned queue, const struct virtqueue_layout *at)
{
    const struct virtio_config *config = &device->config;

    if ((virtio_status(device) & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
        return false;
    if (config->ops->start(config->context, queue, at, device->accepted) == 0)
        return true;
    virtio_need_reset(device);
    return false;
}

void
virtio_notify(struct virtio_device *device)
{
    unsigned status = virtio_status(device);

    if ((status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && (status & VIRTIO_CONFIG_S_NEEDS_RESET) == 0)
        device->config.ops->notify(device->config.context);
}

unsigned
virtio_interrupts(struct virtio_device *device)
{
    unsigned interrupts;

    vm_mutex_lock(&device->lock);
    interrupts = device->interrupts;
    vm_mutex_unlock(&device->lock);
    return interrupts;
}

void
virtio_acknowledge(struct virtio_device *device, unsigned interrupts)
{
    vm_mutex_lock(&device->lock);
    set_interrupts(device, device->interrupts & ~interrupts);
    vm_mutex_unlock(&device->lock);
}

/* --- The device's side ------------------------------------------------------ */

void
virtio_interrupt(struct virtio_device *device)
{
    vm_mutex_lock(&device->lock);
    set_interrupts(device, device->interrupts | VIRTIO_MMIO_INT_VRING);
    vm_mutex_unlock(&device->lock);
}

/* A driver that runs is told by a change of the configuration (2.1.2); one that does not, looks. */
void
virtio_need_reset(struct virtio_device *device)
{
    vm_mutex_lock(&device->lock);
    device->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if ((device->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
        set_interrupts(device, device->interrupts | VIRTIO_MMIO_INT_CONFIG);
    vm_mutex_unlock(&device->lock);
}
