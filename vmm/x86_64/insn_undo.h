/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Undoing an instruction that KVM's emulator has completed.
 *
 * Where KVM emulates (a guest's ring 0 on a software KVM, any access that KVM itself
 * decodes), RIP is still at the instruction at the KVM_EXIT_MMIO of a *read*, but at that of
 * a *write* KVM has already stored RIP and all registers.  To deliver a fault at the
 * instruction it must be found and its effects undone.
 *
 * Pure: no ioctl; guest memory through struct insn_memory.
 */
#ifndef INSN_UNDO_H
#define INSN_UNDO_H

#include "vmm/x86_64/insn.h"

/* A piece of a store that KVM could not make: KVM_EXIT_MMIO with is_write. */
struct insn_store {
    gpa_t gpa;
    unsigned size; /* 1 .. 8 */
    uint8_t data[8];
};

#define INSN_MAX_STORES 4

/* What is known of an instruction that KVM has completed. */
struct insn_completed {
    struct kvm_regs regs;                      /* after it */
    const struct kvm_sregs *sregs;             /* borrowed */
    struct insn_store stores[INSN_MAX_STORES]; /* dropped, in order; more do not matter */
    unsigned nstores;                          /* at least 1 */
    unsigned ninputs;                          /* elements of the last KVM_EXIT_IO, in */
};

struct insn_undone {
    bool found; /* before.rip is where it stands, even if it cannot be undone */
    struct kvm_regs before;
    bool unchanged;          /* it stores what is there already: leave it completed */
    unsigned ninputs;        /* INS: elements it took from the port and did not store */
    unsigned nrestore;       /* bytes that were stored, ... */
    gva_t restore;           /* ... where, inside one page, ... */
    uint8_t restore_data[8]; /* ... and what they must be again */
};

/*
 * Find the instruction and what was before it.
 *
 * Candidates end at RIP, or, for a call, at the return address that was stored;
 * a repeated string instruction in progress (RF set) stands at RIP.  A candidate
 * counts if it makes the stores at addresses that translate to their GPAs, with the values
 * that follow from registers and memory.  If several remain (a redundant prefix, the last
 * byte of the instruction before), the one at which most linear sweeps from further up
 * arrive is taken.
 *
 * A store across pages of which one could be made is undone there too, if the instruction
 * reads its operand (insn_inverse.h); a plain store is simply made again.
 *
 * Returns 0; -ENOTSUP when no instruction fits or the one that fits cannot be undone: see
 * undone->found.
 */
int insn_undo(const struct insn_completed *completed, const struct insn_memory *memory,
              struct insn_undone *undone) __attribute__((warn_unused_result));

#endif
