/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A split virtqueue, as the device sees it: requests come out of it as chains of segments of guest
 * memory, and go back with the number of bytes that the device wrote.
 *
 * All of it lies in guest memory, which is reached only through a table of functions, so that an
 * address that is no memory fails like any other access.  The guest is hostile: each word is read
 * once, checked, and used as it was read.  A queue that breaks a rule of the specification is
 * broken for good, until it is started anew; `broken` names the rule.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 2.7.
 *
 * Locks: none of its own; the caller has one thread at a time in here.  Guest memory is reached
 * by these functions and may have to be read in first: all of them sleep.
 */
#ifndef VIRTQUEUE_H
#define VIRTQUEUE_H

#include "vmm/vpagetable/vm_types.h"

/* Most descriptors of a queue, and so of a chain: one that is longer is a loop. */
#define VIRTQUEUE_MAX 256u

/*
 * Guest memory.  The functions return 0; -EFAULT: there is none, or not for this; another negative
 * errno: the host failed or the VM has ended, which somebody knows already.
 */
struct virtio_memory {
    int (*read)(void *context, gpa_t gpa, void *to, size_t size);
    int (*write)(void *context, gpa_t gpa, const void *from, size_t size);
    /* Have the pages there soon, so that an access need not wait for them: a hint.  NULL = no use. */
    void (*fetch)(void *context, gpa_t gpa, uint64_t size);
    void *context; /* borrowed */
};

/* Where the driver put a queue. */
struct virtqueue_layout {
    unsigned size; /* descriptors */
    gpa_t descriptors;
    gpa_t driver; /* the available ring */
    gpa_t device; /* the used ring */
};

struct virtqueue {
    const struct virtio_memory *memory; /* borrowed */
    struct virtqueue_layout at;
    bool ready;         /* started, and neither stopped nor broken */
    bool event_index;   /* VIRTIO_F_EVENT_IDX was agreed on */
    bool indirect;      /* VIRTIO_F_INDIRECT_DESC was */
    uint16_t next;      /* of the available ring: the next request */
    uint16_t used;      /* of the used ring: requests given back */
    uint16_t told;      /* `used` when the driver was asked whether it wants an interrupt */
    const char *broken; /* static text; NULL = no rule was broken */
};

struct virtqueue_segment {
    gpa_t start;
    uint32_t size; /* bytes, 1 or more; the segment does not wrap around */
};

/* A request: what the device reads, then what it writes. */
struct virtqueue_chain {
    uint16_t head;
    unsigned nread;
    unsigned nwrite;
    uint64_t read_size; /* bytes of each, less than 2^32 */
    uint64_t write_size;
    struct virtqueue_segment segments[VIRTQUEUE_MAX]; /* the nread first */
};

/* A queue that is not started. */
void virtqueue_init(struct virtqueue *queue, const struct virtio_memory *memory);

/*
 * Start it, with the feature bits that were agreed on.
 * Returns 0; -EINVAL: it is broken: a size that is no power of two up to VIRTQUEUE_MAX, a part that
 * is not aligned or wraps around.
 */
int virtqueue_start(struct virtqueue *queue, const struct virtqueue_layout *at, uint64_t features)
    __attribute__((warn_unused_result));

void virtqueue_stop(struct virtqueue *queue);

/*
 * Take the next request.  When there is none, the driver notifies the device of the next.
 * Returns 1 and *chain; 0: there is none, or the queue is not ready; -EPROTO: the queue is broken;
 * an error of guest memory other than -EFAULT, which breaks the queue.
 */
int virtqueue_take(struct virtqueue *queue, struct virtqueue_chain *chain)
    __attribute__((warn_unused_result));

/*
 * Give a request back, `written` bytes from the start of its writable part on filled.
 * Returns 0; else as virtqueue_take.  *interrupt: does the driver want to be told?
 */
int virtqueue_put(struct virtqueue *queue, uint16_t head, uint32_t written, bool *interrupt)
    __attribute__((warn_unused_result));

/* The queue is broken because of `rule`.  Returns -EPROTO. */
int virtqueue_break(struct virtqueue *queue, const char *rule);

/*
 * Copy bytes at `offset` of what the device reads, or to what it writes; the caller has compared
 * with the chain's sizes.
 * Returns 0; an error of guest memory: bytes before may have been copied.
 */
int virtqueue_read(const struct virtqueue *queue, const struct virtqueue_chain *chain,
                   uint64_t offset, void *to, size_t size) __attribute__((warn_unused_result));
int virtqueue_write(const struct virtqueue *queue, const struct virtqueue_chain *chain,
                    uint64_t offset, const void *from, size_t size)
    __attribute__((warn_unused_result));

/*
 * virtio_memory.fetch for a queue's rings, and for bytes of a chain, of what the device writes or of what
 * it reads.  They look at nothing that the guest can change, so who has the chain needs no lock.
 */
void virtqueue_fetch_rings(const struct virtio_memory *memory, const struct virtqueue_layout *at);
void virtqueue_fetch(const struct virtio_memory *memory, const struct virtqueue_chain *chain,
                     bool written, uint64_t offset, uint64_t size);

#endif
