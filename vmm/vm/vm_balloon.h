/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM's balloon: a virtio device on its bus by which the guest reports pages that it has freed, and
 * the thread that gives their memory back (virtio_balloon.h, vm_discard.h).
 */
#ifndef VM_BALLOON_H
#define VM_BALLOON_H

#include "vmm/base/failure.h"
#include "vmm/vm/machine.h"

struct vm;
struct vm_balloon; /* vm_balloon.c */

/*
 * Put the device on the VM's bus, at `place`.  Returns 0 and *balloon, or -errno with *failure filled.
 */
int vm_balloon_create(struct vm *vm, const struct machine_device *place,
                      struct vm_balloon **balloon, struct failure *failure)
    __attribute__((warn_unused_result));

/* Have a thread serve it, which blocks the signals that the caller blocks.  Returns 0 or -errno. */
int vm_balloon_start(struct vm_balloon *balloon) __attribute__((warn_unused_result));

/*
 * The VM has ended and no vCPU runs: on return the thread touches nothing of the VM's any more.  Also
 * after a start that failed or was not made.
 */
void vm_balloon_stop(struct vm_balloon *balloon);

/* After vm_balloon_stop. */
void vm_balloon_destroy(struct vm_balloon *balloon);

#endif
