/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions and system calls.
 *
 * A system call is `int $4`: vector 4 has no other use in 64-bit mode.  Where KVM
 * runs without hardware support, `syscall` does not leave ring 3 and other `int $n` but 1, 3
 * and 4 arrive as #UD; `int $4` works everywhere.
 *
 * A trap from ring 0 runs the registered handler on the current stack and
 * returns to the instruction in frame->rip.  A trap from ring 3 ends ring3_run (ring3.h),
 * whose caller decides; ring3_call, for one, runs the registered handler and goes on.
 * A handler may change any register in the frame.
 *
 * A trap without a handler prints one line and ends the VM with TRAP_EXIT_STATUS.
 */
#ifndef GUEST_TRAPS_H
#define GUEST_TRAPS_H

#define TRAP_BASE 0x200000 /* of the stubs; guest.ld asserts it */
#define TRAP_STUB_SIZE 16
#define TRAP_VECTORS 32

#define TRAP_NMI 2
#define TRAP_BP 3
#define TRAP_SYSCALL 4 /* `int $4` */
#define TRAP_DF 8
#define TRAP_PF 14
#define TRAP_MC 18
#define TRAP_VE 20

#define TRAP_EXIT_STATUS 120

/* Offsets in struct trap_frame; traps.c asserts them. */
#define TRAP_FRAME_CS 152
#define TRAP_FRAME_SIZE 184

#ifndef __ASSEMBLER__

#include <stdint.h>

struct trap_frame {
    uint64_t cr2; /* as it was when the trap came in; only meaningful for #PF */
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector; /* TRAP_* */
    uint64_t error;  /* error code, 0 where the vector has none */
    uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * Handle `vector` (0 .. TRAP_VECTORS-1) on all vCPUs from now on; NULL: nobody does.
 * Returns the handler before.
 */
void (*trap_set_handler(unsigned vector,
                        void (*handler)(struct trap_frame *frame)))(struct trap_frame *frame);

/* Run the handler of frame->vector.  Called by the trap entry and by ring3_call; in ring 0. */
void trap_dispatch(struct trap_frame *frame);

/* Print the one line about a trap nobody handles and end the VM. */
_Noreturn void trap_fatal(const struct trap_frame *frame);

#endif
#endif
