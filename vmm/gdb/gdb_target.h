/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a debugger's session asks of the machine it debugs.  gdb_vm.h has the real one; tests have
 * another.
 *
 * vCPUs are the debugger's threads: vCPU n is thread n + 1, since 0 and -1 mean any and all.
 * Addresses are linear, translated by the vCPU's page tables.
 */
#ifndef GDB_TARGET_H
#define GDB_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Why something was refused, for the person who debugs; empty = nothing to say. */
#define GDB_WHY_SIZE 160

/* What a vCPU is to do when the machine runs on. */
enum gdb_action {
    GDB_HOLD, /* nothing */
    GDB_CONTINUE,
    GDB_STEP
};

/* The protocol's kinds of points: the digit of Z and z. */
enum gdb_point {
    GDB_POINT_SOFTWARE,
    GDB_POINT_HARDWARE,
    GDB_POINT_WRITE,
    GDB_POINT_READ,
    GDB_POINT_ACCESS
};

/* Why the machine stopped. */
enum gdb_stop_cause {
    GDB_STOP_INTERRUPT, /* the debugger asked, or nobody knows */
    GDB_STOP_STEP,
    GDB_STOP_SOFTWARE,
    GDB_STOP_HARDWARE,
    GDB_STOP_WRITE,
    GDB_STOP_ACCESS
};

struct gdb_stop {
    enum gdb_stop_cause cause;
    unsigned cpu;
    uint64_t address; /* WRITE, ACCESS: what is watched */
};

/*
 * Registers, memory and points are asked for only while all vCPUs rest.  Those that say so may
 * sleep, and are called from any one thread at a time; the others not.
 */
struct gdb_target_ops {
    /* (c) how many vCPUs there are, 1 or more */
    unsigned (*ncpus)(void *target);

    /* All registers (arch_debug_get_registers).  Returns 0 or -errno. */
    int (*get_registers)(void *target, unsigned cpu, uint8_t *bytes);
    int (*set_registers)(void *target, unsigned cpu, const uint8_t *bytes);

    /* Copy memory; sleeps.  read returns how many bytes there were; write 0, or -errno and *why. */
    size_t (*read)(void *target, unsigned cpu, uint64_t address, void *to, size_t size);
    int (*write)(void *target, unsigned cpu, uint64_t address, const void *from, size_t size,
                 char *why);

    /*
     * Set or take away a point, which is there or not already: both are idempotent.  Sleeps.
     * Returns 0; -EOPNOTSUPP, -EINVAL, -ENOSPC, -EFAULT and *why.
     */
    int (*insert)(void *target, unsigned cpu, enum gdb_point kind, uint64_t address, uint64_t size,
                  char *why);
    int (*remove)(void *target, unsigned cpu, enum gdb_point kind, uint64_t address, uint64_t size,
                  char *why);
    /* All of them; sleeps. */
    void (*remove_all)(void *target);

    /*
     * Run on, one action a vCPU, until something stops the machine.  Returns 0; -EALREADY: it
     * stopped before it ran, take_stop says why; -EOPNOTSUPP (a step) or -errno and *why: nothing
     * changed.
     */
    int (*resume)(void *target, const enum gdb_action *actions, char *why);

    /* Stop it; all_rest will tell. */
    void (*interrupt)(void *target);
    bool (*all_rest)(void *target);

    /* Why it stopped.  Called once when all rest. */
    void (*take_stop)(void *target, struct gdb_stop *stop);

    /* Nothing holds it, nothing stops it any more: it runs as if nobody had debugged it. */
    void (*release)(void *target);

    /* End it. */
    void (*kill)(void *target);

    /* One line about a vCPU. */
    void (*describe)(void *target, unsigned cpu, char *to, size_t size);

    /* What the person asks by `monitor`; sleeps. */
    void (*monitor)(void *target, unsigned cpu, const char *command, FILE *to);
};

#endif
