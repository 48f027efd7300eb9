/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU threads.
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
#include "vmm/vm/vcpu.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * KVM_RUN that comes back with nothing done is tried again: first at once, then with a pause, and
 * after REFUSED_MAX times in a row at one place, which take some seconds, the VM ends.  In a row:
 * a KVM_RUN that took longer than REFUSED_RUN_NS got somewhere before it failed.
 */
#define REFUSED_QUICK 64u
#define REFUSED_MAX 20000u
#define REFUSED_PAUSE_NS 100000u
#define REFUSED_RUN_NS 1000000u

/* timer_create(2); the C library names it since 2.38 only. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/*
 * A vCPU that has spent this much processor time in KVM_RUN comes out, and when it has not moved
 * from one time to the next, it may be KVM that is not getting anywhere: see handle_interrupt.
 */
#define SPIN_CHECK_NS 200000000
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

/* Who joins a thread kicks it this often, because it may wait where a kick does not reach. */
#define JOIN_KICK_NS 10000000

/* The longest wait between two looks at the clock. */
#define SLEEP_MAX_US 1000000000u

#define VCPU_REQUEST_CHECK 0x1u /* look whether the vCPU makes progress */

#define DESCRIPTION_SIZE 128

static void
signal_handler(int signal)
{
    (void)signal;
}

void
vcpu_signal_setup(void)
{
    struct sigaction action = { .sa_handler = signal_handler };

    sigemptyset(&action.sa_mask);
    (void)sigaction(VCPU_SIGNAL, &action, NULL);
}

int
vcpu_create(struct vcpu_vm *vm, unsigned index, struct vcpu *vcpu, struct failure *error)
{
    int ret;

    *vcpu = (struct vcpu){ .vm = vm, .index = index, .fd = -1, .unexplained_rip = UINT64_MAX };
    vcpu->fd = ioctl(vm->kvm->fd, KVM_CREATE_VCPU, index);
    if (vcpu->fd < 0) {
        ret = -errno;
        return failure_set(error, ret, "cannot create vCPU %u: %s", index,
                           limits_explain(ret).text);
    }
    vcpu->run =
        mmap(NULL, vm->kvm->host->vcpu_mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        ret = -errno;
        close(vcpu->fd);
        vcpu->fd = -1;
        return failure_set(error, ret, "cannot map vCPU %u: %s", index, limits_explain(ret).text);
    }
    vcpu->arch = (struct arch_vcpu){
        .host = vm->kvm->host, .fd = vcpu->fd, .run = vcpu->run, .index = index
    };
    vm_mutex_init(&vcpu->sleep_lock);
    vm_cond_init(&vcpu->sleep_cond);
    return 0;
}

void
vcpu_destroy(struct vcpu *vcpu)
{
    if (vcpu->fd < 0)
        return;
    vm_cond_fini(&vcpu->sleep_cond);
    vm_mutex_fini(&vcpu->sleep_lock);
    munmap(vcpu->run, vcpu->vm->kvm->host->vcpu_mmap_size);
    close(vcpu->fd);
    vcpu->fd = -1;
}

void
vcpu_kick(struct vcpu *vcpu)
{
    if (!atomic_load(&vcpu->started))
        return;
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    (void)pthread_kill(vcpu->thread, VCPU_SIGNAL);
    vm_mutex_lock(&vcpu->sleep_lock);
    vm_cond_broadcast(&vcpu->sleep_cond);
    vm_mutex_unlock(&vcpu->sleep_lock);
}

void
vcpu_sleep_prepare(struct vcpu *vcpu)
{
    vm_mutex_lock(&vcpu->sleep_lock);
    vcpu->woken = false;
    vm_mutex_unlock(&vcpu->sleep_lock);
}

void
vcpu_wake(struct vcpu *vcpu)
{
    vm_mutex_lock(&vcpu->sleep_lock);
    vcpu->woken = true;
    vm_cond_broadcast(&vcpu->sleep_cond);
    vm_mutex_unlock(&vcpu->sleep_lock);
}

/* Wait for the vCPU's condition, until the deadline at most; woken up too early now and then. */
static void
wait_until(struct vcpu *vcpu, uint64_t now, uint64_t deadline) VM_REQUIRES(&vcpu->sleep_lock)
{
    uint64_t us = (deadline - now + 999) / 1000;

    if (deadline == VCPU_NO_DEADLINE)
        vm_cond_wait(&vcpu->sleep_cond, &vcpu->sleep_lock);
    else
        vm_cond_wait_for(&vcpu->sleep_cond, &vcpu->sleep_lock,
                         us < SLEEP_MAX_US ? (unsigned)us : SLEEP_MAX_US);
}

enum vcpu_sleep
vcpu_sleep(struct vcpu *vcpu, uint64_t deadline)
{
    enum vcpu_sleep why = VCPU_WOKEN;
    uint64_t now;

    vm_mutex_lock(&vcpu->sleep_lock);
    while (!vcpu->woken) {
        now = clock_now_ns();
        if (vcpu_vm_is_ending(vcpu->vm) || vcpu_gate_is_closed(&vcpu->vm->gate))
            why = VCPU_INTERRUPTED;
        else if (now >= deadline)
            why = VCPU_TIMED_OUT;
        if (why != VCPU_WOKEN)
            break;
        wait_until(vcpu, now, deadline);
    }
    vm_mutex_unlock(&vcpu->sleep_lock);
    return why;
}

void
vcpu_request_check(struct vcpu *vcpu, gpa_t gpa)
{
    atomic_store(&vcpu->suspect_gpa, gpa_to_u64(gpa));
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_CHECK);
    vcpu_kick(vcpu);
}

enum end_cause {
    END_CRASHED, /* the guest ended itself */
    END_FAILED   /* the host or vkvm failed */
};

/* End the VM, with where the vCPU is behind the reason. */
static void __attribute__((format(printf, 3, 4)))
vcpu_end(struct vcpu *vcpu, enum end_cause cause, const char *format, ...)
{
    char reason[sizeof(struct limits_reason) + 192], where[DESCRIPTION_SIZE];
    char message[sizeof(reason) + sizeof(where) + 32];
    va_list ap;

    va_start(ap, format);
    vsnprintf(reason, sizeof(reason), format, ap);
    va_end(ap);
    arch_vcpu_describe(&vcpu->arch, where, sizeof(where));
    snprintf(message, sizeof(message), "vCPU %u: %s: %s", vcpu->index, reason, where);
    vcpu->vm->ops->end(vcpu->vm->context, cause == END_CRASHED, message);
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
    if (clock_now_ns() - vcpu->refused_at > REFUSED_RUN_NS)
        vcpu->refused.same = 0;
    return watch_position(vcpu, &vcpu->refused);
}

static void
check_progress(struct vcpu *vcpu)
{
    if (watch_position(vcpu, &vcpu->watch) < VCPU_SAME_CHECKS)
        return;
    vcpu_end(vcpu, END_FAILED,
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
    int ret;

    ret = arch_inject_fault(&vcpu->arch, vcpu->vm->map, info, flags, &ninputs);
    if (ret != 0)
        return ret == -EALREADY ? 0 : ret;
    if (ninputs != 0)
        give_back_input(vcpu, ninputs);
    if (ve)
        atomic_fetch_add_explicit(&vcpu->counters.exceptions_ve, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&vcpu->counters.exceptions_pf, 1, memory_order_relaxed);
    return 0;
}

static void
end_undeliverable(struct vcpu *vcpu, const struct vm_fault_info *info, int error)
{
    const char *access = vm_access_name(info->access), *cause = vm_result_name(info->result);
    uint64_t gpa = gpa_to_u64(info->gpa);

    switch (error) {
    case -EBUSY:
        vcpu_end(vcpu, END_CRASHED, "#VE area busy at %s of guest address 0x%" PRIx64 " (%s)",
                 access, gpa, cause);
        break;
    case -ESHUTDOWN:
        vcpu_end(vcpu, END_CRASHED, "triple fault at %s of guest address 0x%" PRIx64 " (%s)",
                 access, gpa, cause);
        break;
    case -ENOTSUP:
        vcpu_end(vcpu, END_FAILED,
                 "cannot undo the instruction %s: %s of guest address 0x%" PRIx64 " (%s)",
                 vcpu->arch.culprit, access, gpa, cause);
        break;
    default:
        vcpu_end(vcpu, END_FAILED,
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
    int ret;

    if (info->result == VM_HOST_FAILURE) {
        vcpu_end(vcpu, END_FAILED, "%s of guest address 0x%" PRIx64 ": %s: %s",
                 vm_access_name(info->access), gpa_to_u64(info->gpa),
                 info->cause != NULL ? info->cause : "host failure",
                 limits_explain_cause(info->cause, info->error).text);
        return;
    }
    ret = inject(vcpu, info, flags);
    if (ret == -EAGAIN && arch_vcpu_position(&vcpu->arch, &rip, &hash) == 0) {
        if (rip != vcpu->unexplained_rip ||
            gpa_to_u64(info->gpa) != gpa_to_u64(vcpu->unexplained_gpa)) {
            vcpu->unexplained_rip = rip;
            vcpu->unexplained_gpa = info->gpa;
            return;
        }
        ret = inject(vcpu, info, flags | ARCH_INJECT_CERTAIN);
    }
    vcpu->unexplained_rip = UINT64_MAX;
    if (ret != 0)
        end_undeliverable(vcpu, info, ret);
}

/* KVM_RUN failed and will be entered again, but not for ever. */
static void
retry_run(struct vcpu *vcpu, const struct refusal *refusal)
{
    unsigned same = count_refusal(vcpu);

    if (same > REFUSED_MAX) {
        vcpu_end(vcpu, END_FAILED, "KVM_RUN fails again and again: %s: %s",
                 strerror(refusal->error), refusal->remedy);
    } else if (same > REFUSED_QUICK) {
        vcpu_sleep_prepare(vcpu);
        (void)vcpu_sleep(vcpu, clock_now_ns() + REFUSED_PAUSE_NS);
    }
    vcpu->refused_at = clock_now_ns();
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

/* KVM_RUN failed. */
static void
handle_error(struct vcpu *vcpu, int error)
{
    struct vm_fault_info info;

    if (error == EFAULT) {
        vcpu->counters.efault++;
        if (fault_service_take_failure(vcpu->vm->service, vcpu->index, &info)) {
            fail_access(vcpu, &info, 0);
            return;
        }
    }
    if (error == EINTR && handle_interrupt(vcpu))
        return;
    for (size_t i = 0; i < REFUSALS; i++) {
        if (refusals[i].error == error) {
            retry_run(vcpu, &refusals[i]);
            return;
        }
    }
    vcpu_end(vcpu, END_FAILED, "KVM_RUN: %s", limits_explain(error).text);
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
    struct vm_fault_info info;
    enum vm_result result;

    if (!take_mmio_failure(vcpu, gpa, prot, &info)) {
        result = access->write ? vm_map_write(map, gpa, access->data, access->size, &info)
                               : vm_map_read(map, gpa, access->data, access->size, &info);
        if (result == VM_OK)
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
    vcpu_end(vcpu, END_FAILED, "the device at %s 0x%" PRIx64 " failed: %s", space, address,
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
        vcpu_end(vcpu, END_FAILED, "KVM_EXIT_MMIO of %u bytes", access.size);
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
    int ret;

    if (fault_service_take_failure(vcpu->vm->service, vcpu->index, &info)) {
        fail_access(vcpu, &info, 0);
        return;
    }
    ret = arch_resolve_instruction(&vcpu->arch, vcpu->vm->map, &info);
    if (ret == 1) {
        fail_access(vcpu, &info, ARCH_INJECT_CERTAIN);
        return;
    }
    if (ret == 0 && count_refusal(vcpu) <= EMULATE_MAX) {
        vcpu->refused_at = clock_now_ns();
        return;
    }
    arch_vcpu_instruction(&vcpu->arch, vcpu->vm->map, instruction, sizeof(instruction));
    vcpu_end(vcpu, END_FAILED, "KVM cannot emulate the instruction %s", instruction);
}

static void
handle_internal_error(struct vcpu *vcpu)
{
    if (vcpu->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
        handle_emulation_failure(vcpu);
    else
        vcpu_end(vcpu, END_FAILED, "KVM internal error %u", vcpu->run->internal.suberror);
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

static void
handle_exit(struct vcpu *vcpu)
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
        break;
    case KVM_EXIT_SHUTDOWN:
        vcpu_end(vcpu, END_CRASHED, "triple fault");
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        handle_internal_error(vcpu);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        vcpu_end(vcpu, END_FAILED, "KVM cannot enter the guest: reason 0x%llx",
                 run->fail_entry.hardware_entry_failure_reason);
        break;
    default:
        vcpu_end(vcpu, END_FAILED, "unknown KVM exit %u", run->exit_reason);
        break;
    }
}

/* Interrupt KVM_RUN from time to time; the timer counts the thread's processor time only. */
static int
start_timer(timer_t *timer)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = VCPU_SIGNAL };
    const struct itimerspec when = { .it_value.tv_nsec = SPIN_CHECK_NS,
                                     .it_interval.tv_nsec = SPIN_CHECK_NS };

    event.sigev_notify_thread_id = gettid();
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, timer) != 0)
        return -errno;
    (void)timer_settime(*timer, 0, &when, NULL);
    return 0;
}

/*
 * The gate is closed.  Rest and return false; or, as long as KVM has something to complete, have
 * the next KVM_RUN do that and return at once.
 */
static bool
pass_closed_gate(struct vcpu *vcpu)
{
    if (!vcpu->incomplete && vcpu->run->kvm_dirty_regs == 0) {
        vcpu_gate_rest(&vcpu->vm->gate);
        return false;
    }
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    return true;
}

/* May KVM_RUN be next?  See vcpu.h for the order. */
static bool
prepare_run(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    if ((atomic_exchange(&vcpu->requests, 0) & VCPU_REQUEST_CHECK) != 0)
        check_progress(vcpu);
    if (vcpu_vm_is_ending(vcpu->vm))
        return false;
    return !vcpu_gate_is_closed(&vcpu->vm->gate) || pass_closed_gate(vcpu);
}

/* One KVM_RUN and its exit. */
static void
run_once(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    int error;

    if (!prepare_run(vcpu))
        return;
    error = ioctl(vcpu->fd, KVM_RUN, NULL) < 0 ? errno : 0;
    vcpu->incomplete =
        error == 0 && (run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO);
    if (vcpu_vm_is_ending(vcpu->vm))
        return;
    if (error != 0)
        handle_error(vcpu, error);
    else
        handle_exit(vcpu);
}

static void *
thread_main(void *argument)
{
    struct vcpu *vcpu = argument;
    struct vcpu_vm *vm = vcpu->vm;
    struct failure error;
    timer_t timer;
    int ret;

    fault_service_attach(vm->service, vcpu->index);
    if (arch_vcpu_init(&vcpu->arch, &vm->start, &error) != 0)
        vm->ops->end(vm->context, false, error.message);
    ret = start_timer(&timer);
    if (ret != 0)
        vcpu_end(vcpu, END_FAILED, "cannot make a timer (ulimit -i is the limit): %s",
                 strerror(-ret));
    while (!vcpu_vm_is_ending(vm))
        run_once(vcpu);
    if (ret == 0)
        (void)timer_delete(timer);
    vcpu_gate_remove(&vm->gate);
    return NULL;
}

int
vcpu_start(struct vcpu *vcpu)
{
    int error;

    vcpu_gate_add(&vcpu->vm->gate);
    error = pthread_create(&vcpu->thread, NULL, thread_main, vcpu);
    if (error != 0) {
        vcpu_gate_remove(&vcpu->vm->gate);
        return -error;
    }
    atomic_store(&vcpu->started, true);
    /* Who had a reason before this could not kick. */
    if (vcpu_vm_is_ending(vcpu->vm) || vcpu_gate_is_closed(&vcpu->vm->gate))
        vcpu_kick(vcpu);
    return 0;
}

bool
vcpu_try_join(struct vcpu *vcpu)
{
    struct timespec until;

    if (!atomic_load(&vcpu->started))
        return true;
    vcpu_kick(vcpu);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += JOIN_KICK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    if (pthread_clockjoin_np(vcpu->thread, NULL, CLOCK_MONOTONIC, &until) != 0)
        return false;
    atomic_store(&vcpu->started, false);
    return true;
}
