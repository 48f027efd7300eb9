/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pausing a VM, its vCPUs' sleep, and what the host refuses it, with mini guests (host_life.S).
 *
 * "For a while" is WHILE_MS: what must not happen is looked for that long, what must happen is
 * waited for without a bound but the VM's own time-out.
 */
#include "tests/kvm/vm_rig.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/clock.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#define WHILE_MS 20
#define PAUSES 40

GUEST(guest_count);
GUEST(guest_input);
GUEST(guest_output);
GUEST(guest_halt_and_count);
GUEST(guest_fresh);
GUEST(guest_exit);
extern const uint8_t guest_input_done[];

/* --- a KVM_RUN that fails -------------------------------------------------------- */

/* The linker's names (ld --wrap).  NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

#define REFUSING_MAX 4

/* vCPUs whose KVM_RUN fails so many times. */
static struct refusing {
    _Atomic int fd; /* 0 = none */
    int error;
    _Atomic unsigned times;
} refusing[REFUSING_MAX];

/* A request that a signal interrupts so many times. */
static _Atomic unsigned long interrupted;
static _Atomic unsigned interruptions;

/* The errno for this KVM_RUN, or 0. */
static int
refusal_of(int fd)
{
    for (size_t i = 0; i < REFUSING_MAX; i++) {
        if (atomic_load(&refusing[i].fd) != fd || atomic_load(&refusing[i].times) == 0)
            continue;
        atomic_fetch_sub(&refusing[i].times, 1);
        return refusing[i].error;
    }
    return 0;
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *argument;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (request == KVM_RUN) {
        errno = refusal_of(fd);
        if (errno != 0)
            return -1;
    }
    if (request == atomic_load(&interrupted) && atomic_load(&interruptions) != 0) {
        atomic_fetch_sub(&interruptions, 1);
        errno = EINTR;
        return -1;
    }
    return __real_ioctl(fd, request, argument);
}

int __real_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);

/* A lock, and how often it was asked for by readers. */
static const struct vm_rwlock *_Atomic asked_lock;
static _Atomic unsigned asked;

int
__wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    const struct vm_rwlock *all = atomic_load(&asked_lock);

    if (all != NULL && lock >= &all->parts[0].rwlock && lock <= &all->parts[VM_PARTS - 1].rwlock)
        atomic_fetch_add(&asked, 1);
    return __real_pthread_rwlock_rdlock(lock);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void
refuse_runs(size_t index, const struct vm *vm, int error, unsigned times)
{
    refusing[index].error = error;
    atomic_store(&refusing[index].times, times);
    atomic_store(&refusing[index].fd, vm->vcpus[0].fd);
}

static void
refuse_no_more(void)
{
    for (size_t i = 0; i < REFUSING_MAX; i++)
        atomic_store(&refusing[i].fd, 0);
}

/* --- VMs that run in the background ------------------------------------------------ */

/* A VM that runs in a thread of its own. */
struct running {
    struct vm *vm;
    struct vm_outcome outcome;
    pthread_t thread;
};

static struct vm_config
life_config(void)
{
    struct vm_config config = default_config();

    config.timeout_ms = 120000; /* the lane is slow, and so is a busy host */
    return config;
}

static void
sleep_ms(long ms)
{
    const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

static void *
run_thread(void *argument)
{
    struct running *r = argument;

    r->outcome = run_vm(r->vm);
    return NULL;
}

static void
start(struct running *r, struct vm *vm)
{
    *r = (struct running){ .vm = vm };
    vm->config.detached = true; /* several may run at once */
    if (pthread_create(&r->thread, NULL, run_thread, r) != 0)
        die("pthread_create", "failed");
}

/* End it, unless it has ended, and take its outcome. */
static struct vm_outcome
finish(struct running *r)
{
    vm_end(r->vm, VM_END_GUEST, 77, "done");
    pthread_join(r->thread, NULL);
    destroy_vm(r->vm);
    return r->outcome;
}

static uint64_t
count_of(struct vm *vm, unsigned index)
{
    uint64_t count;

    get(vm, GUEST_RECORD + 8 * index, &count, sizeof(count));
    return count;
}

/* Wait until the vCPU has counted on, or the VM has ended. */
static void
await_count(struct verdict *v, struct vm *vm, unsigned index)
{
    uint64_t count = count_of(vm, index);

    while (count_of(vm, index) == count && !vcpu_vm_is_ending(&vm->shared))
        sleep_ms(1);
    CHECK(v, !vcpu_vm_is_ending(&vm->shared), "vCPU %u counts no more", index);
}

static void
expect_rest(struct verdict *v, struct vm *vm, unsigned nvcpus)
{
    uint64_t before[4];

    for (unsigned i = 0; i < nvcpus; i++)
        before[i] = count_of(vm, i);
    sleep_ms(WHILE_MS);
    for (unsigned i = 0; i < nvcpus; i++)
        CHECK_EQ(v, count_of(vm, i), before[i]);
}

/* --- pausing ------------------------------------------------------------------- */

static void
paused_vcpus_execute_nothing_and_run_on(struct verdict *v)
{
    struct vm_config config = life_config();
    struct vm_outcome outcome;
    struct running r;

    config.machine.nvcpus = 2;
    start(&r, make_vm(&config, guest_count, guest_count_end));
    for (int i = 0; i < 3; i++) {
        await_count(v, r.vm, 0);
        await_count(v, r.vm, 1);
        CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_DEBUG), 0);
        expect_rest(v, r.vm, 2);
        vm_resume(r.vm, VCPU_PAUSE_DEBUG);
    }
    await_count(v, r.vm, 0);
    await_count(v, r.vm, 1);
    outcome = finish(&r);
    expect_exit(v, &outcome, 77);
}

static void
vcpus_run_on_when_the_last_reason_is_gone(struct verdict *v)
{
    static const enum vcpu_pause order[][2] = { { VCPU_PAUSE_DEBUG, VCPU_PAUSE_SNAPSHOT },
                                                { VCPU_PAUSE_SNAPSHOT, VCPU_PAUSE_DEBUG } };
    struct vm_config config = life_config();
    struct vm_outcome outcome;
    struct running r;

    start(&r, make_vm(&config, guest_count, guest_count_end));
    for (size_t i = 0; i < COUNT(order); i++) {
        await_count(v, r.vm, 0);
        CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_DEBUG), 0);
        CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_SNAPSHOT), 0);
        CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_SNAPSHOT), -EALREADY);
        vm_resume(r.vm, order[i][0]);
        vm_resume(r.vm, order[i][0]); /* not there any more: nothing */
        expect_rest(v, r.vm, 1);
        vm_resume(r.vm, order[i][1]);
    }
    await_count(v, r.vm, 0);
    outcome = finish(&r);
    expect_exit(v, &outcome, 77);
}

/* rbx counts what was read; only behind the `in` it is one behind. */
static void
expect_whole_instructions(struct verdict *v, struct vm *vm)
{
    const uint64_t done = GUEST_CODE + (uint64_t)(guest_input_done - guest_input);
    struct vm_report report;
    struct kvm_regs regs;

    if (ioctl(vm->vcpus[0].fd, KVM_GET_REGS, &regs) != 0)
        die("KVM_GET_REGS", strerror(errno));
    vm_report_get(vm, &report);
    CHECK_EQ(v, regs.rbx + (regs.rip == done), report.exits_console);
    CHECK(v, !vm->vcpus[0].incomplete, "an access is incomplete");
}

static void
what_a_paused_vcpu_has_read_is_in_its_registers(struct verdict *v)
{
    const struct vm_config config = life_config();
    struct vm_outcome outcome;
    struct running r;

    start(&r, make_vm(&config, guest_input, guest_input_end));
    for (int i = 0; i < PAUSES; i++) {
        sleep_ms(1);
        CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_SNAPSHOT), 0);
        expect_whole_instructions(v, r.vm);
        vm_resume(r.vm, VCPU_PAUSE_SNAPSHOT);
    }
    outcome = finish(&r);
    expect_exit(v, &outcome, 77);
}

static void
a_vm_paused_before_it_runs_executes_nothing_until_it_is_resumed(struct verdict *v)
{
    const struct vm_config config = life_config();
    struct vm *vm = make_vm(&config, guest_exit, guest_exit_end);
    struct running r;

    CHECK_EQ(v, vm_pause(vm, VCPU_PAUSE_DEBUG), 0);
    start(&r, vm);
    sleep_ms(WHILE_MS);
    CHECK(v, !vcpu_vm_is_ending(&vm->shared), "it ran");
    vm_resume(vm, VCPU_PAUSE_DEBUG);
    pthread_join(r.thread, NULL);
    expect_exit(v, &r.outcome, 5);
    destroy_vm(vm);
}

static void
a_halted_vcpu_is_at_rest_too(struct verdict *v)
{
    struct vm_config config = life_config();
    struct vm_outcome outcome;
    struct running r;

    config.machine.nvcpus = 2;
    start(&r, make_vm(&config, guest_halt_and_count, guest_halt_and_count_end));
    await_count(v, r.vm, 1);
    while (atomic_load(&r.vm->nparked) == 0)
        sleep_ms(1);
    CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_STOP), 0);
    expect_rest(v, r.vm, 2);
    vm_resume(r.vm, VCPU_PAUSE_STOP);
    await_count(v, r.vm, 1);
    outcome = finish(&r);
    expect_exit(v, &outcome, 77);
}

/* A pipe that takes nothing more. */
static void
make_full_pipe(int ends[2])
{
    static const char fill[65536];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        die("pipe2", strerror(errno));
    while (write(ends[1], fill, sizeof(fill)) > 0)
        continue;
    (void)fcntl(ends[1], F_SETFL, 0);
}

static void
a_vcpu_whose_output_is_stuck_is_at_rest_and_says_so(struct verdict *v)
{
    const struct vm_config config = life_config();
    int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10), ends[2];
    struct vm_outcome outcome;
    struct vm_report report;
    struct running r;

    make_full_pipe(ends);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    start(&r, make_vm(&config, guest_output, guest_output_end));
    do {
        sleep_ms(1);
        vm_report_get(r.vm, &report);
    } while (report.exits_console == 0);
    CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_STOP), 0);
    CHECK(v, r.vm->vcpus[0].incomplete, "nothing is incomplete");
    vm_resume(r.vm, VCPU_PAUSE_STOP);
    outcome = finish(&r);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    expect_exit(v, &outcome, 77);
}

/* --- pausing while a fault has no answer ---------------------------------------- */

struct pauser {
    struct vm *vm;
    _Atomic bool done;
    int result;
    pthread_t thread;
};

static void *
pause_thread(void *argument)
{
    struct pauser *p = argument;

    p->result = vm_pause(p->vm, VCPU_PAUSE_DEBUG);
    atomic_store(&p->done, true);
    return NULL;
}

/*
 * Hold up every fault, by the map's lock, let a vCPU run into one, and pause.
 * Locks: the map's M is held on return.
 */
static void
pause_in_fault(struct running *r, struct pauser *p) VM_NO_LOCK_ANALYSIS
{
    const struct vm_config config = life_config();
    struct vm *vm = make_vm(&config, guest_fresh, guest_fresh_end);

    *p = (struct pauser){ .vm = vm };
    vm_rwlock_write_lock(&vm->map.lock);
    atomic_store(&asked, 0);
    atomic_store(&asked_lock, &vm->map.lock);
    start(r, vm);
    while (atomic_load(&asked) == 0)
        sleep_ms(1);
    atomic_store(&asked_lock, NULL);
    if (pthread_create(&p->thread, NULL, pause_thread, p) != 0)
        die("pthread_create", "failed");
    while (!vcpu_gate_is_closed(&vm->shared.gate))
        sleep_ms(1);
    sleep_ms(WHILE_MS);
}

/* Since Linux 6.2 a signal ends KVM's wait for a page, where there is a second stage. */
static bool
signals_end_faults(void)
{
    struct utsname host;
    unsigned major = 0, minor = 0;

    if (uname(&host) != 0 || sscanf(host.release, "%u.%u", &major, &minor) != 2)
        die("uname", "failed");
    return major > 6 || (major == 6 && minor >= 2);
}

/* The wait for a pause was ended, unless all were at rest before. */
static void
expect_cancelled(struct verdict *v, const struct pauser *p)
{
    CHECK(v, p->result == -ECANCELED || (p->result == 0 && signals_end_faults()), "%d", p->result);
}

static void
a_vcpu_that_waits_for_a_fault_rests_with_the_answer(struct verdict *v) VM_NO_LOCK_ANALYSIS
{
    struct vm_outcome outcome;
    struct running r;
    struct pauser p;

    pause_in_fault(&r, &p);
    CHECK(v, !atomic_load(&p.done) || signals_end_faults(), "at rest in the midst of a fault");
    vm_rwlock_write_unlock(&r.vm->map.lock);
    pthread_join(p.thread, NULL);
    CHECK_EQ(v, p.result, 0);
    vm_resume(r.vm, VCPU_PAUSE_DEBUG);
    outcome = finish(&r);
    expect_exit(v, &outcome, 77);
}

static void
resuming_ends_the_wait_for_a_pause(struct verdict *v) VM_NO_LOCK_ANALYSIS
{
    struct vm_outcome outcome;
    struct running r;
    struct pauser p;

    pause_in_fault(&r, &p);
    vm_resume(r.vm, VCPU_PAUSE_DEBUG);
    pthread_join(p.thread, NULL);
    expect_cancelled(v, &p);
    vm_rwlock_write_unlock(&r.vm->map.lock);
    outcome = finish(&r);
    expect_exit(v, &outcome, 77);
}

static void
the_end_ends_the_wait_for_a_pause(struct verdict *v) VM_NO_LOCK_ANALYSIS
{
    struct vm_outcome outcome;
    struct running r;
    struct pauser p;

    pause_in_fault(&r, &p);
    vm_end(r.vm, VM_END_CRASHED, 0, "ended");
    pthread_join(p.thread, NULL);
    expect_cancelled(v, &p);
    vm_rwlock_write_unlock(&r.vm->map.lock);
    outcome = finish(&r);
    expect_end(v, &outcome, VM_END_CRASHED, "ended");
}

static void
a_paused_vm_can_end(struct verdict *v)
{
    struct vm_config config = life_config();
    struct running r;

    config.machine.nvcpus = 2;
    config.timeout_ms = 100;
    start(&r, make_vm(&config, guest_count, guest_count_end));
    CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_DEBUG), 0);
    pthread_join(r.thread, NULL);
    expect_end(v, &r.outcome, VM_END_TIMEOUT, "100 ms");
    CHECK_EQ(v, vm_pause(r.vm, VCPU_PAUSE_STOP), -ECANCELED);
    destroy_vm(r.vm);
}

/* --- sleeping ------------------------------------------------------------------- */

/* A vCPU of no VM, whose thread only sleeps. */
struct sleeper {
    struct vcpu_vm vm;
    struct kvm_run *run;
    struct vcpu vcpu;
    uint64_t deadline;
    enum vcpu_sleep why;
};

static void *
sleep_thread(void *argument)
{
    struct sleeper *s = argument;

    s->why = vcpu_sleep(&s->vcpu, s->deadline);
    return NULL;
}

static void
sleeper_start(struct sleeper *s, uint64_t deadline)
{
    *s = (struct sleeper){ .deadline = deadline, .run = calloc(1, sizeof(*s->run)) };
    vcpu_signal_setup();
    vcpu_gate_init(&s->vm.gate, NULL, NULL);
    s->vcpu = (struct vcpu){ .vm = &s->vm, .run = s->run };
    vm_mutex_init(&s->vcpu.sleep_lock);
    vm_cond_init(&s->vcpu.sleep_cond);
    vcpu_sleep_prepare(&s->vcpu);
    if (pthread_create(&s->vcpu.thread, NULL, sleep_thread, s) != 0)
        die("pthread_create", "failed");
    atomic_store(&s->vcpu.started, true);
}

static enum vcpu_sleep
sleeper_finish(struct sleeper *s)
{
    pthread_join(s->vcpu.thread, NULL);
    vm_cond_fini(&s->vcpu.sleep_cond);
    vm_mutex_fini(&s->vcpu.sleep_lock);
    vcpu_gate_fini(&s->vm.gate);
    free(s->run);
    return s->why;
}

static void
a_sleep_ends_by_a_wake_up_its_deadline_a_pause_or_the_end(struct verdict *v)
{
    struct sleeper s;

    sleeper_start(&s, VCPU_NO_DEADLINE);
    vcpu_wake(&s.vcpu);
    CHECK_EQ(v, sleeper_finish(&s), VCPU_WOKEN);

    sleeper_start(&s, clock_now_ns() + 1000000);
    CHECK_EQ(v, sleeper_finish(&s), VCPU_TIMED_OUT);

    sleeper_start(&s, VCPU_NO_DEADLINE);
    sleep_ms(1);
    CHECK_EQ(v, vcpu_gate_close(&s.vm.gate, VCPU_PAUSE_STOP), 0);
    vcpu_kick(&s.vcpu);
    CHECK_EQ(v, sleeper_finish(&s), VCPU_INTERRUPTED);

    sleeper_start(&s, VCPU_NO_DEADLINE);
    sleep_ms(1);
    atomic_store(&s.vm.ending, true);
    vcpu_kick(&s.vcpu);
    CHECK_EQ(v, sleeper_finish(&s), VCPU_INTERRUPTED);
}

/* --- what the host refuses ------------------------------------------------------ */

/* All at once, because each takes some seconds. */
static void
a_vcpu_that_is_never_let_run_ends_its_vm_with_cause_and_remedy(struct verdict *v)
{
    static const struct {
        int error;
        const char *remedy;
    } cases[] = {
        { EAGAIN, "raise RLIMIT_NPROC" },
        { EFAULT, "report it" },
        { EINTR, "signals" },
    };
    const struct vm_config config = life_config();
    struct running r[COUNT(cases)];

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct vm *vm = make_vm(&config, guest_exit, guest_exit_end);

        refuse_runs(i, vm, cases[i].error, UINT32_MAX);
        start(&r[i], vm);
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        pthread_join(r[i].thread, NULL);
        expect_end(v, &r[i].outcome, VM_END_FAILED, cases[i].remedy);
        expect_end(v, &r[i].outcome, VM_END_FAILED, strerror(cases[i].error));
        destroy_vm(r[i].vm);
    }
    refuse_no_more();
}

static void
a_vcpu_that_is_let_run_after_a_while_runs(struct verdict *v)
{
    static const int errors[] = { EAGAIN, EFAULT, EINTR };
    const struct vm_config config = life_config();

    for (size_t i = 0; i < COUNT(errors); i++) {
        struct vm *vm = make_vm(&config, guest_exit, guest_exit_end);
        struct vm_outcome outcome;

        refuse_runs(0, vm, errors[i], 200);
        outcome = run_vm(vm);
        expect_exit(v, &outcome, 5);
        destroy_vm(vm);
    }
    refuse_no_more();
}

static void
an_error_that_is_not_tried_again_ends_the_vm_at_once(struct verdict *v)
{
    static const int errors[] = { ENOMEM, EINVAL, EIO, ENXIO, EPERM };
    const struct vm_config config = life_config();

    for (size_t i = 0; i < COUNT(errors); i++) {
        struct vm *vm = make_vm(&config, guest_exit, guest_exit_end);
        struct vm_outcome outcome;

        refuse_runs(0, vm, errors[i], 1);
        outcome = run_vm(vm);
        expect_end(v, &outcome, VM_END_FAILED, "KVM_RUN: ");
        expect_end(v, &outcome, VM_END_FAILED, strerror(errors[i]));
        destroy_vm(vm);
    }
    refuse_no_more();
}

static void
an_interrupted_call_of_kvm_is_made_again_but_not_without_end(struct verdict *v)
{
    static const unsigned long requests[] = { KVM_CREATE_VM, KVM_SET_USER_MEMORY_REGION };
    const struct vm_config config = life_config();
    const struct vm_host_config host_config = default_host_config();
    struct vm_host *host = make_host(&host_config);
    struct failure failure = { .code = 0 };
    struct vm *vm = NULL;

    for (size_t i = 0; i < COUNT(requests); i++) {
        atomic_store(&interrupted, requests[i]);
        atomic_store(&interruptions, 100);
        CHECK_EQ(v, vm_create(host, &config, &vm, &failure), 0);
        vm_destroy(vm);
        atomic_store(&interruptions, UINT32_MAX);
        CHECK_EQ(v, vm_create(host, &config, &vm, &failure), -EINTR);
        CHECK(v, strstr(failure.message, strerror(EINTR)) != NULL, "\"%s\"", failure.message);
    }
    atomic_store(&interruptions, 0);
    vm_host_destroy(host);
}

/* --- main ---------------------------------------------------------------------- */

static const struct test tests[] = {
    TEST(paused_vcpus_execute_nothing_and_run_on),
    TEST(vcpus_run_on_when_the_last_reason_is_gone),
    TEST(what_a_paused_vcpu_has_read_is_in_its_registers),
    TEST(a_vm_paused_before_it_runs_executes_nothing_until_it_is_resumed),
    TEST(a_halted_vcpu_is_at_rest_too),
    TEST(a_vcpu_whose_output_is_stuck_is_at_rest_and_says_so),
    TEST(a_vcpu_that_waits_for_a_fault_rests_with_the_answer),
    TEST(resuming_ends_the_wait_for_a_pause),
    TEST(the_end_ends_the_wait_for_a_pause),
    TEST(a_paused_vm_can_end),
    TEST(a_sleep_ends_by_a_wake_up_its_deadline_a_pause_or_the_end),
    TEST(a_vcpu_that_is_never_let_run_ends_its_vm_with_cause_and_remedy),
    TEST(a_vcpu_that_is_let_run_after_a_while_runs),
    TEST(an_error_that_is_not_tried_again_ends_the_vm_at_once),
    TEST(an_interrupted_call_of_kvm_is_made_again_but_not_without_end),
};

int
main(int argc, char **argv)
{
    return run_tests("host_life", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
