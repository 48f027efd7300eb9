/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many fault threads there are, which of them serve, and how each waits: the ways of
 * fault_tuner.h carried out.  Internal to fault_service.c.
 *
 * The way in use is one for all threads.  The thread that feeds the tuner's last time makes the delay
 * line that the next way needs; each thread takes its seat before it waits for the next message:
 *
 *     blocking         every thread serves
 *     on the same core thread i and vCPU i are bound to one core while faults follow each other
 *                      closely; when none came for FAULT_IDLE_MS both are free again
 *     spinning         the first nspin threads serve, the others sleep until that changes
 *
 * Locks: placing, innermost; the calls that make a delay line or bind a thread are made with it held.
 */
#ifndef FAULT_PLACEMENT_H
#define FAULT_PLACEMENT_H

#include "vmm/kvm/delay_line.h"
#include "vmm/kvm/fault_reader.h"
#include "vmm/kvm/fault_service.h"
#include "vmm/kvm/fault_tuner.h"

#include <sched.h>

struct fault_placing {
    struct vm_mutex lock;     /* placing */
    struct vm_cond changed;   /* placing: another way, or a thread is to end */
    struct fault_tuner tuner; /* placing */
    struct delay_line delay;  /* placing */
    int uffd;                 /* (c) borrowed */
    bool tunes;               /* (c) there is a choice */
    unsigned nthreads;        /* (c) fault threads that there should be */
    unsigned nspin;           /* (c) of these, the ones that serve where they spin */
    _Atomic unsigned way;     /* (a), placing to write: enum fault_way, the one in use */
};

/* A fault thread's place; its own. */
struct fault_seat {
    struct fault_placing *placing; /* (c) borrowed */
    unsigned index;                /* (c) */
    const _Atomic bool *ending;    /* (c) borrowed: the thread's */
    enum fault_way way;            /* as it waits now */
    struct fault_pace pace;        /* not fed yet */
    bool busy;                     /* faults follow each other closely */
    pid_t bound;                   /* the vCPU that is bound with this thread; 0 = none */
    cpu_set_t free;                /* where both may run when they are not */
};

/* Cores that this process may use. */
unsigned fault_placement_cores(void);

/*
 * The ways that a placement leaves to choose from, bits, on so many cores.  By itself none spins where
 * that would take a core from a vCPU, or where a look (fault_reader_look_ns) takes longer than the
 * delay line: the thread would be late for every message, and hold up who sends it.
 */
unsigned fault_placement_ways(const struct fault_service_config *config, unsigned cores,
                              uint64_t look_ns);

/* Nothing is measured and no descriptor made yet, but for a way that is the only one. */
void fault_placing_init(struct fault_placing *placing, const struct fault_service_config *config,
                        unsigned cores);
void fault_placing_fini(struct fault_placing *placing);

/* How many threads serve faults now, if all could be made.  Any thread. */
unsigned fault_placing_nserving(const struct fault_placing *placing);

/* A thread's `ending` was set: wake it if it sleeps without a seat. */
void fault_placing_wake(struct fault_placing *placing);

/* What --stats say.  Any thread. */
void fault_placing_report(struct fault_placing *placing, struct fault_report *report);

void fault_seat_init(struct fault_seat *seat, struct fault_placing *placing, unsigned index,
                     const _Atomic bool *ending);

/*
 * Before the thread waits for a message: let it wait in the way that is in use.  Sleeps while it has
 * no seat.  vcpu: the thread id of the vCPU of the same number, 0 = none is there.
 */
void fault_seat_take(struct fault_seat *seat, struct fault_reader *reader, pid_t vcpu);

/* A vCPU's message came so long after the one before. */
void fault_seat_served(struct fault_seat *seat, uint64_t ns);

/* The thread ends: its vCPU may run anywhere again. */
void fault_seat_leave(struct fault_seat *seat, struct fault_reader *reader);

#endif
