/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IDT, the trap stubs, and the two ways out of a trap: back to ring 0 code by
 * iretq, or, from ring 3, back to the caller of ring3_run.
 *
 * Each stub lies at TRAP_BASE + vector * TRAP_STUB_SIZE: a constant, so the
 * gates below are constants too and no code has to fill in an IDT.
 *
 * On a trap from ring 3 the stack pointer (TSS.RSP0) is the end of the frame in
 * the running struct ring3_context: the pushes below write the registers right there.
 */
#include "guest/include/vkvm_abi.h"
#include "guest/lib/cpu.h"
#include "guest/lib/ring3.h"
#include "guest/lib/traps.h"

        .section .traps, "ax", @progbits
        .globl  trap_stubs
        .type   trap_stubs, @function
        .balign 4096
/* Vectors 8, 10-14, 17, 21, 29 and 30 come with an error code (Intel SDM vol. 3, table 6-1). */
trap_stubs:
        .set    vector, 0
        .rept   TRAP_VECTORS
        .balign TRAP_STUB_SIZE
        .if     ((1 << vector) & 0x60227d00) == 0
        pushq   $0
        .endif
        pushq   $vector
        .if     (vector == TRAP_DF) || (vector == TRAP_NMI) || (vector == TRAP_MC)
        jmp     trap_ist
        .else
        jmp     trap_save
        .endif
        .set    vector, vector + 1
        .endr
        .size   trap_stubs, . - trap_stubs

        .macro  save_registers
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %cr2, %rax
        pushq   %rax
        cld
        .endm

        .macro  restore_registers_and_return
        addq    $8, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        popq    %rdx
        popq    %rcx
        popq    %rax
        addq    $16, %rsp
        iretq
        .endm

        .text
        .type   trap_ist, @function
trap_ist:
        save_registers
        jmp     trap_ring0
        .size   trap_ist, . - trap_ist

        .type   trap_save, @function
trap_save:
        save_registers
        testb   $3, TRAP_FRAME_CS(%rsp)
        jnz     trap_ring3
trap_ring0:
        movq    %rsp, %rdi
        movq    %rsp, %rbx
        andq    $-16, %rsp
        call    trap_dispatch
        movq    %rbx, %rsp
        restore_registers_and_return
trap_ring3:
        movq    RING3_CR3(%rsp), %rax
        testq   %rax, %rax
        jz      1f
        movq    RING3_KERNEL_CR3(%rsp), %rax
        movq    %rax, %cr3
1:      movq    RING3_KERNEL_RSP(%rsp), %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret
        .size   trap_save, . - trap_save

/* void ring3_enter(struct trap_frame *frame, void *tss_rsp0): frame of a struct ring3_context. */
        .globl  ring3_enter
        .type   ring3_enter, @function
ring3_enter:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, RING3_KERNEL_RSP(%rdi)
        leaq    TRAP_FRAME_SIZE(%rdi), %rax
        movq    %rax, (%rsi)
        movq    RING3_CR3(%rdi), %rax
        testq   %rax, %rax
        jz      1f
        movq    %rax, %cr3
1:      movq    %rdi, %rsp
        restore_registers_and_return
        .size   ring3_enter, . - ring3_enter

/* Interrupt gates (Intel SDM vol. 3, 6.14.1); ring 3 may use #BP and TRAP_SYSCALL. */
        .section .rodata
        .globl  trap_idt
        .type   trap_idt, @object
        .balign 16
trap_idt:
        .set    vector, 0
        .rept   TRAP_VECTORS
        .word   (TRAP_BASE + vector * TRAP_STUB_SIZE) & 0xffff
        .word   VKVM_SEL_KERNEL_CODE
        .if     (vector == TRAP_DF) || (vector == TRAP_NMI) || (vector == TRAP_MC)
        .byte   1
        .else
        .byte   0
        .endif
        .if     (vector == TRAP_BP) || (vector == TRAP_SYSCALL)
        .byte   0xee
        .else
        .byte   0x8e
        .endif
        .word   (TRAP_BASE + vector * TRAP_STUB_SIZE) >> 16
        .long   0, 0
        .set    vector, vector + 1
        .endr
        .size   trap_idt, . - trap_idt

        .section .note.GNU-stack, "", @progbits
