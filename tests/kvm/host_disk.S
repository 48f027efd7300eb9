/* SPDX-License-Identifier: BSD-2-Clause */
/* The mini guest of host_disk.c: a driver that does what a script says.  See vm_guest.h. */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/disk_guest.h"
#include "tests/kvm/vm_guest.h"

#define LAPIC 0xfee00000
#define LAPIC_EOI 0xb0
#define LAPIC_SPURIOUS 0xf0
#define IOAPIC 0xfec00000
#define VECTOR 0x30
#define LEVEL (1 << 15)
#define MMIO_STATUS 0x60
#define MMIO_ACK 0x64

        .section .rodata

        /* The disk's line reaches the processor as a level-triggered interrupt. */
        .macro  start_interrupts
        mov     $GUEST_STACK, %esp
        movw    $0xfff, GUEST_IDTR
        movq    $GUEST_IDT, GUEST_IDTR + 2
        lidt    GUEST_IDTR
        mov     $0xff, %al
        out     %al, $0x21
        out     %al, $0xa1
        lea     interrupt(%rip), %rax
        mov     $GUEST_IDT + VECTOR * 16, %edi
        mov     %ax, (%rdi)
        movw    $VKVM_SEL_KERNEL_CODE, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        shr     $16, %rax
        mov     %ax, 6(%rdi)
        shr     $16, %rax
        mov     %rax, 8(%rdi)
        mov     $LAPIC, %ebx
        movl    $0x1ff, LAPIC_SPURIOUS(%rbx)
        mov     $IOAPIC, %ebx
        movl    $0x10 + 2 * DISK_LINE, (%rbx)
        movl    $VECTOR | LEVEL, 0x10(%rbx)
        .endm

/*
 * The script at GUEST_SCRIPT: steps of three words, what, where, value.  A step that waits does so
 * halted: it looks after an interrupt and not before, since a guest that the host held up meanwhile would
 * find everything done, and have met none.
 */
guest guest_driver
        start_interrupts
        mov     $GUEST_SCRIPT, %esi
next:   mov     (%rsi), %eax
        mov     8(%rsi), %rdi
        mov     16(%rsi), %rdx
        add     $24, %rsi
        cmp     $DISK_WRITE, %eax
        je      1f
        cmp     $DISK_READ, %eax
        je      2f
        cmp     $DISK_AWAIT, %eax
        je      3f
        cmp     $DISK_POLL, %eax
        je      4f
        mov     %edx, %eax
        out     %eax, $0xf4
        hlt
1:      mov     %edx, (%rdi)
        jmp     next
2:      mov     (%rdi), %eax
        mov     %eax, (%rdx)
        jmp     next
3:      sti
        hlt
        cli
        cmp     %dx, (%rdi)
        jne     3b
        jmp     next
4:      mov     (%rdi), %eax
        test    %edx, %eax
        jz      4b
        jmp     next
interrupt:
        push    %rax
        push    %rbx
        mov     $DISK_MMIO, %ebx
        mov     MMIO_STATUS(%rbx), %eax
        mov     %eax, MMIO_ACK(%rbx)
        incl    GUEST_RECORD
        mov     $LAPIC, %ebx
        movl    $0, LAPIC_EOI(%rbx)
        pop     %rbx
        pop     %rax
        iretq
guest_end guest_driver

        .section .note.GNU-stack, "", @progbits
