/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that serves a virtio device.
 */
#include "vmm/device/virtio_worker.h"

#include "vmm/base/clock.h"

void
virtio_worker_init(struct virtio_worker *worker, const struct virtio_worker_ops *ops, void *device,
                   const struct virtio_turns *turns)
{
    *worker = (struct virtio_worker){ .ops = ops, .device = device, .turns = *turns, .nrefs = 1 };
    vm_mutex_init(&worker->ring);
    vm_mutex_init(&worker->lock);
    vm_cond_init(&worker->changed);
}

void
virtio_worker_fini(struct virtio_worker *worker)
{
    vm_cond_fini(&worker->changed);
    vm_mutex_fini(&worker->lock);
    vm_mutex_fini(&worker->ring);
}

/* --- Turns ------------------------------------------------------------------ */

bool
virtio_worker_begin(struct virtio_worker *worker)
{
    bool begun;

    vm_mutex_lock(&worker->lock);
    begun = worker->inside = !worker->stopped;
    vm_mutex_unlock(&worker->lock);
    return begun;
}

void
virtio_worker_enter(struct virtio_worker *worker)
{
    if (worker->turns.enter != NULL)
        worker->turns.enter(worker->turns.context);
    vm_mutex_lock(&worker->ring);
}

void
virtio_worker_leave(struct virtio_worker *worker)
{
    vm_mutex_unlock(&worker->ring);
    if (worker->turns.leave != NULL)
        worker->turns.leave(worker->turns.context);
    vm_mutex_lock(&worker->lock);
    worker->inside = false;
    vm_cond_broadcast(&worker->changed);
    vm_mutex_unlock(&worker->lock);
}

/* --- The thread -------------------------------------------------------------- */

/* Returns false when the VM has ended. */
static bool
await_requests(struct virtio_worker *worker)
{
    bool goes_on;

    vm_mutex_lock(&worker->lock);
    while (!worker->pending && !worker->stopped)
        vm_cond_wait(&worker->changed, &worker->lock);
    worker->pending = false;
    goes_on = !worker->stopped;
    vm_mutex_unlock(&worker->lock);
    return goes_on;
}

void
virtio_worker_unref(struct virtio_worker *worker)
{
    bool last;

    vm_mutex_lock(&worker->lock);
    last = --worker->nrefs == 0;
    vm_mutex_unlock(&worker->lock);
    if (last)
        worker->ops->release(worker->device);
}

static void
serve(void *argument)
{
    struct virtio_worker *worker = argument;

    if (worker->turns.begin != NULL)
        worker->turns.begin(worker->turns.context);
    while (await_requests(worker))
        worker->ops->serve(worker->device);
    vm_mutex_lock(&worker->lock);
    worker->served = false;
    vm_cond_broadcast(&worker->changed);
    vm_mutex_unlock(&worker->lock);
    virtio_worker_unref(worker);
}

/* --- Others ------------------------------------------------------------------ */

void
virtio_worker_notify(struct virtio_worker *worker)
{
    vm_mutex_lock(&worker->lock);
    worker->pending = true;
    vm_cond_broadcast(&worker->changed);
    vm_mutex_unlock(&worker->lock);
}

int
virtio_worker_start(struct virtio_worker *worker, struct workers *workers)
{
    int error;

    worker->nrefs = 2;
    worker->served = true;
    error = workers_begin(workers, serve, worker);
    if (error != 0) {
        worker->nrefs = 1;
        worker->served = false;
    }
    return error;
}

void
virtio_worker_stop(struct virtio_worker *worker)
{
    vm_mutex_lock(&worker->lock);
    worker->stopped = true;
    if (worker->ops->stop != NULL)
        worker->ops->stop(worker->device);
    vm_cond_broadcast(&worker->changed);
    while (worker->inside)
        vm_cond_wait(&worker->changed, &worker->lock);
    vm_mutex_unlock(&worker->lock);
}

bool
virtio_worker_await(struct virtio_worker *worker, uint64_t deadline)
{
    uint64_t now;
    bool done;

    vm_mutex_lock(&worker->lock);
    while (worker->served && (now = clock_now_ns()) < deadline)
        vm_cond_wait_for(&worker->changed, &worker->lock, (unsigned)((deadline - now) / 1000 + 1));
    done = !worker->served;
    vm_mutex_unlock(&worker->lock);
    return done;
}
