/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files that decode instructions share: Zydis' view of one, and the values of
 * its operands.
 */
#ifndef INSN_INTERNAL_H
#define INSN_INTERNAL_H

#include "vmm/x86_64/insn.h"

#include <Zydis/Zydis.h>

struct insn_decoded {
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* As insn_decode, without the accesses. */
int insn_decode_bytes(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size,
                      struct insn_decoded *d) __attribute__((warn_unused_result));

/* The accesses of `d`, which stands at regs->rip and has not run. */
void insn_collect(const struct insn_decoded *d, const struct kvm_regs *regs,
                  const struct kvm_sregs *sregs, struct insn *insn);

/* Is it the stack, as an instruction uses it without naming it? */
bool insn_is_stack_operand(const ZydisDecodedOperand *op);

/* The low `bits` of value. */
uint64_t insn_mask(uint64_t value, unsigned bits);

/* The value of a general register of any width; set: as a `mov` would.  False for other registers. */
bool insn_register(const struct kvm_regs *regs, ZydisRegister reg, uint64_t *value);
bool insn_set_register(struct kvm_regs *regs, ZydisRegister reg, uint64_t value);

#endif
