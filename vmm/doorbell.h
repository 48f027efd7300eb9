/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell calls of vkvm_abi.h, and the vmspaces they manage.
 *
 * A vmspace is nothing but an id that owns windows inside
 * [VKVM_WINDOW_BASE, VKVM_WINDOW_END): VPAGETABLE entries on the RAM object, and
 * regions, which are NORMAL entries on objects of their own.  Windows and files of the
 * command line belong to none.  Each window takes a KVM memslot.
 *
 * SETMAP, PROTECT and ADVISE act on exactly one window (ADVISE also on all of
 * RAM), COPY on one region: a guest that could cut entries into pages would fill the
 * host with them.  WIRE and UNWIRE cut, so they stop at DOORBELL_ENTRIES_MAX entries,
 * UNWIRE at twice as many.
 */
#ifndef DOORBELL_H
#define DOORBELL_H

#include "vmm/vpagetable/vm_types.h"

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

struct vcpu;
struct vm;

#define DOORBELL_ENTRIES_MAX 65536u

struct vmspace_window {
    RB_ENTRY(vmspace_window) by_start; /* S: in vmspaces.windows */
    LIST_ENTRY(vmspace_window) link;   /* S: in vmspace.windows; not of the command line's */
    gpa_t start;                       /* (c) */
    gpa_t end;                         /* (c) */
    bool region;                       /* (c) NORMAL: a region or a mapped file */
};

struct vmspace {
    LIST_ENTRY(vmspace) link;            /* S */
    uint16_t id;                         /* (c) */
    LIST_HEAD(, vmspace_window) windows; /* S: owned */
};

#define VMSPACE_BUCKETS 256u

RB_HEAD(vmspace_window_tree, vmspace_window);

/* All vmspaces of a VM, by id, and all windows. */
struct vmspaces {
    LIST_HEAD(, vmspace) buckets[VMSPACE_BUCKETS]; /* S: owned */
    struct vmspace_window_tree windows;            /* S: owned */
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

/* Make a window or region known that belongs to no vmspace.  Returns 0 or -ENOMEM. */
int vmspaces_add_window(struct vmspaces *spaces, gpa_t start, gpa_t end, bool region)
    __attribute__((warn_unused_result));

/* Free the bookkeeping of all vmspaces and windows; their map entries stay. */
void vmspaces_free(struct vmspaces *spaces);

#endif
