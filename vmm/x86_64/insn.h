/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instruction decoding: which linear addresses does an instruction access?
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
    /* Copy bytes; returns how many could be read, up to the first page that cannot. */
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

/*
 * Is it one whose store KVM's emulator makes past its path to user space, so that where there is
 * nothing to store to it neither reports nor skips it?
 */
bool insn_is_retried(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size);

/*
 * The instruction's name and bytes for a message: "rcl (48 d1 16)".  Bytes that are no
 * instruction stand without a name, and all do when sregs is NULL.
 */
void insn_name(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size, char *to,
               size_t to_size);

#endif
