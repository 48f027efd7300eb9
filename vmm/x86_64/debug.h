/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU as a debugger sees it: registers by number, translation without a trace, breakpoints,
 * watchpoints, steps.
 *
 * Registers have gdb's numbers: they stand in the order of a table (debug_registers.c) that also
 * says how the target description names them.  All of a vCPU's registers are handed over as one
 * array of bytes, each register little-endian and as wide as the table says.
 *
 * Locks: the vCPU rests (vcpu_gate.h), or the caller is its thread; arch_debug_probe and the table
 * need nothing.
 */
#ifndef X86_64_DEBUG_H
#define X86_64_DEBUG_H

#include "vmm/x86_64/arch.h"

/* --- registers ------------------------------------------------------------------- */

/* Room for all registers in their order. */
#define ARCH_DEBUG_REGISTERS_SIZE 1024

struct arch_debug_register {
    const char *feature; /* the part of the description that it belongs to */
    const char *name;
    unsigned bits;
    const char *type;
};

/* How many registers there are, and one of them with the place of its bytes. */
unsigned arch_debug_register_count(void);
const struct arch_debug_register *arch_debug_register(unsigned number, size_t *offset);

/* Bytes of all registers together. */
size_t arch_debug_registers_size(void);

/* The name of the architecture, and the types that a feature's registers refer to, as XML. */
extern const char arch_debug_architecture[];
const char *arch_debug_feature_types(const char *feature);

/* All registers.  Returns 0, or -errno of KVM. */
int arch_debug_get_registers(struct arch_vcpu *vcpu, uint8_t *bytes)
    __attribute__((warn_unused_result));

/* Set those that differ from what they are.  Returns 0, or -errno of KVM: some may be set. */
int arch_debug_set_registers(struct arch_vcpu *vcpu, const uint8_t *bytes)
    __attribute__((warn_unused_result));

/* The linear address of the next instruction.  Returns 0 or -errno of KVM. */
int arch_debug_pc(struct arch_vcpu *vcpu, uint64_t *pc) __attribute__((warn_unused_result));

/* --- translation ----------------------------------------------------------------- */

/* A walk of the guest's own page tables, as far as it came. */
struct arch_debug_walk {
    const char *mode; /* "4-level", ... */
    unsigned nsteps;
    struct {
        uint64_t address; /* guest-physical, of the entry */
        uint64_t value;
    } steps[5];
    uint64_t gpa;
};

/*
 * Translate a linear address as the vCPU would now, whatever the access: the tables are peeked at
 * (vm_peek.h), and nothing is set in them.
 * Sleeps as vm_peek does.  Returns 0; -EFAULT: not mapped, or a table cannot be read; -errno of KVM.
 */
int arch_debug_translate(struct arch_vcpu *vcpu, struct vm_map *map, uint64_t address,
                         struct arch_debug_walk *walk) __attribute__((warn_unused_result));

/* --- stopping -------------------------------------------------------------------- */

#define ARCH_DEBUG_MAX_POINTS 4u /* debug registers */

/* The instruction of a software breakpoint. */
#define ARCH_DEBUG_BREAKPOINT 0xCCu

enum arch_debug_kind {
    ARCH_DEBUG_EXECUTE,
    ARCH_DEBUG_WRITE,
    ARCH_DEBUG_ACCESS
};

struct arch_debug_point {
    enum arch_debug_kind kind;
    uint64_t address; /* linear; a multiple of size */
    unsigned size;    /* 1, 2, 4, 8; EXECUTE: 1 */
};

/* What stops a vCPU. */
struct arch_debug {
    bool active; /* breakpoint instructions, and all below */
    bool step;   /* after one instruction */
    bool quiet;  /* ... with interrupts waiting meanwhile, where KVM can do that */
    bool strays; /* take step exceptions without a step too: see ARCH_DEBUG_STRAY */
    unsigned npoints;
    struct arch_debug_point points[ARCH_DEBUG_MAX_POINTS];
};

/* Returns 0, or -errno of KVM. */
int arch_debug_set(struct arch_vcpu *vcpu, const struct arch_debug *debug)
    __attribute__((warn_unused_result));

enum arch_debug_cause {
    ARCH_DEBUG_STEPPED,
    ARCH_DEBUG_MET_INSTRUCTION, /* a breakpoint instruction, at `pc` */
    ARCH_DEBUG_MET_POINT,       /* one of the points: `point` */
    /*
     * A step exception, but no step is set: an exception that was met by an earlier step has saved the
     * trap flag, and its handler has returned.  (Or the guest steps by itself: nobody can tell.)
     */
    ARCH_DEBUG_STRAY,
    ARCH_DEBUG_GUESTS /* none of ours: an exception of the guest's own */
};

struct arch_debug_event {
    enum arch_debug_cause cause;
    uint64_t pc;    /* linear */
    unsigned point; /* index in struct arch_debug */
};

/* What KVM_EXIT_DEBUG means, with `debug` set. */
void arch_debug_event(struct arch_vcpu *vcpu, const struct arch_debug *debug,
                      struct arch_debug_event *event);

/* After KVM_EXIT_DEBUG: clear the trap flag, so that the guest runs on.  Returns 0, or -errno of KVM. */
int arch_debug_forget_step(struct arch_vcpu *vcpu) __attribute__((warn_unused_result));

/* After KVM_EXIT_DEBUG: hand the exception to the guest after all.  Returns 0, or -errno of KVM. */
int arch_debug_reinject(struct arch_vcpu *vcpu, const struct arch_debug *debug,
                        const struct arch_debug_event *event) __attribute__((warn_unused_result));

/* What this host's KVM can do while the guest's code runs in one ring, measured. */
struct arch_debug_ability {
    bool breakpoints; /* instructions */
    bool step;
    bool points;  /* of kind EXECUTE */
    bool watches; /* of the others */
};

struct arch_debug_abilities {
    struct arch_debug_ability kernel; /* ring 0 */
    struct arch_debug_ability user;   /* ring 3: a software KVM lets it run by itself */
};

/* Does it execute instructions, as far as KVM knows: is it neither halted nor waiting to be started? */
bool arch_debug_executes(struct arch_vcpu *vcpu);

/* Is the vCPU in ring 3?  Returns 0 or -errno of KVM. */
int arch_debug_in_user(struct arch_vcpu *vcpu, bool *user) __attribute__((warn_unused_result));

/*
 * Try each in a virtual machine of some pages.  What cannot be tried counts as not there: a KVM that
 * says nothing about it may still lack it.
 */
void arch_debug_probe(const struct kvm_host *host, struct arch_debug_abilities *abilities);

#endif
