/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instruction decoding on top of Zydis.
 *
 * Zydis reports implicit stack operands as [RSP] whatever the direction; the
 * address really used is RSP - size for a push (Intel SDM vol. 1, 6.2), and a
 * `pop` into memory computes its address with the incremented RSP (vol. 2, POP).
 */
#include "vmm/x86_64/insn.h"

#include "vmm/x86_64/cpu.h"
#include "vmm/x86_64/insn_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int
insn_decode_bytes(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size,
                  struct insn_decoded *d)
{
    ZydisDecoder decoder;
    ZyanStatus status;

    if ((sregs->efer & CPU_EFER_LMA) != 0 && sregs->cs.l)
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (sregs->cs.db)
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    if (ZYAN_SUCCESS(status))
        status = ZydisDecoderDecodeFull(&decoder, bytes, size, &d->info, d->operands);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return -ENODATA;
    return ZYAN_SUCCESS(status) ? 0 : -EILSEQ;
}

uint64_t
insn_mask(uint64_t value, unsigned bits)
{
    return bits >= 64 ? value : value & (((uint64_t)1 << bits) - 1);
}

/* Register numbers as in the instruction encoding (SDM vol. 2, table 2-2). */
static __u64 *
gpr(struct kvm_regs *regs, unsigned number)
{
    __u64 *const registers[16] = { &regs->rax, &regs->rcx, &regs->rdx, &regs->rbx,
                                   &regs->rsp, &regs->rbp, &regs->rsi, &regs->rdi,
                                   &regs->r8,  &regs->r9,  &regs->r10, &regs->r11,
                                   &regs->r12, &regs->r13, &regs->r14, &regs->r15 };

    return registers[number & 15];
}

/* Where a general register of any width stands: bits [shift, shift + bits) of a 64-bit one. */
struct gpr_part {
    __u64 *whole;
    unsigned shift;
    unsigned bits;
};

/* False for other registers. */
static bool
find_gpr(struct kvm_regs *regs, ZydisRegister reg, struct gpr_part *part)
{
    unsigned id = (unsigned)ZydisRegisterGetId(reg);

    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        /* AH, CH, DH, BH stand between BL and SPL in Zydis' numbering. */
        if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
            *part = (struct gpr_part){ gpr(regs, reg - ZYDIS_REGISTER_AH), 8, 8 };
        else if (reg < ZYDIS_REGISTER_AH)
            *part = (struct gpr_part){ gpr(regs, reg - ZYDIS_REGISTER_AL), 0, 8 };
        else
            *part = (struct gpr_part){ gpr(regs, reg - ZYDIS_REGISTER_SPL + 4), 0, 8 };
        return true;
    case ZYDIS_REGCLASS_GPR16:
        *part = (struct gpr_part){ gpr(regs, id), 0, 16 };
        return true;
    case ZYDIS_REGCLASS_GPR32:
        *part = (struct gpr_part){ gpr(regs, id), 0, 32 };
        return true;
    case ZYDIS_REGCLASS_GPR64:
        *part = (struct gpr_part){ gpr(regs, id), 0, 64 };
        return true;
    default:
        return false;
    }
}

bool
insn_register(const struct kvm_regs *regs, ZydisRegister reg, uint64_t *value)
{
    struct kvm_regs copy = *regs;
    struct gpr_part part;

    if (!find_gpr(&copy, reg, &part))
        return false;
    *value = insn_mask(*part.whole >> part.shift, part.bits);
    return true;
}

bool
insn_set_register(struct kvm_regs *regs, ZydisRegister reg, uint64_t value)
{
    struct gpr_part part;
    uint64_t mask;

    if (!find_gpr(regs, reg, &part))
        return false;
    /* 32 bits clear the rest of their register (SDM vol. 1, 3.4.1.1). */
    mask = part.bits == 32 ? UINT64_MAX : insn_mask(UINT64_MAX, part.bits) << part.shift;
    *part.whole = (*part.whole & ~mask) | (insn_mask(value, part.bits) << part.shift);
    return true;
}

/* In 64-bit mode only FS and GS have a base (SDM vol. 3, 3.4.4). */
static uint64_t
segment_base(const struct insn_decoded *d, const struct kvm_sregs *sregs, ZydisRegister segment)
{
    bool flat = d->info.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;

    switch (segment) {
    case ZYDIS_REGISTER_FS:
        return sregs->fs.base;
    case ZYDIS_REGISTER_GS:
        return sregs->gs.base;
    case ZYDIS_REGISTER_ES:
        return flat ? 0 : sregs->es.base;
    case ZYDIS_REGISTER_CS:
        return flat ? 0 : sregs->cs.base;
    case ZYDIS_REGISTER_SS:
        return flat ? 0 : sregs->ss.base;
    default:
        return flat ? 0 : sregs->ds.base;
    }
}

bool
insn_is_stack_operand(const ZydisDecodedOperand *op)
{
    return op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
           op->mem.segment == ZYDIS_REGISTER_SS;
}

/* Does the instruction move RSP up before it computes the address of an explicit operand? */
static uint64_t
pop_displacement(const struct insn_decoded *d, const ZydisDecodedOperand *op)
{
    if (d->info.mnemonic != ZYDIS_MNEMONIC_POP ||
        op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN ||
        ZydisRegisterGetLargestEnclosing(d->info.machine_mode, op->mem.base) !=
            ZydisRegisterGetLargestEnclosing(d->info.machine_mode, ZYDIS_REGISTER_SP))
        return 0;
    return op->size / 8;
}

/* BT, BTS, BTR, BTC with a register: the bit number also selects the word (SDM vol. 2, BT). */
static uint64_t
bit_displacement(const struct insn_decoded *d, const struct kvm_regs *regs)
{
    const ZydisDecodedOperand *bit = &d->operands[1];
    uint64_t value, words;

    if (d->info.meta.category != ZYDIS_CATEGORY_BITBYTE || d->info.operand_count_visible != 2 ||
        bit->type != ZYDIS_OPERAND_TYPE_REGISTER || !insn_register(regs, bit->reg.value, &value) ||
        d->operands[0].size == 0)
        return 0;
    /* Sign-extend from the operand size, then divide rounding down. */
    value <<= 64 - d->operands[0].size;
    words = (uint64_t)((int64_t)value >> (64 - d->operands[0].size)) & ~(d->operands[0].size - 1ul);
    return (uint64_t)((int64_t)words / 8);
}

static bool
operand_address(const struct insn_decoded *d, const struct kvm_regs *regs,
                const struct kvm_sregs *sregs, const ZydisDecodedOperand *op, uint64_t *address)
{
    uint64_t base = 0, index = 0, offset;

    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
        base = regs->rip + d->info.length;
    else if (op->mem.base != ZYDIS_REGISTER_NONE && !insn_register(regs, op->mem.base, &base))
        return false;
    if (op->mem.index != ZYDIS_REGISTER_NONE && !insn_register(regs, op->mem.index, &index))
        return false;
    offset = base + index * op->mem.scale + pop_displacement(d, op) + bit_displacement(d, regs);
    if (op->mem.disp.has_displacement)
        offset += (uint64_t)op->mem.disp.value;
    if (insn_is_stack_operand(op) && (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0)
        offset -= op->size / 8;
    *address = segment_base(d, sregs, op->mem.segment) + insn_mask(offset, d->info.address_width);
    if (d->info.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
        *address = insn_mask(*address, 32);
    return true;
}

/* Instructions with a memory operand that they never read or write. */
static bool
touches_memory(const struct insn_decoded *d)
{
    return d->info.meta.category != ZYDIS_CATEGORY_WIDENOP &&
           d->info.meta.category != ZYDIS_CATEGORY_NOP &&
           d->info.meta.category != ZYDIS_CATEGORY_PREFETCH;
}

void
insn_collect(const struct insn_decoded *d, const struct kvm_regs *regs,
             const struct kvm_sregs *sregs, struct insn *insn)
{
    const ZydisDecodedOperand *op;
    struct insn_access *access;
    uint64_t address;
    unsigned i;

    *insn = (struct insn){ .length = d->info.length };
    for (i = 0; i < d->info.operand_count && touches_memory(d); i++) {
        op = &d->operands[i];
        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
            op->size < 8 || insn->naccesses == INSN_MAX_ACCESSES ||
            !operand_address(d, regs, sregs, op, &address))
            continue;
        access = &insn->access[insn->naccesses++];
        access->address = gva_from_u64(address);
        access->size = op->size / 8;
        access->access = VM_PROT_NONE;
        if ((op->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0)
            access->access |= VM_PROT_READ;
        if ((op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0)
            access->access |= VM_PROT_WRITE;
        if (access->access == VM_PROT_NONE)
            access->access = VM_PROT_READ;
    }
}

int
insn_decode(const struct kvm_regs *regs, const struct kvm_sregs *sregs, const uint8_t *bytes,
            size_t size, struct insn *insn)
{
    struct insn_decoded d;
    int error;

    error = insn_decode_bytes(sregs, bytes, size < INSN_MAX_BYTES ? size : INSN_MAX_BYTES, &d);
    if (error == 0)
        insn_collect(&d, regs, sregs, insn);
    return error;
}

/* The first byte of the access that translates into the page. */
static bool
access_in_page(const struct insn_access *access, const struct insn_memory *memory, gpa_t page,
               gva_t *gva)
{
    uint64_t address = gva_to_u64(access->address);
    uint64_t last = address + access->size - 1;
    gpa_t gpa;

    for (;;) {
        if (memory->translate(memory->context, gva_from_u64(address), &gpa) &&
            gpa_to_u64(gpa_trunc_page(gpa)) == gpa_to_u64(page)) {
            *gva = gva_from_u64(address);
            return true;
        }
        if ((address | PAGE_MASK) >= last)
            return false;
        address = (address | PAGE_MASK) + 1;
    }
}

const struct insn_access *
insn_find_access(const struct insn *insn, const struct insn_memory *memory, gpa_t page,
                 vm_prot_t access, gva_t *gva)
{
    const struct insn_access *a;
    unsigned i;

    for (i = 0; i < insn->naccesses; i++) {
        a = &insn->access[i];
        if ((a->access & access) != 0 && access_in_page(a, memory, page, gva))
            return a;
    }
    for (i = 0; i < insn->naccesses; i++) {
        a = &insn->access[i];
        if ((a->access & access) == 0 && access_in_page(a, memory, page, gva))
            return a;
    }
    return NULL;
}

bool
insn_is_retried(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size)
{
    struct insn_decoded d;

    return insn_decode_bytes(sregs, bytes, size, &d) == 0 &&
           (d.info.mnemonic == ZYDIS_MNEMONIC_SGDT || d.info.mnemonic == ZYDIS_MNEMONIC_SIDT);
}

void
insn_name(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size, char *to,
          size_t to_size)
{
    struct insn_decoded d;
    const char *name = NULL;
    size_t i, at = 0;

    if (sregs != NULL && insn_decode_bytes(sregs, bytes, size, &d) == 0) {
        name = ZydisMnemonicGetString(d.info.mnemonic);
        size = d.info.length;
    }
    if (to_size != 0)
        to[0] = '\0';
    if (name != NULL && strlen(name) + 2 < to_size)
        at = (size_t)snprintf(to, to_size, "%s (", name);
    for (i = 0; i < size && at + (i == 0 ? 4 : 5) <= to_size; i++)
        at += (size_t)snprintf(to + at, to_size - at, "%s%02x", i == 0 ? "" : " ", bytes[i]);
    if (name != NULL && at + 2 <= to_size)
        (void)snprintf(to + at, to_size - at, ")");
}
