/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of virtio over MMIO.
 */
#include "vmm/device/virtio_mmio.h"

#include "vmm/device/access.h"

#include <linux/virtio_mmio.h>

#define MAGIC 0x74726976u  /* "virt" */
#define VENDOR 0x4d564b56u /* "VKVM" */
#define VERSION 2u

void
virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_device *device)
{
    *mmio = (struct virtio_mmio){ .device = device };
}

/* The queue that the driver has chosen, or NULL if there is none. */
static struct virtio_mmio_queue *
chosen(struct virtio_mmio *mmio)
{
    return mmio->queue_index < mmio->device->config.nqueues ? &mmio->queues[mmio->queue_index]
                                                            : NULL;
}

/* --- Reading ---------------------------------------------------------------- */

static uint32_t
offered_features(const struct virtio_mmio *mmio)
{
    uint64_t features = mmio->device->config.features;

    return mmio->features_index < 2 ? (uint32_t)(features >> mmio->features_index * 32) : 0;
}

static uint32_t
read_register(struct virtio_mmio *mmio, uint64_t offset)
{
    const struct virtio_mmio_queue *queue = chosen(mmio);

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return mmio->device->config.id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return offered_features(mmio);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue != NULL ? VIRTQUEUE_MAX : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue != NULL && queue->ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return virtio_interrupts(mmio->device);
    case VIRTIO_MMIO_STATUS:
        return virtio_status(mmio->device);
    case VIRTIO_MMIO_SHM_LEN_LOW: /* no shared memory: all ones */
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX;
    default:
        return 0;
    }
}

/* The configuration space is constant: nothing of it can be written. */
static void
read_space(const struct virtio_mmio *mmio, uint64_t offset, void *to, size_t size)
{
    const struct virtio_config *config = &mmio->device->config;

    if (offset <= config->space_size && size <= config->space_size - offset)
        memcpy(to, (const uint8_t *)config->space + offset, size);
}

/* --- Writing ---------------------------------------------------------------- */

static void
set_half(gpa_t *gpa, bool high, uint32_t value)
{
    uint64_t kept = gpa_to_u64(*gpa) & (high ? UINT32_MAX : ~(uint64_t)UINT32_MAX);

    *gpa = gpa_from_u64(kept | (uint64_t)value << (high ? 32 : 0));
}

/* Registers of the queue that is chosen; those that say where it is are fixed while it runs. */
static void
write_queue_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
    struct virtio_mmio_queue *queue = chosen(mmio);

    if (queue == NULL || queue->ready)
        return;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        queue->at.size = value;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_half(&queue->at.descriptors, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_half(&queue->at.driver, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_half(&queue->at.device, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
        break;
    default:
        break;
    }
}

static void
write_ready(struct virtio_mmio *mmio, uint32_t value)
{
    const struct virtio_config *config = &mmio->device->config;
    struct virtio_mmio_queue *queue = chosen(mmio);

    if (queue == NULL)
        return;
    if ((value & 1) == 0) {
        config->ops->stop(config->context, mmio->queue_index);
        queue->ready = false;
    } else if (!queue->ready) {
        queue->ready = virtio_start_queue(mmio->device, mmio->queue_index, &queue->at);
    }
}

static void
write_status(struct virtio_mmio *mmio, uint32_t value)
{
    virtio_set_status(mmio->device, value);
    if (value == 0)
        virtio_mmio_init(mmio, mmio->device);
}

static void
write_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        mmio->features_index = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        mmio->accepted_index = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        virtio_accept(mmio->device, mmio->accepted_index, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        mmio->queue_index = value;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        write_ready(mmio, value);
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        if (value < mmio->device->config.nqueues)
            virtio_notify(mmio->device);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        virtio_acknowledge(mmio->device, value);
        break;
    case VIRTIO_MMIO_STATUS:
        write_status(mmio, value);
        break;
    default:
        write_queue_register(mmio, offset, value);
        break;
    }
}

int
virtio_mmio_access(void *device, const struct bus_access *access)
{
    struct virtio_mmio *mmio = device;
    bool is_register = access->size == 4 && access->offset % 4 == 0;

    if (!access->write)
        memset(access->data, 0, (size_t)access->size * access->count);
    if (access->offset >= VIRTIO_MMIO_CONFIG) {
        if (!access->write)
            read_space(mmio, access->offset - VIRTIO_MMIO_CONFIG, access->data, access->size);
    } else if (is_register && access->write) {
        write_register(mmio, access->offset, (uint32_t)access_value(access, 0));
    } else if (is_register) {
        access_answer(access, 0, read_register(mmio, access->offset));
    }
    return 0;
}
