/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of a vCPU at its start.
 *
 * A mode (64-bit, protected, real) says the system registers, a protocol what is in the general
 * ones.
 *
 * Sources: Intel SDM vol. 3, 9.8 (mode initialization); Linux Documentation/x86/boot.rst, "32-bit
 * boot protocol" and "64-bit boot protocol"; Xen misc/pvh.pandoc; Multiboot 0.6.96, 3.2.
 */
#include "vmm/x86_64/start.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/x86_64/cpu.h"
#include "vmm/x86_64/layout.h"

#define CR0_PE 0x00000001u
#define CR0_MP 0x00000002u
#define CR0_ET 0x00000010u
#define CR0_NE 0x00000020u
#define CR0_WP 0x00010000u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x020u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define EFER_SCE 0x001u
#define EFER_LME 0x100u
#define EFER_NXE 0x800u

#define MULTIBOOT_MAGIC 0x2BADB002u

enum start_mode {
    MODE_LONG,
    MODE_PROTECTED,
    MODE_REAL
};

static enum start_mode
mode_of(enum arch_protocol protocol)
{
    switch (protocol) {
    case ARCH_PROTOCOL_VKVM:
    case ARCH_PROTOCOL_LINUX64:
    case ARCH_PROTOCOL_FLAT64:
        return MODE_LONG;
    case ARCH_PROTOCOL_FLAT16:
        return MODE_REAL;
    case ARCH_PROTOCOL_LINUX32:
    case ARCH_PROTOCOL_PVH:
    case ARCH_PROTOCOL_MULTIBOOT:
    case ARCH_PROTOCOL_FLAT32:
        break;
    }
    return MODE_PROTECTED;
}

static void
set_flat_segments(struct kvm_sregs *sregs, enum start_mode mode, uint16_t code, uint16_t data)
{
    bool is_long = mode == MODE_LONG;

    sregs->cs = (struct kvm_segment){ .limit = UINT32_MAX,
                                      .selector = code,
                                      .type = 11,
                                      .present = 1,
                                      .s = 1,
                                      .l = is_long,
                                      .db = !is_long,
                                      .g = 1 };
    sregs->ds = (struct kvm_segment){
        .limit = UINT32_MAX, .selector = data, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
    };
    sregs->es = sregs->fs = sregs->gs = sregs->ss = sregs->ds;
}

static void
set_task(struct kvm_sregs *sregs, uint16_t selector, uint64_t base)
{
    sregs->tr = (struct kvm_segment){
        .base = base, .limit = LAYOUT_TSS_SIZE - 1, .selector = selector, .type = 11, .present = 1
    };
    sregs->ldt = (struct kvm_segment){ .type = 2, .unusable = 1 };
}

/* SSE on, x87 errors as exceptions: what vkvm_abi.h promises. */
static void
set_vkvm(struct kvm_sregs *sregs)
{
    set_flat_segments(sregs, MODE_LONG, VKVM_SEL_KERNEL_CODE, VKVM_SEL_KERNEL_DATA);
    set_task(sregs, ARCH_SEL_TSS, LAYOUT_TSS);
    sregs->gdt.base = LAYOUT_GDT;
    sregs->gdt.limit = LAYOUT_GDT_SIZE - 1;
    sregs->idt.base = 0;
    sregs->idt.limit = 0;
    sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    sregs->cr3 = LAYOUT_PML4;
    sregs->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    sregs->efer = EFER_SCE | EFER_LME | CPU_EFER_LMA | EFER_NXE;
}

static void
set_pc(const struct arch_start *start, enum start_mode mode, struct kvm_sregs *sregs)
{
    uint64_t tables = gpa_to_u64(start->tables);

    set_flat_segments(sregs, mode, LAYOUT_PC_SEL_CODE, LAYOUT_PC_SEL_DATA);
    set_task(sregs, LAYOUT_PC_SEL_TSS, tables + LAYOUT_PC_TSS);
    sregs->gdt.base = tables + LAYOUT_PC_GDT;
    sregs->gdt.limit = LAYOUT_PC_GDT_SIZE - 1;
    sregs->idt.base = 0;
    sregs->idt.limit = 0;
    sregs->cr0 = CR0_PE | CR0_ET;
    sregs->cr4 = 0;
    sregs->efer = 0;
    if (mode == MODE_LONG) {
        sregs->cr0 |= CR0_PG;
        sregs->cr3 = tables + LAYOUT_PC_PML4;
        sregs->cr4 = CR4_PAE;
        sregs->efer = EFER_LME | CPU_EFER_LMA;
    }
}

/* The segment of real mode that an address starts in: 0 as far as that reaches. */
static uint16_t
real_segment(const struct arch_start *start)
{
    uint64_t entry = gpa_to_u64(start->entry);

    return entry <= UINT16_MAX ? 0 : (uint16_t)(entry >> 4);
}

/* KVM makes a vCPU in real mode, at the reset vector: only the segments are others. */
static void
set_real(const struct arch_start *start, struct kvm_sregs *sregs)
{
    const struct kvm_segment data = { .limit = UINT16_MAX, .type = 3, .present = 1, .s = 1 };

    sregs->ds = sregs->es = sregs->fs = sregs->gs = data;
    sregs->ss = data;
    sregs->ss.base = gpa_to_u64(start->tables);
    sregs->ss.selector = (uint16_t)(sregs->ss.base >> 4);
    sregs->cs = data;
    sregs->cs.type = 11;
    sregs->cs.selector = real_segment(start);
    sregs->cs.base = (uint64_t)sregs->cs.selector << 4;
    sregs->idt.base = LAYOUT_VECTORS;
    sregs->idt.limit = LAYOUT_NVECTORS * 4 - 1;
}

bool
start_has(const struct arch_start *start, unsigned index)
{
    return start->protocol == ARCH_PROTOCOL_VKVM || index == 0;
}

void
start_sregs(const struct arch_start *start, struct kvm_sregs *sregs)
{
    enum start_mode mode = mode_of(start->protocol);

    if (start->protocol == ARCH_PROTOCOL_VKVM)
        set_vkvm(sregs);
    else if (mode == MODE_REAL)
        set_real(start, sregs);
    else
        set_pc(start, mode, sregs);
}

void
start_regs(const struct arch_start *start, unsigned index, struct kvm_regs *regs)
{
    uint64_t info = gpa_to_u64(start->info);

    *regs = (struct kvm_regs){ .rip = gpa_to_u64(start->entry), .rflags = CPU_RFLAGS_FIXED };
    if (start->protocol == ARCH_PROTOCOL_VKVM) {
        regs->rdi = info;
        regs->rsi = index;
        return;
    }
    regs->rsp = gpa_to_u64(start->tables) + LAYOUT_PC_STACK;
    if (start->protocol == ARCH_PROTOCOL_FLAT16) {
        regs->rsp = LAYOUT_PC_STACK;
        regs->rip -= (uint64_t)real_segment(start) << 4;
    } else if (start->protocol == ARCH_PROTOCOL_LINUX64 ||
               start->protocol == ARCH_PROTOCOL_LINUX32) {
        regs->rsi = info;
    } else if (start->protocol == ARCH_PROTOCOL_PVH) {
        regs->rbx = info;
    } else if (start->protocol == ARCH_PROTOCOL_MULTIBOOT) {
        regs->rax = MULTIBOOT_MAGIC;
        regs->rbx = info;
    }
}
