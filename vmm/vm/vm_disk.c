/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disks of a VM: opening, wiring, starting, ending.
 *
 * A device reaches guest memory by vm_map_read and vm_map_write, as a vCPU's emulated access does:
 * pages are made, brought in and copied, and end as soon as the VM has ended (vm_stop.h).
 */
#include "vmm/vm/vm_disk.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/device/disk.h"
#include "vmm/device/virtio_blk.h"
#include "vmm/device/virtio_mmio.h"
#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <inttypes.h>
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

/* --- What the devices ask for ------------------------------------------------- */

/* What the guest got wrong is its own affair; a host that fails ends the VM. */
static int
settle(struct vm *vm, enum vm_result result, const struct vm_fault_info *info)
{
    if (result == VM_OK)
        return 0;
    if (result != VM_HOST_FAILURE)
        return -EFAULT;
    vm_end(vm, VM_END_FAILED, 0, "a disk's %s of guest address 0x%" PRIx64 ": %s: %s",
           vm_access_name(info->access), gpa_to_u64(info->gpa),
           info->cause != NULL ? info->cause : "host failure",
           limits_explain_cause(info->cause, info->error).text);
    return info->error;
}

static int
read_memory(void *context, gpa_t gpa, void *to, size_t size)
{
    struct vm *vm = context;
    struct vm_fault_info info = { .result = VM_OK };

    return settle(vm, vm_map_read(&vm->map, gpa, to, size, &info), &info);
}

static int
write_memory(void *context, gpa_t gpa, const void *from, size_t size)
{
    struct vm *vm = context;
    struct vm_fault_info info = { .result = VM_OK };

    return settle(vm, vm_map_write(&vm->map, gpa, from, size, &info), &info);
}

/*
 * A page that is not there may have to come from swap.  Only RAM: to read through a virtual page table
 * would be seen by the guest.
 */
static void
fetch_memory(void *context, gpa_t gpa, uint64_t size)
{
    struct vm *vm = context;
    struct vm_fault_info info = { .result = VM_OK };
    uint64_t start = gpa_to_u64(gpa), at;
    uint8_t byte;

    if (machine_find_ram(&vm->config.machine, start, size) == NULL)
        return;
    for (at = start; at < start + size && !vcpu_vm_is_ending(&vm->shared);
         at = (at | PAGE_MASK) + 1)
        (void)settle(vm, vm_map_read(&vm->map, gpa_from_u64(at), &byte, 1, &info), &info);
}

static void
begin(void *context)
{
    vm_confine(context, SANDBOX_DISK);
}

static void
enter(void *context)
{
    struct vm *vm = context;

    vcpu_gate_enter(&vm->shared.gate);
}

static void
leave(void *context)
{
    struct vm *vm = context;

    vcpu_gate_remove(&vm->shared.gate);
}

static void
tell(void *context, const char *line)
{
    const struct vm *vm = context;

    vm_warn_line(vm->config.warn, vm->config.warn_context, line, 0);
}

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
        .memory = { read_memory, write_memory, fetch_memory, vm },
        .begin = begin,
        .enter = enter,
        .leave = leave,
        .tell = tell,
        .context = vm,
    };

    return virtio_blk_create(&setup, &disks->list[index].blk);
}

static int
add_disk(struct vm_disks *disks, const struct machine_device *device, struct failure *failure)
{
    struct vm *vm = disks->vm;
    struct vm_disk *place = &disks->list[device->disk];
    struct disk *disk;
    int error = open_disk(&vm->config.machine.disks[device->disk], &disk, failure);

    if (error != 0)
        return error;
    error = make_device(disks, device->disk, device->line, disk);
    if (error != 0) {
        disk_close(disk);
        return failure_set(failure, error, "no memory for a disk: %s", limits_explain(error).text);
    }
    virtio_mmio_init(&place->mmio, virtio_blk_device(place->blk));
    error = bus_add(&vm->bus, BUS_MEMORY, gpa_to_u64(device->start), device->size, 0,
                    virtio_mmio_access, &place->mmio);
    return error == 0
               ? 0
               : failure_set(failure, error, "cannot put a disk on the bus: %s", strerror(-error));
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
        error = virtio_blk_start(disks->list[i].blk, disks->workers);
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
        if (virtio_blk_await(disks->list[i].blk, deadline))
            continue;
        all = false;
        snprintf(line, sizeof(line),
                 "disk %u does not answer: what the guest wrote last may not be there", i);
        tell(disks->vm, line);
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
        virtio_blk_stop(disks->list[i].blk);
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
            virtio_blk_destroy(disks->list[i].blk);
    }
    free(disks);
}
