/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one guest every row of the benchmark runs: it goes to ring 3, touches pages
 * in the order its parameters give, and leaves behind when it began and ended.  It
 * comes back to ring 0 by an invalid opcode for the doorbell: a software KVM neither
 * takes IOPL from iretq nor leaves ring 3 on syscall or int.
 *
 * Position-independent, copied to TOUCH_CODE.  Starts in the state of vkvm_abi.h on
 * every vCPU; all begin together, and the last one that is through ends the VM by
 * the doorbell.  %ebp: the vCPU's own part of memory.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/bench/touch.h"

        .section .rodata
        .globl  touch_begin, touch_end
touch_begin:
        shll    $TOUCH_CPU_SHIFT, %esi
        leal    TOUCH_CPUS(%rsi), %ebp
        leal    TOUCH_STACK(%rbp), %esp
        /* IDT entry 6 (#UD): an interrupt gate to `done`; TSS: RSP0. */
        leaq    done(%rip), %rax
        leal    TOUCH_IDT + 6 * 16(%rbp), %ebx
        movw    %ax, 0(%rbx)
        movw    $VKVM_SEL_KERNEL_CODE, 2(%rbx)
        movw    $0x8e00, 4(%rbx)
        shrq    $16, %rax
        movw    %ax, 6(%rbx)
        movl    $0, 8(%rbx)
        leal    TOUCH_TSS(%rbp), %ecx
        movq    %rsp, 4(%rcx)
        leal    TOUCH_GDT(%rbp), %ebx
        movq    $0x00af9b000000ffff, %rax
        movq    %rax, VKVM_SEL_KERNEL_CODE(%rbx)
        movq    $0x00cf93000000ffff, %rax
        movq    %rax, VKVM_SEL_KERNEL_DATA(%rbx)
        movq    $0x00cff3000000ffff, %rax
        movq    %rax, VKVM_SEL_USER_DATA - 3(%rbx)
        movq    $0x00affb000000ffff, %rax
        movq    %rax, VKVM_SEL_USER_CODE - 3(%rbx)
        shlq    $16, %rcx               /* the TSS lies below 16 MiB */
        movq    $0x0000890000000067, %rax
        orq     %rcx, %rax
        movq    %rax, TOUCH_SEL_TSS(%rbx)
        movq    $0, TOUCH_SEL_TSS + 8(%rbx)
        leal    TOUCH_DESCRIPTOR(%rbp), %ecx
        movw    $TOUCH_SEL_TSS + 15, 0(%rcx)
        movq    %rbx, 2(%rcx)
        lgdt    (%rcx)
        leal    TOUCH_IDT(%rbp), %ebx
        movw    $7 * 16 - 1, 0(%rcx)
        movq    %rbx, 2(%rcx)
        lidt    (%rcx)
        movl    $TOUCH_SEL_TSS, %eax
        ltr     %ax
        movq    %rsp, %rbx
        pushq   $VKVM_SEL_USER_DATA
        pushq   %rbx
        pushq   $2
        pushq   $VKVM_SEL_USER_CODE
        leaq    user(%rip), %rax
        pushq   %rax
        iretq

user:
        movq    0(%rbp), %rsi           /* base */
        movq    16(%rbp), %r9           /* stride */
        movq    24(%rbp), %r10          /* mask */
        movl    $TOUCH_SHARED, %ebx
        cmpq    $0, 40(%rbp)            /* warm? */
        je      wait
        movq    8(%rbp), %rcx           /* count */
        xorl    %r8d, %r8d
        cmpq    $TOUCH_LINK, 40(%rbp)
        je      link_loop
warm_loop:
        movq    (%rsi,%r8), %rax
        addq    %r9, %r8
        andq    %r10, %r8
        decq    %rcx
        jnz     warm_loop
        jmp     wait
        /* Page i has, in cache line i % 64, the address of the line of the page that i leads to: a linear
           congruence whose period is all pages, a power of two; the stride is a page. */
link_loop:
        movq    %r8, %rax
        shrq    $12, %rax
        movl    %eax, %edi
        andl    $63, %edi
        shll    $6, %edi
        addq    %r8, %rdi
        imulq   $1664525, %rax, %rax
        addq    $1013904223, %rax
        movl    %eax, %edx
        andl    $63, %edx
        shll    $6, %edx
        shlq    $12, %rax
        andq    %r10, %rax
        addq    %rdx, %rax
        addq    %rsi, %rax
        movq    %rax, (%rsi,%rdi)
        addq    %r9, %r8
        andq    %r10, %r8
        decq    %rcx
        jnz     link_loop
wait:
        lock incl 4(%rbx)               /* ready */
        movl    0(%rbx), %ecx           /* ncpus */
wait_loop:
        pause
        cmpl    %ecx, 4(%rbx)
        jne     wait_loop
        movq    8(%rbp), %rcx
        xorl    %r8d, %r8d
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, 48(%rbp)          /* begin */
        cmpq    $0, 64(%rbp)            /* read and write? */
        jne     both_loop
        cmpq    $0, 32(%rbp)            /* write? */
        je      read_loop
        cmpq    $TOUCH_CHASE, 32(%rbp)
        je      chase
write_loop:
        movq    %rcx, (%rsi,%r8)
        addq    %r9, %r8
        andq    %r10, %r8
        decq    %rcx
        jnz     write_loop
        jmp     stop
both_loop:
        movq    (%rsi,%r8), %rax
        movq    %rcx, (%rsi,%r8)
        addq    %r9, %r8
        andq    %r10, %r8
        decq    %rcx
        jnz     both_loop
        jmp     stop
chase:
        movq    %rsi, %rax
chase_loop:
        movq    (%rax), %rax
        decq    %rcx
        jnz     chase_loop
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
        movq    %rax, 56(%rbp)          /* end */
        lock incl 8(%rbx)               /* done */
        ud2
done:
        movl    0(%rbx), %ecx
        cmpl    %ecx, 8(%rbx)
        jne     halt
        movl    $VKVM_CALL_EXIT, %eax
        xorl    %edi, %edi
        movl    $VKVM_PORT_DOORBELL, %edx
        outl    %eax, %dx
halt:
        hlt
        jmp     halt
touch_end:
        .section .note.GNU-stack, "", @progbits
