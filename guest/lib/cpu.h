/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each vCPU owns: a block of CPU_BLOCK_SIZE bytes, aligned to its size,
 * with its TSS, its GDT and its three stacks.  Every stack lies in the block, so
 * the address of any local variable tells which vCPU runs, in ring 0 and in ring 3.
 *
 *     +--------------------+ 0
 *     | struct cpu         |
 *     +--------------------+ CPU_IST_TOP - 2 KiB
 *     | #DF, NMI, #MC      |   (IST 1)
 *     +--------------------+ CPU_IST_TOP
 *     | ring-3 stack       |
 *     +--------------------+ CPU_RING3_TOP
 *     | ring-0 stack       |
 *     +--------------------+ CPU_BLOCK_SIZE
 *
 * An image provides guest_main, which vCPU 0 runs; its result is the VM's exit
 * status.  The other vCPUs halt for good, unless the image also provides
 * guest_secondary (see smp.h for a ready one).
 */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H

#define CPU_MAX 64
#define CPU_BLOCK_SIZE 0x8000
#define CPU_IST_TOP 0x1800
#define CPU_RING3_TOP 0x4800

#ifndef __ASSEMBLER__

#include "guest/lib/ring3.h"

#include <stdint.h>

/* Ports up to here have a bit in the I/O permission bitmap; the last byte must be all ones. */
#define CPU_IO_PORTS 0x520
#define CPU_IO_BITMAP_SIZE (CPU_IO_PORTS / 8 + 1)

/* Intel SDM vol. 3, 8.7: the 64-bit TSS; vol. 1, 19.5.2: the bitmap. */
struct cpu_tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t iomap_base;                   /* CPU_IO_ALLOWED or CPU_IO_DENIED */
    uint8_t io_bitmap[CPU_IO_BITMAP_SIZE]; /* clear: doorbell and console */
} __attribute__((packed));

#define CPU_IO_ALLOWED 104
#define CPU_IO_DENIED 0xffff

struct cpu {
    struct cpu_tss tss;
    uint64_t gdt[7];
    unsigned id;
    struct ring3_context ring3; /* of ring3_call */
};

/* The vCPU this code runs on.  Ring 0 or 3, on one of the vCPU's own stacks. */
static inline struct cpu *
cpu_current(void)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

    return (struct cpu *)(frame & ~(uintptr_t)(CPU_BLOCK_SIZE - 1));
}

/* Its number, 0 .. n-1. */
static inline unsigned
cpu_id(void)
{
    return cpu_current()->id;
}

/* GPA of the device tree, as handed to the entry point (fdt.h reads it). */
uint64_t cpu_fdt_address(void);

/* The image: vCPU 0 runs this in ring 0; the result, 0..255, becomes the exit status. */
int guest_main(void);

/* The image, optionally: every other vCPU runs this; when it returns the vCPU halts. */
void guest_secondary(unsigned cpu) __attribute__((weak));

/* Called by start.S on vCPU number `id`. */
_Noreturn void cpu_start(uint64_t fdt, unsigned id);

#endif
#endif
