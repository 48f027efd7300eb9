/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mini guest of host_failure.c: it carries out commands, and an access that faults is
 * noted and stepped over.  Copied to GUEST_CODE; code inside refers to itself relative
 * to RIP only.
 *
 *   rbx  the command        rsi  its count          r8   the page
 *   rdi  its address        r15  where to go on after a fault
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/failure_guest.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata
        .code64

guest guest_failure
        mov     $GUEST_STACK, %rsp
        lidt    GUEST_IDTR
        mov     $COMMANDS - COMMAND_SIZE, %rbx
1:      add     $COMMAND_SIZE, %rbx
        mov     COMMAND_ADDRESS(%rbx), %rdi
        mov     COMMAND_COUNT(%rbx), %rsi
        mov     COMMAND_OP(%rbx), %rax
        xor     %r8d, %r8d
        cmp     $OP_STORE, %rax
        je      2f
        cmp     $OP_LOAD, %rax
        je      4f
        cmp     $OP_CALL, %rax
        je      6f
        cmp     $OP_TELL, %rax
        je      7f
        exit    0

        /* Page i gets i + 1. */
2:      lea     3f(%rip), %r15
        cmp     %rsi, %r8
        jae     1b
        mov     %r8, %rcx
        shl     $12, %rcx
        lea     1(%r8), %rdx
        mov     %rdx, (%rdi,%rcx)
3:      inc     %r8
        jmp     2b

        /* Page i has i + 1, or faults. */
4:      lea     5f(%rip), %r15
        cmp     %rsi, %r8
        jae     1b
        mov     %r8, %rcx
        shl     $12, %rcx
        mov     (%rdi,%rcx), %rax
        lea     1(%r8), %rdx
        cmp     %rdx, %rax
        je      5f
        incq    COMMAND_WRONG(%rbx)
5:      inc     %r8
        jmp     4b

6:      mov     COMMAND_RESULT(%rbx), %rax
        mov     COMMAND_WRONG(%rbx), %r8
        mov     COMMAND_FAULTS(%rbx), %r9
        mov     COMMAND_CR2(%rbx), %r10
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        mov     %rax, COMMAND_RESULT(%rbx)
        jmp     1b

        /* The monitor is told, and answers with the same number. */
7:      mov     %rsi, GUEST_TOLD
8:      cmp     %rsi, GUEST_ANSWER
        jne     8b
        jmp     1b

        .globl  guest_failure_fault
guest_failure_fault:
        pop     %r14
        mov     %r14, COMMAND_ERROR(%rbx)
        mov     %cr2, %r14
        mov     %r14, COMMAND_CR2(%rbx)
        incq    COMMAND_FAULTS(%rbx)
        mov     %r15, (%rsp)
        iretq
guest_end guest_failure

        .section .note.GNU-stack, "", @progbits
