/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gate that a VM's vCPU threads pass before they enter the guest.
 *
 * The gate is closed while there is a reason to pause.  A thread that meets a closed gate rests
 * until it is open; who closed it can wait until all rest.  Each reason has one user, who adds and
 * takes away his own only: vCPUs run when the last reason is gone, whatever the order.
 *
 *     closer: adds a reason, kicks the vCPUs, waits   vCPU: clears the kick, looks at the gate
 *
 * As with every kick (vcpu.h), the reason is stored before the kick and the vCPU looks at it after
 * clearing the kick, so that none is lost.
 *
 * The end of the VM opens the gate for good and ends every wait here.
 *
 * Locks: `gate`, innermost.
 */
#ifndef VCPU_GATE_H
#define VCPU_GATE_H

#include "vmm/vpagetable/vm_lock.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Why the vCPUs of a VM pause: a bit each. */
enum vcpu_pause {
    VCPU_PAUSE_STOP = 0x1,     /* the process stops with its terminal (Ctrl-Z) */
    VCPU_PAUSE_DEBUG = 0x2,    /* a debugger looks at the VM */
    VCPU_PAUSE_SNAPSHOT = 0x4, /* its state is being saved or cloned */
    VCPU_PAUSE_MONITOR = 0x8   /* somebody typed `pause` */
};

struct vcpu_gate {
    struct vm_mutex lock;          /* gate */
    struct vm_cond changed;        /* gate: broadcast when any of these fields changed */
    _Atomic unsigned reasons;      /* (a), written with gate: enum vcpu_pause */
    _Atomic bool ended;            /* (a), set with gate, once */
    unsigned nrunning;             /* gate: threads that are neither resting nor gone */
    void (*rested)(void *context); /* (c) told, with gate held, when the last thread came to rest */
    void *rested_context;          /* (c) borrowed */
};

/* `rested`, which may be NULL, must not sleep and takes no lock of the VM. */
void vcpu_gate_init(struct vcpu_gate *gate, void (*rested)(void *context), void *context);
void vcpu_gate_fini(struct vcpu_gate *gate);

/*
 * A thread that is no vCPU's, a device's, is about to do something that the guest can see, and
 * counts as running until vcpu_gate_remove.  Waits while the gate is closed; without locks.
 */
void vcpu_gate_enter(struct vcpu_gate *gate);

/* A thread that passes the gate is about to begin, or could not, or is gone. */
void vcpu_gate_add(struct vcpu_gate *gate);
void vcpu_gate_remove(struct vcpu_gate *gate);

/* Is there a reason to rest?  Any thread, without a lock. */
static inline bool
vcpu_gate_is_closed(struct vcpu_gate *gate)
{
    return atomic_load(&gate->reasons) != 0 && !atomic_load(&gate->ended);
}

/*
 * Rest while the gate is closed, or *held is set, which the gate's closer sets and clears only
 * while it is closed for his reason: so one thread stays while others run on.  NULL = not held.
 * By a thread that was added, without locks.
 */
void vcpu_gate_rest(struct vcpu_gate *gate, const _Atomic bool *held);

/* Must such a thread rest?  Any thread, without a lock. */
static inline bool
vcpu_gate_stops(struct vcpu_gate *gate, const _Atomic bool *held)
{
    return vcpu_gate_is_closed(gate) ||
           (held != NULL && atomic_load(held) && !atomic_load(&gate->ended));
}

/* Add a reason; the caller kicks the vCPUs then.  Returns 0, or -EALREADY when it was there. */
int vcpu_gate_close(struct vcpu_gate *gate, enum vcpu_pause reason)
    __attribute__((warn_unused_result));

/* Take a reason away, if it is there; the vCPUs run on when it was the last. */
void vcpu_gate_open(struct vcpu_gate *gate, enum vcpu_pause reason);

/*
 * Wait until all threads rest because of `reason` and others.  Not by one of them; without locks.
 * Returns 0; -ECANCELED when the reason was taken away or the VM ends first.
 */
int vcpu_gate_await_rest(struct vcpu_gate *gate, enum vcpu_pause reason)
    __attribute__((warn_unused_result));

/* Do all threads rest now?  They may leave as soon as the gate opens. */
bool vcpu_gate_all_rest(struct vcpu_gate *gate);

/* The VM ends: nobody rests or waits here any more. */
void vcpu_gate_end(struct vcpu_gate *gate);

#endif
