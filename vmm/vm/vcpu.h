/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU: its thread and what it does at each exit of KVM_RUN.
 *
 * Stopping and kicking: whoever wants the vCPU out of KVM_RUN first stores why
 * (vm->ending, vcpu->requests), then sets immediate_exit, then sends the thread
 * VCPU_SIGNAL, whose handler does nothing.  The thread clears immediate_exit before
 * it looks at the reasons.  So a kick is never lost inside KVM_RUN: either the
 * thread sees the reason, or KVM sees immediate_exit, or the signal ends KVM_RUN.
 *
 * Pausing: the thread rests at the VM's gate (vcpu_gate.h), after it has had KVM complete the
 * instruction of the last exit: what such an instruction reads or writes is not in the registers
 * before.  It executes nothing more for that.
 *
 * Letters beside fields: (c) constant while the thread runs, (a) atomic, `own` the
 * vCPU's own thread, `sleep` vcpu->sleep_lock.
 */
#ifndef VCPU_H
#define VCPU_H

#include "vmm/device/bus.h"
#include "vmm/kvm/fault_service.h"
#include "vmm/vm/port_input.h"
#include "vmm/vm/vcpu_gate.h"
#include "vmm/vm/vcpu_registers.h"
#include "vmm/x86_64/arch.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define VCPU_SIGNAL SIGRTMIN

/* Checks in a row that may find a vCPU at one place before its VM is ended. */
#define VCPU_SAME_CHECKS 8u

struct vcpu;

enum vcpu_end_cause {
    VCPU_END_CRASHED, /* the guest did something that ends only itself */
    VCPU_END_RESET,   /* the guest did something that resets a PC */
    VCPU_END_FAILED   /* the host or vkvm failed */
};

/* What a vCPU needs of the VM around it; called by the vCPU's thread. */
struct vcpu_ops {
    /* The thread begins. */
    void (*begins)(void *context);
    /* The guest was handed a fault: arch.injected_* says how. */
    void (*injected)(void *context, const struct vcpu *vcpu, const struct vm_fault_info *info);
    /* Where it was at the fault that a trace calls `record`. */
    void (*located)(void *context, struct vcpu *vcpu, const struct arch_location *location,
                    uint64_t record);
    /* HLT: returns when the VM is ending; rests meanwhile when it is to pause. */
    void (*halt)(void *context, struct vcpu *vcpu);
    void (*end)(void *context, enum vcpu_end_cause cause, const char *message);
    /*
     * KVM_EXIT_DEBUG; or, with `in_place`, KVM cannot execute the instruction at RIP, which may be
     * a debugger's breakpoint.  Returns whether that was a debugger's business: the vCPU goes on,
     * and rests if the VM was paused for it.
     */
    bool (*trap)(void *context, struct vcpu *vcpu, bool in_place);
    /* vcpu_request_debug was called: before KVM_RUN. */
    void (*look)(void *context, struct vcpu *vcpu);
};

/* What all vCPUs of a VM share. */
struct vcpu_vm {
    const struct kvm_vm *kvm;      /* (c) borrowed */
    struct vm_map *map;            /* (c) borrowed */
    struct bus *bus;               /* (c) borrowed */
    struct fault_service *service; /* (c) borrowed */
    struct arch_cpus cpus;         /* (c) */
    struct arch_start start;       /* (c) once the threads run */
    const struct vcpu_ops *ops;    /* (c) borrowed */
    void *context;                 /* (c) of the ops */
    _Atomic bool ending;           /* (a) set once: the threads end */
    struct vcpu_gate gate;         /* closed: the threads stay out of KVM_RUN */
};

/* Positions seen by consecutive checks. */
struct vcpu_watch {
    uint64_t rip;
    uint64_t hash;
    unsigned same; /* checks in a row that found this position */
};

/* The last KVM_EXIT_IO that reads: struct kvm_run tells of the last exit only. */
struct vcpu_last_input {
    uint16_t port;
    uint8_t size; /* of an element */
    uint32_t count;
    const uint8_t *data; /* in kvm_run: KVM leaves it there until the next one */
};

struct vcpu_counters {
    _Atomic uint64_t mmio;          /* (a) */
    _Atomic uint64_t efault;        /* (a) */
    _Atomic uint64_t exceptions_pf; /* (a) */
    _Atomic uint64_t exceptions_ve; /* (a) */
};

struct vcpu {
    struct vcpu_vm *vm;        /* (c) borrowed */
    unsigned index;            /* (c) */
    int fd;                    /* (c) owned; -1 = none */
    struct kvm_run *run;       /* (c) owned mapping */
    struct arch_vcpu arch;     /* own */
    pthread_t thread;          /* (c) valid while `started` */
    _Atomic pid_t tid;         /* (a) the thread's id; 0 = it has not begun */
    _Atomic bool started;      /* (a) created and not joined */
    bool incomplete;           /* own: KVM has yet to complete the last exit's instruction */
    _Atomic bool runs;         /* (a) in KVM_RUN */
    _Atomic bool held;         /* (a) rests though the gate is open: a debugger's (vcpu_gate.h) */
    _Atomic unsigned requests; /* (a) VCPU_REQUEST_* (vcpu.c) */
    _Atomic uint64_t suspect_gpa;  /* (a) what a check is about */
    struct vcpu_watch watch;       /* own: of checks */
    struct vcpu_watch interrupted; /* own: of signals that ended KVM_RUN */
    struct vcpu_watch refused;     /* own: entries that KVM refused without a reason */
    uint64_t refused_at;           /* own: thread's time when KVM_RUN was entered after it, ns */
    uint64_t unexplained_rip;      /* own: last failure that the instruction did not explain */
    gpa_t unexplained_gpa;         /* own */
    struct vcpu_last_input last_input; /* own */
    struct port_input input;           /* own */
    struct vcpu_registers registers;   /* what a trace wants to know */
    struct vm_fault_origin origin;     /* (c) of what its instruction needs after an EFAULT */
    struct vcpu_counters counters;     /* own but for (a); anybody's when the thread has ended */
    struct vm_mutex sleep_lock;        /* sleep, innermost */
    struct vm_cond sleep_cond;         /* sleep: broadcast by vcpu_wake and by a kick */
    bool woken;                        /* sleep */
};

static inline bool
vcpu_vm_is_ending(struct vcpu_vm *vm)
{
    return atomic_load_explicit(&vm->ending, memory_order_seq_cst);
}

/* Let VCPU_SIGNAL interrupt system calls and do nothing else.  For the whole process. */
void vcpu_signal_setup(void);

/*
 * Make the vCPU, without a thread.
 * Returns 0, or -errno with *failure filled.
 */
int vcpu_create(struct vcpu_vm *vm, unsigned index, struct vcpu *vcpu, struct failure *failure)
    __attribute__((warn_unused_result));
void vcpu_destroy(struct vcpu *vcpu);

/* Start the thread; it ends when the VM ends.  Returns 0 or -errno. */
int vcpu_start(struct vcpu *vcpu) __attribute__((warn_unused_result));

/*
 * Kick the thread of a VM that is ending and wait for its end, some 10 ms.  Returns false if it
 * has not ended: try again.
 */
bool vcpu_try_join(struct vcpu *vcpu);

/* Make the thread leave KVM_RUN and vcpu_sleep, or not enter them, if there is a thread. */
void vcpu_kick(struct vcpu *vcpu);

/* Why a sleep ended. */
enum vcpu_sleep {
    VCPU_WOKEN,      /* by vcpu_wake */
    VCPU_TIMED_OUT,  /* the deadline has come */
    VCPU_INTERRUPTED /* the VM ends or is to pause: return to the vCPU's loop */
};

#define VCPU_NO_DEADLINE UINT64_MAX

/*
 * How a vCPU's thread waits for something that happens in the VM (a guest's call that waits):
 *
 *     vcpu_sleep_prepare(vcpu);
 *     look at the condition and, in one step with that, queue the vCPU where its waker looks;
 *     why = vcpu_sleep(vcpu, deadline);
 *     take the vCPU off the queue, if it is still there;
 *
 * A wake-up that comes between the first and the third step is not lost.  After VCPU_INTERRUPTED
 * the call returns to the guest, which may find that nothing happened and calls again: only so
 * is the vCPU's state that of a whole number of instructions while it rests.
 *
 * vcpu_sleep: deadline in ns of clock_now_ns, or VCPU_NO_DEADLINE.  By the vCPU's thread, without
 * locks.
 */
void vcpu_sleep_prepare(struct vcpu *vcpu);
enum vcpu_sleep vcpu_sleep(struct vcpu *vcpu, uint64_t deadline);

/* End the vCPU's sleep.  From any thread; takes `sleep`, so under any lock. */
void vcpu_wake(struct vcpu *vcpu);

/* By its thread: does KVM have all of its registers, and no instruction to complete? */
bool vcpu_is_complete(const struct vcpu *vcpu);

/*
 * Make the vCPU's thread call vcpu_ops.look before it executes another instruction.
 * Locks: takes sleep_lock; any other may be held.
 */
void vcpu_request_debug(struct vcpu *vcpu);

/*
 * Have the vCPU check its own progress; gpa is what it keeps faulting on.  When
 * VCPU_SAME_CHECKS in a row find the same RIP and registers, the VM is ended.
 */
void vcpu_request_check(struct vcpu *vcpu, gpa_t gpa);

#endif
