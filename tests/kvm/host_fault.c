/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions at the exact instruction.
 *
 * A trial runs one instruction in ring 3 or ring 0 on a window.  It is run twice: on
 * a window that is mapped, which says what the instruction does, and on one that
 * is not, where the first fault is repaired by a doorbell call.  Registers and
 * memory must be the same afterwards, and the fault must say the right thing.
 */
#include "tests/kvm/vm_rig.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/x86_64/layout.h"

#define PLAIN UINT64_C(0x500000) /* ordinary memory for the other operand */
#define PROLOGUE 0x101800u
#define VE_AREA UINT64_C(0x33000)

GUEST(guest_trial);
extern const uint8_t guest_trial_stubs[];

struct trial {
    const char *name;
    uint64_t rsi, rdi, rcx, rsp; /* rsp 0: GUEST_STACK */
    uint64_t fault;              /* the linear address that faults */
    uint8_t code[24];
    uint8_t length;
    bool write; /* at the fault */
    bool fetch; /* the fault is at the target of a jump */
};

struct trial_run {
    struct vm_outcome outcome;
    struct trap_record records[RECORD_MAX];
    uint64_t nrecords;
    uint8_t window[WINDOW_SIZE];
    uint8_t plain[2 * PAGE_SIZE];
    struct vkvm_ve_area ve;
    struct vm_report report;
};

struct trial_options {
    bool ring3;
    bool ve;
    uint64_t root; /* of the window at first */
    vm_prot_t protection;
    bool repair;
    bool ioctls; /* registers by ioctl, as on a host without KVM_CAP_SYNC_REGS */
};

static void
write_idt(struct vm *vm)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr = { 16 * GUEST_VECTORS - 1, GUEST_IDT };
    uint64_t stubs = GUEST_CODE + (uint64_t)(guest_trial_stubs - guest_trial);
    uint64_t rsp0 = GUEST_RING0, ist1 = GUEST_IST, gate[2], handler, vector;

    for (vector = 0; vector < GUEST_VECTORS; vector++) {
        handler = stubs + 16 * vector;
        /* 64-bit interrupt gate, IST 1, DPL 3 (SDM vol. 3, 6.14.1). */
        gate[0] = (handler & 0xffff) | VKVM_SEL_KERNEL_CODE << 16 | UINT64_C(1) << 32 |
                  UINT64_C(0xee) << 40 | (handler >> 16 & 0xffff) << 48;
        gate[1] = handler >> 32;
        put(vm, GUEST_IDT + 16 * vector, gate, sizeof(gate));
    }
    put(vm, GUEST_IDTR, &idtr, sizeof(idtr));
    put(vm, LAYOUT_TSS + 4, &rsp0, sizeof(rsp0));
    put(vm, LAYOUT_TSS + 0x24, &ist1, sizeof(ist1));
}

/* The same bytes everywhere a trial may read. */
static void
make_pattern(uint8_t *pattern, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 256 + 1);
    /* What a jump into the window finds there: ud2. */
    pattern[0x20] = 0x0f;
    pattern[0x21] = 0x0b;
}

static void
write_pattern(struct vm *vm)
{
    uint8_t pattern[WINDOW_SIZE];

    make_pattern(pattern, sizeof(pattern));
    put(vm, BACKING, pattern, sizeof(pattern));
    put(vm, PLAIN, pattern, 2 * PAGE_SIZE);
}

static void
write_trial(struct vm *vm, const struct trial *trial, const struct trial_options *options)
{
    const uint8_t done[] = { 0x0f, 0x0b }; /* ud2 */
    struct trial_param param = {
        .ring3 = options->ring3,
        .repair = { VKVM_CALL_SETMAP, WINDOW, WINDOW_SIZE, ROOT_MAPPED },
        .regs = { 0x1111, trial->rcx, 0x2222, 0x3333, trial->rsp != 0 ? trial->rsp : GUEST_STACK,
                  0x4444, trial->rsi, trial->rdi, 0x5555, 0x6666 },
        .rflags = 2,
    };

    if (!options->repair)
        param.repair[0] = UINT64_MAX;
    write_idt(vm);
    write_pattern(vm);
    put(vm, GUEST_TRIAL, trial->code, trial->length);
    put(vm, GUEST_TRIAL + trial->length, done, sizeof(done));
    put(vm, GUEST_PARAM, &param, sizeof(param));
}

static struct vm *
make_trial(const struct trial *trial, const struct trial_options *options)
{
    struct vm_config config = default_config();
    struct vm *vm;

    config.machine.nwindows = 1;
    config.machine.windows[0] = (struct machine_window){ .start = gpa_from_u64(WINDOW),
                                                         .size = WINDOW_SIZE,
                                                         .format = &vpte64_format,
                                                         .root = options->root,
                                                         .protection = options->protection };
    vm = make_vm(&config, guest_trial, guest_trial_end);
    start_at(vm, options->ve ? PROLOGUE : GUEST_CODE);
    if (options->ioctls)
        vm->host->kvm.sync_regs = false;
    write_trial(vm, trial, options);
    return vm;
}

/* A guest asks for #VE by a doorbell call: code to be entered at `at`, which goes on to the trial. */
static void
write_ve_prologue(struct vm *vm, uint64_t at)
{
    uint8_t code[] = {
        0xb8, VKVM_CALL_FAULT_DELIVERY,
        0,    0,
        0, /* mov $CALL, %eax */
        0xbf, VKVM_DELIVER_VE,
        0,    0,
        0, /* mov $VE, %edi */
        0xbe, 0,
        0,    0,
        0, /* mov $VE_AREA, %esi */
        0xba, 0,
        0,    0,
        0,    /* mov $PORT, %edx */
        0xef, /* out %eax, %dx */
        0xb8, 0,
        0,    0,
        0,          /* mov $GUEST_CODE, %eax */
        0xff, 0xe0, /* jmp *%rax */
    };
    const uint32_t area = VE_AREA, port = VKVM_PORT_DOORBELL, entry = GUEST_CODE;

    memcpy(code + 11, &area, 4);
    memcpy(code + 16, &port, 4);
    memcpy(code + 22, &entry, 4);
    put(vm, at, code, sizeof(code));
}

static void
take_results(struct vm *vm, struct trial_run *run)
{
    get(vm, GUEST_COUNT, &run->nrecords, sizeof(run->nrecords));
    get(vm, GUEST_RECORD, run->records, sizeof(run->records));
    get(vm, BACKING, run->window, sizeof(run->window));
    get(vm, PLAIN, run->plain, sizeof(run->plain));
    get(vm, VE_AREA, &run->ve, sizeof(run->ve));
    vm_report_get(vm, &run->report);
}

static void
run_trial(const struct trial *trial, const struct trial_options *options, struct trial_run *run)
{
    struct vm *vm = make_trial(trial, options);

    memset(run, 0, sizeof(*run));
    if (options->ve)
        write_ve_prologue(vm, PROLOGUE);
    vm_run(vm, &run->outcome);
    take_results(vm, run);
    destroy_vm(vm);
}

static void
expect_fault(struct verdict *v, const struct trial *trial, const struct trial_options *options,
             const struct trial_run *run)
{
    const struct trap_record *r = &run->records[0];
    uint64_t error = (trial->write ? VKVM_PF_WRITE : 0) | (options->ring3 ? VKVM_PF_USER : 0);
    uint64_t rip = trial->fetch ? trial->fault : GUEST_TRIAL;

    CHECK_EQ(v, r->rip, rip);
    CHECK_EQ(v, r->cs, options->ring3 ? VKVM_SEL_USER_CODE : VKVM_SEL_KERNEL_CODE);
    CHECK_EQ(v, r->rsp, trial->rsp != 0 ? trial->rsp : GUEST_STACK);
    CHECK_EQ(v, r->regs[0], 0x1111);
    CHECK_EQ(v, r->regs[9], 0x6666);
    if (!options->ve) {
        CHECK_EQ(v, r->vector, 14);
        CHECK_EQ(v, r->cr2, trial->fault);
        CHECK_EQ(v, r->error, error);
        return;
    }
    CHECK_EQ(v, r->vector, 20);
    CHECK_EQ(v, run->ve.reason, VKVM_VE_REASON);
    CHECK_EQ(v, run->ve.busy, UINT32_MAX);
    CHECK_EQ(v, run->ve.qualification,
             (trial->write ? VKVM_VE_WRITE : VKVM_VE_READ) | VKVM_VE_GLA_VALID);
    CHECK_EQ(v, run->ve.gla, trial->fault);
    CHECK_EQ(v, run->ve.gpa, trial->fault);
    CHECK_EQ(v, run->ve.result, VM_VPTE_INVALID);
    CHECK_EQ(v, run->ve.level, 0);
}

/* After the repair everything is as if there had been no fault; RFLAGS but for RF. */
static void
expect_same(struct verdict *v, const struct trial_run *reference, const struct trial_run *run)
{
    const struct trap_record *a, *b;
    size_t i;

    CHECK_EQ(v, reference->nrecords, 1);
    CHECK_EQ(v, run->nrecords, 2);
    a = &reference->records[0];
    b = &run->records[1];
    CHECK_EQ(v, b->vector, GUEST_DONE);
    CHECK_EQ(v, b->rip, a->rip);
    CHECK_EQ(v, b->rsp, a->rsp);
    CHECK_EQ(v, b->rflags & 0xcd5, a->rflags & 0xcd5);
    for (i = 0; i < COUNT(a->regs); i++)
        CHECK(v, a->regs[i] == b->regs[i], "register %zu: 0x%" PRIx64 ", not 0x%" PRIx64, i,
              b->regs[i], a->regs[i]);
    CHECK(v, memcmp(reference->window, run->window, sizeof(run->window)) == 0, "window differs");
    CHECK(v, memcmp(reference->plain, run->plain, sizeof(run->plain)) == 0, "memory differs");
}

static const struct trial trials[] = {
    { .name = "mov (%rsi),%rax",
      .code = { 0x48, 0x8b, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x10,
      .fault = WINDOW + 0x10 },
    { .name = "mov %r8,(%rsi)",
      .code = { 0x4c, 0x89, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x1010,
      .fault = WINDOW + 0x1010,
      .write = true },
    { .name = "movb $0x55,-0x10(%rdi,%rcx,4)",
      .code = { 0xc6, 0x44, 0x8f, 0xf0, 0x55 },
      .length = 5,
      .rdi = WINDOW,
      .rcx = 8,
      .fault = WINDOW + 0x10,
      .write = true },
    { .name = "add %r8,(%rsi)",
      .code = { 0x4c, 0x01, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x18,
      .fault = WINDOW + 0x18,
      .write = true },
    { .name = "lock add %r8,(%rsi)",
      .code = { 0xf0, 0x4c, 0x01, 0x06 },
      .length = 4,
      .rsi = WINDOW + 0x18,
      .fault = WINDOW + 0x18,
      .write = true },
    { .name = "xchg %r8,(%rsi)",
      .code = { 0x4c, 0x87, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x18,
      .fault = WINDOW + 0x18,
      .write = true },
    { .name = "cmp (%rsi),%r8",
      .code = { 0x4c, 0x3b, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x18,
      .fault = WINDOW + 0x18 },
    { .name = "rep movsq out of the window",
      .code = { 0xf3, 0x48, 0xa5 },
      .length = 3,
      .rsi = WINDOW + 0x20,
      .rdi = PLAIN,
      .rcx = 100,
      .fault = WINDOW + 0x20 },
    { .name = "rep movsb into the window",
      .code = { 0xf3, 0xa4 },
      .length = 2,
      .rsi = PLAIN,
      .rdi = WINDOW + 0x20,
      .rcx = 100,
      .fault = WINDOW + 0x20,
      .write = true },
    { .name = "movsq out of the window",
      .code = { 0x48, 0xa5 },
      .length = 2,
      .rsi = WINDOW + 0x20,
      .rdi = PLAIN,
      .fault = WINDOW + 0x20 },
    { .name = "rep stosq",
      .code = { 0xf3, 0x48, 0xab },
      .length = 3,
      .rdi = WINDOW + 0x20,
      .rcx = 600,
      .fault = WINDOW + 0x20,
      .write = true },
    { .name = "rep stosb of one byte",
      .code = { 0xf3, 0xaa },
      .length = 2,
      .rdi = WINDOW + 0x20,
      .rcx = 1,
      .fault = WINDOW + 0x20,
      .write = true },
    { .name = "stosl",
      .code = { 0xab },
      .length = 1,
      .rdi = WINDOW + 0x20,
      .fault = WINDOW + 0x20,
      .write = true },
    { .name = "lodsq",
      .code = { 0x48, 0xad },
      .length = 2,
      .rsi = WINDOW + 0x20,
      .fault = WINDOW + 0x20 },
    { .name = "push %r9",
      .code = { 0x41, 0x51 },
      .length = 2,
      .rsp = WINDOW + 0x1800,
      .fault = WINDOW + 0x17f8,
      .write = true },
    { .name = "pop %r8",
      .code = { 0x41, 0x58 },
      .length = 2,
      .rsp = WINDOW + 0x1800,
      .fault = WINDOW + 0x1800 },
    { .name = "push (%rsi)",
      .code = { 0xff, 0x36 },
      .length = 2,
      .rsi = WINDOW + 0x10,
      .fault = WINDOW + 0x10 },
    { .name = "pop (%rsi)",
      .code = { 0x8f, 0x06 },
      .length = 2,
      .rsi = WINDOW + 0x10,
      .fault = WINDOW + 0x10,
      .write = true },
    { .name = "call, stack in the window",
      .code = { 0xe8, 0, 0, 0, 0 },
      .length = 5,
      .rsp = WINDOW + 0x1800,
      .fault = WINDOW + 0x17f8,
      .write = true },
    { .name = "movups %xmm0,(%rsi)",
      .code = { 0x0f, 0x11, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x40,
      .fault = WINDOW + 0x40,
      .write = true },
    { .name = "movaps (%rsi),%xmm0",
      .code = { 0x0f, 0x28, 0x06 },
      .length = 3,
      .rsi = WINDOW + 0x40,
      .fault = WINDOW + 0x40 },
    { .name = "jmp *%rsi",
      .code = { 0xff, 0xe6 },
      .length = 2,
      .rsi = WINDOW + 0x20,
      .fault = WINDOW + 0x20,
      .fetch = true },
};

static void
run_trials(struct verdict *v, bool ring3, bool ve, bool ioctls)
{
    const struct trial_options with = { ring3, ve, 0, VM_PROT_ALL, true, ioctls };
    const struct trial_options without = { ring3, ve, ROOT_MAPPED, VM_PROT_ALL, true, ioctls };
    static struct trial_run reference, run;
    unsigned before;
    size_t i;

    for (i = 0; i < COUNT(trials); i++) {
        before = v->failures;
        run_trial(&trials[i], &without, &reference);
        run_trial(&trials[i], &with, &run);
        expect_exit(v, &reference.outcome, 0);
        expect_exit(v, &run.outcome, 0);
        expect_fault(v, &trials[i], &with, &run);
        expect_same(v, &reference, &run);
        if (v->failures != before)
            fprintf(stderr, "  ... in: %s\n", trials[i].name);
    }
}

static void
ring_3_gets_pf_at_the_instruction_and_goes_on(struct verdict *v)
{
    run_trials(v, true, false, false);
}

static void
ring_3_gets_ve_at_the_instruction_and_goes_on(struct verdict *v)
{
    run_trials(v, true, true, false);
}

static void
ring_0_gets_pf_at_the_instruction_and_goes_on(struct verdict *v)
{
    run_trials(v, false, false, false);
}

static void
ring_0_gets_ve_at_the_instruction_and_goes_on(struct verdict *v)
{
    run_trials(v, false, true, false);
}

static void
a_host_without_sync_regs_delivers_the_same(struct verdict *v)
{
    run_trials(v, true, true, true);
    run_trials(v, false, false, true);
}

/* What an emulated instruction would have done with data it never got. */
static void
a_read_that_fails_stores_nothing_elsewhere(struct verdict *v)
{
    static const struct trial readers[] = {
        { .name = "movsq",
          .code = { 0x48, 0xa5 },
          .length = 2,
          .rsi = WINDOW + 0x20,
          .rdi = PLAIN },
        { .name = "rep movsq",
          .code = { 0xf3, 0x48, 0xa5 },
          .length = 3,
          .rsi = WINDOW + 0x20,
          .rdi = PLAIN,
          .rcx = 100 },
        { .name = "push (%rsi)",
          .code = { 0xff, 0x36 },
          .length = 2,
          .rsi = WINDOW + 0x20,
          .rsp = PLAIN + 0x100 },
    };
    const struct trial_options unrepaired = { false, false, 0, VM_PROT_ALL, false, false };
    static struct trial_run run;
    uint8_t pattern[sizeof(run.plain)];
    size_t i;

    make_pattern(pattern, sizeof(pattern));
    for (i = 0; i < COUNT(readers); i++) {
        run_trial(&readers[i], &unrepaired, &run);
        expect_exit(v, &run.outcome, 2);
        CHECK_EQ(v, run.records[0].rip, GUEST_TRIAL);
        CHECK(v, memcmp(run.plain, pattern, sizeof(pattern)) == 0, "%s stored", readers[i].name);
    }
}

/* One fault, not repaired. */
struct refusal {
    const char *name;
    uint64_t root;
    uint64_t address;
    uint64_t error;       /* without the user bit */
    uint64_t permissions; /* in the exit qualification */
    enum vm_result result;
    vm_prot_t protection;
    bool write;
};

static const struct refusal refusals[] = {
    { "vpte invalid", 0, WINDOW, 0, 0, VM_VPTE_INVALID, VM_PROT_ALL, false },
    { "vpte invalid, write", 0, WINDOW, VKVM_PF_WRITE, 0, VM_VPTE_INVALID, VM_PROT_ALL, true },
    { "vpte forbids writes", ROOT_MAPPED & ~(uint64_t)VPTE_W, WINDOW + 8,
      VKVM_PF_PRESENT | VKVM_PF_WRITE, VKVM_VE_READABLE | VKVM_VE_EXECUTABLE, VM_VPTE_PROTECTION,
      VM_PROT_ALL, true },
    { "vpte forbids reads", ROOT_MAPPED & ~(uint64_t)(VPTE_R | VPTE_X), WINDOW + 8, VKVM_PF_PRESENT,
      VKVM_VE_WRITABLE, VM_VPTE_PROTECTION, VM_PROT_ALL, false },
    { "window forbids writes", ROOT_MAPPED, WINDOW + 8, VKVM_PF_PRESENT | VKVM_PF_WRITE,
      VKVM_VE_READABLE, VM_PROTECTION, VM_PROT_READ, true },
    { "frame beyond RAM", ROOT_MAPPED + MEMORY_SIZE, WINDOW + 8, VKVM_PF_PRESENT | VKVM_PF_RESERVED,
      VKVM_VE_READABLE | VKVM_VE_WRITABLE | VKVM_VE_EXECUTABLE, VM_BAD_FRAME, VM_PROT_ALL, false },
    { "nothing there, read", ROOT_MAPPED, UINT64_C(0x30000010), 0, 0, VM_INVALID_ADDRESS,
      VM_PROT_ALL, false },
    { "nothing there, write", ROOT_MAPPED, UINT64_C(0x30000010), VKVM_PF_WRITE, 0,
      VM_INVALID_ADDRESS, VM_PROT_ALL, true },
    { "behind the window", ROOT_MAPPED, WINDOW + WINDOW_SIZE, VKVM_PF_WRITE, 0, VM_INVALID_ADDRESS,
      VM_PROT_ALL, true },
};

static void
run_refusal(struct verdict *v, const struct refusal *refusal, bool ring3, bool ve)
{
    struct trial trial = { .name = refusal->name,
                           .code = { 0x48, 0x8b, 0x06 },
                           .length = 3,
                           .rsi = refusal->address,
                           .fault = refusal->address,
                           .write = refusal->write };
    const struct trial_options options = { ring3, ve,   refusal->root, refusal->protection,
                                           false, false };
    static struct trial_run run;
    unsigned before = v->failures;

    if (refusal->write)
        trial.code[1] = 0x89;
    run_trial(&trial, &options, &run);
    expect_exit(v, &run.outcome, 2);
    CHECK_EQ(v, run.nrecords, 1);
    CHECK_EQ(v, run.records[0].rip, GUEST_TRIAL);
    CHECK_EQ(v, run.records[0].vector, ve ? 20 : 14);
    CHECK_EQ(v, ve ? run.report.exceptions_ve : run.report.exceptions_pf, 1);
    if (ve) {
        CHECK_EQ(v, run.ve.qualification,
                 (refusal->write ? VKVM_VE_WRITE : VKVM_VE_READ) | refusal->permissions |
                     VKVM_VE_GLA_VALID);
        CHECK_EQ(v, run.ve.gla, refusal->address);
        CHECK_EQ(v, run.ve.gpa, refusal->address);
        CHECK_EQ(v, run.ve.result, refusal->result);
    } else {
        CHECK_EQ(v, run.records[0].cr2, refusal->address);
        CHECK_EQ(v, run.records[0].error, refusal->error | (ring3 ? VKVM_PF_USER : 0));
    }
    if (v->failures != before)
        fprintf(stderr, "  ... in: %s, ring %d, %s\n", refusal->name, ring3 ? 3 : 0,
                ve ? "#VE" : "#PF");
}

static void
every_cause_of_a_fault_has_its_error_code_and_qualification(struct verdict *v)
{
    size_t i;

    for (i = 0; i < COUNT(refusals); i++) {
        run_refusal(v, &refusals[i], true, false);
        run_refusal(v, &refusals[i], true, true);
        run_refusal(v, &refusals[i], false, false);
        run_refusal(v, &refusals[i], false, true);
    }
}

static void
an_access_across_pages_names_the_second_pages_first_byte(struct verdict *v)
{
    static const struct trial trial = { .name = "across",
                                        .code = { 0x48, 0x8b, 0x06 },
                                        .length = 3,
                                        .rsi = MEMORY_SIZE - 3,
                                        .fault = MEMORY_SIZE };
    const struct trial_options rings[] = {
        { true, false, ROOT_MAPPED, VM_PROT_ALL, false, false },
        { false, false, ROOT_MAPPED, VM_PROT_ALL, false, false },
    };
    static struct trial_run run;
    size_t i;

    for (i = 0; i < COUNT(rings); i++) {
        run_trial(&trial, &rings[i], &run);
        expect_exit(v, &run.outcome, 2);
        CHECK_EQ(v, run.records[0].rip, GUEST_TRIAL);
        CHECK_EQ(v, run.records[0].cr2, MEMORY_SIZE);
    }
}

static void
a_write_that_cannot_be_undone_ends_the_vm_with_its_name_and_place(struct verdict *v)
{
    /* Backwards KVM stores one element and drops what it has read ahead. */
    static const struct trial trial = { .name = "rep insb",
                                        .code = { 0xfd,                   /* std */
                                                  0x6a, 0x04, 0x59,       /* rcx = 4 */
                                                  0x48, 0x89, 0xf7,       /* rdi = rsi */
                                                  0x66, 0xba, 0xe9, 0x00, /* dx: the console */
                                                  0xf3, 0x6c },
                                        .length = 13,
                                        .rsi = WINDOW + 16 };
    const struct trial_options options = { false,       false, ROOT_MAPPED & ~(uint64_t)VPTE_W,
                                           VM_PROT_ALL, false, false };
    static struct trial_run run;

    run_trial(&trial, &options, &run);
    /* Where ring 0 is native the fault is exact whatever the instruction. */
    if (run.report.exits_mmio == 0)
        expect_exit(v, &run.outcome, 2);
    else
        expect_end(v, &run.outcome, VM_END_FAILED,
                   "cannot undo the instruction insb (f3 6c): write of guest address 0x1000000010");
}

static void
a_busy_ve_area_ends_the_vm(struct verdict *v)
{
    const struct trial_options options = { true, true, 0, VM_PROT_ALL, false, false };
    struct vm *vm = make_trial(&trials[0], &options);
    const struct vkvm_ve_area busy = { .busy = 1 };
    struct vm_outcome outcome;

    write_ve_prologue(vm, PROLOGUE);
    put(vm, VE_AREA, &busy, sizeof(busy));
    vm_run(vm, &outcome);
    expect_end(v, &outcome, VM_END_CRASHED, "#VE area busy");
    destroy_vm(vm);
}

static void
ring_3_may_use_no_port_with_the_boot_tss(struct verdict *v)
{
    static const struct trial trial = { .name = "out", .code = { 0xe6, 0xe9 }, .length = 2 };
    const struct trial_options options = { true, false, 0, VM_PROT_ALL, false, false };
    static struct trial_run run;

    run_trial(&trial, &options, &run);
    expect_exit(v, &run.outcome, 4);
    CHECK_EQ(v, run.records[0].vector, 13);
    CHECK_EQ(v, run.records[0].rip, GUEST_TRIAL);
    CHECK_EQ(v, run.report.exits_console, 0);
}

/* #DF where KVM tells of the fault in the delivery, else KVM makes it a triple fault itself. */
static void
a_fault_on_the_stack_of_an_exception_is_a_double_fault(struct verdict *v)
{
    const struct trial_options options = { true, false, 0, VM_PROT_ALL, false, false };
    const uint64_t nowhere = WINDOW + 0x800, ist2 = GUEST_IST;
    struct vm *vm = make_trial(&trials[0], &options);
    struct trap_record record;
    struct vm_outcome outcome;
    const uint8_t two = 2;

    put(vm, LAYOUT_TSS + 0x24, &nowhere, sizeof(nowhere)); /* IST 1: every vector's ... */
    put(vm, LAYOUT_TSS + 0x2c, &ist2, sizeof(ist2));       /* IST 2: ... but #DF's */
    put(vm, GUEST_IDT + 16 * 8 + 4, &two, sizeof(two));
    outcome = run_vm(vm);
    if (outcome.end == VM_END_GUEST) {
        expect_exit(v, &outcome, 4);
        get(vm, GUEST_RECORD, &record, sizeof(record));
        CHECK_EQ(v, record.vector, 8);
        CHECK_EQ(v, record.error, 0);
        CHECK_EQ(v, record.rip, GUEST_TRIAL);
    } else {
        expect_end(v, &outcome, VM_END_CRASHED, "triple fault");
    }
    destroy_vm(vm);
}

static void
the_report_counts_what_happened(struct verdict *v)
{
    const struct trial_options options = { true, false, 0, VM_PROT_ALL, true, false };
    static struct trial_run run;
    uint64_t kinds = 0;
    unsigned i;

    run_trial(&trials[0], &options, &run);
    CHECK_EQ(v, run.report.exits_doorbell, 2); /* SETMAP and exit */
    CHECK_EQ(v, run.report.exceptions_pf, 1);
    CHECK_EQ(v, run.report.exceptions_ve, 0);
    CHECK_EQ(v, run.report.nvcpus, 1);
    CHECK_EQ(v, run.report.memory_size, MEMORY_SIZE);
    CHECK(v, run.report.resident_pages > 0, "no page");
    CHECK(v, run.report.run_ns > 0 && run.report.create_ns > 0, "no time");
    for (i = 1; i <= 6; i++)
        kinds += run.report.meter[i];
    CHECK_EQ(v, kinds, run.report.meter[0]);
}

static const struct test tests[] = {
    TEST(ring_3_gets_pf_at_the_instruction_and_goes_on),
    TEST(ring_3_gets_ve_at_the_instruction_and_goes_on),
    TEST(ring_0_gets_pf_at_the_instruction_and_goes_on),
    TEST(ring_0_gets_ve_at_the_instruction_and_goes_on),
    TEST(a_host_without_sync_regs_delivers_the_same),
    TEST(a_read_that_fails_stores_nothing_elsewhere),
    TEST(every_cause_of_a_fault_has_its_error_code_and_qualification),
    TEST(an_access_across_pages_names_the_second_pages_first_byte),
    TEST(a_write_that_cannot_be_undone_ends_the_vm_with_its_name_and_place),
    TEST(a_busy_ve_area_ends_the_vm),
    TEST(ring_3_may_use_no_port_with_the_boot_tss),
    TEST(a_fault_on_the_stack_of_an_exception_is_a_double_fault),
    TEST(the_report_counts_what_happened),
};

int
main(int argc, char **argv)
{
    return run_tests("host_fault", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
