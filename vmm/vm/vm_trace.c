/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what the engine tells to records.
 */
#include "vmm/vm/vm_trace.h"

#include "vmm/base/clock.h"
#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* --- Faults ---------------------------------------------------------------- */

static uint64_t
fault_begins(void *context)
{
    (void)context;
    return clock_now_ns();
}

static enum trace_who
who_of(const struct vm_fault_record *fault)
{
    static const enum trace_who whose[] = {
        [VM_FAULT_BY_MONITOR] = TRACE_MONITOR,
        [VM_FAULT_BY_VCPU] = TRACE_VCPU,
        [VM_FAULT_BY_KERNEL] = TRACE_KERNEL,
    };

    if ((fault->flags & VM_FAULT_DEBUGGER) != 0)
        return TRACE_DEBUGGER;
    return fault->origin == NULL ? TRACE_MONITOR : whose[fault->origin->who];
}

static enum trace_arrival
arrival_of(const struct vm_fault_record *fault)
{
    static const enum trace_arrival arrivals[] = {
        [VM_FAULT_CAME_ASKED] = TRACE_FAULT_PAGE, [VM_FAULT_CAME_MISSING] = TRACE_MISSING,
        [VM_FAULT_CAME_MINOR] = TRACE_MINOR,      [VM_FAULT_CAME_PROTECTED] = TRACE_WRITE_PROTECT,
        [VM_FAULT_CAME_EFAULT] = TRACE_EFAULT,    [VM_FAULT_CAME_MMIO] = TRACE_MMIO,
    };

    return fault->origin == NULL ? TRACE_FAULT_PAGE : arrivals[fault->origin->arrival];
}

static enum trace_access
access_of(enum trace_who who, vm_prot_t access)
{
    if (who == TRACE_KERNEL)
        return TRACE_UNKNOWN;
    if (access == VM_PROT_WRITE)
        return TRACE_WRITE;
    return access == VM_PROT_EXECUTE ? TRACE_FETCH : TRACE_READ;
}

static enum trace_resolution
resolution_of(const struct vm_fault_record *fault)
{
    switch (fault->kind) {
    case FAULT_RESIDENT:
        break;
    case FAULT_ZERO_FILL:
        return TRACE_ZERO_FILL;
    case FAULT_PAGE_IN:
        return fault->from_file ? TRACE_FILE_READ : TRACE_SWAP_IN;
    case FAULT_COW:
        return fault->source == fault->slot ? TRACE_MOVED : TRACE_COPIED;
    }
    return TRACE_RESIDENT;
}

static void
fill_walk(const struct vpte_walk *walk, struct trace_fault *to)
{
    to->nvptes = walk->level + 1;
    for (unsigned i = 0; i < to->nvptes; i++) {
        to->vptes[i].before = walk->steps[i].before;
        to->vptes[i].after = walk->steps[i].value;
    }
}

static void
fill_fault(const struct vm_fault_record *fault, enum trace_who who, struct trace_fault *to)
{
    const struct vm_fault_info *info = fault->info;

    to->access = access_of(who, info->access);
    to->arrival = arrival_of(fault);
    to->gpa = gpa_to_u64(info->gpa);
    to->flags = fault->flags;
    to->step = fault->step;
    to->window = fault->walk != NULL;
    to->hardfault = info->hardfault;
    to->result = info->result;
    to->entry_prot = info->entry_prot & VM_PROT_ALL;
    to->prefaulted = info->prefaulted;
    to->below = info->below;
    to->above = info->above;
    to->object = fault->object;
    to->pindex = fault->pindex;
    to->depth = fault->depth;
    to->slot = fault->slot;
    to->source = fault->source;
    memcpy(to->waited, fault->waited, sizeof(to->waited));
    if (fault->walk != NULL)
        fill_walk(fault->walk, to);
    if (info->result == VM_OK)
        to->resolution = resolution_of(fault);
}

/* With --trace-regs: the fault is of a vCPU's own thread, whose KVM_RUN has returned. */
static void
locate_here(struct vm *vm, const struct vm_fault_record *fault, uint64_t sequence)
{
    const struct vm_fault_origin *origin = fault->origin;
    struct arch_location location;
    struct vcpu *vcpu;

    if (origin == NULL || origin->who != VM_FAULT_BY_VCPU ||
        (origin->arrival != VM_FAULT_CAME_EFAULT && origin->arrival != VM_FAULT_CAME_MMIO))
        return;
    vcpu = &vm->vcpus[origin->number];
    if (vcpu_registers_here(vcpu, fault->info->gpa, fault->info->access, &location))
        vm_trace_located(vm, vcpu, &location, sequence);
}

static void
fault_ends(void *context, const struct vm_fault_record *fault)
{
    struct vm *vm = context;
    struct trace_record record;
    uint64_t now = clock_now_ns();

    record.kind = TRACE_FAULT;
    record.time = fault->begun;
    record.who = who_of(fault);
    record.number = fault->origin != NULL ? fault->origin->number : 0;
    record.fault.nvptes = 0;
    record.fault.resolution = TRACE_RESIDENT;
    record.fault.duration = now - fault->begun;
    fill_fault(fault, record.who, &record.fault);
    trace_put(vm->trace.writer, fault->origin != NULL ? fault->origin->lane : NULL, &record);
    if (fault->origin != NULL && fault->origin->record != NULL)
        *fault->origin->record = record.sequence;
    if (vm->config.trace.registers)
        locate_here(vm, fault, record.sequence);
}

/* --- Page-out: the host's, told to all its VMs ------------------------------ */

static void
page_was_out(void *context, const struct vm_pageout_record *page)
{
    struct vm_host *host = context;
    struct vm_trace *trace;
    struct trace_record record = {
        .kind = TRACE_PAGEOUT,
        .time = clock_now_ns(),
        .who = TRACE_MONITOR,
        .pageout = { .object = page->object,
                     .pindex = page->pindex,
                     .slot = page->slot,
                     .written = page->written,
                     .failed = page->failed,
                     .freed = page->freed },
    };

    vm_mutex_lock(&host->trace_lock);
    LIST_FOREACH (trace, &host->traces, link) {
        trace_put(trace->writer, NULL, &record);
    }
    vm_mutex_unlock(&host->trace_lock);
}

void
vm_trace_host_init(struct vm_host *host)
{
    vm_mutex_init(&host->trace_lock);
    LIST_INIT(&host->traces);
    host->pageout_trace = (struct vm_pageout_trace){ .page = page_was_out, .context = host };
}

void
vm_trace_host_fini(struct vm_host *host)
{
    vm_mutex_fini(&host->trace_lock);
}

/* The hooks are there, or not.  By one thread at a time. */
static void
hook(struct vm *vm, bool on)
{
    struct vm_host *host = vm->host;

    vm_mutex_lock(&host->trace_lock);
    if (on)
        LIST_INSERT_HEAD(&host->traces, &vm->trace, link);
    else
        LIST_REMOVE(&vm->trace, link);
    atomic_store(&host->sys.pageout_trace, LIST_EMPTY(&host->traces) ? NULL : &host->pageout_trace);
    vm_mutex_unlock(&host->trace_lock);
    vm_fault_trace_set(&vm->map, on ? &vm->trace.hook : NULL);
    atomic_store(&vm->trace.on, on);
}

/* --- On and off ------------------------------------------------------------ */

bool
vm_trace_is_on(struct vm *vm)
{
    return atomic_load_explicit(&vm->trace.on, memory_order_relaxed);
}

/*
 * The time of an on is before the first fault that sees the hook, that of an off behind the last: so each
 * fault that is recorded was under way at some moment between an on and an off.
 */
int
vm_trace_switch(struct vm *vm, bool on)
{
    struct trace_record record = { .kind = TRACE_SWITCH, .who = TRACE_MONITOR, .switched = { on } };

    if (vm->trace.writer == NULL)
        return -ENOENT;
    if (vm_trace_is_on(vm) == on)
        return -EALREADY;
    if (!on)
        hook(vm, false);
    record.time = clock_now_ns();
    trace_put(vm->trace.writer, NULL, &record);
    if (on)
        hook(vm, true);
    return 0;
}

/* --- What the file says of the VM ------------------------------------------- */

static void
print_machine(FILE *to, const struct machine *machine)
{
    fprintf(to, "machine=%s\nvcpus=%u\n", machine->kind == MACHINE_PC ? "pc" : "vkernel",
            machine->nvcpus);
    for (unsigned i = 0; i < machine->nram; i++)
        fprintf(to, "ram=0x%" PRIx64 "+0x%" PRIx64 "\n", gpa_to_u64(machine->ram[i].start),
                machine->ram[i].size);
    for (unsigned i = 0; i < machine->nwindows; i++)
        fprintf(to, "window=0x%" PRIx64 "+0x%" PRIx64 " %s\n",
                gpa_to_u64(machine->windows[i].start), machine->windows[i].size,
                machine->windows[i].format->name);
}

/* A name with a line's end in it would be two lines. */
static void
print_name(FILE *to, const char *key, const char *name, size_t size)
{
    fputs(key, to);
    for (size_t i = 0; i < size; i++)
        fputc(name[i] == '\n' ? '?' : name[i], to);
    fputc('\n', to);
}

static void
print_files(FILE *to, const struct machine *machine)
{
    for (unsigned i = 0; i < machine->nfiles; i++) {
        const struct machine_file *file = &machine->files[i];
        fprintf(to, "file=0x%" PRIx64 "+0x%" PRIx64, gpa_to_u64(file->start), file->size);
        print_name(to, " ", file->path, file->path_size);
    }
}

static void
print_build_id(FILE *to, const struct vm_trace_config *trace)
{
    if (trace->build_id_size == 0)
        return;
    fputs("build_id=", to);
    for (size_t i = 0; i < trace->build_id_size; i++)
        fprintf(to, "%02x", trace->build_id[i]);
    fputc('\n', to);
}

static void
print_host(FILE *to)
{
    struct utsname host;

    if (uname(&host) == 0)
        fprintf(to, "host=%s %s %s\n", host.sysname, host.release, host.machine);
}

/* NULL without memory. */
static char *
make_header(const struct vm *vm)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL)
        return NULL;
    print_name(to, "program=", vm->config.trace.program, strlen(vm->config.trace.program));
    if (vm->config.trace.image != NULL)
        print_name(to, "image=", vm->config.trace.image, strlen(vm->config.trace.image));
    print_build_id(to, &vm->config.trace);
    fprintf(to, "exact=%d\n", vm->pc == NULL || pc_has_exact_faults(vm->pc));
    if (vm->config.trace.kernel != NULL)
        print_name(to, "kernel=", vm->config.trace.kernel, strlen(vm->config.trace.kernel));
    else if (vm->config.trace.kernel_fd != 0)
        fputs("kernel=recorded\n", to);
    print_host(to);
    print_machine(to, &vm->config.machine);
    print_files(to, &vm->config.machine);
    return fclose(to) == 0 ? text : NULL;
}

/* What --stats prints, in names. */
static void
print_numbers(FILE *to, const struct vm_report *report)
{
    static const char *const meters[] = {
#define METER_NAME(name, text) #name,
        VM_METER_FIELDS(METER_NAME)
#undef METER_NAME
    };
    const struct fault_report *faults = &report->faults;

    for (size_t i = 0; i < sizeof(meters) / sizeof(meters[0]); i++)
        fprintf(to, "%s=%" PRIu64 "\n", meters[i], report->meter[i]);
    fprintf(to,
            "messages=%" PRIu64 "\nmissing=%" PRIu64 "\nminor=%" PRIu64 "\nwrite_protect=%" PRIu64
            "\nforeign=%" PRIu64 "\nresolved=%" PRIu64 "\nfailed=%" PRIu64 "\n",
            faults->messages, faults->missing, faults->minor, faults->write_protect,
            faults->foreign, faults->resolved, faults->failed);
    fprintf(to,
            "exits_mmio=%" PRIu64 "\nexits_efault=%" PRIu64 "\nexceptions_pf=%" PRIu64
            "\nexceptions_ve=%" PRIu64 "\nrun_ns=%" PRIu64 "\n",
            report->exits_mmio, report->exits_efault, report->exceptions_pf, report->exceptions_ve,
            report->run_ns);
}

static void
print_entry(FILE *to, struct vm *vm)
{
    uint64_t lstar = arch_vcpu_syscall_entry(&vm->vcpus[0].arch);

    if (lstar != 0)
        fprintf(to, "lstar=0x%" PRIx64 "\n", lstar);
}

static void
print_kernel(FILE *to, const struct vm *vm)
{
    const struct vm_kernel_events *kernel = &vm->trace.kernel;

    if (vm->config.trace.kernel_fd == 0)
        return;
    fprintf(to, "kernel_events=%" PRIu64 "\n", kernel->events);
    if (kernel->whole)
        fprintf(to, "kernel_lost=%" PRIu64 "\n", kernel->lost);
}

/* --- Life ------------------------------------------------------------------ */

static void
confine_writer(void *context)
{
    vm_confine(context, SANDBOX_TRACE);
}

static void
warn(void *context, const char *message, int error)
{
    const struct vm *vm = context;

    vm_warn_line(vm->config.warn, vm->config.warn_context, message, error);
}

/* Lanes of fault threads, of which there are no more. */
static unsigned
fault_lanes(const struct vm *vm)
{
    return vm->config.fault_threads > vm->config.machine.nvcpus ? vm->config.fault_threads
                                                                : vm->config.machine.nvcpus;
}

/* The kernel's events have the last one. */
static unsigned
kernel_lane(const struct vm *vm)
{
    return vm->config.machine.nvcpus + fault_lanes(vm);
}

static int
start_kernel_events(struct vm *vm, struct failure *failure)
{
    if (vm->config.trace.kernel_fd == 0)
        return 0;
    return vm_kernel_events_start(vm, trace_get_lane(vm->trace.writer, kernel_lane(vm)), failure);
}

int
vm_trace_make(struct vm *vm, struct failure *failure)
{
    const struct vm_trace_config *wanted = &vm->config.trace;
    struct trace_config config = {
        .path = wanted->path,
        .limit = wanted->limit,
        .keep_last = wanted->keep_last,
        .nlanes = kernel_lane(vm) + (wanted->kernel_fd != 0),
        .begins = confine_writer,
        .warn = warn,
        .context = vm,
    };
    char *text;
    int error;

    if (wanted->path == NULL)
        return 0;
    text = make_header(vm);
    if (text == NULL)
        return failure_set(failure, -ENOMEM, "cannot make a trace: %s", strerror(ENOMEM));
    config.text = text;
    error = trace_create(&config, &vm->trace.writer, failure);
    free(text);
    if (error != 0)
        return error;
    vm->trace.hook =
        (struct vm_fault_trace){ .begin = fault_begins, .end = fault_ends, .context = vm };
    for (unsigned i = 0; i < vm->config.machine.nvcpus; i++)
        vm->vcpus[i].origin.lane = trace_get_lane(vm->trace.writer, i);
    if (!wanted->off)
        error = vm_trace_switch(vm, true);
    if (error == 0)
        error = start_kernel_events(vm, failure);
    if (error != 0)
        vm_trace_unmake(vm);
    return error;
}

void
vm_trace_unmake(struct vm *vm)
{
    if (vm->trace.writer == NULL)
        return;
    vm_kernel_events_finish(vm);
    if (vm_trace_is_on(vm))
        hook(vm, false);
    trace_destroy(vm->trace.writer);
    vm->trace.writer = NULL;
}

void
vm_trace_finish(struct vm *vm)
{
    struct vm_report report;
    char *text = NULL;
    size_t size;
    FILE *to;

    if (vm->trace.writer == NULL)
        return;
    vm_kernel_events_finish(vm);
    if (vm_trace_is_on(vm))
        hook(vm, false);
    vm_report_get(vm, &report);
    to = open_memstream(&text, &size);
    if (to != NULL) {
        print_numbers(to, &report);
        print_entry(to, vm);
        print_kernel(to, vm);
        (void)fclose(to);
    }
    trace_finish(vm->trace.writer, text != NULL ? text : "");
    free(text);
}

/* --- The VM's threads ------------------------------------------------------- */

void
vm_trace_put(struct vm *vm, unsigned cpu, struct trace_record *record)
{
    if (!vm_trace_is_on(vm))
        return;
    record->who = TRACE_VCPU;
    record->number = cpu;
    trace_put(vm->trace.writer, trace_get_lane(vm->trace.writer, cpu), record);
}

void *
vm_trace_fault_lane(void *context, unsigned thread)
{
    struct vm *vm = context;

    return vm->trace.writer == NULL
               ? NULL
               : trace_get_lane(vm->trace.writer, vm->config.machine.nvcpus + thread);
}

void
vm_trace_asked(void *context, unsigned cpu, gpa_t gpa, vm_prot_t access)
{
    struct vm *vm = context;

    if (vm_trace_is_on(vm))
        vcpu_registers_ask(&vm->vcpus[cpu], gpa, access);
}

void
vm_trace_answered(void *context, unsigned cpu, uint64_t record)
{
    struct vm *vm = context;

    vcpu_registers_answer(&vm->vcpus[cpu], record);
}

/* A Linux that has moved itself says by this where it is: once, as soon as it is known. */
static void
tell_entry(struct vm *vm, struct vcpu *vcpu)
{
    struct trace_record record = { .kind = TRACE_ENTRY, .time = clock_now_ns() };

    if (atomic_load_explicit(&vm->trace.entry_told, memory_order_relaxed))
        return;
    record.entry.lstar = arch_vcpu_syscall_entry(&vcpu->arch);
    if (record.entry.lstar != 0 && !atomic_exchange(&vm->trace.entry_told, true))
        vm_trace_put(vm, vcpu->index, &record);
}

void
vm_trace_located(void *context, struct vcpu *vcpu, const struct arch_location *location,
                 uint64_t fault)
{
    struct trace_record record = {
        .kind = TRACE_REGISTERS,
        .time = clock_now_ns(),
        .registers = { .fault = fault,
                       .rip = location->rip,
                       .cr3 = location->cr3,
                       .linear = location->linear,
                       .cpl = location->cpl },
    };

    tell_entry(context, vcpu);
    vm_trace_put(context, vcpu->index, &record);
}

void
vm_trace_injected(void *context, const struct vcpu *vcpu, const struct vm_fault_info *info)
{
    struct trace_record record = {
        .kind = TRACE_EXCEPTION,
        .time = clock_now_ns(),
        .exception = { .vector = vcpu->arch.injected_vector,
                       .error_code = vcpu->arch.injected_error_code,
                       .gpa = gpa_to_u64(info->gpa),
                       .result = info->result },
    };

    vm_trace_put(context, vcpu->index, &record);
}
