/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What KVM_RUN came back with.
 *
 * A second-stage violation that the guest must see comes in three ways:
 *   EFAULT          a fault thread recorded a failure for this vCPU
 *   KVM_EXIT_MMIO   KVM emulates the access and could not make it
 *   INTERNAL_ERROR  KVM emulates, and could not reach memory in a place where its
 *                   emulator has no way to ask user space (locked operations,
 *                   instruction fetch, iretq, int)
 * The same three also come when the page was only inaccessible for a moment
 * (fact 2 of docs/hosts.md); then the access is made, or repeated.
 */
#include "vmm/vm/vcpu_exit.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * KVM_RUN that comes back with nothing done is tried again: first at once, then with pauses that
 * double every REFUSED_STEP times, and after REFUSED_MAX times in a row at one place, which take
 * some three seconds, the VM ends.  In a row: a KVM_RUN that took more than REFUSED_RUN_NS of the
 * processor got somewhere before it failed, and takes REFUSED_CREDIT of the others back.  Not all
 * of them: on a host that has itself too little of a processor it may have got nowhere.
 */
#define REFUSED_QUICK 64u
#define REFUSED_STEP 16u
#define REFUSED_DOUBLINGS 6u
#define REFUSED_MAX 600u
#define REFUSED_PAUSE_NS UINT64_C(100000)
#define REFUSED_RUN_NS 1000000u
#define REFUSED_CREDIT 8u

/* What is worth trying again, and what helps if it is in vain. */
static const struct refusal {
    int error;
    const char *remedy;
} refusals[] = {
    /* A window was inaccessible for a moment (fact 2 of docs/hosts.md). */
    { EFAULT, "a page stays inaccessible, which is a fault of vkvm's: please report it" },
    /* KVM makes a thread at a VM's first KVM_RUN (Linux 6.13). */
    { EAGAIN, "KVM cannot make a thread: raise RLIMIT_NPROC (ulimit -u) or pids.max of the "
              "control group" },
    /* A signal; a kick is one. */
    { EINTR, "signals come without end: stop who sends them" },
};
#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

/* Attempts in a row at an instruction that KVM cannot emulate although its memory is there. */
#define EMULATE_MAX 64u

#define DESCRIPTION_SIZE 128

void
vcpu_end(struct vcpu *vcpu, enum vcpu_end_cause cause, const char *format, ...)
{
    char reason[sizeof(struct limits_reason) + 192], where[DESCRIPTION_SIZE];
    char message[sizeof(reason) + sizeof(where) + 32];
    va_list ap;

    va_start(ap, format);
    vsnprintf(reason, sizeof(reason), format, ap);
    va_end(ap);
    arch_vcpu_describe(&vcpu->arch, where, sizeof(where));
    snprintf(message, sizeof(message), "vCPU %u: %s: %s", vcpu->index, reason, where);
    vcpu->vm->ops->end(vcpu->vm->context, cause, message);
}

/*
 * How often in a row, this time included, the vCPU was found where it is.  One whose position
 * cannot be read has not moved: what counts on this ends.
 */
static unsigned
watch_position(struct vcpu *vcpu, struct vcpu_watch *watch)
{
    uint64_t rip, hash;

    if (arch_vcpu_position(&vcpu->arch, &rip, &hash) == 0 &&
        (watch->same == 0 || rip != watch->rip || hash != watch->hash))
        *watch = (struct vcpu_watch){ .rip = rip, .hash = hash };
    return ++watch->same;
}

/* How often in a row, this time included, KVM_RUN failed here without a reason. */
static unsigned
count_refusal(struct vcpu *vcpu)
{
    struct vcpu_watch *refused = &vcpu->refused;

    if (clock_thread_ns() - vcpu->refused_at > REFUSED_RUN_NS)
        refused->same -= refused->same < REFUSED_CREDIT ? refused->same : REFUSED_CREDIT;
    return watch_position(vcpu, refused);
}

void
vcpu_check_progress(struct vcpu *vcpu)
{
    if (watch_position(vcpu, &vcpu->watch) < VCPU_SAME_CHECKS)
        return;
    vcpu_end(vcpu, VCPU_END_FAILED,
             "faults on guest address 0x%" PRIx64 " over and over without progress",
             atomic_load(&vcpu->suspect_gpa));
}

static void
give_back_input(struct vcpu *vcpu, unsigned ninputs)
{
    const struct vcpu_last_input *last = &vcpu->last_input;

    port_input_give_back(&vcpu->input, last->port,
                         last->data + (size_t)(last->count - ninputs) * last->size,
                         (size_t)ninputs * last->size);
}

/* Hand a fault to the guest; `flags` as arch_inject_fault. */
static int
inject(struct vcpu *vcpu, const struct vm_fault_info *info, unsigned flags)
{
    bool ve = arch_vcpu_delivers_ve(&vcpu->arch);
    unsigned ninputs;
    int error;

    error = arch_inject_fault(&vcpu->arch, vcpu->vm->map, info, flags, &ninputs);
    if (error != 0)
        return error == -EALREADY ? 0 : error;
    if (ninputs != 0)
        give_back_input(vcpu, ninputs);
    if (ve)
        atomic_fetch_add_explicit(&vcpu->counters.exceptions_ve, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&vcpu->counters.exceptions_pf, 1, memory_order_relaxed);
    vcpu->vm->ops->injected(vcpu->vm->context, vcpu, info);
    return 0;
}

static void
end_undeliverable(struct vcpu *vcpu, const struct vm_fault_info *info, int error)
{
    const char *access = vm_access_name(info->access), *cause = vm_result_name(info->result);
    uint64_t gpa = gpa_to_u64(info->gpa);

    switch (error) {
    case -EBUSY:
        vcpu_end(vcpu, VCPU_END_CRASHED, "#VE area busy at %s of guest address 0x%" PRIx64 " (%s)",
                 access, gpa, cause);
        break;
    case -ESHUTDOWN:
        vcpu_end(vcpu, VCPU_END_CRASHED, "triple fault at %s of guest address 0x%" PRIx64 " (%s)",
                 access, gpa, cause);
        break;
    case -ENOTSUP:
        vcpu_end(vcpu, VCPU_END_FAILED,
                 "cannot undo the instruction %s: %s of guest address 0x%" PRIx64 " (%s)",
                 vcpu->arch.culprit, access, gpa, cause);
        break;
    default:
        vcpu_end(vcpu, VCPU_END_FAILED,
                 "cannot deliver the failed %s of guest address 0x%" PRIx64 " (%s): %s", access,
                 gpa, cause, limits_explain(error).text);
        break;
    }
}

/*
 * A failure for the instruction at RIP.  One that the instruction does not explain
 * may be left over from an access that a signal interrupted: the first time it is
 * dropped and the instruction run again.  If it was real it comes again, at once.
 */
static void
fail_access(struct vcpu *vcpu, const struct vm_fault_info *info, unsigned flags)
{
    uint64_t rip = 0, hash;
    int error;

    if (info->result == VM_HOST_FAILURE) {
        vcpu_end(vcpu, VCPU_END_FAILED, "%s of guest address 0x%" PRIx64 ": %s: %s",
                 vm_access_name(info->access), gpa_to_u64(info->gpa),
                 info->cause != NULL ? info->cause : "host failure",
                 limits_explain_cause(info->cause, info->error).text);
        return;
    }
    error = inject(vcpu, info, flags);
    if (error == -EAGAIN && arch_vcpu_position(&vcpu->arch, &rip, &hash) == 0) {
        if (rip != vcpu->unexplained_rip ||
            gpa_to_u64(info->gpa) != gpa_to_u64(vcpu->unexplained_gpa)) {
            vcpu->unexplained_rip = rip;
            vcpu->unexplained_gpa = info->gpa;
            return;
        }
        error = inject(vcpu, info, flags | ARCH_INJECT_CERTAIN);
    }
    vcpu->unexplained_rip = UINT64_MAX;
    if (error != 0)
        end_undeliverable(vcpu, info, error);
}

static uint64_t
refusal_pause_ns(unsigned same)
{
    unsigned doublings = (same - REFUSED_QUICK) / REFUSED_STEP;

    return REFUSED_PAUSE_NS << (doublings < REFUSED_DOUBLINGS ? doublings : REFUSED_DOUBLINGS);
}

/* KVM_RUN failed and will be entered again, but not for ever. */
static void
retry_run(struct vcpu *vcpu, const struct refusal *refusal)
{
    unsigned same = count_refusal(vcpu);

    if (same > REFUSED_MAX) {
        vcpu_end(vcpu, VCPU_END_FAILED, "KVM_RUN fails again and again: %s: %s",
                 strerror(refusal->error), refusal->remedy);
    } else if (same > REFUSED_QUICK) {
        vcpu_sleep_prepare(vcpu);
        (void)vcpu_sleep(vcpu, clock_now_ns() + refusal_pause_ns(same));
    }
    vcpu->refused_at = clock_thread_ns();
}

/*
 * A signal ended KVM_RUN.
 *
 * KVM tries some instructions again and again by itself, without an exit (docs/hosts.md): sgdt
 * into a page that fails, for which the fault service has a failure and sends the kick, or into
 * no memory at all, for which nobody has.  The thread's timer is for the latter.
 * Returns whether that was it.
 */
static bool
handle_interrupt(struct vcpu *vcpu)
{
    struct vm_fault_info info;

    if (fault_service_take_failure(vcpu->vm->service, vcpu->index, &info)) {
        fail_access(vcpu, &info, 0);
        return true;
    }
    if (watch_position(vcpu, &vcpu->interrupted) <= 1 ||
        arch_resolve_retried(&vcpu->arch, vcpu->vm->map, &info) != 1)
        return false;
    fail_access(vcpu, &info, ARCH_INJECT_CERTAIN);
    return true;
}

/*
 * A foreign thread could not make some vCPU's access.  If it was this one's, its instruction says
 * what it needs: that is mapped now, or refused.  Returns whether it is refused.
 */
static bool
handle_foreign_failure(struct vcpu *vcpu)
{
    struct vm_fault_info info;
    int error;

    if (!fault_service_take_foreign(vcpu->vm->service))
        return false;
    error = arch_resolve_instruction(&vcpu->arch, vcpu->vm->map, &info);
    if (error == 1)
        fail_access(vcpu, &info, ARCH_INJECT_CERTAIN);
    return error == 1;
}

/* KVM_RUN failed. */
void
vcpu_handle_error(struct vcpu *vcpu, int error)
{
    struct vm_fault_info info;

    if (error == EFAULT) {
        vcpu->counters.efault++;
        if (fault_service_take_failure(vcpu->vm->service, vcpu->index, &info)) {
            fail_access(vcpu, &info, 0);
            return;
        }
        if (handle_foreign_failure(vcpu))
            return;
    }
    if (error == EINTR && handle_interrupt(vcpu))
        return;
    if (error == EINTR && vcpu_gate_is_closed(&vcpu->vm->gate))
        return; /* it is to rest, and a debugger may ask for that at every instruction */
    for (size_t i = 0; i < REFUSALS; i++) {
        if (refusals[i].error == error) {
            retry_run(vcpu, &refusals[i]);
            return;
        }
    }
    vcpu_end(vcpu, VCPU_END_FAILED, "KVM_RUN: %s", limits_explain(error).text);
}

/* A failure recorded for this very access, if there is one; any other is stale. */
static bool
take_mmio_failure(struct vcpu *vcpu, gpa_t gpa, vm_prot_t access, struct vm_fault_info *info)
{
    if (!fault_service_take_failure(vcpu->vm->service, vcpu->index, info) ||
        info->access != access ||
        gpa_to_u64(gpa_trunc_page(info->gpa)) != gpa_to_u64(gpa_trunc_page(gpa)))
        return false;
    info->gpa = gpa;
    return true;
}

/* An access that KVM emulates, to memory, or to an address where nothing is. */
static void
emulate_memory_access(struct vcpu *vcpu, const struct bus_access *access)
{
    struct vm_map *map = vcpu->vm->map;
    gpa_t gpa = gpa_from_u64(vcpu->run->mmio.phys_addr);
    vm_prot_t prot = access->write ? VM_PROT_WRITE : VM_PROT_READ;
    struct vm_fault_origin origin = vcpu->origin;
    struct vm_fault_info info;

    origin.arrival = VM_FAULT_CAME_MMIO;
    if (!take_mmio_failure(vcpu, gpa, prot, &info)) {
        (void)fault_service_take_foreign(vcpu->vm->service); /* this access says what it is */
        if (vm_map_emulate(map, gpa, access->data, access->write ? access->data : NULL,
                           access->size, &origin, &info) == VM_OK)
            return;
    }
    if (info.result == VM_INVALID_ADDRESS && bus_access_absent(vcpu->vm->bus, BUS_MEMORY, access))
        return;
    fail_access(vcpu, &info, ARCH_INJECT_MMIO);
}

/* A device cannot go on. */
static void
end_device(struct vcpu *vcpu, const char *space, uint64_t address, int error)
{
    vcpu_end(vcpu, VCPU_END_FAILED, "the device at %s 0x%" PRIx64 " failed: %s", space, address,
             strerror(-error));
}

static void
handle_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct bus_access access = {
        .cpu = vcpu->index,
        .write = run->mmio.is_write != 0,
        .size = run->mmio.len,
        .count = 1,
        .data = run->mmio.data,
    };
    int error;

    vcpu->counters.mmio++;
    if (access.size > sizeof(run->mmio.data)) {
        vcpu_end(vcpu, VCPU_END_FAILED, "KVM_EXIT_MMIO of %u bytes", access.size);
        return;
    }
    error = bus_access(vcpu->vm->bus, BUS_MEMORY, run->mmio.phys_addr, &access);
    if (error == -ENXIO)
        emulate_memory_access(vcpu, &access);
    else if (error != 0)
        end_device(vcpu, "guest address", run->mmio.phys_addr, error);
}

/* KVM's emulator gave up at RIP. */
static void
handle_emulation_failure(struct vcpu *vcpu)
{
    char instruction[ARCH_INSTRUCTION_SIZE];
    struct vm_fault_info info;
    int error;

    if (fault_service_take_failure(vcpu->vm->service, vcpu->index, &info)) {
        fail_access(vcpu, &info, 0);
        return;
    }
    (void)fault_service_take_foreign(vcpu->vm->service);
    if (vcpu->vm->ops->trap(vcpu->vm->context, vcpu, true))
        return;
    error = arch_resolve_instruction(&vcpu->arch, vcpu->vm->map, &info);
    if (error == 1) {
        fail_access(vcpu, &info, ARCH_INJECT_CERTAIN);
        return;
    }
    if (error == 0 && count_refusal(vcpu) <= EMULATE_MAX) {
        vcpu->refused_at = clock_thread_ns();
        return;
    }
    arch_vcpu_instruction(&vcpu->arch, vcpu->vm->map, instruction, sizeof(instruction));
    vcpu_end(vcpu, VCPU_END_FAILED, "KVM cannot emulate the instruction %s", instruction);
}

static void
handle_internal_error(struct vcpu *vcpu)
{
    if (vcpu->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
        handle_emulation_failure(vcpu);
    else
        vcpu_end(vcpu, VCPU_END_FAILED, "KVM internal error %u", vcpu->run->internal.suberror);
}

/*
 * What the guest has to read again, because the instruction was undone, comes before the device's.
 * Returns how many elements are left for the device.
 */
static uint32_t
take_input(struct vcpu *vcpu, const struct bus_access *access)
{
    const struct kvm_run *run = vcpu->run;
    size_t size = (size_t)access->size * access->count;

    vcpu->last_input =
        (struct vcpu_last_input){ run->io.port, run->io.size, run->io.count, access->data };
    vcpu->arch.ninputs = run->io.count;
    return (uint32_t)((size - port_input_take(&vcpu->input, run->io.port, access->data, size)) /
                      access->size);
}

static void
handle_io(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct bus_access access = {
        .cpu = vcpu->index,
        .write = run->io.direction == KVM_EXIT_IO_OUT,
        .size = run->io.size,
        .count = run->io.count,
        .data = (uint8_t *)run + run->io.data_offset,
    };
    uint32_t left;
    int error;

    if (!access.write) {
        left = take_input(vcpu, &access);
        access.data = (uint8_t *)access.data + (size_t)(access.count - left) * access.size;
        access.count = left;
        if (left == 0)
            return;
    }
    error = bus_access(vcpu->vm->bus, BUS_PORT, run->io.port, &access);
    if (error == -ENXIO)
        (void)bus_access_absent(vcpu->vm->bus, BUS_PORT, &access); /* never a fault */
    else if (error != 0)
        end_device(vcpu, "port", run->io.port, error);
}

/* A failure that KVM turned into something else (a page table it could not read) is over. */
static void
drop_failure(struct vcpu *vcpu)
{
    struct vm_fault_info stale;

    (void)fault_service_take_failure(vcpu->vm->service, vcpu->index, &stale);
}

void
vcpu_handle_exit(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        drop_failure(vcpu);
        handle_io(vcpu);
        break;
    case KVM_EXIT_MMIO:
        handle_mmio(vcpu);
        break;
    case KVM_EXIT_HLT:
        drop_failure(vcpu);
        vcpu->vm->ops->halt(vcpu->vm->context, vcpu);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_SET_TPR: /* a lower CR8 where there is no local APIC: nothing waits for it */
        break;
    case KVM_EXIT_DEBUG:
        if (!vcpu->vm->ops->trap(vcpu->vm->context, vcpu, false))
            vcpu_end(vcpu, VCPU_END_FAILED, "KVM_EXIT_DEBUG, but nobody debugs");
        break;
    case KVM_EXIT_SHUTDOWN:
        vcpu_end(vcpu, vcpu->vm->cpus.lapic ? VCPU_END_RESET : VCPU_END_CRASHED, "triple fault");
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        handle_internal_error(vcpu);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        vcpu_end(vcpu, VCPU_END_FAILED, "KVM cannot enter the guest: reason 0x%llx",
                 run->fail_entry.hardware_entry_failure_reason);
        break;
    default:
        vcpu_end(vcpu, VCPU_END_FAILED, "unknown KVM exit %u", run->exit_reason);
        break;
    }
}
