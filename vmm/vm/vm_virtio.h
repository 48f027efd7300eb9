/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a VM is to the virtio devices on its bus: memory, turns, a user to tell.
 *
 * A device reaches guest memory by vm_map_read and vm_map_write, as a vCPU's emulated access does:
 * pages are made, brought in and copied, and end as soon as the VM has ended (vm_stop.h).  What its
 * thread does with guest memory waits while the VM pauses.
 */
#ifndef VM_VIRTIO_H
#define VM_VIRTIO_H

#include "vmm/base/failure.h"
#include "vmm/device/virtio_mmio.h"
#include "vmm/device/virtio_worker.h"
#include "vmm/vm/machine.h"

struct vm;

/* The VM's memory.  A host that fails ends the VM; what the guest got wrong is its own affair. */
struct virtio_memory vm_virtio_memory(struct vm *vm);

/* The context of the turns is the VM. */
struct virtio_turns vm_virtio_turns(struct vm *vm);

/* Tell the VM's user; the context is the VM. */
void vm_virtio_tell(void *context, const char *line);

/*
 * Put a device on the VM's bus where the machine description has it; `name` is for messages.
 * Returns 0, or -errno with *failure filled.
 */
int vm_virtio_add(struct vm *vm, const struct machine_device *place, const char *name,
                  struct virtio_mmio *mmio, struct virtio_device *device, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
