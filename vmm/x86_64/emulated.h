/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An access that KVM emulates and that must fail.
 *
 * After KVM_EXIT_MMIO the vCPU is in the middle of an instruction, and KVM finishes it at
 * the next KVM_RUN whatever user space does.  So that the guest gets its exception at the
 * instruction, KVM is made to finish first: KVM_RUN with immediate_exit, until it says EINTR.
 *
 *   read    The registers are those before the instruction: save them.  KVM would go on with
 *           data that is not there, and may store it (movs, push, read-modify-write) or take
 *           all iterations of a string instruction: so CR3 points nowhere meanwhile, and the
 *           next access of the instruction ends it.  Then put the registers back.
 *   write   The registers are those after it.  The data is dropped: the exits are the only
 *           ones to see it, and with it insn_undo finds the registers before, and what of the
 *           store KVM could make.
 */
#ifndef EMULATED_H
#define EMULATED_H

#include "vmm/x86_64/cpu.h"
#include "vmm/x86_64/insn.h"

/* A vCPU's linear memory, as insn.h wants it. */
struct emulated_memory {
    struct arch_vcpu *vcpu; /* borrowed */
    struct vm_map *map;     /* borrowed */
};

struct insn_memory emulated_insn_memory(struct emulated_memory *memory);

/*
 * At a KVM_EXIT_MMIO read: have KVM give the instruction up.  *sregs, as it is at the exit, and the
 * registers must be set again afterwards.  Returns 0 or -errno of KVM.
 */
int emulated_abandon(struct arch_vcpu *vcpu, const struct kvm_sregs *sregs)
    __attribute__((warn_unused_result));

/*
 * At a KVM_EXIT_MMIO write: have KVM finish, find the instruction and undo what it stored.
 * *regs, those after it, become those before.
 * Returns 0; -EALREADY, -ENOTSUP and *ninputs as arch_inject_fault, *regs is untouched then;
 * -EIO when guest memory cannot be restored; -errno of KVM.
 */
int emulated_undo(struct emulated_memory *memory, const struct kvm_sregs *sregs,
                  struct kvm_regs *regs, unsigned *ninputs) __attribute__((warn_unused_result));

#endif
