/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that serves a virtio device, and whoever stops it.
 *
 * What it does is work in turns: with guest memory (`ring` held, the VM not pausing), and with
 * whatever the device is about (no lock).  Nobody waits for anything but the end of a turn: the guest may
 * reset the device, the VM may pause or end while the device is stuck elsewhere.
 *
 * Locks: `ring`: the device's queues, and all its accesses to guest memory; it comes before the map's
 * locks.  `served`: what the thread is to do; innermost.
 */
#ifndef VIRTIO_WORKER_H
#define VIRTIO_WORKER_H

#include "vmm/base/workers.h"
#include "vmm/vpagetable/vm_lock.h"

#include <stdbool.h>
#include <stdint.h>

/* Around what the thread does with guest memory.  NULL = nothing is to be done. */
struct virtio_turns {
    /* The thread begins, before it serves. */
    void (*begin)(void *context);
    /* The first waits while the VM pauses, the second says that the thread does no more. */
    void (*enter)(void *context);
    void (*leave)(void *context);
    void *context; /* borrowed, until virtio_worker_stop returns */
};

struct virtio_worker_ops {
    /* Serve what the queues have until nothing is left or virtio_worker_begin says so. */
    void (*serve)(void *device);
    /* The VM has ended: what the thread may be stuck in is to let it go.  Locks: served.  NULL = nothing. */
    void (*stop)(void *device);
    /* Nobody uses the device any more, whose part this worker is: virtio_worker_fini, and free it. */
    void (*release)(void *device);
};

struct virtio_worker {
    const struct virtio_worker_ops *ops; /* (c) borrowed */
    void *device;                        /* (c) for ops */
    struct virtio_turns turns;           /* (c) */
    struct vm_mutex ring;                /* ring */
    struct vm_mutex lock;                /* served */
    struct vm_cond changed;              /* served: broadcast when one of these changed */
    bool pending;                        /* served: there may be requests */
    bool stopped;                        /* served: the VM has ended */
    bool inside;    /* served: the thread is in a turn with memory, or about to be */
    bool served;    /* served: there is a thread */
    unsigned nrefs; /* served: the maker's, and the thread's */
};

void virtio_worker_init(struct virtio_worker *worker, const struct virtio_worker_ops *ops,
                        void *device, const struct virtio_turns *turns);
void virtio_worker_fini(struct virtio_worker *worker);

/* --- The thread's turns --------------------------------------------------------- */

/*
 * A turn begins, and its memory is not touched yet.  Returns false when the VM has ended: then the
 * turn is not to be.
 */
bool virtio_worker_begin(struct virtio_worker *worker) __attribute__((warn_unused_result));

/* From here on it is; and up to here. */
void virtio_worker_enter(struct virtio_worker *worker) VM_ACQUIRES(&worker->ring);
void virtio_worker_leave(struct virtio_worker *worker) VM_RELEASES(&worker->ring);

/* --- For others ------------------------------------------------------------------ */

/* There may be something to serve.  Any thread. */
void virtio_worker_notify(struct virtio_worker *worker);

/*
 * Have a thread serve the device until virtio_worker_stop.  Its signals are those of the caller.
 * Returns 0; what workers_begin said.
 */
int virtio_worker_start(struct virtio_worker *worker, struct workers *workers)
    __attribute__((warn_unused_result));

/*
 * Nothing more is served: on return no memory of the guest is touched, and no turn is taken, any
 * more.  The memory's functions fail soon by now, and `enter` does not wait.
 */
void virtio_worker_stop(struct virtio_worker *worker);

/*
 * Wait, after virtio_worker_stop, until the thread is done, but no longer than until `deadline`
 * (clock_now_ns).  Returns whether it is: if not, it is stuck.
 */
bool virtio_worker_await(struct virtio_worker *worker, uint64_t deadline);

/*
 * The maker needs the device no more; a thread that is stuck releases it when it comes back.
 * After virtio_worker_stop, unless it was never started.
 */
void virtio_worker_unref(struct virtio_worker *worker);

#endif
