/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every fixed guest-physical address the monitor writes to before a guest starts.
 *
 * Page 0 stays empty, so that a null pointer of an identity-mapped guest hits
 * nothing of ours.  A guest may overwrite all of it once it has its own tables.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "guest/include/vkvm_abi.h"

/* The boot GDT: null, kernel code, kernel data, user data, user code, TSS (16 bytes). */
#define LAYOUT_GDT 0x1000u
#define LAYOUT_GDT_SIZE 56u

/* The boot task state segment; without I/O bitmap and stacks. */
#define LAYOUT_TSS 0x1100u
#define LAYOUT_TSS_SIZE 104u

/* Level 4 of the boot page tables. */
#define LAYOUT_PML4 0x2000u

/* Level 3: one page covers the 512 GiB in which RAM and windows lie. */
#define LAYOUT_PDPT 0x3000u

/* Level 2 of [0, 4 GiB): four pages of 2 MiB entries. */
#define LAYOUT_PD_LOW 0x4000u

/* Level 2 of [VKVM_WINDOW_BASE, + 4 GiB): four pages of 2 MiB entries. */
#define LAYOUT_PD_WINDOW 0x8000u

/* First address above. */
#define LAYOUT_BOOT_END 0xC000u

/* A PC's ACPI tables (acpi.h): in the range where systems look for the RSDP, on 16 bytes. */
#define ACPI_RSDP_GPA 0xE0000u
#define ACPI_SIZE 0x4000u

/* GiB that each of the two level 2 runs maps. */
#define LAYOUT_MAPPED_GIB 4u

/*
 * An address that is never mapped, for a CR3 that translates nothing (exception.c):
 * windows end here, and RAM goes on only at VKVM_RAM_HIGH_BASE.
 */
#define LAYOUT_NOWHERE VKVM_WINDOW_END

/*
 * All protocols but vkvm's own: the tables lie around the image (arch_start's tables), these are
 * offsets there.  The first page has GDT, TSS and, up to its end, a stack.
 */
#define LAYOUT_PC_GDT 0x000u
#define LAYOUT_PC_GDT_SIZE 48u
#define LAYOUT_PC_TSS 0x080u
#define LAYOUT_PC_STACK 0x1000u
/* ... of the 64-bit ones, identity page tables of [0, LAYOUT_MAPPED_GIB GiB) behind it. */
#define LAYOUT_PC_PML4 0x1000u
#define LAYOUT_PC_PDPT 0x2000u
#define LAYOUT_PC_PD 0x3000u
#define LAYOUT_PC_END32 0x1000u
#define LAYOUT_PC_END64 (LAYOUT_PC_PD + LAYOUT_MAPPED_GIB * LAYOUT_PAGE)

/* Selectors of that GDT, as Linux boot.rst wants them. */
#define LAYOUT_PC_SEL_CODE 0x10u
#define LAYOUT_PC_SEL_DATA 0x18u
#define LAYOUT_PC_SEL_TSS 0x20u

/* The interrupt vectors of real mode, and the instruction they all point to, behind the BIOS data. */
#define LAYOUT_VECTORS 0x0u
#define LAYOUT_NVECTORS 256u
#define LAYOUT_IRET 0x4F0u

#define LAYOUT_PAGE 0x1000u

_Static_assert(LAYOUT_GDT + LAYOUT_GDT_SIZE <= LAYOUT_TSS, "GDT below TSS");
_Static_assert(LAYOUT_TSS + LAYOUT_TSS_SIZE <= LAYOUT_PML4, "TSS below PML4");
_Static_assert(LAYOUT_PML4 + LAYOUT_PAGE <= LAYOUT_PDPT, "PML4 below PDPT");
_Static_assert(LAYOUT_PDPT + LAYOUT_PAGE <= LAYOUT_PD_LOW, "PDPT below the page directories");
_Static_assert(LAYOUT_PD_LOW + LAYOUT_MAPPED_GIB * LAYOUT_PAGE <= LAYOUT_PD_WINDOW,
               "page directories apart");
_Static_assert(LAYOUT_PD_WINDOW + LAYOUT_MAPPED_GIB * LAYOUT_PAGE <= LAYOUT_BOOT_END,
               "page directories below the end");
_Static_assert(LAYOUT_BOOT_END <= ACPI_RSDP_GPA && ACPI_RSDP_GPA + ACPI_SIZE <= 0x100000,
               "ACPI tables above the boot tables, below 1 MiB");
_Static_assert(VKVM_WINDOW_BASE % ((uint64_t)1 << 30) == 0, "windows start at a level 3 entry");
_Static_assert((VKVM_WINDOW_BASE >> 39) == 0, "windows share the level 3 page of RAM");
_Static_assert(VKVM_WINDOW_BASE >= ((uint64_t)LAYOUT_MAPPED_GIB << 30), "mapped ranges apart");

_Static_assert(LAYOUT_PC_GDT + LAYOUT_PC_GDT_SIZE <= LAYOUT_PC_TSS, "GDT below TSS");
_Static_assert(LAYOUT_PC_TSS + LAYOUT_TSS_SIZE <= LAYOUT_PC_STACK - 0x800u, "TSS below the stack");
_Static_assert(LAYOUT_VECTORS + 4u * LAYOUT_NVECTORS <= LAYOUT_IRET, "vectors below the stub");

#endif
