/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running code in ring 3.
 *
 * On a host whose KVM emulates ring 0 one instruction at a time, ring 3 runs at
 * full speed: heavy loops belong there.  The boot identity map is open to ring 3, so a C
 * function of the image simply runs there; the TSS lets it use doorbell and console.
 *
 * Two levels:
 *   ring3_call   run a function in ring 3 and come back with its result;
 *   ring3_run    run a register state until it traps: how a kernel runs a process.
 *
 * Back to ring 0 it goes by the system call of traps.h or an exception; into ring 3
 * always by iretq (sysretq is not emulated everywhere).
 */
#ifndef GUEST_RING3_H
#define GUEST_RING3_H

/* Offsets in struct ring3_context, from its frame on; ring3.c asserts them. */
#define RING3_KERNEL_RSP 184
#define RING3_CR3 192
#define RING3_KERNEL_CR3 200

/* RAX of the two system calls of code started by ring3_call. */
#define RING3_SYSCALL_RETURN 0x1000
#define RING3_SYSCALL_RING0 0x1001

#ifndef __ASSEMBLER__

#include "guest/lib/traps.h"

#include <stdint.h>

/*
 * A ring-3 register state.  A trap pushes the registers right into `frame`, from its
 * end on, which must be 16-byte aligned: the processor aligns the stack before it pushes.
 */
struct ring3_context {
    uint64_t io; /* not 0: may use the ports of doorbell and console */
    struct trap_frame frame;
    uint64_t kernel_rsp; /* of the running ring3_run */
    uint64_t cr3;        /* address space to run in; 0: the one ring3_run is called in */
    uint64_t kernel_cr3; /* to come back to when cr3 is not 0 */
} __attribute__((aligned(16)));

/*
 * A context that will run entry(argument) on the stack below stack_top (16-byte aligned), with
 * all other registers 0, no I/O permission and the caller's address space.
 */
void ring3_init(struct ring3_context *context, uint64_t entry, uint64_t argument,
                uint64_t stack_top);

/*
 * Run `context` in ring 3 until it traps; its registers and the cause are in
 * context->frame then.  Ring 0 only.  `context` and the image must be mapped in
 * context->cr3 too.
 */
void ring3_run(struct ring3_context *context);

/*
 * Run function(argument) in ring 3 on this vCPU's ring-3 stack and return its
 * result.  Traps meanwhile go to the registered handlers (traps.h), in ring 0.
 * In ring 3 already: a plain call.  Does not nest inside a handler.
 */
uint64_t ring3_call(uint64_t (*function)(uint64_t argument), uint64_t argument);

/*
 * From inside ring3_call: run function(argument) in ring 0 and return its result.
 * In ring 0 already: a plain call.
 */
uint64_t ring3_to_ring0(uint64_t (*function)(uint64_t argument), uint64_t argument);

#endif
#endif
