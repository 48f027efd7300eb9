/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of registers, in gdb's order: its numbers are the rows.
 *
 * Source: GDB manual, appendix G "Target Descriptions", "i386 Features": names and the
 * order within a feature are fixed there; features of our own come last.
 */
#include "vmm/x86_64/debug_registers.h"

#include <string.h>

#define CORE "org.gnu.gdb.i386.core"
#define SSE "org.gnu.gdb.i386.sse"
#define SEGMENTS "org.gnu.gdb.i386.segments"
#define SYSTEM "vkvm.system"

const char arch_debug_architecture[] = "i386:x86-64";

struct row {
    struct arch_debug_register reg;
    uint16_t offset; /* in struct debug_registers */
    uint16_t size;   /* bytes there; the rest of the register is 0.  0: reads as 0 */
};

#define AT(field, bytes) (uint16_t) offsetof(struct debug_registers, field), (bytes)
#define GENERAL(name, type)                         \
    {                                               \
        { CORE, #name, 64, type }, AT(regs.name, 8) \
    }
#define SELECTOR(name)                                           \
    {                                                            \
        { CORE, #name, 32, "int32" }, AT(sregs.name.selector, 2) \
    }
#define STACK(n)                                              \
    {                                                         \
        { CORE, "st" #n, 80, "i387_ext" }, AT(fpu.fpr[n], 10) \
    }
#define FPU(name, where, bytes)                     \
    {                                               \
        { CORE, name, 32, "int" }, AT(where, bytes) \
    }
#define XMM(n)                                               \
    {                                                        \
        { SSE, "xmm" #n, 128, "vec128" }, AT(fpu.xmm[n], 16) \
    }
#define SYSTEM64(name, where)                       \
    {                                               \
        { SYSTEM, name, 64, "int64" }, AT(where, 8) \
    }

static const struct row rows[] = {
    GENERAL(rax, "int64"),
    GENERAL(rbx, "int64"),
    GENERAL(rcx, "int64"),
    GENERAL(rdx, "int64"),
    GENERAL(rsi, "int64"),
    GENERAL(rdi, "int64"),
    GENERAL(rbp, "data_ptr"),
    GENERAL(rsp, "data_ptr"),
    GENERAL(r8, "int64"),
    GENERAL(r9, "int64"),
    GENERAL(r10, "int64"),
    GENERAL(r11, "int64"),
    GENERAL(r12, "int64"),
    GENERAL(r13, "int64"),
    GENERAL(r14, "int64"),
    GENERAL(r15, "int64"),
    GENERAL(rip, "code_ptr"),
    { { CORE, "eflags", 32, "eflags" }, AT(regs.rflags, 4) },
    SELECTOR(cs),
    SELECTOR(ss),
    SELECTOR(ds),
    SELECTOR(es),
    SELECTOR(fs),
    SELECTOR(gs),
    STACK(0),
    STACK(1),
    STACK(2),
    STACK(3),
    STACK(4),
    STACK(5),
    STACK(6),
    STACK(7),
    FPU("fctrl", fpu.fcw, 2),
    FPU("fstat", fpu.fsw, 2),
    FPU("ftag", ftag, 2),
    FPU("fiseg", fpu.last_ip, 0),
    FPU("fioff", fpu.last_ip, 4),
    FPU("foseg", fpu.last_dp, 0),
    FPU("fooff", fpu.last_dp, 4),
    FPU("fop", fpu.last_opcode, 2),
    XMM(0),
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    XMM(8),
    XMM(9),
    XMM(10),
    XMM(11),
    XMM(12),
    XMM(13),
    XMM(14),
    XMM(15),
    { { SSE, "mxcsr", 32, "int" }, AT(fpu.mxcsr, 4) },
    { { SEGMENTS, "fs_base", 64, "int64" }, AT(sregs.fs.base, 8) },
    { { SEGMENTS, "gs_base", 64, "int64" }, AT(sregs.gs.base, 8) },
    SYSTEM64("k_gs_base", kernel_gs_base),
    SYSTEM64("cr0", sregs.cr0),
    SYSTEM64("cr2", sregs.cr2),
    SYSTEM64("cr3", sregs.cr3),
    SYSTEM64("cr4", sregs.cr4),
    SYSTEM64("cr8", sregs.cr8),
    SYSTEM64("efer", sregs.efer),
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

unsigned
arch_debug_register_count(void)
{
    return ROWS;
}

const struct arch_debug_register *
arch_debug_register(unsigned number, size_t *offset)
{
    *offset = 0;
    if (number >= ROWS)
        return NULL;
    for (unsigned i = 0; i < number; i++)
        *offset += rows[i].reg.bits / 8;
    return &rows[number].reg;
}

size_t
arch_debug_registers_size(void)
{
    size_t offset;

    return arch_debug_register(ROWS - 1, &offset)->bits / 8 + offset;
}

const char *
arch_debug_feature_types(const char *feature)
{
    if (strcmp(feature, CORE) == 0)
        return "<flags id=\"eflags\" size=\"4\">"
               "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" "
               "end=\"2\"/>"
               "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" "
               "end=\"6\"/>"
               "<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" "
               "end=\"8\"/>"
               "<field name=\"IF\" start=\"9\" end=\"9\"/>"
               "<field name=\"DF\" start=\"10\" end=\"10\"/>"
               "<field name=\"OF\" start=\"11\" end=\"11\"/>"
               "<field name=\"NT\" start=\"14\" end=\"14\"/>"
               "<field name=\"RF\" start=\"16\" end=\"16\"/>"
               "<field name=\"AC\" start=\"18\" end=\"18\"/></flags>";
    if (strcmp(feature, SSE) == 0)
        return "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
               "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
               "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
               "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
               "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
               "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
               "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
               "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
               "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
               "<field name=\"v2_int64\" type=\"v2i64\"/>"
               "<field name=\"uint128\" type=\"uint128\"/></union>";
    return "";
}

/* A tag is two bits: 3 = empty.  What kind of number is in a full one KVM does not tell. */
static uint16_t
full_tag(uint8_t abridged)
{
    uint16_t tag = 0;

    for (unsigned i = 0; i < 8; i++) {
        if ((abridged >> i & 1) == 0)
            tag |= (uint16_t)(3u << 2 * i);
    }
    return tag;
}

static uint8_t
abridged_tag(uint16_t tag)
{
    uint8_t abridged = 0;

    for (unsigned i = 0; i < 8; i++) {
        if ((tag >> 2 * i & 3) != 3)
            abridged |= (uint8_t)(1u << i);
    }
    return abridged;
}

void
debug_registers_pack(struct debug_registers *r, uint8_t *bytes)
{
    r->ftag = full_tag(r->fpu.ftwx);
    for (size_t i = 0; i < ROWS; i++) {
        memset(bytes, 0, rows[i].reg.bits / 8);
        memcpy(bytes, (const uint8_t *)r + rows[i].offset, rows[i].size);
        bytes += rows[i].reg.bits / 8;
    }
}

void
debug_registers_unpack(struct debug_registers *r, const uint8_t *bytes)
{
    for (size_t i = 0; i < ROWS; i++) {
        memcpy((uint8_t *)r + rows[i].offset, bytes, rows[i].size);
        bytes += rows[i].reg.bits / 8;
    }
    r->fpu.ftwx = abridged_tag(r->ftag);
}
