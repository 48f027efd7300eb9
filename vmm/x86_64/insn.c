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

#include <Zydis/Zydis.h>
#include <errno.h>
#include <string.h>

/* How far up a linear sweep starts; x86 code falls into step within a few instructions. */
#define SWEEP_BYTES 64u

struct decoded {
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static int
decode(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size, struct decoded *d)
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

static uint64_t
mask_bits(uint64_t value, unsigned bits)
{
    return bits >= 64 ? value : value & (((uint64_t)1 << bits) - 1);
}

/* Register numbers as in the instruction encoding (SDM vol. 2, table 2-2). */
static uint64_t
gpr_value(const struct kvm_regs *regs, unsigned number)
{
    const uint64_t values[16] = { regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp,
                                  regs->rsi, regs->rdi, regs->r8,  regs->r9,  regs->r10, regs->r11,
                                  regs->r12, regs->r13, regs->r14, regs->r15 };

    return values[number & 15];
}

/* The value of a general register of any width; false for other registers. */
static bool
register_value(const struct kvm_regs *regs, ZydisRegister reg, uint64_t *value)
{
    unsigned id = (unsigned)ZydisRegisterGetId(reg);

    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        /* AH, CH, DH, BH stand between BL and SPL in Zydis' numbering. */
        if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
            *value = mask_bits(gpr_value(regs, reg - ZYDIS_REGISTER_AH) >> 8, 8);
        else if (reg < ZYDIS_REGISTER_AH)
            *value = mask_bits(gpr_value(regs, reg - ZYDIS_REGISTER_AL), 8);
        else
            *value = mask_bits(gpr_value(regs, reg - ZYDIS_REGISTER_SPL + 4), 8);
        return true;
    case ZYDIS_REGCLASS_GPR16:
        *value = mask_bits(gpr_value(regs, id), 16);
        return true;
    case ZYDIS_REGCLASS_GPR32:
        *value = mask_bits(gpr_value(regs, id), 32);
        return true;
    case ZYDIS_REGCLASS_GPR64:
        *value = gpr_value(regs, id);
        return true;
    default:
        return false;
    }
}

/* In 64-bit mode only FS and GS have a base (SDM vol. 3, 3.4.4). */
static uint64_t
segment_base(const struct decoded *d, const struct kvm_sregs *sregs, ZydisRegister segment)
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

static bool
is_stack_operand(const ZydisDecodedOperand *op)
{
    return op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
           op->mem.segment == ZYDIS_REGISTER_SS;
}

/* Does the instruction move RSP up before it computes the address of an explicit operand? */
static uint64_t
pop_displacement(const struct decoded *d, const ZydisDecodedOperand *op)
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
bit_displacement(const struct decoded *d, const struct kvm_regs *regs)
{
    const ZydisDecodedOperand *bit = &d->operands[1];
    uint64_t value, words;

    if (d->info.meta.category != ZYDIS_CATEGORY_BITBYTE || d->info.operand_count_visible != 2 ||
        bit->type != ZYDIS_OPERAND_TYPE_REGISTER || !register_value(regs, bit->reg.value, &value) ||
        d->operands[0].size == 0)
        return 0;
    /* Sign-extend from the operand size, then divide rounding down. */
    value <<= 64 - d->operands[0].size;
    words = (uint64_t)((int64_t)value >> (64 - d->operands[0].size)) & ~(d->operands[0].size - 1ul);
    return (uint64_t)((int64_t)words / 8);
}

static bool
operand_address(const struct decoded *d, const struct kvm_regs *regs, const struct kvm_sregs *sregs,
                const ZydisDecodedOperand *op, uint64_t *address)
{
    uint64_t base = 0, index = 0, offset;

    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
        base = regs->rip + d->info.length;
    else if (op->mem.base != ZYDIS_REGISTER_NONE && !register_value(regs, op->mem.base, &base))
        return false;
    if (op->mem.index != ZYDIS_REGISTER_NONE && !register_value(regs, op->mem.index, &index))
        return false;
    offset = base + index * op->mem.scale + pop_displacement(d, op) + bit_displacement(d, regs);
    if (op->mem.disp.has_displacement)
        offset += (uint64_t)op->mem.disp.value;
    if (is_stack_operand(op) && (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0)
        offset -= op->size / 8;
    *address = segment_base(d, sregs, op->mem.segment) + mask_bits(offset, d->info.address_width);
    if (d->info.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
        *address = mask_bits(*address, 32);
    return true;
}

/* Instructions with a memory operand that they never read or write. */
static bool
touches_memory(const struct decoded *d)
{
    return d->info.meta.category != ZYDIS_CATEGORY_WIDENOP &&
           d->info.meta.category != ZYDIS_CATEGORY_NOP &&
           d->info.meta.category != ZYDIS_CATEGORY_PREFETCH;
}

static void
collect_accesses(const struct decoded *d, const struct kvm_regs *regs,
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
    struct decoded d;
    int ret;

    ret = decode(sregs, bytes, size < INSN_MAX_BYTES ? size : INSN_MAX_BYTES, &d);
    if (ret == 0)
        collect_accesses(&d, regs, sregs, insn);
    return ret;
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

/*
 * Undoing a store.
 */

enum candidate_kind {
    CANDIDATE_ENDS_AT_RIP,
    CANDIDATE_CALL,     /* ends at the stored return address */
    CANDIDATE_REPEATING /* a string instruction at RIP, in progress */
};

struct candidate {
    struct kvm_regs before;
    enum candidate_kind kind;
    unsigned votes;
};

static bool
is_repeated_string(const struct decoded *d)
{
    return d->info.meta.category == ZYDIS_CATEGORY_STRINGOP &&
           (d->info.attributes &
            (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
}

static bool
is_near_call(const struct decoded *d)
{
    return d->info.mnemonic == ZYDIS_MNEMONIC_CALL &&
           d->info.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
}

/* A call has gone to its target; what a memory operand held is taken on trust. */
static bool
call_arrives(const struct decoded *d, uint64_t rip, const struct kvm_regs *after)
{
    const ZydisDecodedOperand *target = &d->operands[0];
    uint64_t value;

    if (target->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return rip + d->info.length + target->imm.value.u == after->rip;
    return target->type != ZYDIS_OPERAND_TYPE_REGISTER ||
           !register_value(after, target->reg.value, &value) || value == after->rip;
}

/* Flags that were both read and overwritten are lost. */
static bool
loses_flags(const struct decoded *d)
{
    return d->info.cpu_flags != NULL &&
           (d->info.cpu_flags->tested & (d->info.cpu_flags->modified | d->info.cpu_flags->set_0 |
                                         d->info.cpu_flags->set_1)) != 0;
}

/* Does it overwrite a register whose old value nothing tells? */
static bool
loses_registers(const struct decoded *d, const struct kvm_regs *after)
{
    const ZydisDecodedOperand *op;
    ZydisRegisterClass class;
    unsigned i;

    /* A cmpxchg that stored its operand left the accumulator alone. */
    if (d->info.mnemonic == ZYDIS_MNEMONIC_CMPXCHG)
        return (after->rflags & CPU_RFLAGS_ZF) == 0;
    for (i = 0; i < d->info.operand_count; i++) {
        op = &d->operands[i];
        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
            continue;
        class = ZydisRegisterGetClass(op->reg.value);
        if (class != ZYDIS_REGCLASS_FLAGS && class != ZYDIS_REGCLASS_IP)
            return true;
    }
    return false;
}

/* The stack operand's size: what RSP moved by. */
static uint64_t
stack_size(const struct decoded *d)
{
    unsigned i;

    for (i = 0; i < d->info.operand_count; i++) {
        if (d->operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && is_stack_operand(&d->operands[i]))
            return d->operands[i].size / 8;
    }
    return 0;
}

static void
undo_string(const struct decoded *d, struct kvm_regs *regs)
{
    unsigned bits = d->info.address_width;
    uint64_t step = d->operands[0].size / 8;

    if ((regs->rflags & CPU_RFLAGS_DF) != 0)
        step = -step;
    regs->rdi = mask_bits(regs->rdi - step, bits);
    if (d->operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
        regs->rsi = mask_bits(regs->rsi - step, bits);
    if (is_repeated_string(d))
        regs->rcx = mask_bits(regs->rcx + 1, bits);
}

/* The registers before d, which stood at `rip`; false when they cannot be known. */
static bool
undo(const struct decoded *d, uint64_t rip, enum candidate_kind kind, const struct kvm_regs *after,
     struct kvm_regs *before)
{
    *before = *after;
    before->rip = rip;
    if ((kind == CANDIDATE_CALL) != is_near_call(d))
        return false;
    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSQ:
        break;
    case ZYDIS_MNEMONIC_MOVSD: /* also an SSE instruction */
        if (d->info.meta.category == ZYDIS_CATEGORY_STRINGOP)
            break;
        return kind != CANDIDATE_REPEATING && !loses_registers(d, after);
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
        before->rsp += stack_size(d);
        return kind != CANDIDATE_REPEATING;
    case ZYDIS_MNEMONIC_CALL:
        before->rsp += stack_size(d);
        return call_arrives(d, rip, after);
    case ZYDIS_MNEMONIC_POP:
        before->rsp -= stack_size(d);
        return kind != CANDIDATE_REPEATING && d->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    default:
        return kind != CANDIDATE_REPEATING && !loses_registers(d, after) && !loses_flags(d);
    }
    undo_string(d, before);
    if (kind == CANDIDATE_REPEATING)
        return is_repeated_string(d);
    return !is_repeated_string(d) || mask_bits(after->rcx, d->info.address_width) == 0;
}

/* The value an instruction stores, where registers tell. */
static bool
stored_value(const struct decoded *d, const struct kvm_regs *before, uint64_t *value)
{
    const ZydisDecodedOperand *source;

    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        source = &d->operands[1];
        break;
    case ZYDIS_MNEMONIC_PUSH:
        source = &d->operands[0];
        break;
    case ZYDIS_MNEMONIC_CALL:
        *value = before->rip + d->info.length;
        return true;
    default:
        return false;
    }
    if (source->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        *value = source->imm.value.u;
        return true;
    }
    return source->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           register_value(before, source->reg.value, value);
}

/* Does the access store exactly `store`?  Its pieces end at page borders and after 8 bytes. */
static bool
access_makes_store(const struct insn_access *access, const struct insn_memory *memory,
                   const struct insn_store *store, uint64_t *offset)
{
    uint64_t address = gva_to_u64(access->address), piece;
    gpa_t gpa;

    for (*offset = 0; *offset < access->size; *offset += piece) {
        piece = PAGE_SIZE - ((address + *offset) & PAGE_MASK);
        if (piece > access->size - *offset)
            piece = access->size - *offset;
        if (piece > sizeof(store->data))
            piece = sizeof(store->data);
        if (piece == store->size &&
            memory->translate(memory->context, gva_from_u64(address + *offset), &gpa) &&
            gpa_to_u64(gpa) == gpa_to_u64(store->gpa))
            return true;
    }
    return false;
}

static bool
store_matches(const struct decoded *d, const struct kvm_regs *before, const struct kvm_sregs *sregs,
              const struct insn_memory *memory, const struct insn_store *store)
{
    struct insn insn;
    uint64_t offset, value;
    unsigned i;

    collect_accesses(d, before, sregs, &insn);
    for (i = 0; i < insn.naccesses; i++) {
        if ((insn.access[i].access & VM_PROT_WRITE) == 0 ||
            !access_makes_store(&insn.access[i], memory, store, &offset))
            continue;
        /* What was read before this piece is gone if an earlier piece was stored over it. */
        if (offset != 0 && (insn.access[i].access & VM_PROT_READ) != 0)
            return false;
        if (offset >= sizeof(value) || !stored_value(d, before, &value))
            return true;
        value >>= 8 * offset;
        return memcmp(&value, store->data, store->size) == 0;
    }
    return false;
}

static bool
try_candidate(const struct kvm_regs *after, const struct kvm_sregs *sregs,
              const struct insn_memory *memory, const struct insn_store *store, uint64_t rip,
              unsigned length, enum candidate_kind kind, struct candidate *candidate)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct decoded d;
    size_t size;

    size = memory->read(memory->context, gva_from_u64(sregs->cs.base + rip), bytes, length);
    if (decode(sregs, bytes, size, &d) != 0)
        return false;
    if (kind != CANDIDATE_REPEATING && d.info.length != length)
        return false;
    *candidate = (struct candidate){ .kind = kind };
    return undo(&d, rip, kind, after, &candidate->before) &&
           store_matches(&d, &candidate->before, sregs, memory, store);
}

/* All candidates of a kind that end at `end`, the longest first. */
static unsigned
find_candidates(const struct kvm_regs *after, const struct kvm_sregs *sregs,
                const struct insn_memory *memory, const struct insn_store *store, uint64_t end,
                enum candidate_kind kind, struct candidate *candidates)
{
    unsigned n = 0, length;

    for (length = INSN_MAX_BYTES; length >= 1; length--) {
        if (try_candidate(after, sregs, memory, store, end - length, length, kind, &candidates[n]))
            n++;
    }
    return n;
}

/* Which candidates does a sweep from `start` arrive at?  All end at `end`. */
static void
sweep(const struct kvm_sregs *sregs, const uint8_t *bytes, size_t size, uint64_t start,
      struct candidate *candidates, unsigned n)
{
    struct decoded d;
    size_t at = 0;
    unsigned i;

    while (at < size) {
        for (i = 0; i < n; i++) {
            if (candidates[i].before.rip == start + at)
                candidates[i].votes++;
        }
        if (decode(sregs, bytes + at, size - at, &d) != 0)
            return;
        at += d.info.length;
    }
}

/* The candidate most sweeps arrive at; the longest of equals. */
static const struct candidate *
choose(const struct kvm_sregs *sregs, const struct insn_memory *memory, uint64_t end,
       struct candidate *candidates, unsigned n)
{
    uint8_t bytes[SWEEP_BYTES];
    uint64_t start = end - SWEEP_BYTES;
    const struct candidate *best = candidates;
    size_t skip;
    unsigned i;

    if (n == 1)
        return best;
    /* Where the page before cannot be read, the sweeps start at the page border. */
    if (memory->read(memory->context, gva_from_u64(sregs->cs.base + start), bytes, SWEEP_BYTES) !=
        SWEEP_BYTES) {
        start = (end - 1) & ~PAGE_MASK;
        if (end - start >= SWEEP_BYTES ||
            memory->read(memory->context, gva_from_u64(sregs->cs.base + start), bytes,
                         end - start) != end - start)
            return best;
    }
    for (skip = 0; skip + INSN_MAX_BYTES < end - start; skip++)
        sweep(sregs, bytes + skip, end - start - skip, start + skip, candidates, n);
    for (i = 1; i < n; i++) {
        if (candidates[i].votes > best->votes)
            best = &candidates[i];
    }
    return best;
}

static uint64_t
store_value(const struct insn_store *store)
{
    uint64_t value = 0;

    memcpy(&value, store->data, store->size);
    return value;
}

int
insn_rewind(const struct kvm_regs *after, const struct kvm_sregs *sregs,
            const struct insn_memory *memory, const struct insn_store *store,
            struct kvm_regs *before)
{
    struct candidate candidates[INSN_MAX_BYTES];
    uint64_t end;
    unsigned n;

    if (store->size == 0 || store->size > sizeof(store->data))
        return -ENOTSUP;
    /* KVM's emulator sets RF while a repeated string instruction goes on. */
    end = after->rip;
    n = 0;
    if ((after->rflags & CPU_RFLAGS_RF) != 0)
        n = try_candidate(after, sregs, memory, store, end, INSN_MAX_BYTES, CANDIDATE_REPEATING,
                          candidates);
    /* A call that fits is certain: it stored its own address and went where RIP is. */
    if (n == 0) {
        end = store_value(store);
        n = find_candidates(after, sregs, memory, store, end, CANDIDATE_CALL, candidates);
    }
    if (n == 0) {
        end = after->rip;
        n = find_candidates(after, sregs, memory, store, end, CANDIDATE_ENDS_AT_RIP, candidates);
    }
    if (n == 0)
        return -ENOTSUP;
    *before = choose(sregs, memory, end, candidates, n)->before;
    return 0;
}
