/* SPDX-License-Identifier: BSD-2-Clause */
/* The mini guest of host_stall.c.  See vm_guest.h. */
#include "tests/kvm/disk_guest.h"
#include "tests/kvm/pc_guest.h"
#include "tests/kvm/stall_guest.h"

#define MMIO_NOTIFY 0x50

        .section .rodata

/*
 * Interrupts do everything: the timer counts, and what comes in on the serial port is an order.  See
 * stall_guest.h.
 */
guest guest_stall
        start_pic 0x11
        gate    0x20, tick
        gate    0x24, input
        outb    0x34, 0x43
        outb    0x00, 0x40
        outb    0x10, 0x40
        mov     $0x3f9, %edx
        mov     $1, %al
        out     %al, %dx
1:      sti
        hlt
        jmp     1b

tick:   push    %rax
        push    %rdx
        cmpl    $0, GUEST_RECORD
        je      1f
        decl    GUEST_RECORD
        jnz     1f
        mov     $0x3f8, %edx
        mov     $STALL_TICKS, %al
        out     %al, %dx
1:      outb    0x20, 0x20
        pop     %rdx
        pop     %rax
        iretq

input:  mov     $0x3fd, %edx
        in      %dx, %al
        test    $1, %al
        jz      9f
        mov     $0x3f8, %edx
        in      %dx, %al
        cmp     $STALL_TICKS, %al
        je      2f
        cmp     $STALL_DISK, %al
        je      3f
        cmp     $STALL_EVICT, %al
        je      4f
        cmp     $STALL_SWAP, %al
        je      5f
        cmp     $STALL_END, %al
        jne     8f
1:      pause
        cmpl    $0, STALL_READ
        je      1b
        debug_exit 0
2:      movl    $3, GUEST_RECORD
        jmp     input
3:      mov     $DISK_MMIO, %ebx
        movl    $0, MMIO_NOTIFY(%rbx)
        jmp     8f
4:      mov     $0x800000, %ebx
        mov     $STALL_EVICTED, %ecx
1:      mov     %rcx, (%rbx)
        add     $4096, %ebx
        loop    1b
        jmp     8f
5:      lea     ap(%rip), %rsi
        mov     $GUEST_AP, %edi
        mov     $ap_end - ap, %ecx
        rep movsb
        mov     $0xfee00000, %ebx
        movl    $0x1ff, 0xf0(%rbx)
        movl    $1 << 24, 0x310(%rbx)
        movl    $0x4500, 0x300(%rbx)
        movl    $1 << 24, 0x310(%rbx)
        movl    $0x4600 | GUEST_AP >> 12, 0x300(%rbx)
8:      mov     $0x3f8, %edx
        out     %al, %dx
        jmp     input
9:      outb    0x20, 0x20
        iretq

        /* The other processor reads the page that is in swap. */
        .code16
ap:     mov     $STALL_PAGE >> 4, %ax
        mov     %ax, %ds
        mov     0, %eax
        mov     $GUEST_RECORD >> 4, %bx
        mov     %bx, %ds
        mov     %eax, STALL_READ - GUEST_RECORD
1:      hlt
        jmp     1b
ap_end:
        .code64
guest_end guest_stall

        .section .note.GNU-stack, "", @progbits
