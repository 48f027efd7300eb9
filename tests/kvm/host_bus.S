/* SPDX-License-Identifier: BSD-2-Clause */
/* Mini guests of host_bus.c; see vm_guest.h. */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata

/* Ports nobody owns read as ones; writing them does nothing. */
guest guest_ports
        mov     $0x3f8, %edx
        xor     %eax, %eax
        out     %al, %dx
        in      %dx, %al
        movzbl  %al, %eax
        mov     %rax, GUEST_RECORD
        mov     $VKVM_PORT_DOORBELL, %edx
        xor     %eax, %eax
        out     %ax, %dx                /* not the doorbell: only outl rings it */
        in      %dx, %eax
        mov     %rax, GUEST_RECORD + 8
        exit    0
guest_end guest_ports

/* Memory nobody has, and behind it a device: write, read, and keep what came back. */
guest guest_absent
        mov     $0x80000000, %ebx
        movq    $1, (%rbx)
        mov     (%rbx), %rax
        mov     %rax, GUEST_RECORD
        movl    $7, 0x1010(%rbx)
        movzwl  0x1004(%rbx), %eax
        mov     %rax, GUEST_RECORD + 8
        exit    0
guest_end guest_absent

/* Read all input by CONSOLE_READ, behind what the last call returned. */
guest guest_reader
        mov     $GUEST_RECORD + 8, %r12d
1:      mov     $VKVM_CALL_CONSOLE_READ, %eax
        mov     %r12, %rdi
        mov     $3, %esi
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        test    %rax, %rax
        js      2f
        add     %rax, %r12
        jmp     1b
2:      mov     %rax, GUEST_RECORD
        exit    0
guest_end guest_reader

        .section .note.GNU-stack, "", @progbits
