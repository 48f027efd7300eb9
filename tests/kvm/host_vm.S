/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mini guests for host_vm.c.  Each is copied to GUEST_CODE; code inside refers to
 * itself relative to RIP only.
 */
#include "guest/include/vkvm_abi.h"
#include "tests/kvm/vm_guest.h"

        .section .rodata
        .code64

/*
 * The start state: every vCPU stores what it finds in its record; the last one
 * ends the VM.
 */
guest guest_start
        mov     %rsp, %r15
        lea     GUEST_STACK, %rsp
        mov     %rsi, %rbx
        shl     $8, %rbx
        sub     %rbx, %rsp              /* 256 bytes of stack for each */
        pushfq
        pop     %r14
        imul    $RECORD_SIZE, %rsi, %rbx
        add     $GUEST_RECORD, %rbx
        mov     %rdi, 64(%rbx)
        mov     %rsi, 72(%rbx)
        mov     %r15, RECORD_RSP(%rbx)
        mov     %r14, RECORD_RFLAGS(%rbx)
        mov     %cs, %eax
        mov     %rax, RECORD_CS(%rbx)
        mov     %ss, %eax
        mov     %rax, RECORD_SS(%rbx)
        mov     %cr0, %rax
        mov     %rax, 80(%rbx)
        mov     %cr4, %rax
        mov     %rax, 88(%rbx)
        mov     $0xC0000080, %ecx
        rdmsr
        mov     %eax, 96(%rbx)
        str     %eax
        mov     %rax, 104(%rbx)
        movaps  %xmm0, 128(%rbx)        /* SSE works */
        lock incq GUEST_COUNT
1:      mov     GUEST_COUNT, %rax
        cmp     GUEST_PARAM, %rax
        jb      1b
        exit    0
guest_end guest_start

/* Make the calls of a list: count, then struct doorbell []. */
guest guest_caller
        mov     GUEST_CALLS, %rcx
        mov     $GUEST_CALLS + 8, %rbx
1:      mov     0(%rbx), %rax
        mov     8(%rbx), %rdi
        mov     16(%rbx), %rsi
        mov     24(%rbx), %r8
        mov     32(%rbx), %r9
        mov     40(%rbx), %r10
        mov     $VKVM_PORT_DOORBELL, %edx
        out     %eax, %dx
        mov     %rax, 48(%rbx)
        mov     %rdx, 56(%rbx)
        /* The arguments are as they were. */
        cmp     8(%rbx), %rdi
        jne     2f
        cmp     16(%rbx), %rsi
        jne     2f
        cmp     40(%rbx), %r10
        jne     2f
        add     $64, %rbx
        dec     %rcx
        jnz     1b
        exit    0
2:      exit    1
guest_end guest_caller

/* Write a string by rep outsb and a byte by outb, then copy input until there is none. */
guest guest_console
        lea     3f(%rip), %rsi
        mov     $4f - 3f, %ecx
        mov     $VKVM_PORT_CONSOLE, %edx
        rep outsb
        mov     $'!', %al
        out     %al, $VKVM_PORT_CONSOLE
        mov     $VKVM_PORT_CONSOLE, %edx
1:      in      %dx, %al
        cmp     $0xff, %al
        je      2f
        out     %al, %dx
        jmp     1b
2:      exit    0
3:      .ascii  "console"
4:
guest_end guest_console

guest guest_spin
1:      jmp     1b
guest_end guest_spin

/* One instruction, so that only a register tells that it gets on. */
guest guest_spin_counting
1:      loop    1b
guest_end guest_spin_counting

/* vCPU 0 halts, the others spin. */
guest guest_halt_one
        test    %rsi, %rsi
        jz      guest_halt
1:      jmp     1b
guest_halt:
        hlt
guest_end guest_halt_one

guest guest_triple_fault
        ud2
guest_end guest_triple_fault

/* Write to memory from 2 MiB up, a page at a time, for ever. */
guest guest_touch
1:      mov     $0x200000, %rax
2:      movb    $1, (%rax)
        add     $0x1000, %rax
        cmp     $0x3000000, %rax
        jb      2b
        jmp     1b
guest_end guest_touch

/* Write to the console for ever. */
guest guest_chatter
        mov     $'x', %al
1:      out     %al, $VKVM_PORT_CONSOLE
        jmp     1b
guest_end guest_chatter

/* Instructions that KVM's emulator does not know fail in ring 0 where KVM emulates it. */
guest guest_fxsave
        fxsave64 GUEST_RECORD
        exit    0
guest_end guest_fxsave

        .section .note.GNU-stack, "", @progbits
