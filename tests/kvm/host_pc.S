/* SPDX-License-Identifier: BSD-2-Clause */
/* Mini guests of host_pc.c, for a PC: no doorbell.  See vm_guest.h. */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/pc_guest.h"

        .section .rodata

/* A line on the serial port, then out. */
guest guest_hello
        mov     $0x3f8, %edx
        lea     text(%rip), %rsi
        mov     $text_end - text, %ecx
        rep outsb
        debug_exit 0x15
text:   .ascii  "hello, PC\n"
text_end:
guest_end guest_hello

/* Echo what comes in by interrupts until a '.' comes; the processor is halted in between. */
guest guest_echo
        start_pic 0x10
        gate    0x24, 1f
        mov     $0x3f9, %edx
        mov     $1, %al
        out     %al, %dx
2:      sti
        hlt
        jmp     2b
1:      mov     $0x3fd, %edx
        in      %dx, %al
        test    $1, %al
        jz      3f
        mov     $0x3f8, %edx
        in      %dx, %al
        out     %al, %dx
        cmp     $'.', %al
        jne     1b
        debug_exit 0
3:      outb    0x20, 0x20
        iretq
guest_end guest_echo

/* The timer wakes the processor five times. */
guest guest_timer
        start_pic 1
        gate    0x20, 1f
        outb    0x34, 0x43
        outb    0x00, 0x40
        outb    0x10, 0x40
        xor     %ebx, %ebx
2:      sti
        hlt
        cmp     $5, %ebx
        jb      2b
        debug_exit 0
1:      inc     %ebx
        outb    0x20, 0x20
        iretq
guest_end guest_timer

/* Raise line 5 by the test device, and lower it in the handler. */
guest guest_line
        start_pic 0x20
        gate    0x25, 1f
        sti
        mov     $0x2005, %edx
        mov     $1, %al
        out     %al, %dx
2:      hlt
        jmp     2b
1:      xor     %eax, %eax
        out     %al, %dx
        debug_exit 5
guest_end guest_line

/* Start processor 1 by INIT and SIPI, and wait for what it writes. */
guest guest_smp
        lea     ap(%rip), %rsi
        mov     $GUEST_AP, %edi
        mov     $ap_end - ap, %ecx
        rep movsb
        mov     $0xfee00000, %ebx
        movl    $0x1ff, 0xf0(%rbx)
        movl    $1 << 24, 0x310(%rbx)
        movl    $0x4500, 0x300(%rbx)
        movl    $1 << 24, 0x310(%rbx)
        movl    $0x4600 | GUEST_AP >> 12, 0x300(%rbx)
1:      pause
        cmpl    $0x1234, GUEST_RECORD
        jne     1b
        mov     $1, %eax
        cpuid
        mov     %ebx, GUEST_RECORD + 8
        mov     %ecx, GUEST_RECORD + 12
        mov     $0xb, %eax
        mov     $1, %ecx
        cpuid
        mov     %ebx, GUEST_RECORD + 16
        debug_exit 0
        .code16
ap:     mov     $GUEST_RECORD >> 4, %ax
        mov     %ax, %ds
        movl    $0x1234, 0
1:      hlt
        jmp     1b
ap_end:
        .code64
guest_end guest_smp

guest guest_off
        mov     $0x604, %edx
        mov     $0x2000 | 5 << 10, %eax
        out     %ax, %dx
        hlt
guest_end guest_off

guest guest_reset
        mov     $0xcf9, %edx
        mov     $6, %al
        out     %al, %dx
        hlt
guest_end guest_reset

guest guest_triple
        ud2
guest_end guest_triple

/* Halted for good, with interrupts on or not. */
guest guest_idle
        sti
1:      hlt
        jmp     1b
guest_end guest_idle

guest guest_dead
        cli
        hlt
guest_end guest_dead

/* A word in a page whose mapping is dropped stays what it was; what is nowhere reads as ones. */
guest guest_drop
        mov     $0x400000, %ebx
        movl    $77, (%rbx)
        mov     $0xe4, %edx
        mov     %ebx, %eax
        out     %eax, %dx
        mov     (%rbx), %eax
        mov     %rax, GUEST_RECORD
        mov     $0xd0000000, %eax
        out     %eax, %dx
        mov     (%rax), %rax
        mov     %rax, GUEST_RECORD + 8
        mov     $0xff000000, %eax
        movl    $0x55, 0x10(%rax)
        mov     0x10(%rax), %eax
        mov     %rax, GUEST_RECORD + 16
        debug_exit 0
guest_end guest_drop

/* Interrupts on: read the first word of 512 pages, write that of every eighth. */
guest guest_touch
        start_pic 0
        sti
        mov     $0x800000, %ebx
        mov     $512, %ecx
1:      mov     (%rbx), %rax
        test    $7, %ecx
        jnz     2f
        mov     %rcx, (%rbx)
2:      add     $4096, %ebx
        loop    1b
        debug_exit 0
guest_end guest_touch

/* Interrupts on: read the first words of 16 pages of a file, all but one before two are written. */
guest guest_file
        start_pic 0
        sti
        mov     $VKVM_WINDOW_BASE, %rbx
        mov     $16, %ecx
        xor     %edx, %edx
1:      add     (%rbx), %rdx
        cmp     $4, %ecx
        jne     2f
        mov     %rcx, (%rbx)
2:      add     $4096, %rbx
        loop    1b
        incq    -4096(%rbx)
        mov     %rdx, GUEST_RECORD
        mov     -4096(%rbx), %rdx
        mov     %rdx, GUEST_RECORD + 8
        debug_exit 0
guest_end guest_file

        .section .note.GNU-stack, "", @progbits
