/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a PC has besides memory and vCPUs: KVM's interrupt controllers, and the devices of its
 * machine description on the VM's bus.
 *
 * The serial port's input is a client of the VM's event loop; its output is written by the vCPU
 * that makes it.
 */
#ifndef PC_H
#define PC_H

#include "vmm/base/event_loop.h"
#include "vmm/base/failure.h"
#include "vmm/device/irq.h"

#include <stdbool.h>

struct pc; /* pc.c */
struct vm;

/*
 * Make the interrupt controllers; KVM's VM is there and no vCPU.
 * Returns 0 and *pc, or -errno with *failure filled.
 */
int pc_create(struct vm *vm, struct pc **pc, struct failure *failure)
    __attribute__((warn_unused_result));

/* Does KVM make none of its vCPUs' faults from another thread (vm_config.exact_faults)? */
bool pc_has_exact_faults(const struct pc *pc);

/* An interrupt line of the machine, for a device that is made elsewhere. */
struct irq_line pc_line(struct pc *pc, unsigned line);

/* No vCPU and no event loop runs any more. */
void pc_destroy(struct pc *pc);

/*
 * Put the devices of the machine description on the VM's bus.  What other machines have too (the
 * doorbell, the console), and virtio devices, others put there.
 * Returns 0, or -errno with *failure filled.
 */
int pc_add_devices(struct pc *pc, struct failure *failure) __attribute__((warn_unused_result));

/*
 * Write the ACPI tables to guest memory.  Returns 0, or -errno with *failure filled; -EFAULT where
 * there is no RAM for them.
 */
int pc_write_tables(struct pc *pc, struct failure *failure) __attribute__((warn_unused_result));

/*
 * From now on standard input reaches the guest by the loop, which goes after the last vCPU.
 * Returns 0 or -errno.
 */
int pc_listen(struct pc *pc, struct event_loop *loop) __attribute__((warn_unused_result));

#endif
