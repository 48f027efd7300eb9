/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes and the scheduler.
 */
#include "guest/vkernel/proc.h"

#include "guest/lib/doorbell.h"
#include "guest/lib/sync.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/trap.h"

#include <stddef.h>

static struct sync_lock proc_lock; /* the kernel lock */
static struct proc proc_table[PROC_MAX];
static unsigned proc_next; /* where the round robin goes on */
static unsigned proc_live; /* processes neither FREE nor ZOMBIE */
static uint32_t proc_last_pid;
static bool proc_stop;
static uint32_t proc_events; /* how often something changed that an idle vCPU waits for */
static unsigned proc_nidle;  /* vCPUs that wait for that */

void user_start(uint64_t program); /* user_main.c: an address in the processes' space */

/* A process became ready, or the last one ended, or all is over.  The lock is held. */
static void
proc_notify(void)
{
    __atomic_add_fetch(&proc_events, 1, __ATOMIC_RELEASE);
    if (proc_nidle > 0)
        doorbell_wake(&proc_events, UINT32_MAX);
}

static struct proc *
proc_alloc(uint32_t parent)
{
    for (struct proc *proc = proc_table; proc < proc_table + PROC_MAX; proc++) {
        if (proc->state == PROC_FREE) {
            proc->pid = ++proc_last_pid;
            proc->parent = parent;
            return proc;
        }
    }
    return NULL;
}

static void
proc_start(struct proc *proc)
{
    proc->context.cr3 = proc->space.cr3;
    proc->state = PROC_READY;
    proc_live++;
    proc_notify();
}

/* proc_spawn with the lock held. */
static uint32_t
proc_spawn_locked(enum vkernel_program program, enum space_kind kind, uint64_t quota)
{
    struct proc *proc = proc_alloc(0);

    if (proc == NULL || !space_create(&proc->space, kind, quota))
        return 0;
    ring3_init(&proc->context, (uint64_t)user_start, program, USER_END);
    proc_start(proc);
    return proc->pid;
}

uint32_t
proc_spawn(enum vkernel_program program, enum space_kind kind, uint64_t quota)
{
    uint32_t pid;

    sync_lock(&proc_lock);
    pid = proc_spawn_locked(program, kind, quota);
    sync_unlock(&proc_lock);
    return pid;
}

uint32_t
proc_fork(struct proc *parent)
{
    struct proc *child = proc_alloc(parent->pid);

    if (child == NULL || !space_fork(&child->space, &parent->space))
        return 0;
    kernel_counts.forks++;
    child->context = parent->context;
    child->context.frame.rax = 0;
    proc_start(child);
    return child->pid;
}

static uint64_t
proc_take_status(struct proc *child)
{
    child->state = PROC_FREE;
    return (uint64_t)child->pid << 32 | child->status;
}

void
proc_exit(struct proc *proc, uint32_t status)
{
    space_destroy(&proc->space);
    proc->state = PROC_ZOMBIE;
    proc->status = status;
    proc_live--;
    for (struct proc *other = proc_table; other < proc_table + PROC_MAX; other++) {
        if (other->state != PROC_FREE && other->parent == proc->pid)
            other->parent = 0;
        if (other->pid == proc->parent && other->state == PROC_WAITING) {
            other->context.frame.rax = proc_take_status(proc);
            other->state = PROC_READY;
        }
    }
    proc_notify();
}

/* A child of pid that has ended, or any child, or NULL. */
static struct proc *
proc_child(uint32_t pid)
{
    struct proc *child = NULL;

    for (struct proc *proc = proc_table; proc < proc_table + PROC_MAX; proc++) {
        if (proc->state == PROC_FREE || proc->parent != pid)
            continue;
        child = proc;
        if (proc->state == PROC_ZOMBIE)
            break;
    }
    return child;
}

void
proc_wait(struct proc *proc)
{
    struct proc *child = proc_child(proc->pid);

    if (child == NULL)
        proc->context.frame.rax = (uint64_t)-1;
    else if (child->state == PROC_ZOMBIE)
        proc->context.frame.rax = proc_take_status(child);
    else
        proc->state = PROC_WAITING;
}

bool
proc_reap(uint32_t *pid, uint32_t *status)
{
    struct proc *child;
    bool ended;

    sync_lock(&proc_lock);
    child = proc_child(0);
    ended = child != NULL && child->state == PROC_ZOMBIE;
    if (ended) {
        *pid = child->pid;
        *status = child->status;
        proc_take_status(child);
    }
    sync_unlock(&proc_lock);
    return ended;
}

/* The next process that can run, or NULL. */
static struct proc *
proc_pick(void)
{
    for (unsigned i = 0; i < PROC_MAX; i++) {
        struct proc *proc = &proc_table[(proc_next + i) % PROC_MAX];

        if (proc->state == PROC_READY) {
            proc_next = (proc_next + i + 1) % PROC_MAX;
            return proc;
        }
    }
    return NULL;
}

/* Ring 0. */
static uint64_t
proc_enter(uint64_t context)
{
    ring3_run((struct ring3_context *)context);
    return 0;
}

/* Run a process as long as it can and nobody else's turn has come. */
static void
proc_run(struct proc *proc)
{
    proc->state = PROC_RUNNING;
    while (proc->state == PROC_RUNNING) {
        sync_unlock(&proc_lock);
        ring3_to_ring0(proc_enter, (uint64_t)&proc->context);
        sync_lock(&proc_lock);
        trap_handle(proc);
    }
}

/* Nothing can be run: let others have the lock until that changes. */
static void
proc_idle(void)
{
    uint32_t seen = proc_events;

    proc_nidle++;
    sync_unlock(&proc_lock);
    sync_word_wait(&proc_events, seen);
    sync_lock(&proc_lock);
    proc_nidle--;
}

/* Run what can be run, once. */
static void
proc_schedule(void)
{
    struct proc *proc = proc_pick();

    if (proc != NULL)
        proc_run(proc);
    else
        proc_idle();
}

void
proc_run_all(void)
{
    sync_lock(&proc_lock);
    while (proc_live > 0)
        proc_schedule();
    sync_unlock(&proc_lock);
}

void
proc_serve(void)
{
    sync_lock(&proc_lock);
    while (!proc_stop)
        proc_schedule();
    sync_unlock(&proc_lock);
}

void
proc_shut_down(void)
{
    sync_lock(&proc_lock);
    proc_stop = true;
    proc_notify();
    sync_unlock(&proc_lock);
}
