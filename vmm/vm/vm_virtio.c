/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What virtio devices ask a VM for.
 */
#include "vmm/vm/vm_virtio.h"

#include "vmm/base/limits.h"
#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int
settle(struct vm *vm, enum vm_result result, const struct vm_fault_info *info)
{
    if (result == VM_OK)
        return 0;
    if (result != VM_HOST_FAILURE)
        return -EFAULT;
    vm_end(vm, VM_END_FAILED, 0, "a device's %s of guest address 0x%" PRIx64 ": %s: %s",
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

struct virtio_memory
vm_virtio_memory(struct vm *vm)
{
    return (struct virtio_memory){ read_memory, write_memory, fetch_memory, vm };
}

struct virtio_turns
vm_virtio_turns(struct vm *vm)
{
    return (struct virtio_turns){ begin, enter, leave, vm };
}

void
vm_virtio_tell(void *context, const char *line)
{
    const struct vm *vm = context;

    vm_warn_line(vm->config.warn, vm->config.warn_context, line, 0);
}

int
vm_virtio_add(struct vm *vm, const struct machine_device *place, const char *name,
              struct virtio_mmio *mmio, struct virtio_device *device, struct failure *failure)
{
    int error;

    virtio_mmio_init(mmio, device);
    error = bus_add(&vm->bus, BUS_MEMORY, gpa_to_u64(place->start), place->size, 0,
                    virtio_mmio_access, mmio);
    return error == 0 ? 0
                      : failure_set(failure, error, "cannot put %s on the bus: %s", name,
                                    strerror(-error));
}
