/* SPDX-License-Identifier: BSD-2-Clause */
/* What the mini guests of a PC share (host_pc.S, host_stall.S); for assembly, or just the addresses. */
#ifndef PC_GUEST_H
#define PC_GUEST_H

#include "guest/include/vkvm_abi.h"
#include "tests/kvm/vm_guest.h"

/* Where another processor starts in real mode: page 0x20. */
#define GUEST_AP 0x20000

#ifdef __ASSEMBLER__
/* clang-format off */

        /* End by the debug port; the status is value << 1 | 1. */
        .macro  debug_exit value
        mov     $\value, %eax
        out     %eax, $0xf4
        hlt
        .endm

        .macro  outb value, port
        mov     $\value, %al
        out     %al, $\port
        .endm

        /* An interrupt gate. */
        .macro  gate vector, handler
        lea     \handler(%rip), %rax
        mov     $GUEST_IDT + \vector * 16, %edi
        mov     %ax, (%rdi)
        movw    $VKVM_SEL_KERNEL_CODE, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        shr     $16, %rax
        mov     %ax, 6(%rdi)
        shr     $16, %rax
        mov     %rax, 8(%rdi)
        .endm

        /* Both PICs: vectors from 0x20 on, all lines masked but those in `open`. */
        .macro  start_pic open
        mov     $GUEST_STACK, %esp
        movw    $0xfff, GUEST_IDTR
        movq    $GUEST_IDT, GUEST_IDTR + 2
        lidt    GUEST_IDTR
        outb    0x11, 0x20
        outb    0x20, 0x21
        outb    4, 0x21
        outb    1, 0x21
        outb    (~\open & 0xff), 0x21
        outb    0xff, 0xa1
        .endm

/* clang-format on */
#endif

#endif
