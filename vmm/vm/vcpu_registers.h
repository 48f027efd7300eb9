/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU's registers at a fault, for its trace.
 *
 * A vCPU that waits for a page is inside KVM_RUN, where nobody can read its registers.  So it is
 * kicked before the fault is resolved: the signal is pending when it is woken, or ends its wait,
 * and either way KVM_RUN returns before the instruction is executed again.  The vCPU's thread then
 * reads the registers, waits for the fault's answer, so that it does not ask again, and records them.
 *
 * KVM itself may have more faults before it returns: a software KVM that reads page tables, or when it is
 * asked where the registers' operands are.  The registers are those of all of them.
 *
 *     fault thread      vcpu_registers_ask -> kick ... resolve ... vcpu_registers_answer
 *     vCPU's thread     KVM_RUN returns -> vcpu_registers_take: read, await the answer, record
 *
 * Locks: none; letters as in vcpu.h, `ask` the fault thread before it sets `state`.
 */
#ifndef VCPU_REGISTERS_H
#define VCPU_REGISTERS_H

#include "vmm/vpagetable/vm_fault.h"
#include "vmm/x86_64/arch.h"

struct vcpu;

enum vcpu_registers_state {
    VCPU_REGISTERS_NONE,
    VCPU_REGISTERS_ASKED,
    VCPU_REGISTERS_ANSWERED /* the fault has its answer */
};

/* Faults of one KVM_RUN whose registers are the same; of more, the last ones. */
#define VCPU_REGISTERS_FAULTS 8u

struct vcpu_registers {
    _Atomic unsigned state;                  /* (a) enum vcpu_registers_state */
    gpa_t gpa;                               /* ask: of the newest fault */
    vm_prot_t access;                        /* ask */
    bool here;                               /* own: vcpu_registers_here is at work */
    unsigned newest;                         /* ask: its place in `records` */
    unsigned count;                          /* ask, and who answers */
    uint64_t records[VCPU_REGISTERS_FAULTS]; /* who answers */
};

/* The vCPU's fault is about to be resolved; its record is this.  From a fault thread or a worker. */
void vcpu_registers_ask(struct vcpu *vcpu, gpa_t gpa, vm_prot_t access);
void vcpu_registers_answer(struct vcpu *vcpu, uint64_t record);

/*
 * The vCPU's own thread makes a fault for an instruction that left KVM_RUN already: read where it is.
 * Returns whether it is known; not for a fault that this look itself makes.
 */
bool vcpu_registers_here(struct vcpu *vcpu, gpa_t gpa, vm_prot_t access,
                         struct arch_location *location);

/*
 * KVM_RUN returned: if somebody asked, read where the vCPU is and wait for the answer, or for the
 * VM's end.  By the vCPU's thread.
 * Returns how many faults' registers those are, whose numbers are in vcpu->registers.records until
 * KVM_RUN, with *location; its linear address is that of the fault *newest.
 */
unsigned vcpu_registers_take(struct vcpu *vcpu, struct arch_location *location, unsigned *newest);

#endif
