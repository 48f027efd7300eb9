/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands in low guest memory when a guest starts: page tables, GDT, TSS, and for real mode
 * interrupt vectors.
 * Source: Intel SDM vol. 3, 3.4.5 and 7.7 (descriptors, TSS), 4.5 (paging).
 */
#include "vmm/x86_64/arch.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/limits.h"
#include "vmm/x86_64/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PTE_P 0x01u
#define PTE_W 0x02u
#define PTE_U 0x04u
#define PTE_A 0x20u
#define PTE_D 0x40u
#define PTE_PS 0x80u

/* A and D are set from the start: the processor never has to write to these tables. */
#define BOOT_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define BOOT_LEAF (BOOT_TABLE | PTE_D | PTE_PS)

#define TABLE_ENTRIES 512u

/* Flat descriptors, accessed bit set (SDM vol. 3, 3.4.5.1). */
#define DESC_KERNEL_CODE 0x00AF9B000000FFFFull
#define DESC_KERNEL_DATA 0x00CF93000000FFFFull
#define DESC_USER_DATA 0x00CFF3000000FFFFull
#define DESC_USER_CODE 0x00AFFB000000FFFFull
#define DESC_KERNEL_CODE32 0x00CF9B000000FFFFull
#define DESC_TSS_BUSY 0x00008B0000000000ull

#define OPCODE_IRET 0xCFu

static int
boot_write(struct vm_map *map, uint64_t gpa, const void *from, size_t size, struct failure *failure)
{
    struct vm_fault_info info;
    enum vm_result result = vm_map_write(map, gpa_from_u64(gpa), from, size, &info);

    if (result == VM_OK)
        return 0;
    if (result == VM_HOST_FAILURE)
        return failure_set(failure, info.error,
                           "cannot write the boot tables at guest address 0x%" PRIx64 ": %s: %s",
                           gpa, info.cause != NULL ? info.cause : "host failure",
                           limits_explain_cause(info.cause, info.error).text);
    return failure_set(failure, -EFAULT,
                       "cannot write the boot tables at guest address 0x%" PRIx64
                       " (%s): give at least %u bytes of memory from address 0",
                       gpa, vm_result_name(result), LAYOUT_BOOT_END);
}

/* The level 2 pages at `tables`, mapping LAYOUT_MAPPED_GIB from `start` to themselves. */
static int
boot_write_directories(struct vm_map *map, uint64_t tables, uint64_t start, struct failure *failure)
{
    uint64_t entries[TABLE_ENTRIES];
    unsigned gib, i;
    int error;

    for (gib = 0; gib < LAYOUT_MAPPED_GIB; gib++) {
        for (i = 0; i < TABLE_ENTRIES; i++)
            entries[i] = (start + ((uint64_t)gib << 30) + ((uint64_t)i << 21)) | BOOT_LEAF;
        error = boot_write(map, tables + gib * LAYOUT_PAGE, entries, sizeof(entries), failure);
        if (error != 0)
            return error;
    }
    return 0;
}

static int
boot_write_page_tables(struct vm_map *map, struct failure *failure)
{
    const uint64_t pml4 = LAYOUT_PDPT | BOOT_TABLE;
    uint64_t pdpt[LAYOUT_MAPPED_GIB];
    unsigned i;
    int error;

    for (i = 0; i < LAYOUT_MAPPED_GIB; i++)
        pdpt[i] = (LAYOUT_PD_LOW + i * LAYOUT_PAGE) | BOOT_TABLE;
    error = boot_write(map, LAYOUT_PDPT, pdpt, sizeof(pdpt), failure);
    if (error != 0)
        return error;
    for (i = 0; i < LAYOUT_MAPPED_GIB; i++)
        pdpt[i] = (LAYOUT_PD_WINDOW + i * LAYOUT_PAGE) | BOOT_TABLE;
    error = boot_write(map, LAYOUT_PDPT + (VKVM_WINDOW_BASE >> 30) * sizeof(uint64_t), pdpt,
                       sizeof(pdpt), failure);
    if (error != 0)
        return error;
    error = boot_write_directories(map, LAYOUT_PD_LOW, 0, failure);
    if (error != 0)
        return error;
    error = boot_write_directories(map, LAYOUT_PD_WINDOW, VKVM_WINDOW_BASE, failure);
    if (error != 0)
        return error;
    return boot_write(map, LAYOUT_PML4, &pml4, sizeof(pml4), failure);
}

/* The first of a TSS's two descriptors; the upper one is base 63..32 (SDM vol. 3, 7.2.3). */
static uint64_t
tss_descriptor(uint64_t base)
{
    return DESC_TSS_BUSY | (LAYOUT_TSS_SIZE - 1) | (base & 0xFFFFFF) << 16 |
           (base >> 24 & 0xFF) << 56;
}

static int
boot_write_gdt(struct vm_map *map, struct failure *failure)
{
    const uint64_t base = LAYOUT_TSS;
    uint64_t gdt[LAYOUT_GDT_SIZE / sizeof(uint64_t)] = { 0 };

    gdt[VKVM_SEL_KERNEL_CODE / 8] = DESC_KERNEL_CODE;
    gdt[VKVM_SEL_KERNEL_DATA / 8] = DESC_KERNEL_DATA;
    gdt[VKVM_SEL_USER_DATA / 8] = DESC_USER_DATA;
    gdt[VKVM_SEL_USER_CODE / 8] = DESC_USER_CODE;
    gdt[ARCH_SEL_TSS / 8] = tss_descriptor(base);
    gdt[ARCH_SEL_TSS / 8 + 1] = base >> 32;
    return boot_write(map, LAYOUT_GDT, gdt, sizeof(gdt), failure);
}

/* No stack pointers; the I/O bitmap starts at the limit, so ring 3 may use no port. */
static int
boot_write_tss(struct vm_map *map, uint64_t gpa, struct failure *failure)
{
    uint8_t tss[LAYOUT_TSS_SIZE] = { 0 };
    const uint16_t bitmap = LAYOUT_TSS_SIZE;

    memcpy(tss + LAYOUT_TSS_SIZE - sizeof(bitmap), &bitmap, sizeof(bitmap));
    return boot_write(map, gpa, tss, sizeof(tss), failure);
}

static int
prepare_vkvm(struct vm_map *map, struct failure *failure)
{
    int error = boot_write_page_tables(map, failure);

    if (error == 0)
        error = boot_write_gdt(map, failure);
    if (error == 0)
        error = boot_write_tss(map, LAYOUT_TSS, failure);
    return error;
}

/* --- All protocols but vkvm's own -------------------------------------------- */

static bool
is_64bit(enum arch_protocol protocol)
{
    return protocol == ARCH_PROTOCOL_LINUX64 || protocol == ARCH_PROTOCOL_FLAT64;
}

static int
pc_write_gdt(const struct arch_start *start, struct vm_map *map, struct failure *failure)
{
    uint64_t tables = gpa_to_u64(start->tables);
    uint64_t gdt[LAYOUT_PC_GDT_SIZE / sizeof(uint64_t)] = { 0 };

    gdt[LAYOUT_PC_SEL_CODE / 8] = is_64bit(start->protocol) ? DESC_KERNEL_CODE : DESC_KERNEL_CODE32;
    gdt[LAYOUT_PC_SEL_DATA / 8] = DESC_KERNEL_DATA;
    gdt[LAYOUT_PC_SEL_TSS / 8] = tss_descriptor(tables + LAYOUT_PC_TSS);
    return boot_write(map, tables + LAYOUT_PC_GDT, gdt, sizeof(gdt), failure);
}

static int
pc_write_page_tables(uint64_t tables, struct vm_map *map, struct failure *failure)
{
    const uint64_t pml4 = (tables + LAYOUT_PC_PDPT) | BOOT_TABLE;
    uint64_t pdpt[LAYOUT_MAPPED_GIB];
    int error;

    for (unsigned i = 0; i < LAYOUT_MAPPED_GIB; i++)
        pdpt[i] = (tables + LAYOUT_PC_PD + i * LAYOUT_PAGE) | BOOT_TABLE;
    error = boot_write(map, tables + LAYOUT_PC_PML4, &pml4, sizeof(pml4), failure);
    if (error == 0)
        error = boot_write(map, tables + LAYOUT_PC_PDPT, pdpt, sizeof(pdpt), failure);
    if (error == 0)
        error = boot_write_directories(map, tables + LAYOUT_PC_PD, 0, failure);
    return error;
}

/* A guest that goes to real mode with interrupts on finds a BIOS's vectors on other machines. */
static int
pc_write_vectors(struct vm_map *map, struct failure *failure)
{
    const uint8_t iret = OPCODE_IRET;
    uint32_t vectors[LAYOUT_NVECTORS];
    int error;

    for (unsigned i = 0; i < LAYOUT_NVECTORS; i++)
        vectors[i] = LAYOUT_IRET; /* segment 0 in the upper half */
    error = boot_write(map, LAYOUT_VECTORS, vectors, sizeof(vectors), failure);
    if (error == 0)
        error = boot_write(map, LAYOUT_IRET, &iret, sizeof(iret), failure);
    return error;
}

static int
prepare_pc(const struct arch_start *start, struct vm_map *map, struct failure *failure)
{
    uint64_t tables = gpa_to_u64(start->tables);
    int error = pc_write_gdt(start, map, failure);

    if (error == 0)
        error = boot_write_tss(map, tables + LAYOUT_PC_TSS, failure);
    if (error == 0 && is_64bit(start->protocol))
        error = pc_write_page_tables(tables, map, failure);
    if (error == 0 && start->vectors)
        error = pc_write_vectors(map, failure);
    return error;
}

uint64_t
arch_start_tables_size(enum arch_protocol protocol)
{
    if (protocol == ARCH_PROTOCOL_VKVM)
        return 0;
    return is_64bit(protocol) ? LAYOUT_PC_END64 : LAYOUT_PC_END32;
}

int
arch_start_prepare(const struct arch_start *start, struct vm_map *map, struct failure *failure)
{
    return start->protocol == ARCH_PROTOCOL_VKVM ? prepare_vkvm(map, failure)
                                                 : prepare_pc(start, map, failure);
}

gpa_t
arch_boot_end(void)
{
    return gpa_from_u64(LAYOUT_BOOT_END);
}
