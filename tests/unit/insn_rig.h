/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest for the instruction decoder.
 *
 * Code stands at CODE in linear memory, which is mapped to itself, but for one page
 * that is mapped nowhere and one whose physical address is another.
 */
#ifndef INSN_RIG_H
#define INSN_RIG_H

#include "vmm/x86_64/insn.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define CODE UINT64_C(0x400000)
#define CODE_SIZE 0x2000u
#define UNMAPPED UINT64_C(0x700000)
#define MOVED UINT64_C(0x800000)    /* linear ... */
#define MOVED_TO UINT64_C(0x123000) /* ... and where it is */
#define DATA UINT64_C(0x7fe000)     /* up to MOVED and one page of it */
#define DATA_SIZE 0x3000u

#define RFLAGS_ZF 0x040u
#define RFLAGS_DF 0x400u
#define RFLAGS_RF 0x10000u

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

struct rig {
    uint8_t code[CODE_SIZE];
    size_t readable; /* bytes of code that can be read */
    uint8_t data[DATA_SIZE];
    bool data_readable;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
};

static inline size_t
rig_read(void *context, gva_t gva, void *to, size_t size)
{
    const struct rig *rig = context;
    uint64_t address = gva_to_u64(gva);

    if (rig->data_readable && address - DATA < DATA_SIZE && size <= DATA_SIZE - (address - DATA)) {
        memcpy(to, rig->data + (address - DATA), size);
        return size;
    }
    if (address < CODE || address - CODE >= rig->readable)
        return 0;
    if (size > rig->readable - (address - CODE))
        size = rig->readable - (address - CODE);
    memcpy(to, rig->code + (address - CODE), size);
    return size;
}

static inline bool
rig_translate(void *context, gva_t gva, gpa_t *gpa)
{
    uint64_t address = gva_to_u64(gva);

    (void)context;
    if ((address & ~PAGE_MASK) == UNMAPPED)
        return false;
    if ((address & ~PAGE_MASK) == MOVED)
        address = MOVED_TO | (address & PAGE_MASK);
    *gpa = gpa_from_u64(address);
    return true;
}

/* 64-bit code; the instruction under test at CODE + 0x800, NOPs around it. */
static inline void
rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    memset(rig->code, 0x90, sizeof(rig->code));
    rig->readable = sizeof(rig->code);
    rig->sregs.efer = 0x500;
    rig->sregs.cs.l = 1;
    rig->regs.rip = CODE + 0x800;
    rig->regs.rflags = 2;
}

static inline void
rig_place(struct rig *rig, const uint8_t *bytes, size_t size)
{
    memcpy(rig->code + (rig->regs.rip - CODE), bytes, size);
}

#endif
