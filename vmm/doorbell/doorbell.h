/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell: the device at which a guest makes the calls of vkvm_abi.h.  call.h takes their
 * arguments apart and checks them; vmspace.h does what concerns ranges of the guest-physical
 * address space.
 */
#ifndef DOORBELL_H
#define DOORBELL_H

#include "vmm/vm/vm.h"

/* For struct vm_config: the guest has the calls of vkvm_abi.h, at VKVM_PORT_DOORBELL. */
extern const struct vm_guest_ops doorbell_guest_ops;

/*
 * What the guest gets in RAX for a failure, from either domain: VM_OK and a
 * negative errno, or another vm_result.  Errors a guest cannot cause are -VKVM_EIO.
 */
int64_t doorbell_error(enum vm_result result, int error);

/*
 * Guest memory that a call works with could not be reached: what the guest gets for that.  A
 * failure of the host ends the VM.
 */
int64_t doorbell_memory_error(struct vm *vm, enum vm_result result,
                              const struct vm_fault_info *info);

#endif
