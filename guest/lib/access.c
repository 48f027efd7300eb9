/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two accesses are single instructions at known addresses, so that the handler can
 * tell them from a bug and knows where to go on.
 */
#include "guest/lib/access.h"

#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"
#include "guest/lib/ring3.h"
#include "guest/lib/string.h"
#include "guest/lib/traps.h"

__asm__(".pushsection .text\n"
        "access_load_code:\n"
        "access_load_at: mov (%rdi), %rax\n"
        "access_load_next: ret\n"
        "access_store_code:\n"
        "access_store_at: mov %rsi, (%rdi)\n"
        "access_store_next: ret\n"
        ".popsection\n");

extern const char access_load_at[], access_load_next[];
extern const char access_store_at[], access_store_next[];
uint64_t access_load_code(uint64_t address);
void access_store_code(uint64_t address, uint64_t value);

/* What an access needs, handed to ring 3 as one pointer. */
struct access {
    uint64_t address;
    uint64_t value;
};

static struct vkvm_ve_area ve_area __attribute__((aligned(64)));
static struct access_fault last;
static access_repair_fn *repair_fault;
static void *repair_context;
static bool deliver_ve;
static unsigned ring = 3;

static void
record(const struct trap_frame *frame)
{
    last.count++;
    last.vector = (unsigned)frame->vector;
    last.error = frame->error;
    last.cr2 = frame->cr2;
    if (frame->vector == TRAP_VE) {
        last.ve = ve_area;
        __atomic_store_n(&ve_area.busy, 0, __ATOMIC_RELEASE);
    }
}

static void
on_fault(struct trap_frame *frame)
{
    bool load = frame->rip == (uint64_t)access_load_at;

    if (!load && frame->rip != (uint64_t)access_store_at)
        trap_fatal(frame);
    record(frame);
    if (repair_fault && repair_fault(repair_context, &last))
        return;
    if (load)
        frame->rax = 0;
    frame->rip = (uint64_t)(load ? access_load_next : access_store_next);
}

void
access_init(void)
{
    char text[8];

    if (fdt_argument("deliver", text, sizeof(text)))
        deliver_ve = memcmp(text, "ve", 3) == 0;
    ring = (unsigned)fdt_argument_number("ring", 3);
    trap_set_handler(TRAP_PF, on_fault);
    trap_set_handler(TRAP_VE, on_fault);
    doorbell_fault_delivery(deliver_ve ? VKVM_DELIVER_VE : VKVM_DELIVER_PF, &ve_area);
    /* What an access needs is touched: from now on counters count what it does. */
    for (uint64_t end = PAGE_SIZE; end - PAGE_SIZE < fdt_machine()->reserved_end; end += PAGE_SIZE)
        (void)*(volatile uint64_t *)(end - sizeof(uint64_t));
    (void)access_load((uint64_t)&last, (struct access_fault *)0);
}

void
access_set_repair(access_repair_fn *repair, void *context)
{
    repair_fault = repair;
    repair_context = context;
}

static uint64_t
do_load(uint64_t argument)
{
    return access_load_code(((struct access *)argument)->address);
}

static uint64_t
do_store(uint64_t argument)
{
    struct access *access = (struct access *)argument;

    access_store_code(access->address, access->value);
    return 0;
}

static uint64_t
run(uint64_t (*function)(uint64_t argument), struct access *access, struct access_fault *fault)
{
    uint64_t result;

    memset(&last, 0, sizeof(last));
    result = ring == 0 ? function((uint64_t)access) : ring3_call(function, (uint64_t)access);
    if (fault)
        *fault = last;
    return result;
}

uint64_t
access_load(uint64_t address, struct access_fault *fault)
{
    struct access access = { .address = address };

    return run(do_load, &access, fault);
}

void
access_store(uint64_t address, uint64_t value, struct access_fault *fault)
{
    struct access access = { .address = address, .value = value };

    (void)run(do_store, &access, fault);
}

bool
access_faulted_with(const struct access_fault *fault, uint64_t error)
{
    uint64_t kind = error & VKVM_PF_WRITE ? VKVM_VE_WRITE : VKVM_VE_READ;

    if (fault->count != 1 || fault->vector != (deliver_ve ? TRAP_VE : TRAP_PF))
        return false;
    if (fault->vector == TRAP_PF)
        return fault->error == (error | (ring == 3 ? VKVM_PF_USER : 0));
    return fault->ve.reason == VKVM_VE_REASON && fault->ve.busy == 0xffffffffu &&
           (fault->ve.qualification & (VKVM_VE_READ | VKVM_VE_WRITE | VKVM_VE_FETCH)) == kind;
}
