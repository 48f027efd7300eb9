/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of a doorbell call; see vkvm_abi.h.
 */
#include "vmm/x86_64/cpu.h"

int
arch_call_get(struct arch_vcpu *vcpu, struct arch_call *call)
{
    struct kvm_regs regs;
    int error;

    error = cpu_get_regs(vcpu, &regs);
    if (error != 0)
        return error;
    *call = (struct arch_call){ .number = regs.rax,
                                .argument = { regs.rdi, regs.rsi, regs.r8, regs.r9, regs.r10 } };
    return 0;
}

int
arch_call_set(struct arch_vcpu *vcpu, const struct arch_call *call)
{
    struct kvm_regs regs;
    int error;

    error = cpu_get_regs(vcpu, &regs);
    if (error != 0)
        return error;
    regs.rax = call->result;
    if (call->has_result2)
        regs.rdx = call->result2;
    /* The OUT has completed, so RF is clear whatever the host shows (SDM vol. 3, 17.3.1.1). */
    regs.rflags &= ~(uint64_t)CPU_RFLAGS_RF;
    return cpu_set_regs(vcpu, &regs);
}
