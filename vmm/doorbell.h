/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell calls of vkvm_abi.h, and the vmspaces they manage.
 *
 * A vmspace is nothing but an id that owns windows: VPAGETABLE entries on the
 * RAM object inside [VKVM_WINDOW_BASE, VKVM_WINDOW_END).  Windows of the command
 * line belong to none.  Each window takes a KVM memslot.
 */
#ifndef DOORBELL_H
#define DOORBELL_H

#include "vmm/vpagetable/vm_types.h"

#include <bsd/sys/queue.h>

struct vcpu;
struct vm;

struct vmspace_window {
    LIST_ENTRY(vmspace_window) link; /* S */
    gpa_t start;                     /* (c) */
    gpa_t end;                       /* (c) */
};

struct vmspace {
    LIST_ENTRY(vmspace) link;            /* S */
    uint16_t id;                         /* (c) */
    LIST_HEAD(, vmspace_window) windows; /* S: owned */
};

#define VMSPACE_BUCKETS 256u

/* All vmspaces of a VM, by id. */
struct vmspaces {
    LIST_HEAD(, vmspace) buckets[VMSPACE_BUCKETS]; /* S: owned */
};

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

/* Free the bookkeeping of all vmspaces; their map entries stay. */
void vmspaces_free(struct vmspaces *spaces);

#endif
