/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running code in ring 3: contexts, calls down to ring 3 and back up.
 *
 * I/O is allowed by IOPL 3 and by the TSS's bitmap, either of which would do on a
 * processor: iretq does not set IOPL on hosts that emulate ring 0, and QEMU's software CPU
 * ignores the bitmap of a TSS that KVM has marked busy.
 */
#include "guest/lib/ring3.h"

#include "guest/include/vkvm_abi.h"
#include "guest/lib/cpu.h"
#include "guest/lib/string.h"
#include "guest/lib/x86.h"

#include <stddef.h>

#define RING3_OFFSET(field) \
    (offsetof(struct ring3_context, field) - offsetof(struct ring3_context, frame))

_Static_assert(RING3_OFFSET(kernel_rsp) == RING3_KERNEL_RSP, "used by trap_entry.S");
_Static_assert(RING3_OFFSET(cr3) == RING3_CR3, "used by trap_entry.S");
_Static_assert(RING3_OFFSET(kernel_cr3) == RING3_KERNEL_CR3, "used by trap_entry.S");
_Static_assert((offsetof(struct ring3_context, frame) + sizeof(struct trap_frame)) % 16 == 0,
               "the processor aligns the stack before it pushes a frame");

/* What the flags of ring-3 code may hold; the rest is not its business. */
#define RING3_RFLAGS (RFLAGS_ARITHMETIC | RFLAGS_AC)

/* trap_entry.S */
void ring3_enter(struct trap_frame *frame, void *tss_rsp0);

void
ring3_init(struct ring3_context *context, uint64_t entry, uint64_t argument, uint64_t stack_top)
{
    memset(context, 0, sizeof(*context));
    context->frame.rip = entry;
    context->frame.cs = VKVM_SEL_USER_CODE;
    context->frame.ss = VKVM_SEL_USER_DATA;
    context->frame.rsp = stack_top - 8; /* as after a call (System V ABI, 3.2.2) */
    context->frame.rdi = argument;
}

void
ring3_run(struct ring3_context *context)
{
    struct trap_frame *frame = &context->frame;
    struct cpu_tss *tss = &cpu_current()->tss;

    frame->rflags = (frame->rflags & RING3_RFLAGS) | RFLAGS_ONE | (context->io ? RFLAGS_IOPL3 : 0);
    tss->iomap_base = context->io ? CPU_IO_ALLOWED : CPU_IO_DENIED;
    if (context->cr3 != 0)
        context->kernel_cr3 = x86_read_cr3();
    ring3_enter(frame, (char *)tss + offsetof(struct cpu_tss, rsp));
}

/* Ring 3: where the called function returns to. */
static _Noreturn void
ring3_return(void)
{
    __asm__ volatile("mov %%rax, %%rdi\n\t"
                     "mov %0, %%eax\n\t"
                     "int %1" ::"i"(RING3_SYSCALL_RETURN),
                     "i"(TRAP_SYSCALL));
    __builtin_unreachable();
}

/* Serve a trap of a ring3_call.  Returns 0 when the function has returned. */
static int
ring3_serve(struct trap_frame *frame)
{
    if (frame->vector != TRAP_SYSCALL) {
        trap_dispatch(frame);
        return 1;
    }
    if (frame->rax == RING3_SYSCALL_RETURN)
        return 0;
    if (frame->rax != RING3_SYSCALL_RING0)
        trap_fatal(frame);
    frame->rax = ((uint64_t(*)(uint64_t))frame->rdi)(frame->rsi);
    return 1;
}

uint64_t
ring3_call(uint64_t (*function)(uint64_t argument), uint64_t argument)
{
    struct cpu *cpu = cpu_current();
    struct ring3_context *context = &cpu->ring3;

    if (x86_cpl() == 3)
        return function(argument);
    ring3_init(context, (uint64_t)function, argument, (uint64_t)cpu + CPU_RING3_TOP);
    *(uint64_t *)context->frame.rsp = (uint64_t)ring3_return;
    context->io = 1;
    do
        ring3_run(context);
    while (ring3_serve(&context->frame));
    return context->frame.rdi;
}

uint64_t
ring3_to_ring0(uint64_t (*function)(uint64_t argument), uint64_t argument)
{
    uint64_t result = RING3_SYSCALL_RING0;

    if (x86_cpl() == 0)
        return function(argument);
    __asm__ volatile("int %1"
                     : "+a"(result)
                     : "i"(TRAP_SYSCALL), "D"(function), "S"(argument)
                     : "memory");
    return result;
}
