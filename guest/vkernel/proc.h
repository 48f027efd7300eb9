/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes and the scheduler.
 *
 * A process runs until it yields, waits or ends: there is no timer.  Round robin, on
 * every vCPU that serves.  The kernel lock is held, unless a function says otherwise.
 */
#ifndef VKERNEL_PROC_H
#define VKERNEL_PROC_H

#include "guest/lib/ring3.h"
#include "guest/vkernel/abi.h"
#include "guest/vkernel/space.h"

#include <stdbool.h>
#include <stdint.h>

#define PROC_MAX SPACE_MAX

enum proc_state {
    PROC_FREE,
    PROC_READY,
    PROC_RUNNING,
    PROC_WAITING, /* in CALL_WAIT */
    PROC_ZOMBIE   /* ended; its status waits for the parent */
};

struct proc {
    struct ring3_context context;
    struct space space;
    enum proc_state state;
    uint32_t pid;
    uint32_t parent; /* pid; 0 = the kernel */
    uint32_t status;
};

/* Start a program on behalf of the kernel: its pid, or 0.  Takes and drops the kernel lock. */
uint32_t proc_spawn(enum vkernel_program program, enum space_kind kind, uint64_t quota);

/* A copy of the process; returns its pid, or 0.  It will see 0 as result of its system call. */
uint32_t proc_fork(struct proc *parent);

/* The process ends: its memory is gone, its status stays for the parent. */
void proc_exit(struct proc *proc, uint32_t status);

/*
 * CALL_WAIT: if a child has ended, forget it and say which; if there are children, wait;
 * otherwise fail.  The result is put into the process's RAX, now or when a child ends.
 */
void proc_wait(struct proc *proc);

/*
 * The same for children of the kernel, without waiting: false if none has ended.  Takes and
 * drops the kernel lock.
 */
bool proc_reap(uint32_t *pid, uint32_t *status);

/* Run processes on this vCPU until all have ended.  Takes and drops the kernel lock. */
void proc_run_all(void);

/* Other vCPUs: run processes until proc_shut_down.  Takes and drops the kernel lock. */
void proc_serve(void);
void proc_shut_down(void);

#endif
