/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between KVM's structures and a debugger's array of registers.  Pure.
 */
#ifndef X86_64_DEBUG_REGISTERS_H
#define X86_64_DEBUG_REGISTERS_H

#include "vmm/x86_64/debug.h"

#include <linux/kvm.h>

struct debug_registers {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
    uint64_t kernel_gs_base;
    uint16_t ftag; /* fpu.ftwx as the processor's tag word has it */
};

/* Fill `bytes`, arch_debug_registers_size() of them.  r->ftag is made from r->fpu. */
void debug_registers_pack(struct debug_registers *r, uint8_t *bytes);

/* The reverse; what `bytes` does not tell stays. */
void debug_registers_unpack(struct debug_registers *r, const uint8_t *bytes);

/* As arch_debug_translate, for that state. */
int debug_walk(const struct kvm_sregs *sregs, struct vm_map *map, uint64_t address,
               struct arch_debug_walk *walk) __attribute__((warn_unused_result));

#endif
