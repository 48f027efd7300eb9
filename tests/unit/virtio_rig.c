/* SPDX-License-Identifier: BSD-2-Clause */
/* A driver's side of a virtqueue; see virtio_rig.h. */
#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void
virtio_rig_init(struct virtio_rig *rig, unsigned queue_size)
{
    *rig = (struct virtio_rig){
        .memory = calloc(1, RIG_MEMORY),
        .at = { queue_size, { RIG_DESCRIPTORS }, { RIG_DRIVER }, { RIG_DEVICE } },
    };
    cr_assert(rig->memory != NULL);
}

void
virtio_rig_fini(struct virtio_rig *rig)
{
    free(rig->memory);
}

/* --- Memory as the device sees it -------------------------------------------- */

static int
check_access(struct virtio_rig *rig, gpa_t gpa, size_t size)
{
    cr_assert(rig->turns == false || atomic_load(&rig->turn) == 1,
              "memory is touched outside a turn");
    if (rig->error != 0)
        return rig->error;
    return size <= RIG_MEMORY && gpa.value <= RIG_MEMORY - size ? 0 : -EFAULT;
}

static int
virtio_rig_read(void *context, gpa_t gpa, void *to, size_t size)
{
    struct virtio_rig *rig = context;
    int error = check_access(rig, gpa, size);

    if (error == 0)
        memcpy(to, rig->memory + gpa.value, size);
    return error;
}

static int
virtio_rig_write(void *context, gpa_t gpa, const void *from, size_t size)
{
    struct virtio_rig *rig = context;
    int error = check_access(rig, gpa, size);

    if (error != 0)
        return error;
    memcpy(rig->memory + gpa.value, from, size);
    if (gpa.value == rig->at.device.value + 2 && size == 2)
        atomic_store(&rig->used, 0x10000u | virtio_rig_word(rig, gpa.value));
    return 0;
}

static void
virtio_rig_fetch(void *context, gpa_t gpa, uint64_t size)
{
    struct virtio_rig *rig = context;

    cr_assert(rig->turns == false || atomic_load(&rig->turn) == 0, "a turn waits for memory");
    for (uint64_t i = 0; i < size && gpa.value < RIG_MEMORY - i; i++)
        rig->fetched[gpa.value + i] = 1;
}

bool
virtio_rig_fetched(const struct virtio_rig *rig, uint64_t at, uint64_t size)
{
    return memchr(rig->fetched + at, 0, size) == NULL;
}

struct virtio_memory
virtio_rig_memory(struct virtio_rig *rig)
{
    return (struct virtio_memory){ virtio_rig_read, virtio_rig_write, virtio_rig_fetch, rig };
}

void
virtio_rig_enter(void *context)
{
    struct virtio_rig *rig = context;

    cr_assert(atomic_fetch_add(&rig->turn, 1) == 0, "turns do not nest");
    atomic_fetch_add(&rig->nturns, 1);
}

void
virtio_rig_leave(void *context)
{
    struct virtio_rig *rig = context;

    cr_assert(atomic_fetch_sub(&rig->turn, 1) == 1);
}

/* --- The driver --------------------------------------------------------------- */

uint16_t
virtio_rig_word(const struct virtio_rig *rig, uint64_t at)
{
    uint16_t value;

    memcpy(&value, rig->memory + at, sizeof(value));
    return value;
}

void
virtio_rig_set_word(struct virtio_rig *rig, uint64_t at, uint16_t value)
{
    memcpy(rig->memory + at, &value, sizeof(value));
}

void
virtio_rig_descriptor(struct virtio_rig *rig, uint64_t table, unsigned i, uint64_t address,
                      uint32_t size, uint16_t flags, uint16_t next)
{
    const struct vring_desc descriptor = {
        .addr = address, .len = size, .flags = flags, .next = next
    };

    memcpy(rig->memory + table + i * sizeof(descriptor), &descriptor, sizeof(descriptor));
}

void
virtio_rig_offer(struct virtio_rig *rig, uint16_t head)
{
    virtio_rig_set_word(rig, RIG_DRIVER + 4 + (rig->offered % rig->at.size) * 2, head);
    atomic_thread_fence(memory_order_seq_cst);
    virtio_rig_set_word(rig, RIG_DRIVER + 2, ++rig->offered);
}

uint16_t
virtio_rig_used(const struct virtio_rig *rig, uint32_t *head, uint32_t *written)
{
    uint16_t n = virtio_rig_word(rig, RIG_DEVICE + 2);
    const uint8_t *last = rig->memory + RIG_DEVICE + 4 + ((uint16_t)(n - 1) % rig->at.size) * 8u;

    memcpy(head, last, sizeof(*head));
    memcpy(written, last + 4, sizeof(*written));
    return n;
}
