/* SPDX-License-Identifier: BSD-2-Clause */
/* See vcpu_registers.h. */
#include "vmm/vm/vcpu_registers.h"

#include "vmm/base/clock.h"
#include "vmm/vm/vcpu.h"

#include <time.h>

/* An answer that is this late, ns, is looked for without a wake-up. */
#define LOOK_NS 1000000u

/* ... and so often while the vCPU is to pause, when it cannot sleep. */
#define PAUSED_LOOK_NS 100000

void
vcpu_registers_ask(struct vcpu *vcpu, gpa_t gpa, vm_prot_t access)
{
    struct vcpu_registers *registers = &vcpu->registers;

    if (atomic_load(&registers->state) == VCPU_REGISTERS_NONE)
        registers->count = 0;
    if (registers->count == VCPU_REGISTERS_FAULTS)
        registers->count--;
    registers->newest = registers->count;
    registers->gpa = gpa;
    registers->access = access;
    atomic_store(&registers->state, VCPU_REGISTERS_ASKED);
    vcpu_kick(vcpu);
}

void
vcpu_registers_answer(struct vcpu *vcpu, uint64_t record)
{
    struct vcpu_registers *registers = &vcpu->registers;

    if (atomic_load(&registers->state) != VCPU_REGISTERS_ASKED)
        return;
    registers->records[registers->count++] = record;
    atomic_store(&registers->state, VCPU_REGISTERS_ANSWERED);
    vcpu_wake(vcpu);
}

bool
vcpu_registers_here(struct vcpu *vcpu, gpa_t gpa, vm_prot_t access, struct arch_location *location)
{
    bool known;

    if (vcpu->registers.here)
        return false;
    vcpu->registers.here = true;
    known = arch_vcpu_locate(&vcpu->arch, vcpu->vm->map, gpa, access, location) == 0;
    vcpu->registers.here = false;
    return known;
}

static bool
is_answered(struct vcpu *vcpu)
{
    return atomic_load(&vcpu->registers.state) == VCPU_REGISTERS_ANSWERED;
}

/* Returns false when the VM ends instead. */
static bool
await_answer(struct vcpu *vcpu)
{
    const struct timespec moment = { .tv_nsec = PAUSED_LOOK_NS };

    while (!is_answered(vcpu)) {
        if (vcpu_vm_is_ending(vcpu->vm))
            return false;
        vcpu_sleep_prepare(vcpu);
        if (is_answered(vcpu))
            break;
        if (vcpu_sleep(vcpu, clock_now_ns() + LOOK_NS) == VCPU_INTERRUPTED)
            nanosleep(&moment, NULL);
    }
    return true;
}

unsigned
vcpu_registers_take(struct vcpu *vcpu, struct arch_location *location, unsigned *newest)
{
    struct vcpu_registers *registers = &vcpu->registers;
    bool known;

    if (atomic_load_explicit(&registers->state, memory_order_acquire) == VCPU_REGISTERS_NONE)
        return 0;
    *newest = registers->newest;
    known = arch_vcpu_locate(&vcpu->arch, vcpu->vm->map, registers->gpa, registers->access,
                             location) == 0;
    if (!await_answer(vcpu))
        return 0;
    atomic_store(&registers->state, VCPU_REGISTERS_NONE);
    return known ? registers->count : 0;
}
