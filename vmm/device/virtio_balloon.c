/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free page reporting.
 *
 * A buffer is taken in one turn, its memory goes in turns of VIRTIO_BALLOON_TURN bytes, and it is given
 * back in a last one.  Before each the worker asks whether the driver has stopped that queue since:
 * `generation`.
 */
#include "vmm/device/virtio_balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#define FIRST_REPORTING 2u
#define NQUEUES VIRTIO_QUEUES_MAX

#define FEATURE(name) ((uint64_t)1 << (name))

struct balloon_queue {
    struct virtqueue queue; /* ring */
    unsigned generation;    /* ring: how often it was stopped */
    /* The worker's: */
    struct virtqueue_layout rings; /* where it was when it was last looked at */
};

struct virtio_balloon {
    struct virtio_balloon_setup setup;  /* (c) */
    struct virtio_balloon_config space; /* (c) no page is wanted, none is there */
    struct virtio_device device;
    struct virtio_worker worker;
    struct balloon_queue queues[NQUEUES];
    struct virtqueue_chain chain; /* the worker's: of the buffer that it has */
};

/* A buffer that the worker has. */
struct report {
    struct balloon_queue *from;
    unsigned generation;
};

/* A turn for a buffer.  Returns false when nobody waits for it any more. */
static bool
enter_for(struct virtio_balloon *balloon, const struct report *report)
    VM_TRY_ACQUIRES(true, &balloon->worker.ring) VM_NO_LOCK_ANALYSIS
{
    if (!virtio_worker_begin(&balloon->worker))
        return false;
    virtqueue_fetch_rings(&balloon->setup.memory, &report->from->rings);
    virtio_worker_enter(&balloon->worker);
    if (report->from->generation == report->generation && report->from->queue.ready)
        return true;
    virtio_worker_leave(&balloon->worker);
    return false;
}

/* Returns whether there is one. */
static bool
take_report(struct virtio_balloon *balloon, struct balloon_queue *from, struct report *report)
{
    int error;

    if (!virtio_worker_begin(&balloon->worker))
        return false;
    virtqueue_fetch_rings(&balloon->setup.memory, &from->rings);
    virtio_worker_enter(&balloon->worker);
    from->rings = from->queue.at;
    error = virtqueue_take(&from->queue, &balloon->chain);
    if (error == -EPROTO)
        virtio_need_reset(&balloon->device);
    *report = (struct report){ from, from->generation };
    virtio_worker_leave(&balloon->worker);
    return error == 1;
}

/* Returns false when nobody waits for the buffer any more. */
static bool
discard_segment(struct virtio_balloon *balloon, const struct report *report,
                const struct virtqueue_segment *segment)
{
    uint64_t done, part;

    for (done = 0; done < segment->size; done += part) {
        part = vm_min(segment->size - done, VIRTIO_BALLOON_TURN);
        if (!enter_for(balloon, report))
            return false;
        balloon->setup.discard(balloon->setup.turns.context, gpa_add(segment->start, done), part);
        virtio_worker_leave(&balloon->worker);
    }
    return true;
}

static bool
discard_report(struct virtio_balloon *balloon, const struct report *report)
{
    const struct virtqueue_chain *chain = &balloon->chain;

    if (report->from < &balloon->queues[FIRST_REPORTING])
        return true;
    for (unsigned i = 0; i < chain->nwrite; i++) {
        if (!discard_segment(balloon, report, &chain->segments[chain->nread + i]))
            return false;
    }
    return true;
}

static void
give_back(struct virtio_balloon *balloon, const struct report *report)
{
    bool interrupt = false;
    int error;

    if (!enter_for(balloon, report))
        return;
    error = virtqueue_put(&report->from->queue, balloon->chain.head, 0, &interrupt);
    if (error == -EPROTO)
        virtio_need_reset(&balloon->device);
    else if (error == 0 && interrupt)
        virtio_interrupt(&balloon->device);
    virtio_worker_leave(&balloon->worker);
}

/* --- The worker's, and the driver's ------------------------------------------- */

static void
serve(void *device)
{
    struct virtio_balloon *balloon = device;
    struct report report;

    for (unsigned i = 0; i < NQUEUES; i++) {
        while (take_report(balloon, &balloon->queues[i], &report)) {
            if (discard_report(balloon, &report))
                give_back(balloon, &report);
        }
    }
}

static void
release(void *device)
{
    struct virtio_balloon *balloon = device;

    virtio_fini(&balloon->device);
    virtio_worker_fini(&balloon->worker);
    free(balloon);
}

static const struct virtio_worker_ops worker_ops = { serve, NULL, release };

static int
on_start(void *context, unsigned queue, const struct virtqueue_layout *at, uint64_t features)
{
    struct virtio_balloon *balloon = context;
    int error;

    vm_mutex_lock(&balloon->worker.ring);
    error = virtqueue_start(&balloon->queues[queue].queue, at, features);
    vm_mutex_unlock(&balloon->worker.ring);
    return error;
}

static void
on_stop(void *context, unsigned queue)
{
    struct virtio_balloon *balloon = context;

    vm_mutex_lock(&balloon->worker.ring);
    balloon->queues[queue].generation++;
    virtqueue_stop(&balloon->queues[queue].queue);
    vm_mutex_unlock(&balloon->worker.ring);
}

static void
on_notify(void *context)
{
    struct virtio_balloon *balloon = context;

    virtio_worker_notify(&balloon->worker);
}

static const struct virtio_ops balloon_ops = { on_start, on_stop, on_notify };

/* --- Its life ----------------------------------------------------------------- */

/*
 * Not VIRTIO_BALLOON_F_PAGE_POISON: a driver that counts on what its free pages hold does not report
 * them without it.
 */
int
virtio_balloon_create(const struct virtio_balloon_setup *setup, struct virtio_balloon **balloonp)
{
    struct virtio_balloon *balloon = calloc(1, sizeof(*balloon));

    if (balloon == NULL)
        return -ENOMEM;
    balloon->setup = *setup;
    virtio_init(&balloon->device, &(struct virtio_config){
                                      .id = VIRTIO_ID_BALLOON,
                                      .features = FEATURE(VIRTIO_BALLOON_F_REPORTING) |
                                                  FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                                                  FEATURE(VIRTIO_RING_F_EVENT_IDX),
                                      .space = &balloon->space,
                                      .space_size = sizeof(balloon->space),
                                      .nqueues = NQUEUES,
                                      .ops = &balloon_ops,
                                      .context = balloon,
                                      .line = setup->line,
                                  });
    virtio_worker_init(&balloon->worker, &worker_ops, balloon, &setup->turns);
    for (unsigned i = 0; i < NQUEUES; i++)
        virtqueue_init(&balloon->queues[i].queue, &balloon->setup.memory);
    *balloonp = balloon;
    return 0;
}

struct virtio_device *
virtio_balloon_device(struct virtio_balloon *balloon)
{
    return &balloon->device;
}

struct virtio_worker *
virtio_balloon_worker(struct virtio_balloon *balloon)
{
    return &balloon->worker;
}
