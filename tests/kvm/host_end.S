/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mini guests for host_end.c.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata
        .code64

/* Wire memory from GUEST_CALLS on, as many bytes as stand there. */
guest guest_wire
        mov     $VKVM_CALL_WIRE, %eax
        mov     $GUEST_CALLS, %rdi
        mov     (%rdi), %rsi
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        exit    0
guest_end guest_wire

        .section .note.GNU-stack, "", @progbits
