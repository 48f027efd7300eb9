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

#include "vmm/vm/vm.h"

#define DOORBELL_ENTRIES_MAX 65536u

/* For struct vm_config: the guest has the calls of vkvm_abi.h, where the machine's doorbell is. */
extern const struct vm_guest_ops doorbell_guest_ops;

/*
 * What the guest gets in RAX for a failure, from either domain: VM_OK and a
 * negative errno, or another vm_result.  Errors a guest cannot cause are -VKVM_EIO.
 */
int64_t doorbell_error(enum vm_result result, int error);

#endif
