/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own page tables, walked for a debugger: each table is peeked at, so the A bits that
 * x86_walk.h sets go into a copy.
 *
 * Source: Intel SDM volume 3, 4.3 "32-bit paging", 4.4 "PAE paging", 4.5 "4-level paging and
 * 5-level paging".
 */
#include "vmm/x86_64/debug_registers.h"

#include "vmm/vpagetable/vm_peek.h"
#include "vmm/x86_64/x86_walk.h"

#include <errno.h>
#include <string.h>

#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_LA57 0x1000u

#define PRESENT 0x1u
#define LARGE 0x80u
#define PAGING_FRAME UINT64_C(0x000FFFFFFFFFF000)

/* Read `size` bytes of a table and note the step. */
static int
read_entry(struct vm_map *map, struct arch_debug_walk *walk, uint64_t address, unsigned size,
           uint64_t *value)
{
    struct vm_peek_info info;

    *value = 0;
    if (vm_peek(map, gpa_from_u64(address), value, size, &info) != VM_OK)
        return -EFAULT;
    walk->steps[walk->nsteps].address = address;
    walk->steps[walk->nsteps++].value = *value;
    return 0;
}

static int
walk_long(const struct kvm_sregs *sregs, struct vm_map *map, uint64_t address,
          struct arch_debug_walk *walk)
{
    const struct x86_walk_tables tables = {
        .format = (sregs->cr4 & CR4_LA57) != 0 ? &x86_walk_5level : &x86_walk_4level,
        .root = sregs->cr3 & PAGING_FRAME,
        .object_pages = UINT64_MAX,
        .maxphyaddr = X86_WALK_MAXPHYADDR_MAX,
    };
    struct x86_walk state;
    uint64_t table[PAGE_SIZE / 8];
    struct vm_peek_info info;
    vm_pindex_t frame;

    walk->mode = (sregs->cr4 & CR4_LA57) != 0 ? "5-level" : "4-level";
    if (x86_walk_start(&state, &tables, address, VM_PROT_READ) != X86_WALK_OK)
        return -EFAULT;
    while (!x86_walk_done(&state)) {
        enum x86_walk_result result;

        if (x86_walk_table(&state, &frame) != X86_WALK_OK ||
            vm_peek(map, gpa_from_u64(frame << PAGE_SHIFT), table, sizeof(table), &info) != VM_OK)
            return -EFAULT;
        result = x86_walk_step(&state, table);
        walk->steps[walk->nsteps].address =
            (frame << PAGE_SHIFT) +
            (uint64_t)((uint8_t *)state.steps[state.level].entry - (uint8_t *)table);
        walk->steps[walk->nsteps++].value = state.steps[state.level].before;
        if (result != X86_WALK_OK)
            return -EFAULT;
    }
    return x86_walk_result(&state, &walk->gpa) == X86_WALK_OK ? 0 : -EFAULT;
}

static int
walk_pae(const struct kvm_sregs *sregs, struct vm_map *map, uint64_t address,
         struct arch_debug_walk *walk)
{
    uint64_t table = sregs->cr3 & 0xFFFFFFE0u, value;
    int error;

    walk->mode = "PAE";
    for (unsigned shift = 30;; shift -= 9) {
        uint64_t index = address >> shift & (shift == 30 ? 3 : 511);

        error = read_entry(map, walk, table + index * 8, 8, &value);
        if (error != 0)
            return error;
        if ((value & PRESENT) == 0)
            return -EFAULT;
        if (shift == 12 || (shift == 21 && (value & LARGE) != 0)) {
            uint64_t within = ((uint64_t)1 << shift) - 1;

            walk->gpa = (value & PAGING_FRAME & ~within) | (address & within);
            return 0;
        }
        table = value & PAGING_FRAME;
    }
}

static int
walk_32(const struct kvm_sregs *sregs, struct vm_map *map, uint64_t address,
        struct arch_debug_walk *walk)
{
    uint64_t value;
    int error;

    walk->mode = "32-bit";
    error =
        read_entry(map, walk, (sregs->cr3 & 0xFFFFF000u) + (address >> 22 & 1023) * 4, 4, &value);
    if (error != 0 || (value & PRESENT) == 0)
        return -EFAULT;
    if ((value & LARGE) != 0 && (sregs->cr4 & CR4_PSE) != 0) {
        /* Bits 39:32 of a 4 MiB page's frame are bits 20:13 of the entry (PSE-36). */
        walk->gpa = (value & 0xFFC00000u) | (value >> 13 & 0xFF) << 32 | (address & 0x3FFFFF);
        return 0;
    }
    error = read_entry(map, walk, (value & 0xFFFFF000u) + (address >> 12 & 1023) * 4, 4, &value);
    if (error != 0 || (value & PRESENT) == 0)
        return -EFAULT;
    walk->gpa = (value & 0xFFFFF000u) | (address & PAGE_MASK);
    return 0;
}

int
debug_walk(const struct kvm_sregs *sregs, struct vm_map *map, uint64_t address,
           struct arch_debug_walk *walk)
{
    *walk = (struct arch_debug_walk){ .mode = "no paging", .gpa = address };
    if ((sregs->cr0 & CR0_PG) == 0)
        return 0;
    if ((sregs->efer & (1u << 10)) != 0) /* LMA */
        return walk_long(sregs, map, address, walk);
    address &= UINT32_MAX;
    return (sregs->cr4 & CR4_PAE) != 0 ? walk_pae(sregs, map, address, walk)
                                       : walk_32(sregs, map, address, walk);
}
