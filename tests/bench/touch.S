/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one guest every row of the benchmark runs: it goes to ring 3, touches pages
 * in the order its parameters give, and leaves the elapsed TSC cycles behind.  It
 * comes back to ring 0 by an invalid opcode for the doorbell: a software KVM neither
 * takes IOPL from iretq nor leaves ring 3 on syscall or int.
 *
 * Position-independent, copied to TOUCH_CODE; parameters and result at TOUCH_PARAMS
 * (struct touch_params).  Starts in the state of vkvm_abi.h and ends by the doorbell.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/bench/touch.h"

        .section .rodata
        .globl  touch_begin, touch_end
touch_begin:
        movl    $TOUCH_STACK, %esp
        /* IDT entry 6 (#UD): an interrupt gate to `done`; TSS: RSP0. */
        leaq    done(%rip), %rax
        movl    $TOUCH_IDT + 6 * 16, %ebx
        movw    %ax, 0(%rbx)
        movw    $VKVM_SEL_KERNEL_CODE, 2(%rbx)
        movw    $0x8e00, 4(%rbx)
        shrq    $16, %rax
        movw    %ax, 6(%rbx)
        movl    $0, 8(%rbx)
        movl    $TOUCH_TSS, %ebx
        movq    $TOUCH_STACK, 4(%rbx)
        movl    $TOUCH_GDT, %ebx
        movq    $0x00af9b000000ffff, %rax
        movq    %rax, VKVM_SEL_KERNEL_CODE(%rbx)
        movq    $0x00cf93000000ffff, %rax
        movq    %rax, VKVM_SEL_KERNEL_DATA(%rbx)
        movq    $0x00cff3000000ffff, %rax
        movq    %rax, VKVM_SEL_USER_DATA - 3(%rbx)
        movq    $0x00affb000000ffff, %rax
        movq    %rax, VKVM_SEL_USER_CODE - 3(%rbx)
        movq    $0x0000890000000067 | (TOUCH_TSS & 0xffff) << 16 | (TOUCH_TSS >> 16) << 32, %rax
        movq    %rax, TOUCH_SEL_TSS(%rbx)
        movq    $0, TOUCH_SEL_TSS + 8(%rbx)
        leaq    gdtr(%rip), %rax
        lgdt    (%rax)
        leaq    idtr(%rip), %rax
        lidt    (%rax)
        movl    $TOUCH_SEL_TSS, %eax
        ltr     %ax
        pushq   $VKVM_SEL_USER_DATA
        pushq   $TOUCH_STACK
        pushq   $2
        pushq   $VKVM_SEL_USER_CODE
        leaq    user(%rip), %rax
        pushq   %rax
        iretq

user:
        movl    $TOUCH_PARAMS, %ebx
        movq    0(%rbx), %rsi           /* base */
        movq    8(%rbx), %rcx           /* count */
        movq    16(%rbx), %r9           /* stride */
        movq    24(%rbx), %r10          /* mask */
        movq    32(%rbx), %r11          /* write? */
        xorl    %r8d, %r8d
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, %r12
        testq   %r11, %r11
        jz      read_loop
write_loop:
        movq    %rcx, (%rsi,%r8)
        addq    %r9, %r8
        andq    %r10, %r8
        decq    %rcx
        jnz     write_loop
        jmp     stop
read_loop:
        movq    (%rsi,%r8), %rax
        addq    %r9, %r8
        andq    %r10, %r8
        decq    %rcx
        jnz     read_loop
stop:
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        subq    %r12, %rax
        movq    %rax, 40(%rbx)
        ud2
done:
        movl    $VKVM_CALL_EXIT, %eax
        xorl    %edi, %edi
        movl    $VKVM_PORT_DOORBELL, %edx
        outl    %eax, %dx
        ud2
gdtr:   .word   TOUCH_SEL_TSS + 15
        .quad   TOUCH_GDT
idtr:   .word   7 * 16 - 1
        .quad   TOUCH_IDT
touch_end:
        .section .note.GNU-stack, "", @progbits
