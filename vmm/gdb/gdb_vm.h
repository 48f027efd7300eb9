/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM as a debugger's target (gdb_target.h): its vCPUs' registers, its memory without a trace
 * (vm_peek.h), breakpoints, and who runs.
 *
 * A software breakpoint is a byte of guest memory.  It is written as a debugger writes, so in memory
 * that is shared copy-on-write it stays with this VM; in a page of a shared file it would be seen by
 * others, and is refused.  Where it was written is remembered as a guest-physical address: the
 * guest's page tables may be others when it is taken away.
 *
 * All stop as soon as one does: the vCPU that meets something notes it, pauses the VM, and comes to
 * rest like all others.  What another vCPU met meanwhile is forgotten, because it meets it again
 * when it runs on, but for a watched access, which is over: that is told next.
 *
 * Where KVM does not stop at something but can step, the vCPUs are *walked*: they step from instruction to
 * instruction, and after each one the vCPU's thread looks whether it is there, or whether what is
 * watched has changed.  That is slow, and exact but for accesses that change nothing; so the pages of
 * breakpoints and watched words are trapped (pmap_trap.h), and the vCPUs run freely until one of them
 * touches one.  See gdb_walk.c.
 *
 * Letters beside fields: (c) constant, (a) atomic, walk gdb_vm.walk_lock, breakpoints gdb_vm.lock,
 * R while all vCPUs rest for VCPU_PAUSE_DEBUG, or by the vCPU itself.
 */
#ifndef GDB_VM_H
#define GDB_VM_H

#include "vmm/gdb/gdb_target.h"
#include "vmm/vm/machine.h"
#include "vmm/vpagetable/vm_lock.h"
#include "vmm/x86_64/debug.h"

struct vm;

/* Software breakpoints at most. */
#define GDB_VM_BREAKPOINTS 4096u

/* A walked vCPU takes interrupts only after so many steps: else it might see nothing but those. */
#define GDB_VM_QUIET_STEPS 2000u

struct gdb_breakpoint {
    uint64_t address; /* linear */
    gpa_t gpa;
    bool written;     /* the instruction is in memory; else the vCPUs are walked to it */
    uint8_t original; /* the byte that was there */
};

/* What the debugger asked for; the points of the processor that it became stand in arch_debug. */
struct gdb_watch {
    enum gdb_point kind;
    uint64_t address;
    uint64_t size;
};

struct gdb_vm {
    struct vm *vm;                         /* (c) borrowed */
    struct arch_debug_abilities abilities; /* (c) */
    struct vm_mutex lock;                  /* breakpoints, innermost but for the gate's */
    struct gdb_breakpoint *breakpoints;    /* breakpoints: owned */
    unsigned nbreakpoints;                 /* breakpoints */
    struct arch_debug debug;               /* R: what stops each vCPU; `step` is the action's */
    struct gdb_watch watches[ARCH_DEBUG_MAX_POINTS]; /* R: of each point, whose it is */
    _Atomic bool walks;                     /* (a) all step from instruction to instruction */
    bool trapped;                           /* R: they walk from a touch of a trap on */
    bool data_trapped;                      /* R: a watched word is among the traps */
    struct vm_mutex walk_lock;              /* walk */
    bool waits[MACHINE_MAX_VCPUS];          /* walk: it is held while others step */
    _Atomic bool together;                  /* (a) ... but none is to be now */
    _Atomic bool inside[MACHINE_MAX_VCPUS]; /* (a) it may be about to touch a trapped page */
    unsigned steps[MACHINE_MAX_VCPUS];      /* its vCPU's: since the traps were touched */
    _Atomic uint64_t values[ARCH_DEBUG_MAX_POINTS]; /* (a) of each point, while walking */
    enum gdb_action actions[MACHINE_MAX_VCPUS];     /* R */
    bool met[MACHINE_MAX_VCPUS];                    /* breakpoints: the vCPU met something ... */
    struct gdb_stop stops[MACHINE_MAX_VCPUS];       /* breakpoints: ... this */
    int first;                                      /* breakpoints: which did first; -1 = none */
};

extern const struct gdb_target_ops gdb_vm_ops;

/* Returns 0, or -ENOMEM. */
int gdb_vm_init(struct gdb_vm *target, struct vm *vm) __attribute__((warn_unused_result));
void gdb_vm_fini(struct gdb_vm *target);

/* vm_debug_ops.trap */
bool gdb_vm_trap(struct gdb_vm *target, unsigned cpu, bool in_place);

/* What stops the vCPU as long as it does what it does. */
struct arch_debug gdb_vm_debug_of(const struct gdb_vm *target, unsigned cpu);

/*
 * Is a vCPU that is walked at something, or has it, with `stepped`, changed something?  Then *stop says
 * what; its cpu is given.
 */
bool gdb_vm_walked_to(struct gdb_vm *target, uint64_t pc, bool stepped, struct gdb_stop *stop);

/* By the vCPU's thread: pause the VM for this. */
void gdb_vm_note_stop(struct gdb_vm *target, const struct gdb_stop *stop);

/* --- gdb_walk.c --------------------------------------------------------------------- */

/* KVM does not stop at such points in ring 0, but can step. */
bool gdb_walk_to(const struct gdb_vm *target, enum gdb_point kind);

/* While all rest: begin, for the points and actions that there are now; or let all run freely. */
void gdb_walk_start(struct gdb_vm *target);
void gdb_walk_stop(struct gdb_vm *target);

/* Does the vCPU meet the point?  Data is compared only after a step. */
bool gdb_walk_meets(struct gdb_vm *target, unsigned cpu, uint64_t pc, unsigned point, bool stepped);

/* By the vCPU's thread: vm_debug_ops.look; and after a step that met nothing. */
void gdb_walk_look(struct gdb_vm *target, unsigned cpu);
void gdb_walk_stepped(struct gdb_vm *target, unsigned cpu, uint64_t pc);

/* --- gdb_memory.c ------------------------------------------------------------------- */

/*
 * Where the vCPU's page tables have the address, and how many bytes there are to the page's end.
 * Sleeps.  Returns as arch_debug_translate.
 */
int gdb_vm_translate(struct gdb_vm *target, unsigned cpu, uint64_t address, gpa_t *gpa,
                     size_t *room) __attribute__((warn_unused_result));

/* vm_poke, with why not.  Returns 0 or -EFAULT. */
int gdb_vm_poke(struct gdb_vm *target, gpa_t gpa, const void *from, size_t size, char *why)
    __attribute__((warn_unused_result));

/* gdb_target_ops.read and .write */
size_t gdb_vm_read(void *context, unsigned cpu, uint64_t address, void *to, size_t size);
int gdb_vm_write(void *context, unsigned cpu, uint64_t address, const void *from, size_t size,
                 char *why);

/* gdb_target_ops.monitor (gdb_monitor.c) */
void gdb_monitor(void *context, unsigned cpu, const char *command, FILE *to);

/* gdb_target_ops.all_rest */
bool gdb_vm_all_rest(void *context);

#endif
