/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mini guest of host_fault.c.  It is copied to GUEST_CODE; code inside refers to
 * itself relative to RIP only.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata
        .code64

/* Load the registers of the trial and go to it, in ring 3 or 0. */
guest guest_trial
        mov     $GUEST_RING0, %rsp
        lidt    GUEST_IDTR
        mov     $GUEST_PARAM, %rbx
        cmpq    $0, PARAM_RING3(%rbx)
        je      1f
        pushq   $VKVM_SEL_USER_DATA
        pushq   PARAM_REGS + 32(%rbx)
        pushq   PARAM_RFLAGS(%rbx)
        pushq   $VKVM_SEL_USER_CODE
        jmp     2f
1:      pushq   $VKVM_SEL_KERNEL_DATA
        pushq   PARAM_REGS + 32(%rbx)
        pushq   PARAM_RFLAGS(%rbx)
        pushq   $VKVM_SEL_KERNEL_CODE
2:      pushq   $GUEST_TRIAL
        mov     PARAM_REGS + 0(%rbx), %rax
        mov     PARAM_REGS + 8(%rbx), %rcx
        mov     PARAM_REGS + 16(%rbx), %rdx
        mov     PARAM_REGS + 40(%rbx), %rbp
        mov     PARAM_REGS + 48(%rbx), %rsi
        mov     PARAM_REGS + 56(%rbx), %rdi
        mov     PARAM_REGS + 64(%rbx), %r8
        mov     PARAM_REGS + 72(%rbx), %r9
        mov     PARAM_REGS + 24(%rbx), %rbx
        iretq

        /* Stubs, 16 bytes apart, one per vector; host_fault.c makes the gates. */
        .balign 16
        .globl  guest_trial_stubs
guest_trial_stubs:
        vector = 0
        .rept   GUEST_VECTORS
        .balign 16
        .if     (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17)
        push    $0                      /* no error code */
        .endif
        push    $vector
        jmp     trap
        vector = vector + 1
        .endr

/* Record the trap; 0(%rsp) vector, 8 error code, 16 RIP, 24 CS, 32 RFLAGS, 40 RSP, 48 SS. */
trap:
        push    %rbx
        push    %rax
        mov     GUEST_COUNT, %rbx
        incq    GUEST_COUNT
        and     $RECORD_MAX - 1, %rbx
        imul    $RECORD_SIZE, %rbx
        add     $GUEST_RECORD, %rbx
        pop     %rax
        mov     %rax, RECORD_REGS + 0(%rbx)
        mov     %rcx, RECORD_REGS + 8(%rbx)
        mov     %rdx, RECORD_REGS + 16(%rbx)
        mov     %rbp, RECORD_REGS + 40(%rbx)
        mov     %rsi, RECORD_REGS + 48(%rbx)
        mov     %rdi, RECORD_REGS + 56(%rbx)
        mov     %r8, RECORD_REGS + 64(%rbx)
        mov     %r9, RECORD_REGS + 72(%rbx)
        pop     %rax
        mov     %rax, RECORD_REGS + 24(%rbx)
        mov     0(%rsp), %rax
        mov     %rax, RECORD_VECTOR(%rbx)
        mov     8(%rsp), %rax
        mov     %rax, RECORD_ERROR(%rbx)
        mov     16(%rsp), %rax
        mov     %rax, RECORD_RIP(%rbx)
        mov     24(%rsp), %rax
        mov     %rax, RECORD_CS(%rbx)
        mov     32(%rsp), %rax
        mov     %rax, RECORD_RFLAGS(%rbx)
        mov     40(%rsp), %rax
        mov     %rax, RECORD_RSP(%rbx)
        mov     %rax, RECORD_REGS + 32(%rbx)
        mov     48(%rsp), %rax
        mov     %rax, RECORD_SS(%rbx)
        mov     %cr2, %rax
        mov     %rax, RECORD_CR2(%rbx)
        cmpq    $GUEST_DONE, RECORD_VECTOR(%rbx)
        je      9f
        cmpq    $RECORD_MAX, GUEST_COUNT
        jae     6f
        cmpq    $14, RECORD_VECTOR(%rbx)
        je      1f
        cmpq    $20, RECORD_VECTOR(%rbx)
        jne     6f
1:      mov     $GUEST_PARAM, %rcx
        mov     PARAM_REPAIR(%rcx), %rax
        cmp     $-1, %rax
        je      8f
        mov     PARAM_REPAIR + 8(%rcx), %rdi
        mov     PARAM_REPAIR + 16(%rcx), %rsi
        mov     PARAM_REPAIR + 24(%rcx), %r8
        mov     PARAM_REPAIR + 32(%rcx), %r9
        mov     PARAM_REPAIR + 40(%rcx), %r10
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        test    %rax, %rax
        js      7f
        mov     RECORD_REGS + 0(%rbx), %rax
        mov     RECORD_REGS + 8(%rbx), %rcx
        mov     RECORD_REGS + 16(%rbx), %rdx
        mov     RECORD_REGS + 48(%rbx), %rsi
        mov     RECORD_REGS + 56(%rbx), %rdi
        mov     RECORD_REGS + 64(%rbx), %r8
        mov     RECORD_REGS + 72(%rbx), %r9
        mov     RECORD_REGS + 24(%rbx), %rbx
        add     $16, %rsp
        iretq
6:      exit    4                       /* a trap too many, or a wrong one */
7:      exit    3
8:      exit    2
9:      exit    0
guest_end guest_trial

        .section .note.GNU-stack, "", @progbits
