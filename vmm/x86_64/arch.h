/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the VM asks of the architecture.  Implemented in vmm/x86_64/.
 */
#ifndef ARCH_H
#define ARCH_H

#include "vmm/kvm/kvm_host.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/x86_64/cpu_feature.h"

struct kvm_run;

/* The task register's selector at start; behind the selectors of vkvm_abi.h. */
#define ARCH_SEL_TSS 0x28

/* The boot page tables map guest memory below this (vkvm_abi.h). */
#define ARCH_BOOT_MAP_END ((uint64_t)4 << 30)

/* Room for an instruction in a message: its name, 15 bytes in hex, brackets. */
#define ARCH_INSTRUCTION_SIZE 80

/* What the processors of a VM have in common. */
struct arch_cpus {
    unsigned n;
    bool lapic;        /* a PC's: KVM has their local APICs, and the first one starts the others */
    bool exact_faults; /* KVM is to make no page fault asynchronous */
    struct cpu_features features;
};

/* Where a vCPU is, for a trace. */
struct arch_location {
    uint64_t rip;
    uint64_t cr3;
    uint64_t linear; /* of the access; UINT64_MAX = the instruction does not tell */
    unsigned cpl;
};

struct arch_vcpu {
    const struct kvm_host *host;  /* borrowed */
    const struct arch_cpus *cpus; /* borrowed */
    int fd;                       /* borrowed: the vCPU */
    struct kvm_run *run;          /* borrowed */
    unsigned index;
    const struct vm_fault_origin *origin; /* borrowed: of what its instruction needs and
                                             arch_resolve_* brings; may be NULL */
    /* Fault delivery, as the guest asked by VKVM_CALL_FAULT_DELIVERY. */
    unsigned delivery; /* VKVM_DELIVER_* */
    gpa_t ve_area;
    /* Elements that the last KVM_EXIT_IO (in) brought; the vCPU loop says so. */
    unsigned ninputs;
    /* What arch_inject_fault injected last. */
    unsigned injected_vector;
    unsigned injected_error_code;
    /* The instruction that arch_inject_fault could not undo, by name and bytes. */
    char culprit[ARCH_INSTRUCTION_SIZE];
};

/*
 * How an image wants to be started.  Of all but the first, vCPU 0 starts, and the others wait until
 * it starts them.
 */
enum arch_protocol {
    ARCH_PROTOCOL_VKVM, /* vkvm_abi.h: every vCPU in 64-bit mode, the device tree's address in RDI */
    ARCH_PROTOCOL_LINUX64,   /* Linux boot.rst: 64-bit mode, RSI = boot_params */
    ARCH_PROTOCOL_LINUX32,   /* ... : protected mode without paging, ESI = boot_params */
    ARCH_PROTOCOL_PVH,       /* Xen misc/pvh.h: the same, EBX = hvm_start_info */
    ARCH_PROTOCOL_MULTIBOOT, /* Multiboot 0.6.96: the same, EAX = its magic number, EBX = its info */
    ARCH_PROTOCOL_FLAT16,    /* real mode; as the two below nothing in the registers */
    ARCH_PROTOCOL_FLAT32,    /* protected mode without paging */
    ARCH_PROTOCOL_FLAT64     /* 64-bit mode */
};

/* The start state: what an image yields, and what registers and boot tables are made from. */
struct arch_start {
    enum arch_protocol protocol;
    gpa_t entry;
    gpa_t info; /* what tells the guest about the machine: the device tree, boot_params ... */
    /* All but ARCH_PROTOCOL_VKVM: where arch_start_tables_size bytes are free, below 640 KiB. */
    gpa_t tables;
    bool vectors; /* ... and [0, ARCH_VECTORS_END) is: real mode gets interrupt vectors */
};

/* Where the interrupt vectors of real mode end, and what they point to. */
#define ARCH_VECTORS_END 0x500u

/*
 * Is KVM here without the processor's help?  Then ring 0 of a guest is emulated, for what KVM's
 * emulator knows, and no operating system that is not made for that runs.
 */
bool arch_kvm_is_software(void);

/* Is KVM's second stage Intel's EPT, whose violations say more, and in other bits, than a page fault? */
bool arch_kvm_has_ept(void);

/*
 * Bits of a guest-physical address that this host gives its guests' processors (CPUID leaf
 * 0x80000008); 36 where it does not say.
 */
unsigned arch_physical_bits(const struct kvm_host *host);

/* Bytes, whole pages, that the protocol's boot tables need at arch_start's tables; 0 = they lie where
 * layout.h says. */
uint64_t arch_start_tables_size(enum arch_protocol protocol);

/*
 * Can the processors be, as far as KVM offers it?
 * Returns 0; -ENOTSUP with *failure filled: a feature that KVM does not have; -ENOMEM.
 */
int arch_cpus_check(const struct kvm_host *host, const struct arch_cpus *cpus,
                    struct failure *failure) __attribute__((warn_unused_result));

/*
 * Write what the protocol wants to find in low guest memory: boot page tables, GDT and the like.
 * Returns 0 or -errno with *failure filled; -EFAULT where there is no RAM for it.
 */
int arch_start_prepare(const struct arch_start *start, struct vm_map *map, struct failure *failure)
    __attribute__((warn_unused_result));

/* First free GPA above what arch_start_prepare uses for ARCH_PROTOCOL_VKVM. */
gpa_t arch_boot_end(void);

/*
 * CPUID and registers of a new vCPU for the start state, and #PF
 * as fault delivery.  Of a PC's vCPUs only the first is started, the others wait for INIT and SIPI.
 * Returns 0, or -errno with *failure filled.
 */
int arch_vcpu_init(struct arch_vcpu *vcpu, const struct arch_start *start, struct failure *failure)
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

#define ARCH_INJECT_MMIO 0x1u    /* at KVM_EXIT_MMIO: the emulated access is undone first */
#define ARCH_INJECT_CERTAIN 0x2u /* deliver even if the instruction does not explain the fault */

/*
 * Deliver a fault the guest must handle, at the faulting instruction, as #PF or
 * #VE.  A fault met while another one was being delivered becomes #DF (Intel SDM
 * vol. 3, table 6-5).
 *
 * CR2 / GLA is the linear address at which the instruction at RIP touches the
 * page.  Where none does (a page table, the stack of an exception being
 * delivered) the call fails with -EAGAIN unless ARCH_INJECT_CERTAIN or
 * ARCH_INJECT_MMIO is set; then CR2 is the GPA, and GLA is not valid.
 *
 * At an emulated write (ARCH_INJECT_MMIO) the instruction has been completed already and is
 * undone first, with what it stored elsewhere (docs/hosts.md).  One that stores what is there
 * already (a compare-exchange that failed) is left completed.
 *
 * *ninputs is how many elements an INS had taken from its port when it was undone: the
 * instruction reads them again.
 *
 * Returns 0; -EALREADY when a completed instruction has changed nothing: the guest goes on
 * behind it; -EAGAIN as above; -EBUSY when the #VE area is still busy; -EFAULT
 * when it cannot be written; -ENOTSUP when the instruction of an emulated write
 * cannot be found or undone, with vcpu->culprit; -ESHUTDOWN when the fault met the delivery
 * of a #DF: a triple fault; -errno of KVM.  Nothing was injected then.
 */
int arch_inject_fault(struct arch_vcpu *vcpu, struct vm_map *map, const struct vm_fault_info *info,
                      unsigned flags, unsigned *ninputs) __attribute__((warn_unused_result));

/* Does the guest get its faults on this vCPU as #VE, not as #PF? */
bool arch_vcpu_delivers_ve(const struct arch_vcpu *vcpu);

/*
 * KVM could not emulate the instruction at RIP, perhaps because it could not
 * reach memory: resolve the pages of the instruction and of everything it
 * accesses by vm_fault.
 * Returns 0 when all are mapped now; 1 with *info when one must be refused;
 * -EILSEQ when there is no decodable instruction; -errno of KVM.
 */
int arch_resolve_instruction(struct arch_vcpu *vcpu, struct vm_map *map, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/*
 * The same, if KVM tries the instruction at RIP again and again by itself when it cannot store
 * what it stores; 0 at any other.
 */
int arch_resolve_retried(struct arch_vcpu *vcpu, struct vm_map *map, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/* Where the vCPU is, for messages and the progress check: rip, and a hash of all registers.
 * Returns 0 or -errno of KVM. */
int arch_vcpu_position(struct arch_vcpu *vcpu, uint64_t *rip, uint64_t *hash);

/* The instruction at RIP, by name and bytes, for the message that KVM cannot emulate it. */
void arch_vcpu_instruction(struct arch_vcpu *vcpu, struct vm_map *map, char *to, size_t size);

/* One line about a vCPU's state for a crash message: "rip 0x.. cs 0x.. cr2 0x..". */
void arch_vcpu_describe(struct arch_vcpu *vcpu, char *to, size_t size);

/*
 * Where the vCPU is, between two instructions, and by which linear address the one at RIP makes
 * that access to gpa.  Reads guest memory as vm_map_peek does.  By the vCPU's thread.
 * Returns 0, or -errno of KVM.
 */
int arch_vcpu_locate(struct arch_vcpu *vcpu, struct vm_map *map, gpa_t gpa, vm_prot_t access,
                     struct arch_location *location) __attribute__((warn_unused_result));

/*
 * Where the guest's SYSCALL goes (MSR_LSTAR).  By the vCPU's thread, or once that has ended.
 * Returns 0 while the guest has not said so, or where KVM does not tell.
 */
uint64_t arch_vcpu_syscall_entry(struct arch_vcpu *vcpu);

#endif
