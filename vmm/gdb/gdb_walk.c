/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walking vCPUs to where KVM does not stop them.
 *
 *                  a trapped page is about to be mapped
 *     running  --------------------------------------------->  walking
 *     traps closed  <---------------------------------------  traps open
 *                  no vCPU is about to touch one: their mappings are dropped
 *
 * Who enters a trapped page starts the walk before anybody can use it: each vCPU in KVM_RUN is kicked,
 * and looks at itself before its next instruction.  One that is in a page of a breakpoint steps; the
 * others wait outside KVM_RUN meanwhile.  All of them step *together* where a word is watched, where no
 * vCPU is found in such a page, since then one has read or written it, and where a vCPU does not get
 * out of there for long, since it may wait for another.
 *
 * The walk ends with a step after which none is `inside`: about to touch a trapped page for all that
 * is known.  What nobody can trap is walked to all the time: pages that are not mapped by the guest's
 * tables now, and too many of them.
 *
 * Traps are closed under walk_lock, and a vCPU ceases to step under it: so none runs freely while a
 * trapped page is still mapped.  Order: walk_lock; breakpoints, W, P; what is innermost.
 */
#include "vmm/gdb/gdb_vm.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vpagetable/pmap_trap.h"
#include "vmm/vpagetable/vm_peek.h"

#include <string.h>

static struct vcpu *
vcpu_of(const struct gdb_vm *target, unsigned cpu)
{
    return &target->vm->vcpus[cpu];
}

static unsigned
ncpus(const struct gdb_vm *target)
{
    return target->vm->config.machine.nvcpus;
}

bool
gdb_walk_to(const struct gdb_vm *target, enum gdb_point kind)
{
    const struct arch_debug_ability *can = &target->abilities.kernel;
    bool stops = kind == GDB_POINT_SOFTWARE   ? can->breakpoints
                 : kind == GDB_POINT_HARDWARE ? can->points
                                              : can->watches;

    return !stops && can->step && kind <= GDB_POINT_WRITE;
}

static bool
must_walk(const struct gdb_vm *target)
{
    bool walks = target->nbreakpoints != 0 && gdb_walk_to(target, GDB_POINT_SOFTWARE);

    for (unsigned i = 0; i < target->debug.npoints; i++)
        walks |= gdb_walk_to(target, target->watches[i].kind);
    return walks;
}

/* --- what is watched ------------------------------------------------------------------ */

/* What the point watches shows now; as before where it cannot be read. */
static uint64_t
value_of(struct gdb_vm *target, unsigned cpu, unsigned point)
{
    const struct arch_debug_point *at = &target->debug.points[point];
    struct vm_peek_info info;
    uint64_t value = 0;
    size_t room;
    gpa_t gpa;

    if (gdb_vm_translate(target, cpu, at->address, &gpa, &room) != 0 ||
        vm_peek(vm_map_of(target->vm), gpa, &value, at->size, &info) != VM_OK)
        return atomic_load(&target->values[point]);
    return value;
}

static void
note_values(struct gdb_vm *target)
{
    for (unsigned i = 0; i < target->debug.npoints; i++)
        atomic_store(&target->values[i], value_of(target, 0, i));
}

bool
gdb_walk_meets(struct gdb_vm *target, unsigned cpu, uint64_t pc, unsigned point, bool stepped)
{
    const struct arch_debug_point *at = &target->debug.points[point];
    uint64_t value;

    if (!gdb_walk_to(target, target->watches[point].kind))
        return false;
    if (at->kind == ARCH_DEBUG_EXECUTE)
        return at->address == pc;
    if (!stepped)
        return false;
    value = value_of(target, cpu, point);
    return atomic_exchange(&target->values[point], value) != value;
}

/* --- traps ---------------------------------------------------------------------------- */

struct trap_pages {
    uint64_t pages[PMAP_TRAPS_MAX];
    unsigned n;
};

/* Returns false where there is no room. */
static bool
add_page(struct trap_pages *traps, gpa_t gpa)
{
    uint64_t page = gpa_to_u64(gpa) >> PAGE_SHIFT;

    for (unsigned i = 0; i < traps->n; i++) {
        if (traps->pages[i] == page)
            return true;
    }
    if (traps->n == PMAP_TRAPS_MAX)
        return false;
    traps->pages[traps->n++] = page;
    return true;
}

/* Returns false where something cannot be trapped. */
static bool
collect(struct gdb_vm *target, struct trap_pages *traps)
{
    size_t room;
    gpa_t gpa;

    for (unsigned i = 0; i < target->nbreakpoints; i++) {
        if (!target->breakpoints[i].written && !add_page(traps, target->breakpoints[i].gpa))
            return false;
    }
    target->data_trapped = false;
    for (unsigned i = 0; i < target->debug.npoints; i++) {
        target->data_trapped |= target->debug.points[i].kind != ARCH_DEBUG_EXECUTE;
        if (gdb_walk_to(target, target->watches[i].kind) &&
            (gdb_vm_translate(target, 0, target->debug.points[i].address, &gpa, &room) != 0 ||
             !add_page(traps, gpa)))
            return false;
    }
    return true;
}

/* Is there a breakpoint in the page of this address? */
static bool
in_trap(struct gdb_vm *target, uint64_t pc)
{
    bool in = false;

    for (unsigned i = 0; i < target->debug.npoints; i++) {
        const struct arch_debug_point *at = &target->debug.points[i];

        in |= at->kind == ARCH_DEBUG_EXECUTE && at->address >> PAGE_SHIFT == pc >> PAGE_SHIFT;
    }
    vm_mutex_lock(&target->lock);
    for (unsigned i = 0; i < target->nbreakpoints; i++)
        in |= target->breakpoints[i].address >> PAGE_SHIFT == pc >> PAGE_SHIFT;
    vm_mutex_unlock(&target->lock);
    return in;
}

/*
 * pmap_trap_set's `touched`.  Who comes while the walk begins does the same once more, so that a
 * vCPU that is said to be inside looks after that was said.
 */
static void
on_touched(void *context, uint64_t page)
{
    struct gdb_vm *target = context;

    (void)page;
    if (atomic_load(&target->walks))
        return;
    for (unsigned i = 0; i < ncpus(target); i++)
        atomic_store(&target->inside[i],
                     atomic_load(&vcpu_of(target, i)->runs) && target->actions[i] != GDB_HOLD);
    atomic_store(&target->together, target->data_trapped);
    atomic_store(&target->walks, true);
    for (unsigned i = 0; i < ncpus(target); i++)
        vcpu_request_debug(vcpu_of(target, i));
}

/* --- the walk ------------------------------------------------------------------------- */

void
gdb_walk_stop(struct gdb_vm *target)
{
    pmap_trap_set(target->vm->map.pmap, NULL, 0, NULL, NULL);
    target->trapped = false;
    memset(target->waits, 0, sizeof(target->waits));
    atomic_store(&target->walks, false);
}

/*
 * A KVM that cannot step ring 3 emulates ring 0, and gives the guest a trap flag that is left over from
 * a step: there the walk, once begun, does not end.
 */
void
gdb_walk_start(struct gdb_vm *target)
{
    struct trap_pages traps = { .n = 0 };
    struct pmap *pmap = target->vm->map.pmap;

    gdb_walk_stop(target);
    if (!must_walk(target))
        return;
    note_values(target);
    target->trapped = target->abilities.user.step && collect(target, &traps);
    if (!target->trapped) {
        atomic_store(&target->walks, true);
        return;
    }
    pmap_trap_set(pmap, traps.pages, traps.n, on_touched, target);
    pmap_trap_close(pmap);
}

static void
set_debug(struct gdb_vm *target, unsigned cpu)
{
    struct arch_debug debug = gdb_vm_debug_of(target, cpu);
    int error = arch_debug_set(&vcpu_of(target, cpu)->arch, &debug);

    if (error != 0)
        vm_end(target->vm, VM_END_FAILED, 0, "vCPU %u: KVM_SET_GUEST_DEBUG: %s", cpu,
               strerror(-error));
}

/* Those that wait go on.  Locked: walk. */
static void
release_waiting(struct gdb_vm *target)
{
    for (unsigned i = 0; i < ncpus(target); i++) {
        if (!target->waits[i])
            continue;
        target->waits[i] = false;
        atomic_store(&vcpu_of(target, i)->held, false);
    }
    vcpu_gate_wake(&target->vm->shared.gate);
}

/* Those that wait step as well.  Locked: walk. */
static void
walk_together(struct gdb_vm *target)
{
    atomic_store(&target->together, true);
    for (unsigned i = 0; i < ncpus(target); i++) {
        if (!target->waits[i])
            continue;
        atomic_store(&target->inside[i], true);
        vcpu_request_debug(vcpu_of(target, i));
    }
    release_waiting(target);
}

static bool
any_inside(struct gdb_vm *target)
{
    bool any = false;

    for (unsigned i = 0; i < ncpus(target); i++)
        any |= atomic_load(&target->inside[i]);
    return any;
}

/* The vCPU at that address steps, or waits.  Locked: walk. */
static void
join_walk(struct gdb_vm *target, unsigned cpu, bool in_trap)
{
    bool steps = in_trap || atomic_load(&target->together);

    atomic_store(&target->inside[cpu],
                 in_trap || (steps && arch_debug_executes(&vcpu_of(target, cpu)->arch)));
    target->steps[cpu] = 0;
    if (steps) {
        set_debug(target, cpu);
        return;
    }
    target->waits[cpu] = true;
    atomic_store(&vcpu_of(target, cpu)->held, true);
    if (!any_inside(target))
        walk_together(target);
}

/* Registers say nothing of an instruction that KVM has yet to complete: such a vCPU just steps. */
void
gdb_walk_look(struct gdb_vm *target, unsigned cpu)
{
    struct vcpu *vcpu = vcpu_of(target, cpu);
    struct gdb_stop stop = { .cpu = cpu };
    uint64_t pc;
    bool known = vcpu_is_complete(vcpu) && arch_debug_pc(&vcpu->arch, &pc) == 0;
    bool stands = false;

    vm_mutex_lock(&target->walk_lock);
    if (atomic_load(&target->walks) && target->actions[cpu] != GDB_HOLD) {
        stands = known && target->actions[cpu] == GDB_CONTINUE &&
                 gdb_vm_walked_to(target, pc, false, &stop);
        if (!stands)
            join_walk(target, cpu, !known || in_trap(target, pc));
    }
    vm_mutex_unlock(&target->walk_lock);
    if (stands)
        gdb_vm_note_stop(target, &stop);
}

/* The last one has gone: run on.  Locked: walk. */
static void
end_walk(struct gdb_vm *target)
{
    atomic_store(&target->walks, false);
    pmap_trap_close(target->vm->map.pmap);
    release_waiting(target);
}

void
gdb_walk_stepped(struct gdb_vm *target, unsigned cpu, uint64_t pc)
{
    bool walks;

    if (!target->trapped)
        return;
    vm_mutex_lock(&target->walk_lock);
    target->steps[cpu]++;
    atomic_store(&target->inside[cpu], in_trap(target, pc));
    walks = atomic_load(&target->walks);
    if (walks && !any_inside(target)) {
        end_walk(target);
        walks = false;
    }
    if (!walks || target->steps[cpu] == GDB_VM_QUIET_STEPS)
        set_debug(target, cpu);
    if (walks && target->steps[cpu] == GDB_VM_QUIET_STEPS)
        walk_together(target);
    vm_mutex_unlock(&target->walk_lock);
}
