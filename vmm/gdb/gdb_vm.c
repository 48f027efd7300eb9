/* SPDX-License-Identifier: BSD-2-Clause */
/* See gdb_vm.h. */
#include "vmm/gdb/gdb_vm.h"

#include "vmm/vm/vm_internal.h"
#include "vmm/vpagetable/vm_peek.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct vcpu *
vcpu_of(const struct gdb_vm *target, unsigned cpu)
{
    return &target->vm->vcpus[cpu];
}

static unsigned
ncpus(void *context)
{
    const struct gdb_vm *target = context;

    return target->vm->config.machine.nvcpus;
}

static int
refuse(char *why, int error, const char *text)
{
    snprintf(why, GDB_WHY_SIZE, "%s", text);
    return error;
}

/* --- registers ---------------------------------------------------------------------- */

static int
get_registers(void *context, unsigned cpu, uint8_t *bytes)
{
    return arch_debug_get_registers(&vcpu_of(context, cpu)->arch, bytes);
}

static int
set_registers(void *context, unsigned cpu, const uint8_t *bytes)
{
    return arch_debug_set_registers(&vcpu_of(context, cpu)->arch, bytes);
}

static void
describe(void *context, unsigned cpu, char *to, size_t size)
{
    const struct gdb_vm *target = context;
    uint64_t pc;

    if (arch_debug_pc(&vcpu_of(target, cpu)->arch, &pc) == 0)
        snprintf(to, size, "vCPU %u at 0x%" PRIx64, cpu, pc);
    else
        snprintf(to, size, "vCPU %u", cpu);
}

/* --- software breakpoints ----------------------------------------------------------- */

static struct gdb_breakpoint *
find_breakpoint(struct gdb_vm *target, uint64_t address)
{
    for (unsigned i = 0; i < target->nbreakpoints; i++) {
        if (target->breakpoints[i].address == address)
            return &target->breakpoints[i];
    }
    return NULL;
}

/* Another one in the same byte, seen under another address. */
static const struct gdb_breakpoint *
find_alias(const struct gdb_vm *target, const struct gdb_breakpoint *of)
{
    for (unsigned i = 0; i < target->nbreakpoints; i++) {
        const struct gdb_breakpoint *other = &target->breakpoints[i];

        if (other != of && gpa_to_u64(other->gpa) == gpa_to_u64(of->gpa))
            return other;
    }
    return NULL;
}

static void
add_breakpoint(struct gdb_vm *target, const struct gdb_breakpoint *breakpoint)
{
    vm_mutex_lock(&target->lock);
    target->breakpoints[target->nbreakpoints++] = *breakpoint;
    vm_mutex_unlock(&target->lock);
}

static void
drop_breakpoint(struct gdb_vm *target, struct gdb_breakpoint *breakpoint)
{
    vm_mutex_lock(&target->lock);
    *breakpoint = target->breakpoints[--target->nbreakpoints];
    vm_mutex_unlock(&target->lock);
}

static int
insert_software(struct gdb_vm *target, unsigned cpu, uint64_t address, char *why)
{
    const uint8_t instruction = ARCH_DEBUG_BREAKPOINT;
    struct gdb_breakpoint breakpoint = { .address = address };
    const struct gdb_breakpoint *alias;
    struct vm_peek_info info;
    size_t room;
    int error;

    if (find_breakpoint(target, address) != NULL)
        return 0;
    if (target->nbreakpoints == GDB_VM_BREAKPOINTS)
        return refuse(why, -ENOSPC, "too many breakpoints: delete some");
    if (gdb_vm_translate(target, cpu, address, &breakpoint.gpa, &room) != 0)
        return refuse(why, -EFAULT, "the guest's page tables do not map the address");
    if (vm_peek(vm_map_of(target->vm), breakpoint.gpa, &breakpoint.original, 1, &info) != VM_OK)
        return refuse(why, -EFAULT, "no memory is there");
    if (info.writeback && !gdb_walk_to(target, GDB_POINT_SOFTWARE))
        return refuse(why, -EOPNOTSUPP,
                      "the page belongs to a shared file, which others see: use hbreak");
    alias = find_alias(target, &breakpoint);
    breakpoint.written = !gdb_walk_to(target, GDB_POINT_SOFTWARE);
    if (alias != NULL) {
        breakpoint.original = alias->original;
    } else if (breakpoint.written) {
        error = gdb_vm_poke(target, breakpoint.gpa, &instruction, 1, why);
        if (error != 0)
            return error;
    }
    add_breakpoint(target, &breakpoint);
    return 0;
}

/* What the guest itself has put there since stays. */
static int
take_out(struct gdb_vm *target, struct gdb_breakpoint *breakpoint, char *why)
{
    struct vm_peek_info info;
    uint8_t byte = 0;
    int error = 0;

    if (breakpoint->written && find_alias(target, breakpoint) == NULL &&
        vm_peek(vm_map_of(target->vm), breakpoint->gpa, &byte, 1, &info) == VM_OK &&
        byte == ARCH_DEBUG_BREAKPOINT)
        error = gdb_vm_poke(target, breakpoint->gpa, &breakpoint->original, 1, why);
    if (error == 0)
        drop_breakpoint(target, breakpoint);
    return error;
}

/* --- the processor's points ----------------------------------------------------------- */

static bool
same_watch(const struct gdb_watch *a, const struct gdb_watch *b)
{
    return a->kind == b->kind && a->address == b->address && a->size == b->size;
}

static void
remove_watch(struct gdb_vm *target, const struct gdb_watch *watch)
{
    struct arch_debug *debug = &target->debug;
    unsigned left = 0;

    for (unsigned i = 0; i < debug->npoints; i++) {
        if (same_watch(&target->watches[i], watch))
            continue;
        target->watches[left] = target->watches[i];
        debug->points[left++] = debug->points[i];
    }
    debug->npoints = left;
}

/* The largest piece that the processor can watch at the address. */
static unsigned
piece_size(uint64_t address, uint64_t left)
{
    unsigned size = 8;

    while (size > left || address % size != 0)
        size /= 2;
    return size;
}

static int
insert_watch(struct gdb_vm *target, const struct gdb_watch *watch, char *why)
{
    struct arch_debug *debug = &target->debug;
    enum arch_debug_kind kind = watch->kind == GDB_POINT_WRITE    ? ARCH_DEBUG_WRITE
                                : watch->kind == GDB_POINT_ACCESS ? ARCH_DEBUG_ACCESS
                                                                  : ARCH_DEBUG_EXECUTE;
    unsigned size;

    remove_watch(target, watch);
    for (uint64_t done = 0; done < watch->size; done += size) {
        if (debug->npoints == ARCH_DEBUG_MAX_POINTS) {
            remove_watch(target, watch);
            return refuse(why, -ENOSPC,
                          "the processor has 4 breakpoints and watchpoints, of 8 bytes each");
        }
        size =
            kind == ARCH_DEBUG_EXECUTE ? 1 : piece_size(watch->address + done, watch->size - done);
        target->watches[debug->npoints] = *watch;
        debug->points[debug->npoints++] =
            (struct arch_debug_point){ kind, watch->address + done, size };
    }
    return 0;
}

/* In any ring: which one the code will run in nobody knows. */
static bool
can_stop_at(const struct gdb_vm *target, enum gdb_point kind)
{
    const struct arch_debug_abilities *can = &target->abilities;

    if (gdb_walk_to(target, kind))
        return true;
    return kind == GDB_POINT_HARDWARE ? can->kernel.points || can->user.points
                                      : can->kernel.watches || can->user.watches;
}

static int
insert(void *context, unsigned cpu, enum gdb_point kind, uint64_t address, uint64_t size, char *why)
{
    struct gdb_vm *target = context;
    struct gdb_watch watch = { kind, address, kind == GDB_POINT_HARDWARE ? 1 : size };

    if (kind == GDB_POINT_SOFTWARE)
        return insert_software(target, cpu, address, why);
    if (!can_stop_at(target, kind))
        return refuse(why, -EOPNOTSUPP,
                      kind == GDB_POINT_HARDWARE
                          ? "this host's KVM does not stop at hardware breakpoints: use break"
                          : "this host's KVM does not stop at watchpoints: use a host with nested "
                            "paging");
    if (size == 0 && kind != GDB_POINT_HARDWARE)
        return refuse(why, -EINVAL, "nothing to watch");
    return insert_watch(target, &watch, why);
}

static int
remove_point(void *context, unsigned cpu, enum gdb_point kind, uint64_t address, uint64_t size,
             char *why)
{
    struct gdb_vm *target = context;
    const struct gdb_watch watch = { kind, address, kind == GDB_POINT_HARDWARE ? 1 : size };
    struct gdb_breakpoint *breakpoint;

    (void)cpu;
    if (kind != GDB_POINT_SOFTWARE) {
        remove_watch(target, &watch);
        return 0;
    }
    breakpoint = find_breakpoint(target, address);
    return breakpoint == NULL ? 0 : take_out(target, breakpoint, why);
}

/* One that cannot be taken out is left: its page is gone, or the VM ends. */
static void
remove_all(void *context)
{
    struct gdb_vm *target = context;
    char why[GDB_WHY_SIZE];

    while (target->nbreakpoints != 0) {
        struct gdb_breakpoint *last = &target->breakpoints[target->nbreakpoints - 1];

        if (take_out(target, last, why) != 0)
            drop_breakpoint(target, last);
    }
    target->debug.npoints = 0;
}

/* --- running ------------------------------------------------------------------------ */

struct arch_debug
gdb_vm_debug_of(const struct gdb_vm *target, unsigned cpu)
{
    struct arch_debug debug = target->debug;

    debug.active = true;
    debug.step = target->actions[cpu] == GDB_STEP || atomic_load(&target->walks);
    debug.strays = target->trapped;
    debug.quiet = target->actions[cpu] == GDB_STEP ||
                  (target->trapped && target->steps[cpu] < GDB_VM_QUIET_STEPS);
    return debug;
}

static bool
has_met(struct gdb_vm *target)
{
    bool met = false;

    vm_mutex_lock(&target->lock);
    for (unsigned i = 0; i < ncpus(target); i++)
        met |= target->met[i];
    vm_mutex_unlock(&target->lock);
    return met;
}

static bool
can_step(struct gdb_vm *target, unsigned cpu)
{
    bool user;

    return arch_debug_in_user(&vcpu_of(target, cpu)->arch, &user) == 0 &&
           (user ? target->abilities.user.step : target->abilities.kernel.step);
}

static int
resume(void *context, const enum gdb_action *actions, char *why)
{
    struct gdb_vm *target = context;

    for (unsigned i = 0; i < ncpus(target); i++) {
        if (actions[i] == GDB_STEP && !can_step(target, i))
            return refuse(
                why, -EOPNOTSUPP,
                "this host's KVM cannot step in this ring: set a breakpoint and continue");
    }
    if (has_met(target))
        return -EALREADY;
    memcpy(target->actions, actions, ncpus(target) * sizeof(*actions));
    gdb_walk_start(target);
    for (unsigned i = 0; i < ncpus(target); i++) {
        struct arch_debug debug;
        int error;

        debug = gdb_vm_debug_of(target, i);
        error = arch_debug_set(&vcpu_of(target, i)->arch, &debug);
        if (error != 0) {
            snprintf(why, GDB_WHY_SIZE, "KVM_SET_GUEST_DEBUG: %s", strerror(-error));
            return error;
        }
        atomic_store(&vcpu_of(target, i)->held, actions[i] == GDB_HOLD);
    }
    vm_resume(target->vm, VCPU_PAUSE_DEBUG);
    return 0;
}

static void
interrupt(void *context)
{
    const struct gdb_vm *target = context;

    (void)!vm_pause_start(target->vm, VCPU_PAUSE_DEBUG); /* it may be on its way already */
}

bool
gdb_vm_all_rest(void *context)
{
    const struct gdb_vm *target = context;
    struct vcpu_gate *gate = &target->vm->shared.gate;

    return (atomic_load(&gate->reasons) & VCPU_PAUSE_DEBUG) != 0 && vcpu_gate_all_rest(gate);
}

/* Locked: B. */
static int
pick_stop(const struct gdb_vm *target)
{
    if (target->first >= 0)
        return target->first;
    for (unsigned i = 0; i < target->vm->config.machine.nvcpus; i++) {
        if (target->met[i])
            return (int)i;
    }
    return -1;
}

static bool
is_watch(const struct gdb_stop *stop)
{
    return stop->cause == GDB_STOP_WRITE || stop->cause == GDB_STOP_ACCESS;
}

static void
take_stop(void *context, struct gdb_stop *stop)
{
    struct gdb_vm *target = context;
    int picked;

    vm_mutex_lock(&target->lock);
    picked = pick_stop(target);
    *stop = (struct gdb_stop){ .cause = GDB_STOP_INTERRUPT };
    if (picked >= 0) {
        *stop = target->stops[picked];
        target->met[picked] = false;
    }
    for (unsigned i = 0; i < ncpus(target); i++)
        target->met[i] = target->met[i] && is_watch(&target->stops[i]);
    target->first = -1;
    vm_mutex_unlock(&target->lock);
}

static void
release(void *context)
{
    struct gdb_vm *target = context;
    const struct arch_debug none = { .active = false };

    gdb_walk_stop(target);
    for (unsigned i = 0; i < ncpus(target); i++) {
        target->actions[i] = GDB_CONTINUE;
        (void)!arch_debug_set(&vcpu_of(target, i)->arch, &none);
        atomic_store(&vcpu_of(target, i)->held, false);
    }
    vm_mutex_lock(&target->lock);
    memset(target->met, 0, sizeof(target->met));
    target->first = -1;
    vm_mutex_unlock(&target->lock);
    vm_resume(target->vm, VCPU_PAUSE_DEBUG);
}

static void
kill_vm(void *context)
{
    const struct gdb_vm *target = context;

    vm_end(target->vm, VM_END_INTERRUPTED, SIGKILL, "ended by the debugger (kill)");
}

const struct gdb_target_ops gdb_vm_ops = {
    .ncpus = ncpus,
    .get_registers = get_registers,
    .set_registers = set_registers,
    .read = gdb_vm_read,
    .write = gdb_vm_write,
    .insert = insert,
    .remove = remove_point,
    .remove_all = remove_all,
    .resume = resume,
    .interrupt = interrupt,
    .all_rest = gdb_vm_all_rest,
    .take_stop = take_stop,
    .release = release,
    .kill = kill_vm,
    .describe = describe,
    .monitor = gdb_monitor,
};

/* --- a vCPU meets something --------------------------------------------------------- */

static bool
is_breakpoint(struct gdb_vm *target, uint64_t pc)
{
    bool found;

    vm_mutex_lock(&target->lock);
    found = find_breakpoint(target, pc) != NULL;
    vm_mutex_unlock(&target->lock);
    return found;
}

static void
set_point_stop(const struct gdb_vm *target, unsigned point, struct gdb_stop *stop)
{
    const struct gdb_watch *watch = &target->watches[point];

    stop->cause = watch->kind == GDB_POINT_WRITE    ? GDB_STOP_WRITE
                  : watch->kind == GDB_POINT_ACCESS ? GDB_STOP_ACCESS
                                                    : GDB_STOP_HARDWARE;
    stop->address = watch->address;
}

bool
gdb_vm_walked_to(struct gdb_vm *target, uint64_t pc, bool stepped, struct gdb_stop *stop)
{
    for (unsigned i = 0; i < target->debug.npoints; i++) {
        if (gdb_walk_meets(target, stop->cpu, pc, i, stepped)) {
            set_point_stop(target, i, stop);
            return true;
        }
    }
    stop->cause = GDB_STOP_SOFTWARE;
    return gdb_walk_to(target, GDB_POINT_SOFTWARE) && is_breakpoint(target, pc);
}

/* After a step: what a walked vCPU came to, or that the step was asked for. */
static bool
judge_step(struct gdb_vm *target, uint64_t pc, struct gdb_stop *stop)
{
    if (gdb_vm_walked_to(target, pc, true, stop))
        return true;
    stop->cause = GDB_STOP_STEP;
    return target->actions[stop->cpu] == GDB_STEP;
}

/* Is it the debugger's?  Then *stop says what. */
static bool
judge(struct gdb_vm *target, const struct arch_debug_event *event, struct gdb_stop *stop)
{
    switch (event->cause) {
    case ARCH_DEBUG_STEPPED:
        return judge_step(target, event->pc, stop);
    case ARCH_DEBUG_MET_INSTRUCTION:
        stop->cause = GDB_STOP_SOFTWARE;
        return is_breakpoint(target, event->pc);
    case ARCH_DEBUG_MET_POINT:
        set_point_stop(target, event->point, stop);
        return true;
    case ARCH_DEBUG_STRAY:
    case ARCH_DEBUG_GUESTS:
        break;
    }
    return false;
}

void
gdb_vm_note_stop(struct gdb_vm *target, const struct gdb_stop *stop)
{
    vm_mutex_lock(&target->lock);
    target->met[stop->cpu] = true;
    target->stops[stop->cpu] = *stop;
    if (target->first < 0)
        target->first = (int)stop->cpu;
    vm_mutex_unlock(&target->lock);
    (void)!vm_pause_start(target->vm, VCPU_PAUSE_DEBUG);
}

bool
gdb_vm_trap(struct gdb_vm *target, unsigned cpu, bool in_place)
{
    struct arch_vcpu *arch = &vcpu_of(target, cpu)->arch;
    struct arch_debug debug = gdb_vm_debug_of(target, cpu);
    struct arch_debug_event event = { .cause = ARCH_DEBUG_MET_INSTRUCTION };
    struct gdb_stop stop = { .cpu = cpu };
    int error;

    if (!in_place)
        arch_debug_event(arch, &debug, &event);
    else if (arch_debug_pc(arch, &event.pc) != 0)
        return false;
    if (judge(target, &event, &stop)) {
        gdb_vm_note_stop(target, &stop);
        return true;
    }
    if (in_place)
        return false;
    if (event.cause == ARCH_DEBUG_STEPPED) {
        gdb_walk_stepped(target, cpu, event.pc);
        return true;
    }
    error = event.cause == ARCH_DEBUG_STRAY ? arch_debug_forget_step(arch)
                                            : arch_debug_reinject(arch, &debug, &event);
    if (error != 0)
        vm_end(target->vm, VM_END_FAILED, 0,
               "vCPU %u: cannot hand the guest its own debug exception: %s", cpu, strerror(-error));
    return true;
}

/* --- life --------------------------------------------------------------------------- */

int
gdb_vm_init(struct gdb_vm *target, struct vm *vm)
{
    memset(target, 0, sizeof(*target));
    target->vm = vm;
    target->first = -1;
    for (unsigned i = 0; i < MACHINE_MAX_VCPUS; i++)
        target->actions[i] = GDB_CONTINUE;
    target->breakpoints = calloc(GDB_VM_BREAKPOINTS, sizeof(*target->breakpoints));
    if (target->breakpoints == NULL)
        return -ENOMEM;
    vm_mutex_init(&target->lock);
    vm_mutex_init(&target->walk_lock);
    arch_debug_probe(&vm->host->kvm, &target->abilities);
    return 0;
}

void
gdb_vm_fini(struct gdb_vm *target)
{
    vm_mutex_fini(&target->walk_lock);
    vm_mutex_fini(&target->lock);
    free(target->breakpoints);
}
