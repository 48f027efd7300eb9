/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instruction decoding: which linear addresses does an instruction access, and
 * which instruction has just stored something?
 *
 * The second question comes up where KVM emulates (vkvm's guests' ring 0 on a
 * software KVM, any access that KVM itself decodes): at the KVM_EXIT_MMIO of a
 * *read* RIP is still at the instruction, but at that of a *write* KVM has
 * already stored RIP and all registers.  To deliver a fault at the instruction
 * it must be found and its register changes undone.
 *
 * Pure: no ioctl; guest memory through struct insn_memory.
 */
#ifndef INSN_H
#define INSN_H

#include "vmm/vpagetable/vm_types.h"

#include <linux/kvm.h>

#define INSN_MAX_BYTES 15
#define INSN_MAX_ACCESSES 4

struct insn_access {
    gva_t address;    /* first byte, linear */
    uint64_t size;    /* bytes, at least 1 */
    vm_prot_t access; /* VM_PROT_READ, VM_PROT_WRITE or both */
};

struct insn {
    unsigned length;
    unsigned naccesses;
    struct insn_access access[INSN_MAX_ACCESSES]; /* page tables, stacks of exceptions excluded */
};

/* The guest's linear memory. */
struct insn_memory {
    void *context;
    /* Copy instruction bytes; returns how many could be read. */
    size_t (*read)(void *context, gva_t gva, void *to, size_t size);
    /* Translate; false = not mapped. */
    bool (*translate)(void *context, gva_t gva, gpa_t *gpa);
};

/*
 * Decode the instruction at regs->rip, whose bytes are given, as sregs says
 * (64-, 32- or 16-bit), and compute its accesses.
 * Returns 0; -ENODATA when it is longer than size; -EILSEQ when it is none.
 */
int insn_decode(const struct kvm_regs *regs, const struct kvm_sregs *sregs, const uint8_t *bytes,
                size_t size, struct insn *insn) __attribute__((warn_unused_result));

/*
 * The access by which an instruction touches the page at `page`, and in *gva the
 * first byte of it that lies in the page.  An access of the given kind is
 * preferred to one of another kind.  Returns NULL when there is none.
 */
const struct insn_access *insn_find_access(const struct insn *insn,
                                           const struct insn_memory *memory, gpa_t page,
                                           vm_prot_t access, gva_t *gva);

/* What KVM was about to store: KVM_EXIT_MMIO with is_write. */
struct insn_store {
    gpa_t gpa;
    unsigned size; /* 1 .. 8 */
    uint8_t data[8];
};

/*
 * Given the registers after KVM emulated the instruction that made `store`, find
 * the registers before it.
 *
 * Candidates end at RIP, or, for a call, at the return address that was stored;
 * a repeated string instruction in progress (RF set) stands at RIP.  A candidate
 * counts if it stores `size` bytes at an address that translates to `gpa`, and
 * the stored value where that is known from registers.  If several remain (a
 * redundant prefix, the last byte of the instruction before), the one at which
 * most linear sweeps from further up arrive is taken.
 *
 * Returns 0 and *before; -ENOTSUP when no instruction fits, or when what it
 * overwrote is lost: flags it also read (adc, sbb, rcl, rcr), a register it
 * loaded (xadd, a failed cmpxchg, ins), or the first part of a read-modify-write
 * that crosses a page.
 */
int insn_rewind(const struct kvm_regs *after, const struct kvm_sregs *sregs,
                const struct insn_memory *memory, const struct insn_store *store,
                struct kvm_regs *before) __attribute__((warn_unused_result));

#endif
