/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The search for the instruction, and the effects of each kind on the registers.
 *
 * The old value of a read-modify-write's operand is in memory where the store was dropped;
 * KVM has stored the rest already if the operand crosses into a page that took it.
 */
#include "vmm/x86_64/insn_undo.h"

#include "vmm/x86_64/cpu.h"
#include "vmm/x86_64/insn_inverse.h"

#include <errno.h>
#include <string.h>

/* How far up a linear sweep starts; x86 code falls into step within a few instructions. */
#define SWEEP_BYTES 64u

enum candidate_kind {
    CANDIDATE_ENDS_AT_RIP,
    CANDIDATE_CALL,     /* ends at the stored return address */
    CANDIDATE_REPEATING /* a string instruction at RIP, in progress */
};

enum verdict {
    VERDICT_OTHER, /* not the instruction that ran */
    VERDICT_LOST,  /* it may be, but what was before it is lost */
    VERDICT_UNDONE
};

struct candidate {
    enum verdict verdict;
    unsigned votes;
    struct insn_undone undone;
};

struct search {
    const struct insn_completed *completed;
    const struct insn_memory *memory;
    enum candidate_kind kind;
    uint64_t end;                                /* candidates end here, or stand here */
    struct candidate candidates[INSN_MAX_BYTES]; /* the longest first */
    unsigned ncandidates;
};

/* The first bytes of a store: what was to be there, and what was there before. */
struct stored {
    gva_t address;
    unsigned size;        /* 1 .. 8 */
    uint8_t new_bytes[8]; /* valid where `whole` */
    uint8_t old_bytes[8];
    uint8_t dropped; /* a bit per byte: not stored ... */
    uint8_t known;   /* ... and of these, old_bytes is valid */
    bool whole;      /* new_bytes is valid for all */
};

static bool
is_repeated_string(const struct insn_decoded *d)
{
    return (d->info.meta.category == ZYDIS_CATEGORY_STRINGOP ||
            d->info.meta.category == ZYDIS_CATEGORY_IOSTRINGOP) &&
           (d->info.attributes &
            (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
}

static bool
is_call(const struct insn_decoded *d)
{
    return d->info.mnemonic == ZYDIS_MNEMONIC_CALL;
}

/* A call has gone to its target; what a memory operand held is taken on trust. */
static bool
call_arrives(const struct insn_decoded *d, uint64_t rip, const struct kvm_regs *after)
{
    const ZydisDecodedOperand *target = &d->operands[0];
    uint64_t value;

    if (target->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return rip + d->info.length + target->imm.value.u == after->rip;
    return target->type != ZYDIS_OPERAND_TYPE_REGISTER ||
           !insn_register(after, target->reg.value, &value) || value == after->rip;
}

/* Flags that were both read and overwritten are lost. */
static bool
loses_flags(const struct insn_decoded *d)
{
    return d->info.cpu_flags != NULL &&
           (d->info.cpu_flags->tested & (d->info.cpu_flags->modified | d->info.cpu_flags->set_0 |
                                         d->info.cpu_flags->set_1)) != 0;
}

/* Does it overwrite a register whose old value nothing tells? */
static bool
loses_registers(const struct insn_decoded *d)
{
    const ZydisDecodedOperand *op;
    ZydisRegisterClass class;
    unsigned i;

    /* The condition codes, which Zydis says they write, are undefined after them. */
    if (d->info.mnemonic == ZYDIS_MNEMONIC_FNSTCW || d->info.mnemonic == ZYDIS_MNEMONIC_FNSTSW)
        return false;
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
stack_size(const struct insn_decoded *d)
{
    unsigned i;

    for (i = 0; i < d->info.operand_count; i++) {
        if (d->operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            insn_is_stack_operand(&d->operands[i]))
            return d->operands[i].size / 8;
    }
    return 0;
}

static void
undo_string(const struct insn_decoded *d, unsigned count, struct kvm_regs *regs)
{
    unsigned bits = d->info.address_width;
    uint64_t step = (uint64_t)count * (d->operands[0].size / 8);

    if ((regs->rflags & CPU_RFLAGS_DF) != 0)
        step = -step;
    regs->rdi = insn_mask(regs->rdi - step, bits);
    if (d->operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
        regs->rsi = insn_mask(regs->rsi - step, bits);
    if (is_repeated_string(d))
        regs->rcx = insn_mask(regs->rcx + count, bits);
}

/*
 * KVM reads as many elements ahead as one KVM_EXIT_IO brought and stores them at once;
 * upwards only.
 */
static enum verdict
undo_input(const struct insn_decoded *d, const struct insn_completed *completed,
           struct insn_undone *undone)
{
    bool down = (completed->regs.rflags & CPU_RFLAGS_DF) != 0;

    undone->ninputs = down ? 1 : completed->ninputs;
    undo_string(d, undone->ninputs, &undone->before);
    return completed->ninputs == 0 || (down && completed->ninputs > 1) ? VERDICT_LOST
                                                                       : VERDICT_UNDONE;
}

/* The registers before d as far as they do not depend on what was stored. */
static enum verdict
undo_registers(const struct insn_decoded *d, const struct insn_completed *completed,
               struct insn_undone *undone)
{
    struct kvm_regs *before = &undone->before;

    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        return undo_input(d, completed, undone);
    case ZYDIS_MNEMONIC_ENTER:
        before->rsp = before->rbp + stack_size(d);
        return VERDICT_UNDONE;
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
        before->rsp += stack_size(d);
        return VERDICT_UNDONE;
    case ZYDIS_MNEMONIC_CALL:
        before->rsp += stack_size(d);
        /* Where CS came from is nowhere. */
        return d->info.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR ? VERDICT_UNDONE : VERDICT_LOST;
    case ZYDIS_MNEMONIC_POP:
        before->rsp -= stack_size(d);
        return VERDICT_UNDONE;
    default:
        break;
    }
    if (d->info.meta.category == ZYDIS_CATEGORY_STRINGOP) {
        undo_string(d, 1, before);
        return VERDICT_UNDONE;
    }
    return loses_registers(d) || loses_flags(d) ? VERDICT_LOST : VERDICT_UNDONE;
}

/* Is d where an instruction of this kind stands, and has it ended or not as it should? */
static bool
fits_kind(const struct search *search, const struct insn_decoded *d, uint64_t rip)
{
    const struct kvm_regs *after = &search->completed->regs;

    if ((search->kind == CANDIDATE_CALL) != is_call(d))
        return false;
    if (search->kind == CANDIDATE_CALL)
        return call_arrives(d, rip, after);
    if (search->kind == CANDIDATE_REPEATING)
        return is_repeated_string(d);
    return !is_repeated_string(d) || insn_mask(after->rcx, d->info.address_width) == 0;
}

/* The value an instruction stores, where registers tell. */
static bool
stored_value(const struct insn_decoded *d, const struct kvm_regs *before, uint64_t *value)
{
    const ZydisDecodedOperand *op;

    switch (d->info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        op = &d->operands[1];
        break;
    case ZYDIS_MNEMONIC_PUSH:
        op = &d->operands[0];
        break;
    case ZYDIS_MNEMONIC_CALL:
        *value = before->rip + d->info.length;
        return true;
    default:
        return false;
    }
    if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        *value = op->imm.value.u;
        return true;
    }
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER && insn_register(before, op->reg.value, value);
}

/* Is `store` a piece of the access?  Pieces end at page borders and after 8 bytes. */
static bool
find_piece(const struct insn_access *access, const struct insn_memory *memory,
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

/* What memory holds now at the bytes of `stored`; returns a bit per byte that can be read. */
static uint8_t
read_now(const struct insn_memory *memory, struct stored *stored, uint8_t *bytes)
{
    uint64_t address = gva_to_u64(stored->address);
    unsigned first = (unsigned)(PAGE_SIZE - (address & PAGE_MASK)), readable;

    if (first > stored->size)
        first = stored->size;
    readable = (1u << memory->read(memory->context, stored->address, bytes, first)) - 1;
    if (first < stored->size)
        readable |= ((1u << memory->read(memory->context, gva_from_u64(address + first),
                                         bytes + first, stored->size - first)) -
                     1)
                    << first;
    return (uint8_t)readable;
}

/* Lay the dropped stores and what memory holds over the first 8 bytes of the access. */
static void
lay_out(const struct search *search, const struct insn_access *access, struct stored *stored)
{
    const struct insn_completed *completed = search->completed;
    uint8_t now[8] = { 0 }, readable, all;
    uint64_t offset;
    unsigned i, j;

    *stored = (struct stored){ .address = access->address,
                               .size = access->size < 8 ? (unsigned)access->size : 8 };
    readable = read_now(search->memory, stored, now);
    memcpy(stored->new_bytes, now, sizeof(now));
    for (i = 0; i < completed->nstores; i++) {
        if (!find_piece(access, search->memory, &completed->stores[i], &offset))
            continue;
        for (j = 0; j < completed->stores[i].size && offset + j < stored->size; j++) {
            stored->new_bytes[offset + j] = completed->stores[i].data[j];
            stored->dropped |= (uint8_t)(1u << (offset + j));
        }
    }
    memcpy(stored->old_bytes, now, sizeof(now));
    all = (uint8_t)((1u << stored->size) - 1);
    stored->known = stored->dropped & readable;
    stored->whole = ((stored->dropped | readable) & all) == all;
}

static uint64_t
bytes_value(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, bytes, size);
    return value;
}

static uint64_t
byte_mask(uint8_t bits)
{
    uint64_t mask = 0;
    unsigned i;

    for (i = 0; i < 8; i++)
        mask |= (bits >> i & 1) != 0 ? UINT64_C(0xFF) << (8 * i) : 0;
    return mask;
}

/* The bytes that were stored get the old value back: a run, because a store has two pages. */
static void
restore_stored(const struct stored *stored, uint64_t old_value, struct insn_undone *undone)
{
    unsigned first = 0;

    while (first < stored->size && (stored->dropped >> first & 1) != 0)
        first++;
    while (first + undone->nrestore < stored->size &&
           (stored->dropped >> (first + undone->nrestore) & 1) == 0)
        undone->nrestore++;
    old_value >>= first < 8 ? 8 * first : 0;
    undone->restore = gva_from_u64(gva_to_u64(stored->address) + first);
    memcpy(undone->restore_data, &old_value, sizeof(old_value));
}

static enum verdict
undo_read_modify_write(const struct search *search, const struct insn_decoded *d,
                       const struct insn_access *access, struct insn_undone *undone)
{
    struct insn_operand operand = { .bits = (unsigned)access->size * 8 };
    struct kvm_regs before = search->completed->regs;
    struct stored stored;

    if (access->size > sizeof(stored.new_bytes))
        return VERDICT_LOST;
    lay_out(search, access, &stored);
    if (!stored.whole)
        return VERDICT_LOST;
    operand.new_value = bytes_value(stored.new_bytes, stored.size);
    operand.old_value = bytes_value(stored.old_bytes, stored.size);
    operand.known = byte_mask(stored.known);
    before.rip = undone->before.rip;
    switch (insn_invert(d, &operand, &before)) {
    case INSN_INVERSE_FOUND:
        undone->before = before;
        restore_stored(&stored, operand.old_value, undone);
        return VERDICT_UNDONE;
    case INSN_INVERSE_UNCHANGED:
        undone->before = before;
        undone->unchanged = true;
        return VERDICT_UNDONE;
    case INSN_INVERSE_WRONG:
        return VERDICT_OTHER;
    default:
        return VERDICT_LOST;
    }
}

/* A store that does not read: what it overwrote needs no restoring, but the value must be right. */
static enum verdict
undo_plain_store(const struct search *search, const struct insn_decoded *d,
                 const struct insn_access *access, struct insn_undone *undone)
{
    struct stored stored;
    uint64_t value, mask;

    lay_out(search, access, &stored);
    if (stored_value(d, &undone->before, &value)) {
        mask = byte_mask(stored.dropped);
        if (((value ^ bytes_value(stored.new_bytes, stored.size)) & mask) != 0)
            return VERDICT_OTHER;
    }
    if (d->info.mnemonic != ZYDIS_MNEMONIC_ENTER)
        return VERDICT_UNDONE;
    if (!stored.whole)
        return VERDICT_LOST;
    (void)insn_set_register(&undone->before, d->operands[2].reg.value,
                            bytes_value(stored.new_bytes, stored.size));
    return VERDICT_UNDONE;
}

/*
 * XADD and XCHG may use the register that they overwrite in their address too.  The first
 * piece is all of the operand then, or it is not found.
 */
static void
guess_source(const struct insn_decoded *d, const struct insn_completed *completed,
             struct kvm_regs *before)
{
    const struct insn_store *store = &completed->stores[0];
    struct insn_operand operand = { .bits = store->size * 8,
                                    .new_value = bytes_value(store->data, store->size) };

    if ((d->info.mnemonic == ZYDIS_MNEMONIC_XADD || d->info.mnemonic == ZYDIS_MNEMONIC_XCHG) &&
        d->operands[0].size == operand.bits)
        (void)insn_invert(d, &operand, before);
}

/* The access of d by which it made the first store. */
static const struct insn_access *
find_store(const struct search *search, struct insn *insn, uint64_t ninputs)
{
    uint64_t offset;
    unsigned i;

    for (i = 0; i < insn->naccesses; i++) {
        if ((insn->access[i].access & VM_PROT_WRITE) == 0)
            continue;
        if (ninputs > 1)
            insn->access[i].size *= ninputs;
        if (find_piece(&insn->access[i], search->memory, &search->completed->stores[0], &offset))
            return &insn->access[i];
    }
    return NULL;
}

static enum verdict
judge(const struct search *search, const struct insn_decoded *d, struct insn_undone *undone)
{
    const struct insn_completed *completed = search->completed;
    const struct insn_access *access;
    enum verdict registers, memory;
    struct insn insn;

    if (!fits_kind(search, d, undone->before.rip))
        return VERDICT_OTHER;
    registers = undo_registers(d, completed, undone);
    guess_source(d, completed, &undone->before);
    insn_collect(d, &undone->before, completed->sregs, &insn);
    access = find_store(search, &insn, undone->ninputs);
    if (access == NULL)
        return VERDICT_OTHER;
    if (access->access == VM_PROT_RW)
        return undo_read_modify_write(search, d, access, undone);
    memory = undo_plain_store(search, d, access, undone);
    return memory == VERDICT_UNDONE ? registers : memory;
}

static void
try_candidate(struct search *search, uint64_t rip, unsigned length)
{
    struct candidate *candidate = &search->candidates[search->ncandidates];
    const struct insn_completed *completed = search->completed;
    uint8_t bytes[INSN_MAX_BYTES];
    struct insn_decoded d;
    size_t size;

    size = search->memory->read(search->memory->context,
                                gva_from_u64(completed->sregs->cs.base + rip), bytes, length);
    if (insn_decode_bytes(completed->sregs, bytes, size, &d) != 0)
        return;
    if (search->kind != CANDIDATE_REPEATING && d.info.length != length)
        return;
    *candidate = (struct candidate){ .undone = { .found = true, .before = completed->regs } };
    candidate->undone.before.rip = rip;
    candidate->verdict = judge(search, &d, &candidate->undone);
    if (candidate->verdict != VERDICT_OTHER)
        search->ncandidates++;
}

/* All candidates of a kind, which end (or stand) at `end`.  Returns whether there are any. */
static bool
find_candidates(struct search *search, enum candidate_kind kind, uint64_t end)
{
    unsigned length;

    search->kind = kind;
    search->end = end;
    search->ncandidates = 0;
    if (kind == CANDIDATE_REPEATING) {
        try_candidate(search, end, INSN_MAX_BYTES);
    } else {
        for (length = INSN_MAX_BYTES; length >= 1; length--)
            try_candidate(search, end - length, length);
    }
    return search->ncandidates != 0;
}

/* Which candidates does a sweep from `start` arrive at? */
static void
sweep(struct search *search, const uint8_t *bytes, size_t size, uint64_t start)
{
    struct insn_decoded d;
    size_t at = 0;
    unsigned i;

    while (at < size) {
        for (i = 0; i < search->ncandidates; i++) {
            if (search->candidates[i].undone.before.rip == start + at)
                search->candidates[i].votes++;
        }
        if (insn_decode_bytes(search->completed->sregs, bytes + at, size - at, &d) != 0)
            return;
        at += d.info.length;
    }
}

/* The candidate most sweeps arrive at; the longest of equals. */
static const struct candidate *
choose(struct search *search)
{
    const struct insn_memory *memory = search->memory;
    uint64_t base = search->completed->sregs->cs.base, end = search->end;
    const struct candidate *best = search->candidates;
    uint8_t bytes[SWEEP_BYTES];
    uint64_t start = end - SWEEP_BYTES;
    size_t skip;
    unsigned i;

    if (search->ncandidates == 1)
        return best;
    /* Where the page before cannot be read, the sweeps start at the page border. */
    if (memory->read(memory->context, gva_from_u64(base + start), bytes, SWEEP_BYTES) !=
        SWEEP_BYTES) {
        start = (end - 1) & ~PAGE_MASK;
        if (end - start >= SWEEP_BYTES || memory->read(memory->context, gva_from_u64(base + start),
                                                       bytes, end - start) != end - start)
            return best;
    }
    for (skip = 0; skip + INSN_MAX_BYTES < end - start; skip++)
        sweep(search, bytes + skip, end - start - skip, start + skip);
    for (i = 1; i < search->ncandidates; i++) {
        if (search->candidates[i].votes > best->votes)
            best = &search->candidates[i];
    }
    return best;
}

/* What a call would have pushed last. */
static bool
find_return_address(const struct search *search, uint64_t *address)
{
    const struct kvm_sregs *sregs = search->completed->sregs;
    bool flat = (sregs->efer & CPU_EFER_LMA) != 0 && sregs->cs.l;
    struct insn_access top = { .access = VM_PROT_WRITE };
    struct stored stored;

    top.address = gva_from_u64((flat ? 0 : sregs->ss.base) + search->completed->regs.rsp);
    top.size = 2;
    if (flat)
        top.size = 8;
    else if (sregs->cs.db)
        top.size = 4;
    lay_out(search, &top, &stored);
    *address = bytes_value(stored.new_bytes, stored.size);
    return stored.whole && stored.dropped != 0;
}

static bool
are_stores_valid(const struct insn_completed *completed)
{
    unsigned i;

    for (i = 0; i < completed->nstores; i++) {
        if (completed->stores[i].size == 0 ||
            completed->stores[i].size > sizeof(completed->stores[i].data))
            return false;
    }
    return completed->nstores != 0 && completed->nstores <= INSN_MAX_STORES;
}

int
insn_undo(const struct insn_completed *completed, const struct insn_memory *memory,
          struct insn_undone *undone)
{
    struct search search = { .completed = completed, .memory = memory };
    uint64_t rip = completed->regs.rip, return_address;
    const struct candidate *found;

    *undone = (struct insn_undone){ .before = completed->regs };
    if (!are_stores_valid(completed))
        return -ENOTSUP;
    /*
     * KVM's emulator sets RF while a repeated string instruction goes on.  A call that fits is
     * certain: it stored its own address and went where RIP is.
     */
    if (!((completed->regs.rflags & CPU_RFLAGS_RF) != 0 &&
          find_candidates(&search, CANDIDATE_REPEATING, rip)) &&
        !(find_return_address(&search, &return_address) &&
          find_candidates(&search, CANDIDATE_CALL, return_address)) &&
        !find_candidates(&search, CANDIDATE_ENDS_AT_RIP, rip))
        return -ENOTSUP;
    found = choose(&search);
    *undone = found->undone;
    return found->verdict == VERDICT_UNDONE ? 0 : -ENOTSUP;
}
