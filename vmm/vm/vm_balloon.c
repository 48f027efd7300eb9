/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon of a VM: wiring, starting, ending.
 */
#include "vmm/vm/vm_balloon.h"

#include "vmm/base/limits.h"
#include "vmm/device/virtio_balloon.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_virtio.h"
#include "vmm/vpagetable/vm_discard.h"

#include <errno.h>
#include <stdlib.h>

struct vm_balloon {
    struct virtio_balloon *device; /* owned; NULL = not there yet */
    struct virtio_mmio mmio;
    struct workers *workers; /* owned; NULL = not there yet */
};

static void
discard(void *context, gpa_t gpa, uint64_t size)
{
    struct vm *vm = context;

    (void)vm_discard(&vm->map, gpa, gpa_add(gpa, size));
}

static int
make_device(struct vm_balloon *balloon, struct vm *vm, unsigned line)
{
    const struct virtio_balloon_setup setup = {
        .line = pc_line(vm->pc, line),
        .memory = vm_virtio_memory(vm),
        .turns = vm_virtio_turns(vm),
        .discard = discard,
    };
    int error = workers_create(1, &balloon->workers);

    return error != 0 ? error : virtio_balloon_create(&setup, &balloon->device);
}

int
vm_balloon_create(struct vm *vm, const struct machine_device *place, struct vm_balloon **balloonp,
                  struct failure *failure)
{
    struct vm_balloon *balloon = calloc(1, sizeof(*balloon));
    int error = balloon == NULL ? -ENOMEM : make_device(balloon, vm, place->line);

    if (error != 0)
        failure_set(failure, error, "no memory for free page reporting: %s",
                    limits_explain(error).text);
    else
        error = vm_virtio_add(vm, place, "free page reporting", &balloon->mmio,
                              virtio_balloon_device(balloon->device), failure);
    if (error == 0)
        *balloonp = balloon;
    else if (balloon != NULL)
        vm_balloon_destroy(balloon);
    return error;
}

int
vm_balloon_start(struct vm_balloon *balloon)
{
    return virtio_worker_start(virtio_balloon_worker(balloon->device), balloon->workers);
}

void
vm_balloon_stop(struct vm_balloon *balloon)
{
    virtio_worker_stop(virtio_balloon_worker(balloon->device));
}

/* The pool waits for its thread, which is stuck nowhere. */
void
vm_balloon_destroy(struct vm_balloon *balloon)
{
    if (balloon->device != NULL)
        vm_balloon_stop(balloon);
    if (balloon->workers != NULL)
        workers_destroy(balloon->workers);
    if (balloon->device != NULL)
        virtio_worker_unref(virtio_balloon_worker(balloon->device));
    free(balloon);
}
