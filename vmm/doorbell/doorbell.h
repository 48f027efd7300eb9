/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell calls of vkvm_abi.h: what a guest may ask for, checked.  vmspace.h does what
 * concerns vmspaces and their windows.
 *
 * A guest that could cut entries of the map into pages without limit would fill the host
 * with them.  SETMAP and PROTECT act on exactly one window and COPY on one region; ADVISE and
 * WIRE may cut, up to DOORBELL_ENTRIES_MAX entries.  UNWIRE stops at twice as many, so
 * that what was wired can be unwired, and COPY, which copies the cuts, at half as many.
 */
#ifndef DOORBELL_H
#define DOORBELL_H

#include "vmm/vpagetable/vm_types.h"

struct vcpu;
struct vm;

#define DOORBELL_ENTRIES_MAX 65536u

/*
 * Answer the call that the vCPU's OUT to VKVM_PORT_DOORBELL made.
 * Locks: none held; takes S and the engine's.
 * Returns 0, the guest's registers set (or the VM ending); -errno when KVM
 * would not give or take them.
 */
int doorbell_call(struct vm *vm, struct vcpu *vcpu) __attribute__((warn_unused_result));

/*
 * What the guest gets in RAX for a failure, from either domain: VM_OK and a
 * negative errno, or another vm_result.  Errors a guest cannot cause are -VKVM_EIO.
 */
int64_t doorbell_error(enum vm_result result, int error);

#endif
