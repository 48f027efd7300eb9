/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every kind of write to a page that refuses it and is repaired by the page fault handler
 * happens exactly once, and until then nothing has happened.
 *
 * The model is the processor: the same instruction runs on ordinary memory with the same
 * registers, flags and operand, and must leave the same.  Each kind runs inside a page and
 * across two, of which the first, the second or both refuse; because their entry is invalid,
 * or forbids writing.
 */
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/string.h"
#include "guest/lib/test.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"
#include "guest/lib/x86.h"

#include <stddef.h>

#define RFLAGS_CF 0x1u
#define RFLAGS_DF 0x400u
#define RFLAGS_STATUS 0x8c4u /* OF, SF, ZF, PF */
#define RFLAGS_COMPARED (RFLAGS_ARITHMETIC | RFLAGS_DF)

#define CPUID_1_ECX_CX16 (1u << 13)

#define PF_GATE_IST (TRAP_PF * 16 + 4)

/* Flags of a kind. */
#define RESTORES 0x001u    /* until the fault memory is as before, across pages and emulated too */
#define REPEATS 0x002u     /* it may have got somewhere when it faults */
#define MATCHES 0x004u     /* RAX, or EDX:EAX of a pair, holds what memory holds */
#define ALIGNED 0x008u     /* it cannot lie across pages */
#define DOWN 0x010u        /* with DF set */
#define MAY_PASS 0x020u    /* changes nothing: an emulator may complete it without a fault */
#define READS_FIRST 0x040u /* reads another operand from there first */
#define RING3 0x080u       /* not emulated everywhere in ring 0 */
#define STEPWISE 0x100u    /* stored in pieces, by some hosts or processors */
#define LOCKED 0x200u      /* across pages in few cases: processors make that slow */
#define PAIR 0x400u        /* of 32 bits */
#define RING0 0x1000u      /* ring 3 may not use ports that wide */
#define QEMU_LOSES 0x2000u /* QEMU's software CPU loses a flag or more when it faults in it */
#define PUSHES_RF 0x800u   /* RF, as it is after a fault, on some hosts */
#define NEEDS_CX16 0x4000u /* the processor may lack it */

/*
 * id, what goes before, the instruction, bytes it writes, bytes of an element of a string, the
 * register that points to them (enum pointer), flags.
 */
#define KINDS(X)                                                                            \
    X(mov, "", "movq %rax,(%rbx)", 8, 0, BX, 0)                                             \
    X(mov_word, "", "movw %ax,(%rbx)", 2, 0, BX, 0)                                         \
    X(mov_high_byte, "", "movb %ah,(%rbx)", 1, 0, BX, 0)                                    \
    X(mov_immediate, "", "movq $-9,(%rbx)", 8, 0, BX, 0)                                    \
    X(mov_segment, "", "movw %ds,(%rbx)", 2, 0, BX, 0)                                      \
    X(movnti, "", "movnti %rax,(%rbx)", 8, 0, BX, 0)                                        \
    X(add, "", "addq %rax,(%rbx)", 8, 0, BX, RESTORES)                                      \
    X(add_immediate, "", "addl $-5,(%rbx)", 4, 0, BX, RESTORES)                             \
    X(lock_add, "", "lock addq %rax,(%rbx)", 8, 0, BX, RESTORES | LOCKED)                   \
    X(sub, "", "subq %rax,(%rbx)", 8, 0, BX, RESTORES)                                      \
    X(adc, "", "adcq %rax,(%rbx)", 8, 0, BX, 0)                                             \
    X(adc_immediate, "", "adcw $7,(%rbx)", 2, 0, BX, 0)                                     \
    X(sbb, "", "sbbq %rax,(%rbx)", 8, 0, BX, 0)                                             \
    X(sbb_itself, "", "sbbl %ecx,(%rbx)", 4, 0, BX, 0)                                      \
    X(and, "", "andq %rax,(%rbx)", 8, 0, BX, 0)                                             \
    X(or, "", "orl %eax,(%rbx)", 4, 0, BX, 0)                                               \
    X(xor, "", "xorq %rax,(%rbx)", 8, 0, BX, RESTORES)                                      \
    X(inc, "", "incq (%rbx)", 8, 0, BX, RESTORES)                                           \
    X(dec, "", "decw (%rbx)", 2, 0, BX, RESTORES)                                           \
    X(not, "", "notq (%rbx)", 8, 0, BX, RESTORES)                                           \
    X(neg, "", "negq (%rbx)", 8, 0, BX, RESTORES)                                           \
    X(rol, "", "rolq $9,(%rbx)", 8, 0, BX, RESTORES)                                        \
    X(ror_by_cl, "", "rorl %cl,(%rbx)", 4, 0, BX, RESTORES)                                 \
    X(rcl, "", "rclq $1,(%rbx)", 8, 0, BX, RESTORES | QEMU_LOSES)                           \
    X(rcl_by_cl, "", "rclw %cl,(%rbx)", 2, 0, BX, RESTORES | QEMU_LOSES)                    \
    X(rcr, "", "rcrq $1,(%rbx)", 8, 0, BX, RESTORES | QEMU_LOSES)                           \
    X(rcr_by_cl, "", "rcrl %cl,(%rbx)", 4, 0, BX, RESTORES | QEMU_LOSES)                    \
    X(shl, "", "shlq $1,(%rbx)", 8, 0, BX, 0)                                               \
    X(shl_by_cl, "", "shlw %cl,(%rbx)", 2, 0, BX, 0)                                        \
    X(shr_by_cl, "", "shrq %cl,(%rbx)", 8, 0, BX, 0)                                        \
    X(sar, "", "sarl $3,(%rbx)", 4, 0, BX, 0)                                               \
    X(sar_by_cl, "", "sarw %cl,(%rbx)", 2, 0, BX, 0)                                        \
    X(shld, "", "shldq $1,%rax,(%rbx)", 8, 0, BX, 0)                                        \
    X(shrd_by_cl, "", "shrdl %cl,%eax,(%rbx)", 4, 0, BX, 0)                                 \
    X(bts, "", "btsq $5,(%rbx)", 8, 0, BX, RESTORES)                                        \
    X(btr_far, "", "btrq %rsi,(%rbx)", 8, 0, FAR, RESTORES)                                 \
    X(btc, "", "btcl $30,(%rbx)", 4, 0, BX, RESTORES)                                       \
    X(xchg, "", "xchgq %rax,(%rbx)", 8, 0, BX, RESTORES | LOCKED | QEMU_LOSES)              \
    X(xadd, "", "xaddq %rax,(%rbx)", 8, 0, BX, RESTORES)                                    \
    X(lock_xadd, "", "lock xaddw %ax,(%rbx)", 2, 0, BX, RESTORES | LOCKED)                  \
    X(cmpxchg, "", "cmpxchgq %rcx,(%rbx)", 8, 0, BX, RESTORES | MATCHES)                    \
    X(cmpxchg_fails, "", "cmpxchgl %ecx,(%rbx)", 4, 0, BX, RESTORES | MAY_PASS)             \
    X(lock_cmpxchg, "", "lock cmpxchgq %rcx,(%rbx)", 8, 0, BX, RESTORES | MATCHES | LOCKED) \
    X(cmpxchg8b, "", "cmpxchg8b (%rdi)", 8, 0, DI, RESTORES | MATCHES | PAIR)               \
    X(cmpxchg8b_fails, "", "cmpxchg8b (%rdi)", 8, 0, DI, RESTORES | MAY_PASS)               \
    X(cmpxchg16b, "", "cmpxchg16b (%rdi)", 16, 0, DI, ALIGNED | RING3 | NEEDS_CX16)         \
    X(setc, "", "setc (%rbx)", 1, 0, BX, 0)                                                 \
    X(push, "", "pushq %rax", 8, 0, SP, 0)                                                  \
    X(push_immediate, "", "pushq $-3", 8, 0, SP, 0)                                         \
    X(push_memory, "", "pushq (%rbx)", 8, 0, SP, READS_FIRST)                               \
    X(push_segment, "", "pushq %fs", 8, 0, SP, 0)                                           \
    X(pushf, "", "pushfq", 8, 0, SP, PUSHES_RF)                                             \
    X(call, "", "call next_call", 8, 0, SP, 0)                                              \
    X(call_register, "leaq next_call_register(%rip),%r9", "call *%r9", 8, 0, SP, 0)         \
    X(call_memory, "", "call *call_target(%rip)", 8, 0, SP, 0)                              \
    X(enter, "", "enter $16,$0", 8, 0, SP, 0)                                               \
    X(pop, "", "popq (%rbx)", 8, 0, BX, 0)                                                  \
    X(stos, "", "stosq", 8, 8, DI, 0)                                                       \
    X(stos_down, "", "stosl", 4, 4, DI, DOWN)                                               \
    X(rep_stosb, "", "rep stosb", 24, 1, DI, REPEATS)                                       \
    X(rep_stosq, "", "rep stosq", 24, 8, DI, REPEATS)                                       \
    X(movs, "", "movsq", 8, 8, DI, 0)                                                       \
    X(rep_movsb, "", "rep movsb", 24, 1, DI, REPEATS)                                       \
    X(rep_movsw_down, "", "rep movsw", 24, 2, DI, REPEATS | DOWN)                           \
    X(ins, "", "insb", 1, 1, DI, STEPWISE)                                                  \
    X(rep_insb, "", "rep insb", 24, 1, DI, REPEATS | STEPWISE)                              \
    X(rep_insl, "", "rep insl", 24, 4, DI, REPEATS | STEPWISE | RING0)                      \
    X(sgdt, "", "sgdt (%rbx)", 10, 0, BX, STEPWISE)                                         \
    X(sidt, "", "sidt (%rbx)", 10, 0, BX, STEPWISE)                                         \
    X(sldt, "", "sldt (%rbx)", 2, 0, BX, STEPWISE)                                          \
    X(str, "", "str (%rbx)", 2, 0, BX, STEPWISE)                                            \
    X(smsw, "", "smsw (%rbx)", 2, 0, BX, STEPWISE)                                          \
    X(fnstcw, "fninit", "fnstcw (%rbx)", 2, 0, BX, 0)                                       \
    X(fnstsw, "fninit", "fnstsw (%rbx)", 2, 0, BX, 0)                                       \
    X(fst, "fninit; fldpi", "fstl (%rbx)", 8, 0, BX, RING3)                                 \
    X(fstp, "fninit; fldpi", "fstpt (%rbx)", 10, 0, BX, RING3 | STEPWISE)                   \
    X(fistp, "fninit; fldpi", "fistpll (%rbx)", 8, 0, BX, RING3)                            \
    X(fnstenv, "fninit; fldpi", "fnstenv (%rbx)", 28, 0, BX, RING3 | STEPWISE | QEMU_LOSES) \
    X(fnsave, "fninit; fldpi", "fnsave (%rbx)", 108, 0, BX, RING3 | STEPWISE | QEMU_LOSES)  \
    X(fxsave, "", "fxsave (%rbx)", 512, 0, BX, STEPWISE)                                    \
    X(stmxcsr, "", "stmxcsr (%rbx)", 4, 0, BX, RING3)                                       \
    X(movdqu, "", "movdqu %xmm0,(%rbx)", 16, 0, BX, STEPWISE)                               \
    X(movups, "", "movups %xmm1,(%rbx)", 16, 0, BX, STEPWISE)                               \
    X(movaps, "", "movaps %xmm1,(%rbx)", 16, 0, BX, ALIGNED)                                \
    X(movq, "", "movq %xmm0,(%rbx)", 8, 0, BX, RING3)

enum pointer {
    BX,
    SP, /* to the end; RBX as well */
    DI, /* to the last element if DOWN */
    FAR /* RBX, 64 bytes below */
};

struct kind {
    const char *name;
    const char *code; /* load the machine, run the instruction, store the machine */
    const char *at;   /* the instruction */
    unsigned size;
    unsigned element;
    enum pointer pointer;
    unsigned flags;
};

#define DEFINE(id, before, instruction, size, element, pointer, flags) \
    extern const char code_##id[], at_##id[];                          \
    __asm__(".pushsection .text\n"                                     \
            "code_" #id ": " before "\n"                               \
            "leaq at_" #id "(%rip), %rsi\n"                            \
            "jmp machine_enter\n"                                      \
            "at_" #id ": " instruction "\n"                            \
            "next_" #id ": jmp machine_leave\n"                        \
            ".popsection\n");
#define ENTRY(id, before, instruction, size, element, pointer, flags) \
    { #id, code_##id, at_##id, size, element, pointer, flags },

KINDS(DEFINE)

static const struct kind kinds[] = { KINDS(ENTRY) };

struct machine {
    uint64_t rax, rcx, rdx, rbx, rsi, rdi, rbp, rsp, rflags;
};

struct machine machine;
uint64_t machine_stack, machine_at;

_Static_assert(offsetof(struct machine, rflags) == 8 * 8, "used below");

/* None but the flags' own instructions change a flag here. */
__asm__(".pushsection .text\n"
        "machine_enter:\n"
        "pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "movq %rsp, machine_stack(%rip)\n"
        "movq %rsi, machine_at(%rip)\n"
        "pushq machine+8*8(%rip); popfq\n"
        "movq machine(%rip), %rax; movq machine+8*1(%rip), %rcx\n"
        "movq machine+8*2(%rip), %rdx; movq machine+8*3(%rip), %rbx\n"
        "movq machine+8*4(%rip), %rsi; movq machine+8*5(%rip), %rdi\n"
        "movq machine+8*6(%rip), %rbp; movq machine+8*7(%rip), %rsp\n"
        "jmp *machine_at(%rip)\n"
        "machine_leave:\n"
        "movq %rsp, machine+8*7(%rip)\n"
        "movq machine_stack(%rip), %rsp\n"
        "pushfq; popq machine+8*8(%rip)\n"
        "cld\n"
        "movq %rax, machine(%rip); movq %rcx, machine+8*1(%rip)\n"
        "movq %rdx, machine+8*2(%rip); movq %rbx, machine+8*3(%rip)\n"
        "movq %rsi, machine+8*4(%rip); movq %rdi, machine+8*5(%rip)\n"
        "movq %rbp, machine+8*6(%rip)\n"
        "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
        "ret\n"
        ".popsection\n"
        ".pushsection .data\n"
        "call_target: .quad next_call_memory\n"
        ".popsection\n");

/* Two pages in a row at an address, wherever their frames are. */
struct area {
    uint64_t address;
    uint64_t frames[2];
};

/* One way to run a kind. */
struct trial {
    const struct kind *kind;
    uint64_t offset;  /* of the first byte written */
    unsigned variant; /* of memory and flags; and in odd ones the pages are touched first */
    unsigned refused; /* bit mask of pages */
    bool invalid;     /* they refuse because their entry is */
};

#define PATTERN_SIZE (2 * PAGE_SIZE)
#define MARGIN 16u

static struct window window;
static struct area tested, model;
static uint8_t pattern[2][PATTERN_SIZE];
static uint8_t source[64] __attribute__((aligned(16))), stack[256] __attribute__((aligned(16)));
static unsigned ring;

/* The trial under way, for the handler. */
static const struct trial *current;
static struct machine initial;
static unsigned nfaults;
static const char *complaint;

extern uint8_t trap_idt[];

static uint64_t
span_start(const struct trial *trial)
{
    return trial->offset - MARGIN;
}

/* Call with each piece of the trial's bytes in a page; false if `visit` was for one. */
static bool
each_piece(const struct trial *trial, const struct area *area,
           bool (*visit)(void *memory, const uint8_t *bytes, size_t size), const uint8_t *bytes)
{
    uint64_t at = span_start(trial), end = trial->offset + trial->kind->size + MARGIN, n;
    bool all = true;

    for (; at < end && at < PATTERN_SIZE; at += n) {
        n = PAGE_SIZE - (at & PAGE_MASK);
        if (n > end - at)
            n = end - at;
        all &= visit((void *)(area->frames[at >> PAGE_SHIFT] + (at & PAGE_MASK)), bytes + at, n);
    }
    return all;
}

static bool
visit_fill(void *memory, const uint8_t *bytes, size_t size)
{
    memcpy(memory, bytes, size);
    return true;
}

static bool
visit_compare(void *memory, const uint8_t *bytes, size_t size)
{
    return memcmp(memory, bytes, size) == 0;
}

static bool
is_across(const struct trial *trial)
{
    return trial->offset < PAGE_SIZE && trial->offset + trial->kind->size > PAGE_SIZE;
}

/* Must memory be untouched at a fault?  What an emulator has stored in the other page, it may
 * only be able to store again. */
static bool
must_be_untouched(const struct trial *trial)
{
    unsigned flags = trial->kind->flags;

    if ((flags & REPEATS) != 0)
        return false;
    return (flags & RESTORES) != 0 || !is_across(trial) || (ring == 3 && (flags & STEPWISE) == 0);
}

static bool
same_registers(const struct trap_frame *frame)
{
    return frame->rax == initial.rax && frame->rcx == initial.rcx && frame->rdx == initial.rdx &&
           frame->rbx == initial.rbx && frame->rsi == initial.rsi && frame->rdi == initial.rdi &&
           frame->rbp == initial.rbp && frame->rsp == initial.rsp;
}

static const char *
judge_fault(const struct trap_frame *frame, uint64_t page)
{
    const struct kind *kind = current->kind;
    uint64_t code =
        VKVM_PF_WRITE | (current->invalid ? 0 : VKVM_PF_PRESENT) | (ring == 3 ? VKVM_PF_USER : 0);

    if (page > 1 || (current->refused >> page & 1) == 0)
        return "CR2";
    if (frame->rip != (uint64_t)kind->at)
        return "RIP";
    if (frame->error != code && (kind->flags & READS_FIRST) == 0)
        return "error code";
    if ((kind->flags & REPEATS) == 0 && !same_registers(frame))
        return "registers at the fault";
    if (must_be_untouched(current) &&
        !each_piece(current, &tested, visit_compare, pattern[current->variant]))
        return "memory at the fault";
    return NULL;
}

/* Ring 0: note what is wrong, repair the page. */
static void
on_fault(struct trap_frame *frame)
{
    uint64_t page = (frame->cr2 - tested.address) >> PAGE_SHIFT;
    const char *wrong;

    if (current == NULL || ++nfaults > 4)
        trap_fatal(frame);
    wrong = judge_fault(frame, page);
    if (wrong != NULL && complaint == NULL)
        complaint = wrong;
    if (page > 1)
        trap_fatal(frame);
    vpte_map(&window.table, page, tested.frames[page], VPTE_RW);
    doorbell_inval(window.start + page * PAGE_SIZE, PAGE_SIZE);
}

/* Registers for the trial in this area; what memory they match is the same in both. */
static void
load_machine(const struct trial *trial, const struct area *area)
{
    const struct kind *kind = trial->kind;
    uint64_t address = area->address + trial->offset, operand;

    memcpy(&operand, pattern[trial->variant] + trial->offset, sizeof(operand));
    machine =
        (struct machine){ .rax = 0x0123456789abcdef,
                          .rcx = trial->variant ? 0x112233445566770d : 0x1122334455667705,
                          .rdx = VKVM_PORT_CONSOLE,
                          .rbx = 0xfedcba9876543210,
                          .rsi = (uint64_t)source,
                          .rdi = address,
                          .rbp = 0x5a5a5a5a5a5a,
                          .rsp = (uint64_t)stack + sizeof(stack) / 2,
                          .rflags = RFLAGS_ONE | (trial->variant ? RFLAGS_CF : RFLAGS_STATUS) };
    if (kind->pointer == BX)
        machine.rbx = address;
    if (kind->pointer == SP)
        machine.rbx = machine.rsp = address + kind->size;
    if (kind->pointer == FAR) {
        machine.rbx = address - 64;
        machine.rsi = 64 * 8 + 11;
    }
    if ((kind->flags & MATCHES) != 0)
        machine.rax = operand;
    if ((kind->flags & PAIR) != 0)
        machine.rdx = operand >> 32;
    if ((kind->flags & REPEATS) != 0)
        machine.rcx = kind->size / kind->element;
    if ((kind->flags & DOWN) != 0) {
        machine.rflags |= RFLAGS_DF;
        machine.rdi += kind->size - kind->element;
        machine.rsi += sizeof(source) - kind->element;
    }
}

static uint64_t
run_code(uint64_t code)
{
    ((void (*)(void))code)();
    return 0;
}

/* Addresses in an area count from its start. */
static uint64_t
relative(uint64_t value, const struct area *area)
{
    return value - area->address <= PATTERN_SIZE ? value - area->address : value;
}

static struct machine
run_in(const struct trial *trial, const struct area *area)
{
    struct machine after;
    uint64_t code = (uint64_t)trial->kind->code, at = trial->offset + 2;

    (void)each_piece(trial, area, visit_fill, pattern[trial->variant]);
    load_machine(trial, area);
    initial = machine;
    if (ring == 3)
        ring3_call(run_code, code);
    else
        run_code(code);
    after = machine;
    after.rbx = relative(after.rbx, area);
    after.rdi = relative(after.rdi, area);
    after.rbp = relative(after.rbp, area);
    after.rsp = relative(after.rsp, area);
    after.rflags &= RFLAGS_COMPARED;
    if ((trial->kind->flags & PUSHES_RF) != 0)
        *(uint8_t *)(area->frames[at >> PAGE_SHIFT] + (at & PAGE_MASK)) &= 0xfe;
    return after;
}

/* Make the pages of the tested area refuse or take writes; touch them in odd variants. */
static void
arm(const struct trial *trial)
{
    uint64_t page;

    for (page = 0; page < 2; page++) {
        if ((trial->refused >> page & 1) == 0)
            vpte_map(&window.table, page, tested.frames[page], VPTE_RW);
        else if (trial->invalid)
            vpte_unmap(&window.table, page);
        else
            vpte_map(&window.table, page, tested.frames[page], VKVM_VPTE_V | VKVM_VPTE_R);
    }
    doorbell_inval(window.start, window.size);
    for (page = 0; page < 2 && trial->variant == 1; page++) {
        if ((trial->refused >> page & 1) == 0 || !trial->invalid)
            (void)*(volatile uint8_t *)(tested.address + page * PAGE_SIZE);
    }
    nfaults = 0;
    complaint = NULL;
}

/* The model's memory around the trial must be the tested area's. */
static bool
same_memory(const struct trial *trial)
{
    static uint8_t expected[PATTERN_SIZE];
    uint64_t at = span_start(trial), end = trial->offset + trial->kind->size + MARGIN;

    memcpy(expected + at, (const void *)(model.address + at), end - at);
    return each_piece(trial, &tested, visit_compare, expected);
}

static void
try(const struct trial *trial)
{
    unsigned expected = (trial->refused & 1) + (trial->refused >> 1);
    const struct kind *kind = trial->kind;
    struct machine here, there;

    there = run_in(trial, &model);
    arm(trial);
    current = trial;
    here = run_in(trial, &tested);
    current = NULL;
#define IN_TRIAL "%s at 0x%lx, pages 0x%x refuse, invalid %d, variant %u"
#define TRIAL_ARGUMENTS kind->name, trial->offset, trial->refused, trial->invalid, trial->variant
    EXPECT(complaint == NULL, IN_TRIAL ": wrong %s", TRIAL_ARGUMENTS, complaint);
    EXPECT(nfaults == expected || ((kind->flags & MAY_PASS) != 0 && nfaults < expected),
           IN_TRIAL ": %u faults", TRIAL_ARGUMENTS, nfaults);
    EXPECT(same_memory(trial), IN_TRIAL ": memory", TRIAL_ARGUMENTS);
    EXPECT(memcmp(&here, &there, sizeof(here)) == 0, IN_TRIAL ": registers or flags (0x%lx, 0x%lx)",
           TRIAL_ARGUMENTS, here.rflags, there.rflags);
}

/* With both causes and both variants, or one of them each. */
static void
try_all(const struct kind *kind, uint64_t offset, unsigned refused, unsigned ntrials)
{
    struct trial trial = { .kind = kind, .offset = offset, .refused = refused };

    for (unsigned i = 0; i < ntrials; i++) {
        trial.invalid = (i & 1) != 0;
        trial.variant = (i ^ i >> 1 ^ refused ^ offset) & 1;
        try(&trial);
    }
}

static void
test_kind(const struct kind *kind)
{
    unsigned splits[3] = { kind->size / 2, 1, kind->size - 1 }, nsplits = 3;

    if (kind->size < 2 || (kind->flags & ALIGNED) != 0)
        nsplits = 0;
    else if (kind->size == 2 || kind->size == 512 || (kind->flags & LOCKED) != 0)
        nsplits = 1;
    test_begin(kind->name);
    try_all(kind, 0x140, 1, 4);
    for (unsigned i = 0; i < nsplits; i++) {
        for (unsigned refused = 1; refused <= 3; refused++)
            try_all(kind, PAGE_SIZE - splits[i], refused, 2);
    }
    test_end();
}

static void
init(void)
{
    unsigned i;

    window_init(&window, &vpte64, 2);
    tested.address = window.start;
    model.address = ram_alloc_run(2, PAGE_SIZE);
    for (i = 0; i < 2; i++) {
        tested.frames[i] = window_map_new(&window, i, VPTE_RW);
        model.frames[i] = model.address + i * PAGE_SIZE;
    }
    for (i = 0; i < PATTERN_SIZE; i++) {
        pattern[0][i] = (uint8_t)(i * 37 + 5);
        pattern[1][i] = (uint8_t)(0xf1 - i * 91);
    }
    for (i = 0; i < sizeof(source); i++)
        source[i] = (uint8_t)(i + 1);
    for (i = 0; i < sizeof(stack); i++)
        stack[i] = (uint8_t)(i * 3 + 1);
    trap_set_handler(TRAP_PF, on_fault);
    /* In ring 0 the stack may be what refuses. */
    if (ring == 0)
        trap_idt[PF_GATE_IST] = 1;
}

static unsigned nmissing;

static void
on_missing(struct trap_frame *frame)
{
    nmissing++;
    frame->rip += 3; /* sgdt (%rdi) */
}

static uint64_t
store_table(uint64_t address)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0x07" ::"D"(address) : "memory");
    return 0;
}

/* Nothing stands between RAM and the windows. */
static void
test_no_memory(void)
{
    test_begin("sgdt_where_no_memory_is");
    trap_set_handler(TRAP_PF, on_missing);
    if (ring == 3)
        ring3_call(store_table, 0xc0000000);
    else
        store_table(0xc0000000);
    EXPECT(nmissing == 1, "%u faults", nmissing);
    test_end();
}

/* "-cpu max": says it is an Athlon of 2007, with leaves of CPUID that this did not have. */
static bool
is_qemu(void)
{
    uint32_t leaves = 0, signature = 1, b, c, d;

    __asm__ volatile("cpuid" : "+a"(leaves), "=b"(b), "=c"(c), "=d"(d));
    __asm__ volatile("cpuid" : "+a"(signature), "=b"(b), "=c"(c), "=d"(d));
    return leaves >= 13 && signature == 0x60fb1;
}

static bool
has_cmpxchg16b(void)
{
    uint32_t leaf = 1, b, c, d;

    __asm__ volatile("cpuid" : "+a"(leaf), "=b"(b), "=c"(c), "=d"(d));
    return (c & CPUID_1_ECX_CX16) != 0;
}

int
guest_main(void)
{
    unsigned left_out;

    ring = (unsigned)fdt_argument_number("ring", 3);
    init();
    left_out = (ring == 3 ? RING0 : RING3) | (is_qemu() ? QEMU_LOSES : 0) |
               (has_cmpxchg16b() ? 0 : NEEDS_CX16);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if ((kinds[i].flags & left_out) == 0)
            test_kind(&kinds[i]);
    }
    test_no_memory();
    return test_summary();
}
