/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One lock and one condition.  A thread that rests is woken at every change and looks again: those
 * are few, and no state is kept that could be missed.
 */
#include "vmm/vm/vcpu_gate.h"

#include <errno.h>

void
vcpu_gate_init(struct vcpu_gate *gate, void (*rested)(void *context), void *context)
{
    *gate = (struct vcpu_gate){ .rested = rested, .rested_context = context };
    vm_mutex_init(&gate->lock);
    vm_cond_init(&gate->changed);
}

void
vcpu_gate_fini(struct vcpu_gate *gate)
{
    vm_cond_fini(&gate->changed);
    vm_mutex_fini(&gate->lock);
}

void
vcpu_gate_add(struct vcpu_gate *gate)
{
    vm_mutex_lock(&gate->lock);
    gate->nrunning++;
    vm_mutex_unlock(&gate->lock);
}

void
vcpu_gate_enter(struct vcpu_gate *gate)
{
    vm_mutex_lock(&gate->lock);
    while (vcpu_gate_is_closed(gate))
        vm_cond_wait(&gate->changed, &gate->lock);
    gate->nrunning++;
    vm_mutex_unlock(&gate->lock);
}

/* One thread less runs.  Locked: `gate`. */
static void
leave_locked(struct vcpu_gate *gate)
{
    assert(gate->nrunning != 0);
    gate->nrunning--;
    if (gate->nrunning == 0 && vcpu_gate_is_closed(gate) && gate->rested != NULL)
        gate->rested(gate->rested_context);
    vm_cond_broadcast(&gate->changed);
}

void
vcpu_gate_remove(struct vcpu_gate *gate)
{
    vm_mutex_lock(&gate->lock);
    leave_locked(gate);
    vm_mutex_unlock(&gate->lock);
}

void
vcpu_gate_rest(struct vcpu_gate *gate, const _Atomic bool *held)
{
    if (!vcpu_gate_stops(gate, held))
        return;
    vm_mutex_lock(&gate->lock);
    if (vcpu_gate_stops(gate, held)) {
        leave_locked(gate);
        while (vcpu_gate_stops(gate, held))
            vm_cond_wait(&gate->changed, &gate->lock);
        gate->nrunning++;
    }
    vm_mutex_unlock(&gate->lock);
}

int
vcpu_gate_close(struct vcpu_gate *gate, enum vcpu_pause reason)
{
    bool there;

    vm_mutex_lock(&gate->lock);
    there = (atomic_fetch_or(&gate->reasons, (unsigned)reason) & (unsigned)reason) != 0;
    if (!there && gate->nrunning == 0 && vcpu_gate_is_closed(gate) && gate->rested != NULL)
        gate->rested(gate->rested_context);
    vm_mutex_unlock(&gate->lock);
    return there ? -EALREADY : 0;
}

void
vcpu_gate_open(struct vcpu_gate *gate, enum vcpu_pause reason)
{
    vm_mutex_lock(&gate->lock);
    atomic_fetch_and(&gate->reasons, ~(unsigned)reason);
    vm_cond_broadcast(&gate->changed);
    vm_mutex_unlock(&gate->lock);
}

/* Does the reason still hold the vCPUs?  Locked: `gate`. */
static bool
holds_locked(struct vcpu_gate *gate, enum vcpu_pause reason)
{
    return !atomic_load(&gate->ended) && (atomic_load(&gate->reasons) & (unsigned)reason) != 0;
}

int
vcpu_gate_await_rest(struct vcpu_gate *gate, enum vcpu_pause reason)
{
    int error;

    vm_mutex_lock(&gate->lock);
    while (gate->nrunning != 0 && holds_locked(gate, reason))
        vm_cond_wait(&gate->changed, &gate->lock);
    error = holds_locked(gate, reason) ? 0 : -ECANCELED;
    vm_mutex_unlock(&gate->lock);
    return error;
}

bool
vcpu_gate_all_rest(struct vcpu_gate *gate)
{
    bool all;

    vm_mutex_lock(&gate->lock);
    all = gate->nrunning == 0;
    vm_mutex_unlock(&gate->lock);
    return all;
}

void
vcpu_gate_end(struct vcpu_gate *gate)
{
    vm_mutex_lock(&gate->lock);
    atomic_store(&gate->ended, true);
    vm_cond_broadcast(&gate->changed);
    vm_mutex_unlock(&gate->lock);
}
