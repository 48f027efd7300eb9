/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the VM asks of the architecture.  Implemented in vmm/x86_64/.
 */
#ifndef ARCH_H
#define ARCH_H

#include "vmm/kvm/kvm_host.h"
#include "vmm/vpagetable/vm_fault.h"

struct kvm_run;

struct arch_vcpu {
    const struct kvm_host *host; /* borrowed */
    int fd;                      /* borrowed: the vCPU */
    struct kvm_run *run;         /* borrowed */
    unsigned index;
    /* Fault delivery, as the guest asked by VKVM_CALL_FAULT_DELIVERY. */
    unsigned delivery;           /* VKVM_DELIVER_* */
    gpa_t ve_area;
};

/* Write the boot page tables, GDT and the like to low guest memory (layout.h).
 * Returns 0 or -errno with *error filled. */
int arch_boot_prepare(struct vm_map *map, uint64_t memory_size, struct host_error *error)
    __attribute__((warn_unused_result));

/* First free GPA above what arch_boot_prepare uses. */
gpa_t arch_boot_end(void);

/* CPUID and registers of a new vCPU for the start state of vkvm_abi.h.  Returns 0 or -errno. */
int arch_vcpu_init(struct arch_vcpu *vcpu, gpa_t entry, gpa_t fdt, struct host_error *error)
    __attribute__((warn_unused_result));

/* The arguments and results of a doorbell call.  get then, once, set; -errno on failure. */
struct arch_call {
    uint64_t number;
    uint64_t argument[5];
    uint64_t result;
    uint64_t result2;
    bool has_result2;
};
int arch_call_get(struct arch_vcpu *vcpu, struct arch_call *call)
    __attribute__((warn_unused_result));
int arch_call_set(struct arch_vcpu *vcpu, const struct arch_call *call)
    __attribute__((warn_unused_result));

/*
 * Deliver a fault the guest must handle, at the faulting instruction, as #PF or
 * #VE.  After KVM_EXIT_MMIO (`mmio`), the emulated access is undone first.
 * Returns 0; -EBUSY when the #VE area is still busy; -ENOTSUP when the faulting
 * instruction cannot be found; -errno of KVM.  Nothing was injected then.
 */
int arch_inject_fault(struct arch_vcpu *vcpu, struct vm_map *map,
                      const struct vm_fault_info *info, bool mmio)
    __attribute__((warn_unused_result));

/* Where the vCPU is, for messages and the progress check: rip, and a hash of all registers. */
int arch_vcpu_position(struct arch_vcpu *vcpu, uint64_t *rip, uint64_t *hash);

/* One line about a vCPU's state for a crash message: "rip 0x.. cs 0x.. cr2 0x..". */
void arch_vcpu_describe(struct arch_vcpu *vcpu, char *to, size_t size);

#endif
