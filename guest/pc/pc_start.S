/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entry of a PC image, by multiboot (specification 0.6.96, 3.2): segments and stack of its own, then C.
 * The other processor comes in real mode, at a copy of pc_trampoline.
 */
        .code32
        .section .multiboot, "a", @progbits
        .balign 4
        .long   0x1BADB002, 3, -(0x1BADB002 + 3)

        .section .text.start, "ax", @progbits
        .globl  pc_start
        .type   pc_start, @function
pc_start:
        cld
        lgdt    gdt_register
        ljmp    $8, $1f
1:      mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $stacks + 0x4000, %esp
        call    pc_main
        out     %eax, $0xf4
2:      cli
        hlt
        jmp     2b
        .size   pc_start, . - pc_start

        /*
         * The timer's vector.  It returns without iret, which a software KVM does not emulate in this mode; an
         * interrupt between the last two instructions only needs more stack.
         */
        .globl  pc_timer_entry
        .type   pc_timer_entry, @function
pc_timer_entry:
        pusha
        cld
        call    pc_interrupt
        popa
        pushl   8(%esp)
        popfl
        lret    $4
        .size   pc_timer_entry, . - pc_timer_entry

second:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $stacks + 0x8000, %esp
        cld
        call    pc_secondary
3:      cli
        hlt
        jmp     3b

        .section .rodata
        .code16
        .globl  pc_trampoline, pc_trampoline_end
pc_trampoline:
        cli
        mov     %cs, %ax
        mov     %ax, %ds
        lgdtl   trampoline_register - pc_trampoline
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $8, $second
        .balign 4
trampoline_register:
        .word   3 * 8 - 1
        .long   gdt
pc_trampoline_end:

        .balign 8
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_register:
        .word   3 * 8 - 1
        .long   gdt

        .section .bss
        .balign 16
stacks: .skip   0x8000

        .section .note.GNU-stack, "", @progbits
