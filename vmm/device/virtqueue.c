/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A split virtqueue.
 *
 *     descriptors  16 bytes each, linked to chains: address, length, flags, next
 *     driver       flags, index, ring of heads: what the driver made available; its last word says
 *                  which entry of the other ring it wants an interrupt for
 *     device       flags, index, ring of {head, bytes written}: what was used; its last word says
 *                  which entry of the other ring we want a notification for
 *
 * The order of accesses to the rings is the protocol: an index is read before the entries it
 * stands for and written after them, with a fence between.
 */
#include "vmm/device/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>

/* Bytes of the parts; the rings have flags and index before and one event word behind. */
#define RING_ENTRIES 4u
#define EVENT_SIZE 2u
#define DESCRIPTOR_SIZE ((uint32_t)sizeof(struct vring_desc))
#define USED_SIZE ((uint32_t)sizeof(struct vring_used_elem))

#define CHAIN_SIZE_MAX ((uint64_t)UINT32_MAX)

/* A descriptor, in the host's byte order. */
struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags;
    uint16_t next;
};

/* Where a chain's descriptors are read from: the queue's table, or a buffer that an entry names. */
struct table {
    gpa_t start;
    unsigned size; /* descriptors */
    bool indirect;
};

int
virtqueue_break(struct virtqueue *queue, const char *rule)
{
    queue->ready = false;
    queue->broken = rule;
    return -EPROTO;
}

/* An access to the queue itself failed: a guest that gives no memory for it breaks it. */
static int
queue_error(struct virtqueue *queue, int error)
{
    return error == -EFAULT ? virtqueue_break(queue, "a part of it is not in memory") : error;
}

/* --- Starting and stopping ------------------------------------------------- */

void
virtqueue_init(struct virtqueue *queue, const struct virtio_memory *memory)
{
    *queue = (struct virtqueue){ .memory = memory };
}

static bool
part_fits(gpa_t start, uint64_t size, uint64_t alignment)
{
    return gpa_to_u64(start) % alignment == 0 && size - 1 <= UINT64_MAX - gpa_to_u64(start);
}

int
virtqueue_start(struct virtqueue *queue, const struct virtqueue_layout *at, uint64_t features)
{
    uint64_t size = at->size;

    virtqueue_init(queue, queue->memory);
    queue->at = *at;
    queue->event_index = (features >> VIRTIO_RING_F_EVENT_IDX & 1) != 0;
    queue->indirect = (features >> VIRTIO_RING_F_INDIRECT_DESC & 1) != 0;
    if (size == 0 || size > VIRTQUEUE_MAX || (size & (size - 1)) != 0) {
        (void)virtqueue_break(queue, "its size is no power of two within the maximum");
        return -EINVAL;
    }
    if (!part_fits(at->descriptors, size * DESCRIPTOR_SIZE, VRING_DESC_ALIGN_SIZE) ||
        !part_fits(at->driver, RING_ENTRIES + size * 2 + EVENT_SIZE, VRING_AVAIL_ALIGN_SIZE) ||
        !part_fits(at->device, RING_ENTRIES + size * USED_SIZE + EVENT_SIZE,
                   VRING_USED_ALIGN_SIZE)) {
        (void)virtqueue_break(queue, "a part of it is not aligned or wraps around");
        return -EINVAL;
    }
    queue->ready = true;
    return 0;
}

void
virtqueue_stop(struct virtqueue *queue)
{
    virtqueue_init(queue, queue->memory);
}

/* --- Words of the rings ---------------------------------------------------- */

static int
read_word(struct virtqueue *queue, gpa_t gpa, uint16_t *value)
{
    uint16_t word;
    int error = queue->memory->read(queue->memory->context, gpa, &word, sizeof(word));

    if (error != 0)
        return queue_error(queue, error);
    *value = le16toh(word);
    return 0;
}

static int
write_word(struct virtqueue *queue, gpa_t gpa, uint16_t value)
{
    uint16_t word = htole16(value);
    int error = queue->memory->write(queue->memory->context, gpa, &word, sizeof(word));

    return error == 0 ? 0 : queue_error(queue, error);
}

/* The word behind the driver's ring: which used entry it wants an interrupt for. */
static gpa_t
used_event(const struct virtqueue *queue)
{
    return gpa_add(queue->at.driver, RING_ENTRIES + (uint64_t)queue->at.size * 2);
}

/* The word behind the device's ring: which available entry we want a notification for. */
static gpa_t
available_event(const struct virtqueue *queue)
{
    return gpa_add(queue->at.device, RING_ENTRIES + (uint64_t)queue->at.size * USED_SIZE);
}

/* Returns how many requests wait, or an error. */
static int
count_available(struct virtqueue *queue)
{
    uint16_t index = 0, waiting;
    int error = read_word(queue, gpa_add(queue->at.driver, 2), &index);

    if (error != 0)
        return error;
    waiting = (uint16_t)(index - queue->next);
    if (waiting > queue->at.size)
        return virtqueue_break(queue, "more requests are available than it has descriptors");
    atomic_thread_fence(memory_order_seq_cst);
    return waiting;
}

/*
 * Nothing is available: ask for a notification, then look again, because the driver may have added
 * a request before it saw that.
 */
static int
count_after_asking(struct virtqueue *queue)
{
    int error;

    if (!queue->event_index)
        return 0;
    error = write_word(queue, available_event(queue), queue->next);
    if (error != 0)
        return error;
    atomic_thread_fence(memory_order_seq_cst);
    return count_available(queue);
}

/* --- Chains ---------------------------------------------------------------- */

static int
read_descriptor(struct virtqueue *queue, const struct table *table, unsigned index,
                struct descriptor *descriptor)
{
    struct vring_desc raw;
    gpa_t gpa = gpa_add(table->start, (uint64_t)index * DESCRIPTOR_SIZE);
    int error = queue->memory->read(queue->memory->context, gpa, &raw, sizeof(raw));

    if (error != 0)
        return queue_error(queue, error);
    *descriptor = (struct descriptor){
        .address = le64toh(raw.addr),
        .size = le32toh(raw.len),
        .flags = le16toh(raw.flags),
        .next = le16toh(raw.next),
    };
    return 0;
}

/* Go on in the table that a descriptor names: the rest of the chain lies there. */
static int
enter_indirect(struct virtqueue *queue, const struct descriptor *descriptor, struct table *table)
{
    unsigned n = descriptor->size / DESCRIPTOR_SIZE;

    if (!queue->indirect)
        return virtqueue_break(queue, "an indirect descriptor, which was not agreed on");
    if (table->indirect)
        return virtqueue_break(queue, "an indirect descriptor inside an indirect table");
    if ((descriptor->flags & VRING_DESC_F_NEXT) != 0)
        return virtqueue_break(queue, "an indirect descriptor with a next one");
    if (n == 0 || descriptor->size % DESCRIPTOR_SIZE != 0 || n > queue->at.size)
        return virtqueue_break(queue, "an indirect table of a size that cannot be");
    if (!part_fits(gpa_from_u64(descriptor->address), descriptor->size, 1))
        return virtqueue_break(queue, "an indirect table that wraps around");
    *table = (struct table){ gpa_from_u64(descriptor->address), n, true };
    return 0;
}

static int
add_segment(struct virtqueue *queue, const struct descriptor *descriptor,
            struct virtqueue_chain *chain)
{
    bool writable = (descriptor->flags & VRING_DESC_F_WRITE) != 0;
    unsigned n = chain->nread + chain->nwrite;

    if (n == queue->at.size)
        return virtqueue_break(queue, "a chain longer than the queue, or a loop");
    if (descriptor->size == 0)
        return virtqueue_break(queue, "a segment without a byte");
    if (!part_fits(gpa_from_u64(descriptor->address), descriptor->size, 1))
        return virtqueue_break(queue, "a segment that wraps around");
    if (chain->read_size + chain->write_size + descriptor->size > CHAIN_SIZE_MAX)
        return virtqueue_break(queue, "a chain of more than 4 GiB");
    if (!writable && chain->nwrite != 0)
        return virtqueue_break(queue, "a segment to read behind one to write");
    chain->segments[n] =
        (struct virtqueue_segment){ gpa_from_u64(descriptor->address), descriptor->size };
    if (writable) {
        chain->nwrite++;
        chain->write_size += descriptor->size;
    } else {
        chain->nread++;
        chain->read_size += descriptor->size;
    }
    return 0;
}

/* Each turn adds a segment, of which there are queue->at.size at most, or enters the one table. */
static int
read_chain(struct virtqueue *queue, uint16_t head, struct virtqueue_chain *chain)
{
    struct table table = { queue->at.descriptors, queue->at.size, false };
    struct descriptor descriptor = { .next = head };
    unsigned index;
    int error;

    chain->head = head;
    chain->nread = chain->nwrite = 0;
    chain->read_size = chain->write_size = 0;
    do {
        index = descriptor.next;
        if (index >= table.size)
            return virtqueue_break(queue, "a descriptor beyond the table");
        error = read_descriptor(queue, &table, index, &descriptor);
        if (error == 0 && (descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
            error = enter_indirect(queue, &descriptor, &table);
            descriptor = (struct descriptor){ .flags = VRING_DESC_F_NEXT };
        } else if (error == 0) {
            error = add_segment(queue, &descriptor, chain);
        }
    } while (error == 0 && (descriptor.flags & VRING_DESC_F_NEXT) != 0);
    return error;
}

int
virtqueue_take(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    uint16_t head = 0;
    int n, error;

    if (!queue->ready)
        return queue->broken != NULL ? -EPROTO : 0;
    n = count_available(queue);
    if (n == 0)
        n = count_after_asking(queue);
    if (n <= 0)
        return n;
    error = read_word(queue,
                      gpa_add(queue->at.driver,
                              RING_ENTRIES + (uint64_t)(queue->next % queue->at.size) * 2),
                      &head);
    if (error == 0)
        error = read_chain(queue, head, chain);
    if (error != 0)
        return error;
    queue->next++;
    return 1;
}

/* --- Giving back ----------------------------------------------------------- */

/*
 * Did the driver's wish lie among the requests that were given back since it was last asked?
 * Source: VIRTIO 1.2, 2.7.7 and 2.7.10.
 */
static int
ask_driver(struct virtqueue *queue, bool *interrupt)
{
    uint16_t before = queue->told, word = 0;
    int error;

    atomic_thread_fence(memory_order_seq_cst);
    error = read_word(queue, queue->event_index ? used_event(queue) : queue->at.driver, &word);
    if (error != 0)
        return error;
    queue->told = queue->used;
    if (queue->event_index)
        *interrupt = (uint16_t)(queue->used - word - 1) < (uint16_t)(queue->used - before);
    else
        *interrupt = (word & VRING_AVAIL_F_NO_INTERRUPT) == 0;
    return 0;
}

int
virtqueue_put(struct virtqueue *queue, uint16_t head, uint32_t written, bool *interrupt)
{
    struct vring_used_elem entry = { .id = htole32(head), .len = htole32(written) };
    gpa_t at = gpa_add(queue->at.device,
                       RING_ENTRIES + (uint64_t)(queue->used % queue->at.size) * sizeof(entry));
    int error;

    if (!queue->ready)
        return -EPROTO;
    error = queue->memory->write(queue->memory->context, at, &entry, sizeof(entry));
    if (error != 0)
        return queue_error(queue, error);
    atomic_thread_fence(memory_order_seq_cst);
    queue->used++;
    error = write_word(queue, gpa_add(queue->at.device, 2), queue->used);
    return error != 0 ? error : ask_driver(queue, interrupt);
}

/* --- The bytes of a chain -------------------------------------------------- */

/* Copy `size` bytes at `offset` of n segments, to the host if `to`, else from it. */
static int
copy_segments(const struct virtqueue *queue, const struct virtqueue_segment *segments, unsigned n,
              uint64_t offset, uint8_t *to, const uint8_t *from, size_t size)
{
    const struct virtio_memory *memory = queue->memory;
    int error = 0;

    for (unsigned i = 0; i < n && size != 0 && error == 0; i++) {
        gpa_t gpa = gpa_add(segments[i].start, offset);
        size_t part;

        if (offset >= segments[i].size) {
            offset -= segments[i].size;
            continue;
        }
        part = vm_min(size, segments[i].size - offset);
        error = to != NULL ? memory->read(memory->context, gpa, to, part)
                           : memory->write(memory->context, gpa, from, part);
        if (to != NULL)
            to += part;
        else
            from += part;
        size -= part;
        offset = 0;
    }
    return error;
}

int
virtqueue_read(const struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t offset,
               void *to, size_t size)
{
    assert(size <= chain->read_size && offset <= chain->read_size - size);
    return copy_segments(queue, chain->segments, chain->nread, offset, to, NULL, size);
}

int
virtqueue_write(const struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t offset,
                const void *from, size_t size)
{
    assert(size <= chain->write_size && offset <= chain->write_size - size);
    return copy_segments(queue, chain->segments + chain->nread, chain->nwrite, offset, NULL, from,
                         size);
}

/* --- Bytes that will be wanted ---------------------------------------------- */

/* Two words before the entries of either ring, one behind them. */
void
virtqueue_fetch_rings(const struct virtio_memory *memory, const struct virtqueue_layout *at)
{
    if (memory->fetch == NULL || at->size == 0)
        return;
    memory->fetch(memory->context, at->descriptors, at->size * sizeof(struct vring_desc));
    memory->fetch(memory->context, at->driver, (3 + at->size) * sizeof(uint16_t));
    memory->fetch(memory->context, at->device,
                  3 * sizeof(uint16_t) + at->size * sizeof(struct vring_used_elem));
}

void
virtqueue_fetch(const struct virtio_memory *memory, const struct virtqueue_chain *chain,
                bool written, uint64_t offset, uint64_t size)
{
    const struct virtqueue_segment *segments = chain->segments + (written ? chain->nread : 0);
    unsigned n = written ? chain->nwrite : chain->nread;

    for (unsigned i = 0; i < n && size != 0 && memory->fetch != NULL; i++) {
        uint64_t part;

        if (offset >= segments[i].size) {
            offset -= segments[i].size;
            continue;
        }
        part = vm_min(size, segments[i].size - offset);
        memory->fetch(memory->context, gpa_add(segments[i].start, offset), part);
        size -= part;
        offset = 0;
    }
}
