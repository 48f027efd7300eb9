/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the host tests and their mini guests (host_*.S) meet:
 * addresses in guest memory and the layout of what is exchanged there.
 */
#ifndef VM_GUEST_H
#define VM_GUEST_H

#define GUEST_CODE 0x100000  /* a mini guest starts here */
#define GUEST_TRIAL 0x102000 /* the instruction under trial, then ud2 */
#define GUEST_IDT 0x10000
#define GUEST_IDTR 0x11000
#define GUEST_STACK 0x90000 /* grows down from here; rings, IST and trial apart */
#define GUEST_IST 0xA0000
#define GUEST_RING0 0xB0000
#define GUEST_PARAM 0x31000   /* struct trial_param */
#define GUEST_COUNT 0x31800   /* traps recorded */
#define GUEST_RECORD 0x32000  /* struct trap_record [] */
#define GUEST_CALLS 0x1000000 /* count, then struct doorbell [] */

#define GUEST_VECTORS 32
#define GUEST_DONE 6 /* #UD ends a trial (KVM's emulator knows no `int`) */
#define RECORD_SIZE 192
#define RECORD_MAX 16

/* Offsets in struct trial_param. */
#define PARAM_RING3 0
#define PARAM_REPAIR 8 /* doorbell call to make at a fault: number + 5 arguments; ~0 = exit */
#define PARAM_REGS 56  /* rax rcx rdx rbx rsp rbp rsi rdi r8 r9 */
#define PARAM_RFLAGS 136

/* Offsets in struct trap_record. */
#define RECORD_VECTOR 0
#define RECORD_ERROR 8
#define RECORD_RIP 16
#define RECORD_CS 24
#define RECORD_RFLAGS 32
#define RECORD_RSP 40
#define RECORD_SS 48
#define RECORD_CR2 56
#define RECORD_REGS 64 /* rax rcx rdx rbx rsp rbp rsi rdi r8 r9, rsp as above */

#ifdef __ASSEMBLER__
/* clang-format off */

        .macro  guest name
        .balign 16
        .globl  \name
\name:
        .endm

        .macro  guest_end name
        .globl  \name\()_end
\name\()_end:
        .endm

        /* End the VM with a status. */
        .macro  exit status
        mov     $VKVM_CALL_EXIT, %eax
        mov     $\status, %edi
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        hlt
        .endm

/* clang-format on */
#else
#include <stdint.h>

struct trial_param {
    uint64_t ring3;
    uint64_t repair[6];
    uint64_t regs[10];
    uint64_t rflags;
};
_Static_assert(sizeof(struct trial_param) == PARAM_RFLAGS + 8, "as host_fault.S reads it");

struct trap_record {
    uint64_t vector;
    uint64_t error;
    uint64_t rip;
    uint64_t cs;
    uint64_t rflags;
    uint64_t rsp;
    uint64_t ss;
    uint64_t cr2;
    uint64_t regs[10];
    uint64_t spare[6];
};
_Static_assert(sizeof(struct trap_record) == RECORD_SIZE, "as host_fault.S writes it");

struct doorbell {
    uint64_t number;
    uint64_t argument[5];
    int64_t result;
    uint64_t result2;
};
#endif

#endif
