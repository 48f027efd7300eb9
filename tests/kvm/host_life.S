/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mini guests for host_life.c; see host_vm.S.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata
        .code64

/* Each vCPU counts in a word of its own. */
guest guest_count
1:      incq    GUEST_RECORD(, %rsi, 8)
        jmp     1b
guest_end guest_count

/* Read from the console for ever; rbx counts the reads. */
guest guest_input
        xor     %ebx, %ebx
1:      in      $VKVM_PORT_CONSOLE, %al
        .globl  guest_input_done
guest_input_done:
        inc     %rbx
        jmp     1b
guest_end guest_input

/* Write to the console for ever. */
guest guest_output
        mov     $'x', %al
1:      out     %al, $VKVM_PORT_CONSOLE
        jmp     1b
guest_end guest_output

/* vCPU 0 halts, the others count. */
guest guest_halt_and_count
        test    %rsi, %rsi
        jz      2f
1:      incq    GUEST_RECORD(, %rsi, 8)
        jmp     1b
2:      hlt
guest_end guest_halt_and_count

/* Write to memory from 2 MiB up, each page once. */
guest guest_fresh
        mov     $0x200000, %rax
1:      movb    $1, (%rax)
        add     $0x1000, %rax
        cmp     $0x3000000, %rax
        jb      1b
2:      jmp     2b
guest_end guest_fresh

guest guest_exit
        exit    5
guest_end guest_exit

        .section .note.GNU-stack, "", @progbits
