/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU's registers, for the files of this directory.
 *
 * Where KVM_CAP_SYNC_REGS covers all three sets, KVM leaves them in struct
 * kvm_run at every exit and takes the changed ones at the next KVM_RUN: no
 * ioctl.  Elsewhere, and for a PC's vCPUs, each call is one.  Either way get returns what the last set
 * stored.  Called by the vCPU's own thread, after its first KVM_RUN.
 *
 * RFLAGS: a software KVM shows IOPL 0 and RF set for ring 3.  IOPL has no effect
 * there at all, so what was read may be stored again.
 */
#ifndef CPU_H
#define CPU_H

#include "vmm/x86_64/arch.h"

#include <linux/kvm.h>

#define CPU_RFLAGS_CF 0x00001u
#define CPU_RFLAGS_FIXED 0x00002u
#define CPU_RFLAGS_AF 0x00010u
#define CPU_RFLAGS_ZF 0x00040u
#define CPU_RFLAGS_DF 0x00400u
#define CPU_RFLAGS_RF 0x10000u

#define CPU_EFER_LMA 0x400u

/* Are the registers in struct kvm_run? */
bool cpu_shares_registers(const struct arch_vcpu *vcpu);

/* Each returns 0 or -errno of the ioctl. */
int cpu_get_regs(struct arch_vcpu *vcpu, struct kvm_regs *regs) __attribute__((warn_unused_result));
int cpu_set_regs(struct arch_vcpu *vcpu, const struct kvm_regs *regs)
    __attribute__((warn_unused_result));
int cpu_get_sregs(struct arch_vcpu *vcpu, struct kvm_sregs *sregs)
    __attribute__((warn_unused_result));
int cpu_set_sregs(struct arch_vcpu *vcpu, const struct kvm_sregs *sregs)
    __attribute__((warn_unused_result));
int cpu_get_events(struct arch_vcpu *vcpu, struct kvm_vcpu_events *events)
    __attribute__((warn_unused_result));
int cpu_set_events(struct arch_vcpu *vcpu, const struct kvm_vcpu_events *events)
    __attribute__((warn_unused_result));

/*
 * Where the vCPU's page tables map a linear address now.
 * Returns false when they do not map it.
 */
bool cpu_translate(struct arch_vcpu *vcpu, gva_t gva, gpa_t *gpa);

/*
 * Copy bytes from the guest's linear address space.  Returns how many could be
 * read, up to the first page that cannot.
 */
size_t cpu_read(struct arch_vcpu *vcpu, struct vm_map *map, gva_t gva, void *to, size_t size);

#endif
