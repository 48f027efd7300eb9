/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instructions that KVM's emulator knows and that read, change and store a memory
 * operand (Intel SDM vol. 2), each from its result to its operand.
 *
 * A guess comes with the bits that the result determines; where memory still tells them,
 * they must agree, or this is not the instruction that ran.
 */
#include "vmm/x86_64/insn_inverse.h"

#include "vmm/x86_64/cpu.h"

struct guess {
    uint64_t value;
    uint64_t determined; /* mask */
    bool impossible;     /* nothing gives this result */
};

static uint64_t
carry(const struct kvm_regs *regs)
{
    return (regs->rflags & CPU_RFLAGS_CF) != 0;
}

static void
set_carry(struct kvm_regs *regs, uint64_t value)
{
    regs->rflags = (regs->rflags & ~(uint64_t)CPU_RFLAGS_CF) | (value != 0 ? CPU_RFLAGS_CF : 0);
}

/* The value of a register or immediate operand, sign-extended as the instruction does. */
static uint64_t
source(const struct insn_decoded *d, unsigned index, const struct kvm_regs *regs, unsigned bits)
{
    const ZydisDecodedOperand *op = &d->operands[index];
    uint64_t value = 0;

    if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        value = op->imm.value.u;
    else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
        (void)insn_register(regs, op->reg.value, &value);
    return insn_mask(value, bits);
}

/* SDM vol. 2, SAL/SAR/SHL/SHR: the count is taken modulo 32, or 64 for 64-bit operands. */
static unsigned
shift_count(const struct insn_decoded *d, unsigned index, const struct kvm_regs *regs,
            unsigned bits)
{
    return (unsigned)source(d, index, regs, 8) & (bits == 64 ? 63u : 31u);
}

static uint64_t
shift_left(uint64_t value, unsigned count, unsigned bits)
{
    return count >= 64 ? 0 : insn_mask(value << count, bits);
}

static uint64_t
shift_right(uint64_t value, unsigned count)
{
    return count >= 64 ? 0 : value >> count;
}

/* Shifted to the left by count: the last bit that fell out is in CF. */
static struct guess
unshift_left(uint64_t value, unsigned count, unsigned bits, uint64_t cf)
{
    unsigned top = bits - count;

    if (count > bits)
        return (struct guess){ 0, 0, false };
    return (struct guess){ shift_right(value, count) | shift_left(cf, top, bits),
                           insn_mask(UINT64_MAX, top) | shift_left(1, top, bits), false };
}

/* Behind the last bit of a SAR there are only copies of the sign. */
static struct guess
unshift_right(uint64_t value, unsigned count, unsigned bits, uint64_t cf)
{
    if (count > bits)
        return (struct guess){ value, 0, false };
    return (struct guess){ shift_left(value, count, bits) | shift_left(cf, count - 1, bits),
                           shift_left(UINT64_MAX, count - 1, bits), false };
}

static uint64_t
rotate_right(uint64_t value, unsigned count, unsigned bits)
{
    count %= bits;
    if (count == 0)
        return value;
    return value >> count | insn_mask(value << (bits - count), bits);
}

static struct guess
unshift(const struct insn_decoded *d, uint64_t value, unsigned bits, const struct kvm_regs *after)
{
    bool wide = d->info.mnemonic == ZYDIS_MNEMONIC_SHLD || d->info.mnemonic == ZYDIS_MNEMONIC_SHRD;
    unsigned count = shift_count(d, wide ? 2 : 1, after, bits);
    const struct guess same = { value, UINT64_MAX, false };

    if (count == 0)
        return same;
    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_ROL:
        return (struct guess){ rotate_right(value, count, bits), UINT64_MAX, false };
    case ZYDIS_MNEMONIC_ROR:
        return (struct guess){ rotate_right(value, bits - count % bits, bits), UINT64_MAX, false };
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
        return unshift_left(value, count, bits, carry(after));
    default:
        return unshift_right(value, count, bits, carry(after));
    }
}

/* RCL and RCR rotate CF and the operand as one number: back by one bit, count times. */
static struct guess
unrotate_carry(const struct insn_decoded *d, uint64_t value, unsigned bits, struct kvm_regs *before)
{
    unsigned count = shift_count(d, 1, before, bits);
    uint64_t cf = carry(before), out;

    while (count-- != 0) {
        if (d->info.mnemonic == ZYDIS_MNEMONIC_RCL) {
            out = value & 1;
            value = value >> 1 | cf << (bits - 1);
        } else {
            out = value >> (bits - 1);
            value = insn_mask(value << 1, bits) | cf;
        }
        cf = out;
    }
    set_carry(before, cf);
    return (struct guess){ value, UINT64_MAX, false };
}

/* BTS, BTR, BTC: CF is the bit that was there. */
static struct guess
restore_bit(const struct insn_decoded *d, uint64_t value, unsigned bits,
            const struct kvm_regs *after)
{
    unsigned bit = (unsigned)source(d, 1, after, bits) & (bits - 1);

    return (struct guess){ (value & ~((uint64_t)1 << bit)) | carry(after) << bit, UINT64_MAX,
                           false };
}

static bool
agrees(const struct insn_operand *operand, const struct guess *guess)
{
    uint64_t mask = insn_mask(guess->determined & operand->known, operand->bits);

    return !guess->impossible && ((guess->value ^ operand->old_value) & mask) == 0;
}

/* ADC and SBB: the carry that went in is the one with which memory and the flags agree. */
static struct guess
undo_with_carry(const struct insn_decoded *d, const struct insn_operand *operand,
                struct kvm_regs *before)
{
    bool add = d->info.mnemonic == ZYDIS_MNEMONIC_ADC, out, half;
    uint64_t s = source(d, 1, before, operand->bits), n = operand->new_value, low, high, cf;
    struct guess guess = { 0, UINT64_MAX, false };

    for (cf = 0; cf <= 1; cf++) {
        guess.value = insn_mask(add ? n - s - cf : n + s + cf, operand->bits);
        /* A carry leaves a sum below its first summand; a borrow comes of a minuend too small. */
        low = add ? n : guess.value;
        high = add ? guess.value : s;
        out = low < high || (cf != 0 && low == high);
        half = ((guess.value ^ s ^ n) & 0x10) != 0;
        if (out == (carry(before) != 0) && half == ((before->rflags & CPU_RFLAGS_AF) != 0) &&
            agrees(operand, &guess)) {
            set_carry(before, cf);
            return guess;
        }
    }
    guess.impossible = true;
    return guess;
}

static bool
is_compare_exchange(const struct insn_decoded *d)
{
    return d->info.mnemonic == ZYDIS_MNEMONIC_CMPXCHG ||
           d->info.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B;
}

/* Instructions that leave the operand's old value in registers. */
static bool
old_in_registers(const struct insn_decoded *d, uint64_t value, unsigned bits,
                 struct kvm_regs *before, struct guess *guess)
{
    uint64_t old;

    guess->determined = UINT64_MAX;
    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_XCHG:
        old = source(d, 1, before, bits);
        guess->value = old;
        if (d->info.mnemonic == ZYDIS_MNEMONIC_XADD)
            value -= old;
        return insn_set_register(before, d->operands[1].reg.value, value);
    case ZYDIS_MNEMONIC_CMPXCHG:
        guess->value = insn_mask(before->rax, bits);
        return true;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
        guess->value = insn_mask(before->rdx, 32) << 32 | insn_mask(before->rax, 32);
        return true;
    default:
        return false;
    }
}

/* The rest: arithmetic and logic. */
static bool
undo_arithmetic(const struct insn_decoded *d, const struct insn_operand *operand,
                struct kvm_regs *before, struct guess *guess)
{
    uint64_t n = operand->new_value, s = source(d, 1, before, operand->bits);

    guess->determined = UINT64_MAX;
    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
        guess->value = n - s;
        return true;
    case ZYDIS_MNEMONIC_SUB:
        guess->value = n + s;
        return true;
    case ZYDIS_MNEMONIC_INC:
        guess->value = n - 1;
        return true;
    case ZYDIS_MNEMONIC_DEC:
        guess->value = n + 1;
        return true;
    case ZYDIS_MNEMONIC_NEG:
        guess->value = -n;
        return true;
    case ZYDIS_MNEMONIC_NOT:
        guess->value = ~n;
        return true;
    case ZYDIS_MNEMONIC_XOR:
        guess->value = n ^ s;
        return true;
    case ZYDIS_MNEMONIC_AND:
        *guess = (struct guess){ n, s, false };
        guess->impossible = (n & ~s) != 0;
        return true;
    case ZYDIS_MNEMONIC_OR:
        *guess = (struct guess){ n, ~s, false };
        guess->impossible = (s & ~n) != 0;
        return true;
    default:
        return false;
    }
}

static bool
guess_old(const struct insn_decoded *d, const struct insn_operand *operand, struct kvm_regs *before,
          struct guess *guess)
{
    uint64_t n = operand->new_value;

    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
        *guess = undo_with_carry(d, operand, before);
        return true;
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        *guess = unrotate_carry(d, n, operand->bits, before);
        return true;
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_SAR:
        *guess = unshift(d, n, operand->bits, before);
        return true;
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        *guess = restore_bit(d, n, operand->bits, before);
        return true;
    default:
        return old_in_registers(d, n, operand->bits, before, guess) ||
               undo_arithmetic(d, operand, before, guess);
    }
}

enum insn_inverse
insn_invert(const struct insn_decoded *d, struct insn_operand *operand, struct kvm_regs *before)
{
    struct guess guess = { 0, 0, false };

    if (is_compare_exchange(d) && (before->rflags & CPU_RFLAGS_ZF) == 0) {
        guess = (struct guess){ operand->new_value, UINT64_MAX, false };
        return agrees(operand, &guess) ? INSN_INVERSE_UNCHANGED : INSN_INVERSE_WRONG;
    }
    if (!guess_old(d, operand, before, &guess))
        return INSN_INVERSE_UNKNOWN;
    if (!agrees(operand, &guess))
        return INSN_INVERSE_WRONG;
    operand->old_value =
        insn_mask((operand->old_value & operand->known) | (guess.value & ~operand->known),
                  operand->bits);
    return INSN_INVERSE_FOUND;
}
