/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bring a vCPU from its start state to C: GDT with a TSS, IDT.
 */
#include "guest/lib/cpu.h"

#include "guest/include/vkvm_abi.h"
#include "guest/lib/console.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/string.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"

#include <stddef.h>

_Static_assert(offsetof(struct cpu_tss, io_bitmap) == 104, "Intel SDM vol. 3, 8.7");
_Static_assert(offsetof(struct cpu_tss, io_bitmap) == CPU_IO_ALLOWED, "see cpu.h");
_Static_assert(sizeof(struct cpu) <= CPU_IST_TOP - 2048, "see the picture in cpu.h");

#define CPU_SEL_TSS 0x28

struct cpu_table_register {
    uint16_t limit;
    const void *base;
} __attribute__((packed));

extern const char trap_idt[]; /* trap_entry.S */

static uint64_t cpu_fdt;

uint64_t
cpu_fdt_address(void)
{
    return cpu_fdt;
}

/* Descriptors as in Intel SDM vol. 3, 3.4.5 and 8.2.3, at the selectors of vkvm_abi.h. */
static void
cpu_load_gdt(struct cpu *cpu)
{
    uint64_t tss = (uint64_t)&cpu->tss;
    struct cpu_table_register gdtr = { sizeof(cpu->gdt) - 1, cpu->gdt };

    cpu->gdt[VKVM_SEL_KERNEL_CODE >> 3] = 0x00af9b000000ffff;
    cpu->gdt[VKVM_SEL_KERNEL_DATA >> 3] = 0x00cf93000000ffff;
    cpu->gdt[VKVM_SEL_USER_DATA >> 3] = 0x00cff3000000ffff;
    cpu->gdt[VKVM_SEL_USER_CODE >> 3] = 0x00affb000000ffff;
    cpu->gdt[CPU_SEL_TSS >> 3] = (tss & 0xff000000) << 32 | (uint64_t)0x89 << 40 |
                                 (tss & 0xffffff) << 16 | (sizeof(cpu->tss) - 1);
    cpu->gdt[(CPU_SEL_TSS >> 3) + 1] = tss >> 32;
    __asm__ volatile("lgdt %0" ::"m"(gdtr));
}

/* Let ring 3 use `count` ports when it may do I/O; all in one byte of the bitmap. */
static void
cpu_open_ports(struct cpu *cpu, unsigned port, unsigned count)
{
    cpu->tss.io_bitmap[port / 8] &= (uint8_t) ~(((1u << count) - 1) << port % 8);
}

static void
cpu_load_tss(struct cpu *cpu)
{
    cpu->tss.rsp[0] = (uint64_t)cpu + CPU_BLOCK_SIZE;
    cpu->tss.ist[0] = (uint64_t)cpu + CPU_IST_TOP;
    cpu->tss.iomap_base = CPU_IO_DENIED;
    memset(cpu->tss.io_bitmap, 0xff, sizeof(cpu->tss.io_bitmap));
    cpu_open_ports(cpu, VKVM_PORT_DOORBELL, 4);
    cpu_open_ports(cpu, VKVM_PORT_CONSOLE, 1);
    __asm__ volatile("ltr %w0" ::"r"(CPU_SEL_TSS));
}

static void
cpu_load_idt(void)
{
    struct cpu_table_register idtr = { TRAP_VECTORS * 16 - 1, trap_idt };

    __asm__ volatile("lidt %0" ::"m"(idtr));
}

_Noreturn void
cpu_start(uint64_t fdt, unsigned id)
{
    struct cpu *cpu = cpu_current();

    cpu->id = id;
    cpu_load_gdt(cpu);
    cpu_load_tss(cpu);
    cpu_load_idt();
    if (id == 0) {
        int status;

        cpu_fdt = fdt;
        status = guest_main();
        console_flush();
        doorbell_exit((unsigned)status);
    }
    if (guest_secondary != NULL)
        guest_secondary(id);
    x86_halt();
}
