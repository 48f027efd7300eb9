/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mini guest of host_two_vms.c: it carries out commands.  Copied to GUEST_CODE; code inside
 * refers to itself relative to RIP only.
 *
 *   rbx  the command        rsi  its count          r8   the page
 *   rdi  its address        rdx  the page's value
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/two_vms_guest.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata
        .code64

guest guest_party
        mov     $COMMANDS - COMMAND_SIZE, %rbx
1:      add     $COMMAND_SIZE, %rbx
        mov     COMMAND_ADDRESS(%rbx), %rdi
        mov     COMMAND_COUNT(%rbx), %rsi
        mov     COMMAND_SEED(%rbx), %rdx
        mov     COMMAND_OP(%rbx), %rax
        xor     %r8d, %r8d
        cmp     $OP_STORE, %rax
        je      2f
        cmp     $OP_LOAD, %rax
        je      3f
        cmp     $OP_TELL, %rax
        je      5f
        cmp     $OP_CRASH, %rax
        je      6f
        mov     %rdx, %rdi
        mov     $VKVM_CALL_EXIT, %eax
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        hlt

2:      cmp     %rsi, %r8
        jae     1b
        mov     %rdx, (%rdi)
        inc     %rdx
        add     $0x1000, %rdi
        inc     %r8
        jmp     2b

3:      cmp     %rsi, %r8
        jae     1b
        cmp     %rdx, (%rdi)
        je      4f
        incq    COMMAND_WRONG(%rbx)
4:      inc     %rdx
        add     $0x1000, %rdi
        inc     %r8
        jmp     3b

5:      mov     %rdx, GUEST_TOLD
7:      cmp     %rdx, GUEST_ANSWER
        jne     7b
        jmp     1b

6:      ud2
guest_end guest_party

        .section .note.GNU-stack, "", @progbits
