/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A target for the tests of gdb's protocol: memory, registers and points that are only noted, and
 * a machine that stops when the test says so.
 */
#ifndef GDB_RIG_H
#define GDB_RIG_H

#include "vmm/gdb/gdb_session.h"
#include "vmm/x86_64/debug.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define RIG_CPUS 2u
#define RIG_BASE UINT64_C(0x1000)
#define RIG_SIZE 0x8000u
#define RIG_POINTS 8u

struct gdb_rig {
    uint8_t memory[RIG_SIZE]; /* at RIG_BASE */
    uint8_t registers[RIG_CPUS][ARCH_DEBUG_REGISTERS_SIZE];
    struct {
        enum gdb_point kind;
        uint64_t address, size;
    } points[RIG_POINTS];
    unsigned npoints;
    enum gdb_action actions[RIG_CPUS];
    _Atomic bool runs;     /* resumed, and neither stopped nor interrupted */
    _Atomic bool stubborn; /* does not come to rest */
    bool stopped_before;   /* the next resume says -EALREADY */
    bool cannot_step;
    _Atomic unsigned interrupts, releases, removals, kills;
    struct gdb_stop stop;
    pthread_t worker;  /* who read memory last */
    _Atomic bool slow; /* reads wait */
    _Atomic unsigned reads;
    char command[256]; /* the last monitor command */
    struct gdb_session session;
};

static inline unsigned
rig_ncpus(void *context)
{
    (void)context;
    return RIG_CPUS;
}

static inline int
rig_get_registers(void *context, unsigned cpu, uint8_t *bytes)
{
    struct gdb_rig *rig = context;

    memcpy(bytes, rig->registers[cpu], arch_debug_registers_size());
    return 0;
}

static inline int
rig_set_registers(void *context, unsigned cpu, const uint8_t *bytes)
{
    struct gdb_rig *rig = context;

    memcpy(rig->registers[cpu], bytes, arch_debug_registers_size());
    return 0;
}

static inline size_t
rig_read(void *context, unsigned cpu, uint64_t address, void *to, size_t size)
{
    struct gdb_rig *rig = context;
    uint64_t offset = address - RIG_BASE;

    (void)cpu;
    rig->worker = pthread_self();
    atomic_fetch_add(&rig->reads, 1);
    while (atomic_load(&rig->slow))
        sched_yield();
    if (offset >= RIG_SIZE)
        return 0;
    if (size > RIG_SIZE - offset)
        size = RIG_SIZE - offset;
    memcpy(to, rig->memory + offset, size);
    return size;
}

static inline int
rig_write(void *context, unsigned cpu, uint64_t address, const void *from, size_t size, char *why)
{
    struct gdb_rig *rig = context;
    uint64_t offset = address - RIG_BASE;

    (void)cpu;
    if (offset > RIG_SIZE || size > RIG_SIZE - offset) {
        strcpy(why, "no memory");
        return -EFAULT;
    }
    memcpy(rig->memory + offset, from, size);
    return 0;
}

static inline int
rig_insert(void *context, unsigned cpu, enum gdb_point kind, uint64_t address, uint64_t size,
           char *why)
{
    struct gdb_rig *rig = context;

    (void)cpu;
    if (rig->npoints == RIG_POINTS) {
        strcpy(why, "too many");
        return -ENOSPC;
    }
    rig->points[rig->npoints].kind = kind;
    rig->points[rig->npoints].address = address;
    rig->points[rig->npoints++].size = size;
    return 0;
}

static inline int
rig_remove(void *context, unsigned cpu, enum gdb_point kind, uint64_t address, uint64_t size,
           char *why)
{
    struct gdb_rig *rig = context;

    (void)cpu;
    (void)why;
    for (unsigned i = 0; i < rig->npoints; i++) {
        if (rig->points[i].kind == kind && rig->points[i].address == address &&
            rig->points[i].size == size) {
            rig->points[i] = rig->points[--rig->npoints];
            break;
        }
    }
    return 0;
}

static inline void
rig_remove_all(void *context)
{
    struct gdb_rig *rig = context;

    rig->npoints = 0;
    atomic_fetch_add(&rig->removals, 1);
}

static inline int
rig_resume(void *context, const enum gdb_action *actions, char *why)
{
    struct gdb_rig *rig = context;

    for (unsigned i = 0; i < RIG_CPUS; i++) {
        if (actions[i] == GDB_STEP && rig->cannot_step) {
            strcpy(why, "cannot step");
            return -EOPNOTSUPP;
        }
    }
    if (rig->stopped_before)
        return -EALREADY;
    memcpy(rig->actions, actions, sizeof(rig->actions));
    atomic_store(&rig->runs, true);
    return 0;
}

static inline void
rig_interrupt(void *context)
{
    struct gdb_rig *rig = context;

    atomic_fetch_add(&rig->interrupts, 1);
    atomic_store(&rig->runs, false);
}

static inline bool
rig_all_rest(void *context)
{
    struct gdb_rig *rig = context;

    return !atomic_load(&rig->runs) && !atomic_load(&rig->stubborn);
}

static inline void
rig_take_stop(void *context, struct gdb_stop *stop)
{
    struct gdb_rig *rig = context;

    *stop = rig->stop;
    rig->stop = (struct gdb_stop){ .cause = GDB_STOP_INTERRUPT };
}

static inline void
rig_release(void *context)
{
    struct gdb_rig *rig = context;

    atomic_fetch_add(&rig->releases, 1);
    atomic_store(&rig->runs, true);
}

static inline void
rig_kill(void *context)
{
    struct gdb_rig *rig = context;

    atomic_fetch_add(&rig->kills, 1);
}

static inline void
rig_describe(void *context, unsigned cpu, char *to, size_t size)
{
    (void)context;
    snprintf(to, size, "vCPU %u", cpu);
}

static inline void
rig_monitor(void *context, unsigned cpu, const char *command, FILE *to)
{
    struct gdb_rig *rig = context;

    snprintf(rig->command, sizeof(rig->command), "%s", command);
    fprintf(to, "%u:%s\n", cpu, command);
}

static const struct gdb_target_ops rig_ops = {
    .ncpus = rig_ncpus,
    .get_registers = rig_get_registers,
    .set_registers = rig_set_registers,
    .read = rig_read,
    .write = rig_write,
    .insert = rig_insert,
    .remove = rig_remove,
    .remove_all = rig_remove_all,
    .resume = rig_resume,
    .interrupt = rig_interrupt,
    .all_rest = rig_all_rest,
    .take_stop = rig_take_stop,
    .release = rig_release,
    .kill = rig_kill,
    .describe = rig_describe,
    .monitor = rig_monitor,
};

#endif
