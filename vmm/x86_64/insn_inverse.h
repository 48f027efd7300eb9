/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arithmetic backwards: from what a read-modify-write stored, and the registers and flags
 * after it, to what its operand, the registers and the carry flag were before.
 *
 * Pure.
 */
#ifndef INSN_INVERSE_H
#define INSN_INVERSE_H

#include "vmm/x86_64/insn_internal.h"

/* The memory operand of a read-modify-write. */
struct insn_operand {
    unsigned bits;      /* 8, 16, 32, 64 */
    uint64_t new_value; /* what the instruction stores */
    uint64_t known;     /* mask: bits of old_value that memory still tells */
    uint64_t old_value; /* in: those bits; out: all */
};

enum insn_inverse {
    INSN_INVERSE_FOUND,
    INSN_INVERSE_UNCHANGED, /* the instruction stores what was there, but has set registers */
    INSN_INVERSE_WRONG,     /* it cannot have stored this */
    INSN_INVERSE_UNKNOWN    /* not an instruction that can be undone */
};

/*
 * *before holds the registers after `d`; those that it changed, and CF where it is an
 * input, get their old values.  The other arithmetic flags stay: running the instruction
 * again sets them.
 *
 * Of what neither `known` nor the result tells (an `and` clears bits), a value is chosen
 * that gives the same result again.
 */
enum insn_inverse insn_invert(const struct insn_decoded *d, struct insn_operand *operand,
                              struct kvm_regs *before);

#endif
