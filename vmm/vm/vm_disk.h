/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM's disks: virtio block devices on its bus, each with a thread that serves it.
 *
 * What the threads do with guest memory waits while the VM pauses.  A disk that does not answer
 * holds up nobody but who reads it: neither a pause nor, for long, the VM's end.
 */
#ifndef VM_DISK_H
#define VM_DISK_H

#include "vmm/base/failure.h"

struct vm;
struct vm_disks; /* vm_disk.c */

/* The most that the VM's end waits for disks that do not answer. */
#define VM_DISKS_PATIENCE_NS UINT64_C(100000000)

/*
 * Open the disks of the machine description, which has some, and put their devices on the VM's bus.
 * Returns 0 and *disks, or -errno with *failure filled.
 */
int vm_disks_create(struct vm *vm, struct vm_disks **disks, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Have threads serve them, which block the signals that the caller blocks.
 * Returns 0, or -errno: vm_disks_stop then, too.
 */
int vm_disks_start(struct vm_disks *disks) __attribute__((warn_unused_result));

/*
 * The VM has ended and no vCPU runs: on return no thread touches anything of the VM's.  Waits
 * VM_DISKS_PATIENCE_NS at most; a thread that is stuck in its disk ends when the disk lets it.
 */
void vm_disks_stop(struct vm_disks *disks);

/* After vm_disks_stop, unless they were never started. */
void vm_disks_destroy(struct vm_disks *disks);

#endif
