/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU threads: made, kicked, put to sleep, run, joined.  vcpu_exit.c has what becomes of an
 * exit.
 */
#include "vmm/vm/vcpu.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/vm/vcpu_exit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* timer_create(2); the C library names it since 2.38 only. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/*
 * A vCPU that has spent this much processor time in KVM_RUN comes out, and when it has not moved
 * from one time to the next, it may be KVM that is not getting anywhere: see handle_interrupt.
 */
#define SPIN_CHECK_NS 200000000

/* Who joins a thread kicks it this often, because it may wait where a kick does not reach. */
#define JOIN_KICK_NS 10000000

/* The longest wait between two looks at the clock. */
#define SLEEP_MAX_US 1000000000u

#define VCPU_REQUEST_CHECK 0x1u /* look whether the vCPU makes progress */
#define VCPU_REQUEST_DEBUG 0x2u /* let the debugger look at the vCPU */

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
vcpu_create(struct vcpu_vm *vm, unsigned index, struct vcpu *vcpu, struct failure *failure)
{
    int error;

    *vcpu = (struct vcpu){ .vm = vm, .index = index, .fd = -1, .unexplained_rip = UINT64_MAX };
    vcpu->fd = ioctl(vm->kvm->fd, KVM_CREATE_VCPU, index);
    if (vcpu->fd < 0) {
        error = -errno;
        return failure_set(failure, error, "cannot create vCPU %u: %s", index,
                           limits_explain(error).text);
    }
    vcpu->run =
        mmap(NULL, vm->kvm->host->vcpu_mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        error = -errno;
        close(vcpu->fd);
        vcpu->fd = -1;
        return failure_set(failure, error, "cannot map vCPU %u: %s", index,
                           limits_explain(error).text);
    }
    vcpu->arch = (struct arch_vcpu){
        .host = vm->kvm->host, .cpus = &vm->cpus, .fd = vcpu->fd, .run = vcpu->run, .index = index
    };
    vcpu->origin = (struct vm_fault_origin){ .who = VM_FAULT_BY_VCPU,
                                             .number = index,
                                             .arrival = VM_FAULT_CAME_EFAULT };
    vcpu->arch.origin = &vcpu->origin;
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

void
vcpu_request_debug(struct vcpu *vcpu)
{
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_DEBUG);
    vcpu_kick(vcpu);
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

bool
vcpu_is_complete(const struct vcpu *vcpu)
{
    return !vcpu->incomplete && vcpu->run->kvm_dirty_regs == 0;
}

/*
 * The gate is closed.  Rest and return false; or, as long as KVM has something to complete, have
 * the next KVM_RUN do that and return at once.
 */
static bool
pass_closed_gate(struct vcpu *vcpu)
{
    if (vcpu_is_complete(vcpu)) {
        vcpu_gate_rest(&vcpu->vm->gate, &vcpu->held);
        return false;
    }
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    return true;
}

/* May KVM_RUN be next?  See vcpu.h for the order. */
static bool
prepare_run(struct vcpu *vcpu)
{
    unsigned requests;

    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    requests = atomic_exchange(&vcpu->requests, 0);
    if ((requests & VCPU_REQUEST_CHECK) != 0)
        vcpu_check_progress(vcpu);
    if ((requests & VCPU_REQUEST_DEBUG) != 0)
        vcpu->vm->ops->look(vcpu->vm->context, vcpu);
    if (vcpu_vm_is_ending(vcpu->vm))
        return false;
    return !vcpu_gate_stops(&vcpu->vm->gate, &vcpu->held) || pass_closed_gate(vcpu);
}

/* Has KVM_RUN returned only because a trace wanted the registers?  They are recorded, whatever. */
static bool
tell_registers(struct vcpu *vcpu, int error)
{
    struct arch_location location, without;
    unsigned newest, count = vcpu_registers_take(vcpu, &location, &newest);

    if (count == 0)
        return false;
    without = location;
    without.linear = UINT64_MAX;
    for (unsigned i = 0; i < count; i++)
        vcpu->vm->ops->located(vcpu->vm->context, vcpu, i == newest ? &location : &without,
                               vcpu->registers.records[i]);
    return error == EINTR;
}

/* One KVM_RUN and its exit. */
static void
run_once(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    int error;

    if (!prepare_run(vcpu))
        return;
    atomic_store(&vcpu->runs, true);
    error = ioctl(vcpu->fd, KVM_RUN, NULL) < 0 ? errno : 0;
    atomic_store(&vcpu->runs, false);
    vcpu->incomplete =
        error == 0 && (run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO);
    if (vcpu_vm_is_ending(vcpu->vm) || tell_registers(vcpu, error))
        return;
    if (error != 0)
        vcpu_handle_error(vcpu, error);
    else
        vcpu_handle_exit(vcpu);
}

static void *
thread_main(void *argument)
{
    struct vcpu *vcpu = argument;
    struct vcpu_vm *vm = vcpu->vm;
    struct failure failure;
    timer_t timer;
    int error;

    vm->ops->begins(vm->context);
    atomic_store(&vcpu->tid, gettid());
    fault_service_attach(vm->service, vcpu->index);
    if (arch_vcpu_init(&vcpu->arch, &vm->start, &failure) != 0)
        vm->ops->end(vm->context, VCPU_END_FAILED, failure.message);
    error = start_timer(&timer);
    if (error != 0)
        vcpu_end(vcpu, VCPU_END_FAILED, "cannot make a timer (ulimit -i is the limit): %s",
                 limits_explain(error).text);
    while (!vcpu_vm_is_ending(vm))
        run_once(vcpu);
    if (error == 0)
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
