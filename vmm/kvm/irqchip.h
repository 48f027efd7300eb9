/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's own interrupt controllers: a pair of 8259s, an I/O APIC, a local APIC in each vCPU, and the
 * 8254 timer where KVM has one.  Lines reach PIC and I/O APIC by KVM's default routing: the number
 * of a line is its input at both.
 *
 * With a local APIC in KVM, HLT no longer leaves KVM_RUN, and where the guest lets interrupts in KVM
 * may hand a fault to a thread of the kernel's (docs/hosts.md, Asynchronous page faults).
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.24, 4.25, 4.71, 7.13.
 * Locks: none; constant once it is made.
 */
#ifndef IRQCHIP_H
#define IRQCHIP_H

#include "vmm/kvm/kvm_vm.h"

/* Four pages that KVM wants for itself where the processor cannot run real mode without. */
#define IRQCHIP_IDENTITY_MAP 0xFFFBC000u
#define IRQCHIP_TSS 0xFFFBD000u /* three pages */

struct irqchip {
    const struct kvm_vm *kvm; /* borrowed */
};

/*
 * Make them in a VM that has no vCPU yet; they go with it.
 * Returns 0, or -errno with *failure filled; -ENOTSUP where KVM has none.
 */
int irqchip_create(const struct kvm_vm *kvm, struct irqchip *chip, struct failure *failure)
    __attribute__((warn_unused_result));

/* Set the level of a line; `chip` is a struct irqchip.  Any thread, under any lock of a device's. */
void irqchip_set_line(void *chip, unsigned line, bool level);

/*
 * Have vCPUs that will be made stay in the guest when it halts, so that KVM hands none of their
 * faults to another thread.  An idle guest then looks busy to the host.
 * Returns 0; -ENOTSUP where KVM does not offer it; -errno of KVM.
 */
int irqchip_keep_halted(const struct kvm_vm *kvm) __attribute__((warn_unused_result));

#endif
