/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a VM.
 *
 * vm_run's own thread starts the fault threads and the vCPU threads, waits for
 * the end, a signal or the timeout, and joins everybody.  The end comes from any
 * thread by vm_end, which does all that lets the others notice: it sets the stop
 * flag, which ends a guest's call inside the engine (vm_stop.h), kicks the vCPUs,
 * wakes halted ones and vm_run.
 */
#include "vmm/vm/vm.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_parts.h"
#include "vmm/vm/vm_trace.h"
#include "vmm/vm/vm_watch.h"
#include "vmm/vpagetable/vm_budget.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Kicks, 10 ms each, before pages are taken away. */
#define JOIN_TRIES 3

/* How long a reader that takes nothing delays the end of a VM that has begun a line. */
#define OUTPUT_END_MS 200

/* --- making --------------------------------------------------------------- */

int
vm_create(struct vm_host *host, const struct vm_config *config, struct vm **vmp,
          struct failure *failure)
{
    uint64_t started = clock_now_ns();
    struct vm *vm;
    int error;

    vm = calloc(1, sizeof(*vm));
    if (vm == NULL)
        return failure_set(failure, -ENOMEM, "cannot make a VM: %s", limits_explain(ENOMEM).text);
    vm->config = *config;
    vm->host = host;
    vm->started_ns = started;
    error = vm_parts_make(vm, failure);
    if (error != 0) {
        free(vm);
        return error;
    }
    vm->create_ns = clock_now_ns() - started;
    atomic_fetch_add(&host->nvms, 1);
    *vmp = vm;
    return 0;
}

void
vm_destroy(struct vm *vm)
{
    struct vm_host *host = vm->host;

    vm_parts_unmake(vm);
    if (vm->lost_told)
        atomic_fetch_sub(&host->quiet, 1);
    atomic_fetch_sub(&host->nvms, 1);
    free(vm);
}

int
vm_set_start(struct vm *vm, const struct arch_start *start, struct failure *failure)
{
    int error = arch_start_prepare(start, &vm->map, failure);

    vm->shared.start = *start;
    if (error == 0 && vm->pc != NULL)
        error = pc_write_tables(vm->pc, failure);
    return error;
}

struct vm_map *
vm_map_of(struct vm *vm)
{
    return &vm->map;
}

/* --- pausing ---------------------------------------------------------------- */

static void
kick_vcpus(struct vm *vm)
{
    for (unsigned i = 0; i < vm->config.machine.nvcpus; i++)
        vcpu_kick(&vm->vcpus[i]);
}

int
vm_pause_start(struct vm *vm, enum vcpu_pause reason)
{
    int error = vcpu_gate_close(&vm->shared.gate, reason);

    if (error == 0)
        kick_vcpus(vm);
    return error;
}

int
vm_pause(struct vm *vm, enum vcpu_pause reason)
{
    int error = vm_pause_start(vm, reason);

    return error != 0 ? error : vcpu_gate_await_rest(&vm->shared.gate, reason);
}

void
vm_resume(struct vm *vm, enum vcpu_pause reason)
{
    vcpu_gate_open(&vm->shared.gate, reason);
}

/* --- ending --------------------------------------------------------------- */

/* Record the outcome; false when somebody else was first. */
static bool
set_outcome(struct vm *vm, enum vm_end end, int status, const char *format, va_list ap)
{
    bool first;

    vm_mutex_lock(&vm->end_lock);
    first = !vcpu_vm_is_ending(&vm->shared);
    if (first) {
        vm->outcome.end = end;
        vm->outcome.status = status;
        vsnprintf(vm->outcome.message, sizeof(vm->outcome.message), format, ap);
        atomic_store(&vm->shared.ending, true);
    }
    vm_mutex_unlock(&vm->end_lock);
    return first;
}

void
vm_end(struct vm *vm, enum vm_end end, int status, const char *format, ...)
{
    const uint64_t one = 1;
    va_list ap;
    bool first;

    va_start(ap, format);
    first = set_outcome(vm, end, status, format, ap);
    va_end(ap);
    if (!first)
        return;
    vcpu_gate_end(&vm->shared.gate);
    kick_vcpus(vm);
    if (write(vm->ended_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
}

/* --- what the vCPUs ask for ------------------------------------------------ */

/* A vCPU waits for what is outside.  It rests if the VM is to pause, in the midst of its exit. */
static bool
rest_or_give_up(void *context)
{
    struct vm *vm = context;

    vcpu_gate_rest(&vm->shared.gate, NULL);
    return vcpu_vm_is_ending(&vm->shared);
}

static void
end_of_output(struct vm *vm, int error)
{
    if (error != 0 && error != -ECANCELED)
        vm_end(vm, VM_END_FAILED, 0, "cannot write standard output: %s",
               limits_explain(error).text);
}

void
vm_console_write(struct vm *vm, const void *bytes, size_t size)
{
    end_of_output(vm, console_write(&vm->console, bytes, size, rest_or_give_up, vm));
}

void
vm_console_collect(struct vm *vm, const void *bytes, size_t size)
{
    end_of_output(vm, console_collect(&vm->console, bytes, size, rest_or_give_up, vm));
}

void
vm_console_flush(struct vm *vm, int wait_ms)
{
    end_of_output(vm, console_flush(&vm->console, wait_ms));
}

void
vm_confine(struct vm *vm, enum sandbox_thread kind)
{
    int error = vm->host->config.sandbox ? sandbox_enter(kind) : 0;

    if (error != 0)
        vm_end(vm, VM_END_FAILED, 0, "cannot confine a thread: %s: --no-sandbox runs without",
               limits_explain(error).text);
}

static void
on_vcpu_begins(void *context)
{
    vm_confine(context, SANDBOX_VCPU);
}

static void
on_vcpu_end(void *context, enum vcpu_end_cause cause, const char *message)
{
    static const enum vm_end ends[] = {
        [VCPU_END_CRASHED] = VM_END_CRASHED,
        [VCPU_END_RESET] = VM_END_RESET,
        [VCPU_END_FAILED] = VM_END_FAILED,
    };

    vm_end(context, ends[cause], 0, "%s", message);
}

bool
vm_park(struct vm *vm)
{
    return atomic_fetch_add(&vm->nparked, 1) + 1 == vm->config.machine.nvcpus;
}

void
vm_unpark(struct vm *vm)
{
    atomic_fetch_sub(&vm->nparked, 1);
}

void
vm_end_parked(struct vm *vm, unsigned cpu)
{
    char where[128];

    arch_vcpu_describe(&vm->vcpus[cpu].arch, where, sizeof(where));
    vm_end(vm, VM_END_CRASHED, 0,
           "all vCPUs halted or wait for one another; the last was vCPU %u: %s", cpu, where);
}

bool
vm_is_stopping(struct vm *vm)
{
    return vcpu_vm_is_ending(&vm->shared) || vcpu_gate_is_closed(&vm->shared.gate);
}

/* Nothing interrupts a vCPU (there is no interrupt controller), so HLT is for ever. */
static void
on_halt(void *context, struct vcpu *vcpu)
{
    struct vm *vm = context;

    if (vm_park(vm))
        vm_end_parked(vm, vcpu->index);
    while (!vcpu_vm_is_ending(&vm->shared)) {
        vcpu_sleep_prepare(vcpu);
        (void)vcpu_sleep(vcpu, VCPU_NO_DEADLINE);
        vcpu_gate_rest(&vm->shared.gate, &vcpu->held);
    }
}

static bool
on_trap(void *context, struct vcpu *vcpu, bool in_place)
{
    struct vm *vm = context;
    const struct vm_debug_ops *debug = vm->config.debug;

    return debug != NULL && debug->trap(vm->config.debugger, vcpu->index, in_place);
}

static void
on_look(void *context, struct vcpu *vcpu)
{
    struct vm *vm = context;

    vm->config.debug->look(vm->config.debugger, vcpu->index);
}

static const struct vcpu_ops vm_vcpu_ops = {
    .begins = on_vcpu_begins,
    .injected = vm_trace_injected,
    .located = vm_trace_located,
    .halt = on_halt,
    .end = on_vcpu_end,
    .trap = on_trap,
    .look = on_look,
};

/* --- running -------------------------------------------------------------- */

static void
on_fatal(void *context, const char *message)
{
    vm_end(context, VM_END_FAILED, 0, "%s", message);
}

static void
on_kick(void *context, unsigned index)
{
    struct vm *vm = context;

    vcpu_kick(&vm->vcpus[index]);
}

static void
on_suspect(void *context, unsigned index, gpa_t gpa)
{
    struct vm *vm = context;

    vcpu_request_check(&vm->vcpus[index], gpa);
}

static void
on_warning(void *context, const char *message, int error)
{
    const struct vm *vm = context;

    vm_warn_line(vm->config.warn, vm->config.warn_context, message, error);
}

static void
on_fault_thread(void *context)
{
    vm_confine(context, SANDBOX_FAULT);
}

static int
start_service(struct vm *vm)
{
    const struct fault_service_config config = {
        .kvm = &vm->kvm,
        .map = &vm->map,
        .kpmap = vm->kpmap,
        .nvcpus = vm->config.machine.nvcpus,
        .nthreads = vm->config.fault_threads,
        .placement = vm->config.placement,
        .foreign = vm->shared.cpus.lapic && !vm->shared.cpus.exact_faults,
        .fatal = on_fatal,
        .suspect = on_suspect,
        .kick = on_kick,
        .warn = on_warning,
        .asked = vm->config.trace.registers ? vm_trace_asked : NULL,
        .answered = vm->config.trace.registers ? vm_trace_answered : NULL,
        .lane = vm_trace_fault_lane,
        .begins = on_fault_thread,
        .context = vm,
    };

    return fault_service_start(&config, &vm->shared.service);
}

static void
stop_service(struct vm *vm)
{
    fault_service_stop(vm->shared.service, &vm->faults);
    vm->shared.service = NULL;
}

/*
 * The kicks and the stop flag get a vCPU out of wherever it is, but for one that waits inside
 * KVM_RUN for a page on a kernel that does not let a signal end that.  Taking all pages away does;
 * it takes as long as there are pages, so it comes only when the kicks do not help.
 */
static void
join_vcpus(struct vm *vm)
{
    unsigned tries = 0;

    for (unsigned i = 0; i < vm->config.machine.nvcpus; i++) {
        while (!vcpu_try_join(&vm->vcpus[i])) {
            if (++tries == JOIN_TRIES)
                kvm_pmap_abort(vm->kpmap);
        }
    }
}

static void
run_vcpus(struct vm *vm, struct vm_watch *watch)
{
    unsigned i;
    int error = 0;

    vm->run_started_ns = clock_now_ns();
    for (i = 0; i < vm->config.machine.nvcpus && error == 0; i++)
        error = vcpu_start(&vm->vcpus[i]);
    if (error != 0)
        vm_end(vm, VM_END_FAILED, 0, "cannot start a vCPU thread: %s",
               limits_explain_thread(error).text);
    vm_confine(vm, SANDBOX_LOOP);
    vm_watch_run(watch);
    join_vcpus(vm);
    vm_console_flush(vm, OUTPUT_END_MS);
    vm->run_ns = clock_now_ns() - vm->run_started_ns;
    vm->run_started_ns = 0;
}

/* No guest instruction runs any more.  Nothing that may take long comes before this. */
static void
tell_ended(struct vm *vm)
{
    if (vm->config.ended != NULL)
        vm->config.ended(vm->config.ended_context, &vm->outcome);
}

/* No thread of the VM runs any more. */
static void
write_files_back(struct vm *vm)
{
    struct vm_outcome *outcome = &vm->outcome;
    const struct machine_file *file;
    int error;

    error = file_maps_sync_all(&vm->files, &file);
    if (error == 0)
        return;
    if (outcome->end == VM_END_GUEST) {
        outcome->end = VM_END_FAILED;
        snprintf(outcome->message, sizeof(outcome->message),
                 "cannot write back %.*s: %s: modified pages are lost",
                 (int)(file->path_size > 128 ? 128 : file->path_size), file->path,
                 limits_explain(error).text);
    } else {
        vm_warn_line(vm->config.warn, vm->config.warn_context,
                     "modified pages of a mapped file could not be written back", error);
    }
    vm->lost_told = true;
    atomic_fetch_add(&vm->host->quiet, 1);
}

static int
start_disks(struct vm *vm)
{
    return vm->disks == NULL ? 0 : vm_disks_start(vm->disks);
}

/* The VM has ended. */
static void
stop_disks(struct vm *vm)
{
    if (vm->disks != NULL)
        vm_disks_stop(vm->disks);
}

static int
start_debugger(struct vm *vm, struct vm_watch *watch)
{
    const struct vm_debug_ops *debug = vm->config.debug;

    return debug == NULL ? 0 : debug->start(vm->config.debugger, vm, watch->loop);
}

static void
finish_debugger(struct vm *vm)
{
    if (vm->config.debug != NULL)
        vm->config.debug->finish(vm->config.debugger, &vm->outcome);
}

static void
release_debugger(struct vm *vm)
{
    if (vm->config.debug != NULL)
        vm->config.debug->release(vm->config.debugger);
}

void
vm_run(struct vm *vm, struct vm_outcome *outcome)
{
    struct vm_watch watch;
    int error;

    vm->shared.map = &vm->map;
    vm->shared.bus = &vm->bus;
    vm->shared.ops = &vm_vcpu_ops;
    vm->shared.context = vm;
    vcpu_signal_setup();
    error = vm_watch_init(&watch, vm);
    if (error == 0)
        error = start_debugger(vm, &watch);
    if (error == 0)
        error = start_disks(vm);
    if (error == 0)
        error = start_service(vm);
    if (error == 0)
        run_vcpus(vm, &watch);
    else
        vm_end(vm, VM_END_FAILED, 0, "cannot start: %s", limits_explain_thread(error).text);
    finish_debugger(vm);
    /* A signal that comes from here on ends the process: what is left may take long. */
    vm_watch_fini(&watch);
    if (error == 0)
        tell_ended(vm);
    release_debugger(vm);
    stop_disks(vm);
    if (error == 0) {
        kvm_pmap_abort(vm->kpmap);
        stop_service(vm);
        write_files_back(vm);
        vm_trace_finish(vm);
    }
    *outcome = vm->outcome;
}

/* --- reporting ------------------------------------------------------------ */

static void
add_counters(const struct vcpu_counters *counters, struct vm_report *report)
{
    report->exits_mmio += counters->mmio;
    report->exits_efault += counters->efault;
    report->exceptions_pf += counters->exceptions_pf;
    report->exceptions_ve += counters->exceptions_ve;
}

uint64_t
vm_exceptions(struct vm *vm)
{
    uint64_t exceptions = 0;

    for (unsigned i = 0; i < vm->config.machine.nvcpus; i++) {
        struct vcpu_counters *counters = &vm->vcpus[i].counters;

        exceptions += atomic_load_explicit(&counters->exceptions_pf, memory_order_relaxed) +
                      atomic_load_explicit(&counters->exceptions_ve, memory_order_relaxed);
    }
    return exceptions;
}

static void
add_injections(struct vm *vm, struct vm_report *report)
{
    struct vm_inject *inject = &vm->config.inject;

    report->ninjections = inject->nrules;
    for (unsigned i = 0; i < inject->nrules; i++) {
        struct vm_inject_rule *rule = &inject->rules[i];

        report->injections[i] = (struct vm_injection_report){
            .text = rule->text,
            .matched = atomic_load(&rule->matched),
            .injected = atomic_load(&rule->injected),
        };
    }
}

/* How often the guest accessed the first device of that kind. */
static uint64_t
count_exits(const struct vm *vm, enum machine_device_kind kind)
{
    const struct machine_device *device = machine_find_device(&vm->config.machine, kind);

    return device == NULL ? 0 : bus_count(&vm->bus, BUS_PORT, device->port);
}

void
vm_report_get(struct vm *vm, struct vm_report *report)
{
    unsigned i = 0;

    memset(report, 0, sizeof(*report));
    report->run_ns = vm->run_started_ns != 0 ? clock_now_ns() - vm->run_started_ns : vm->run_ns;
    report->create_ns = vm->create_ns;
    report->memory_size = machine_memory_size(&vm->config.machine);
    report->resident_pages = vm_budget_resident(&vm->host->sys);
    report->mapped_pages = pmap_mapped_pages(&vm->pmap);
    report->ram_budget = vm->host->sys.ram_budget == UINT64_MAX ? 0 : vm->host->sys.ram_budget;
    if (vm->host->swap != NULL) {
        report->swap_pages = swap_device_pages(vm->host->swap);
        report->swap_used = swap_device_used(vm->host->swap);
    }
    report->nvcpus = vm->config.machine.nvcpus;
#define COPY_MAP_METER(name, text) report->meter[i++] = vm_meter_get(&vm->map.meter, name);
#define COPY_SYSTEM_METER(name, text) report->meter[i++] = vm_meter_get(&vm->host->sys.meter, name);
    VM_MAP_METER_FIELDS(COPY_MAP_METER)
    VM_SYSTEM_METER_FIELDS(COPY_SYSTEM_METER)
#undef COPY_MAP_METER
#undef COPY_SYSTEM_METER
    report->exits_doorbell = count_exits(vm, MACHINE_DOORBELL);
    report->exits_console = count_exits(vm, MACHINE_CONSOLE);
    for (i = 0; i < vm->config.machine.nvcpus; i++)
        add_counters(&vm->vcpus[i].counters, report);
    add_injections(vm, report);
    if (vm->shared.service != NULL)
        fault_service_report(vm->shared.service, &vm->faults);
    report->faults = vm->faults;
    kvm_pmap_statistics(vm->kpmap, &report->pmap);
}
