/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entry point of every image, on every vCPU (start state: vkvm_abi.h):
 * RDI = device tree, RSI = number of this vCPU.  Take the vCPU's ring-0 stack and
 * go on in C.  .bss is zero: RAM starts as zeros.
 */
#include "guest/lib/cpu.h"

        .section .text.start, "ax", @progbits
        .globl  start
        .type   start, @function
start:
        cmpq    $CPU_MAX, %rsi
        jae     park
        movl    %esi, %eax
        imull   $CPU_BLOCK_SIZE, %eax, %eax
        leaq    cpu_blocks + CPU_BLOCK_SIZE(%rax), %rsp
        xorl    %ebp, %ebp
        call    cpu_start
park:
        cli
        hlt
        jmp     park
        .size   start, . - start

        .section .bss.cpu, "aw", @nobits
        .balign CPU_BLOCK_SIZE
        .globl  cpu_blocks
        .type   cpu_blocks, @object
cpu_blocks:
        .skip   CPU_MAX * CPU_BLOCK_SIZE
        .size   cpu_blocks, . - cpu_blocks

        .section .note.GNU-stack, "", @progbits
