/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disks of a VM: opening, wiring, starting, ending.
 */
#include "vmm/vm/vm_disk.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/device/disk.h"
#include "vmm/device/virtio_blk.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vm_disk {
    struct virtio_blk *blk; /* owned; NULL = not there yet */
    struct virtio_mmio mmio;
};

struct vm_disks {
    struct vm *vm;           /* borrowed */
    struct workers *workers; /* owned; NULL once a thread was left behind: it is its own then */
    bool started;            /* vm_disks_start was called, and vm_disks_stop was not */
    unsigned n;
    struct vm_disk list[MACHINE_MAX_DISKS]; /* the machine description's, in its order */
};

/* --- Making ------------------------------------------------------------------- */

static int
open_disk(const struct machine_disk *from, struct disk **diskp, struct failure *failure)
{
    struct disk_config config = { .read_only = from->read_only, .discard = from->discard };
    char *name = strndup(from->path, from->path_size);
    int error;

    if (name == NULL)
        return failure_set(failure, -ENOMEM, "no memory for a disk: %s",
                           limits_explain(ENOMEM).text);
    config.name = name;
    error = disk_open(&config, diskp, failure);
    free(name);
    return error;
}

/* The device of an open disk, which becomes the device's. */
static int
make_device(struct vm_disks *disks, unsigned index, unsigned line, struct disk *disk)
{
    struct vm *vm = disks->vm;
    const struct virtio_blk_setup setup = {
        .disk = disk,
        .index = index,
        .line = pc_line(vm->pc, line),
        .memory = vm_virtio_memory(vm),
        .turns = vm_virtio_turns(vm),
        .tell = vm_virtio_tell,
    };

    return virtio_blk_create(&setup, &disks->list[index].blk);
}

static int
add_disk(struct vm_disks *disks, const struct machine_device *device, struct failure *failure)
{
    struct vm *vm = disks->vm;
    struct vm_disk *place = &disks->list[device->disk];
    struct disk *disk = NULL;
    int error = open_disk(&vm->config.machine.disks[device->disk], &disk, failure);

    if (error != 0)
        return error;
    assert(disk != NULL);
    error = make_device(disks, device->disk, device->line, disk);
    if (error != 0) {
        disk_close(disk);
        return failure_set(failure, error, "no memory for a disk: %s", limits_explain(error).text);
    }
    return vm_virtio_add(vm, device, "a disk", &place->mmio, virtio_blk_device(place->blk),
                         failure);
}

static int
add_disks(struct vm_disks *disks, struct failure *failure)
{
    const struct machine *machine = &disks->vm->config.machine;
    int error = workers_create(disks->n, &disks->workers);

    if (error != 0)
        return failure_set(failure, error, "no memory for the disks' threads: %s",
                           limits_explain(error).text);
    for (unsigned i = 0; i < machine->ndevices && error == 0; i++) {
        if (machine->devices[i].kind == MACHINE_DISK)
            error = add_disk(disks, &machine->devices[i], failure);
    }
    return error;
}

int
vm_disks_create(struct vm *vm, struct vm_disks **disksp, struct failure *failure)
{
    struct vm_disks *disks = calloc(1, sizeof(*disks));
    int error;

    if (disks == NULL)
        return failure_set(failure, -ENOMEM, "no memory for the disks: %s",
                           limits_explain(ENOMEM).text);
    disks->vm = vm;
    disks->n = vm->config.machine.ndisks;
    error = add_disks(disks, failure);
    if (error != 0)
        vm_disks_destroy(disks);
    else
        *disksp = disks;
    return error;
}

/* --- Their life --------------------------------------------------------------- */

int
vm_disks_start(struct vm_disks *disks)
{
    int error = 0;

    disks->started = true;
    for (unsigned i = 0; i < disks->n && error == 0; i++)
        error = virtio_worker_start(virtio_blk_worker(disks->list[i].blk), disks->workers);
    return error;
}

/* Returns whether all of them are at rest. */
static bool
await_all(struct vm_disks *disks)
{
    uint64_t deadline = clock_now_ns() + VM_DISKS_PATIENCE_NS;
    char line[128];
    bool all = true;

    for (unsigned i = 0; i < disks->n; i++) {
        if (virtio_worker_await(virtio_blk_worker(disks->list[i].blk), deadline))
            continue;
        all = false;
        snprintf(line, sizeof(line),
                 "disk %u does not answer: what the guest wrote last may not be there", i);
        vm_virtio_tell(disks->vm, line);
    }
    return all;
}

void
vm_disks_stop(struct vm_disks *disks)
{
    if (!disks->started)
        return;
    disks->started = false;
    for (unsigned i = 0; i < disks->n; i++)
        virtio_worker_stop(virtio_blk_worker(disks->list[i].blk));
    if (await_all(disks))
        return;
    workers_abandon(disks->workers);
    disks->workers = NULL;
}

void
vm_disks_destroy(struct vm_disks *disks)
{
    vm_disks_stop(disks);
    if (disks->workers != NULL)
        workers_destroy(disks->workers);
    for (unsigned i = 0; i < disks->n; i++) {
        if (disks->list[i].blk != NULL)
            virtio_worker_unref(virtio_blk_worker(disks->list[i].blk));
    }
    free(disks);
}
