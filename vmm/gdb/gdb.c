/* SPDX-License-Identifier: BSD-2-Clause */
/* See gdb.h. */
#include "vmm/gdb/gdb.h"

#include "vmm/gdb/gdb_listen.h"
#include "vmm/gdb/gdb_server.h"
#include "vmm/gdb/gdb_vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct gdb {
    struct gdb_listen listen; /* owned */
    bool wait;
    bool started; /* vm_run called: target and server are in order, to be ended */
    struct gdb_vm target;
    struct gdb_server server;
    void (*warn)(void *context, const char *message);
    void *warn_context; /* borrowed */
};

static void
tell_where(const struct gdb *gdb)
{
    char line[sizeof(gdb->listen.where) + 64];

    snprintf(line, sizeof(line), "%s: in gdb, target remote %s",
             gdb->wait ? "waiting for a debugger" : "a debugger can attach", gdb->listen.where);
    if (gdb->warn != NULL)
        gdb->warn(gdb->warn_context, line);
}

int
gdb_open(const char *address, bool wait, void (*warn)(void *context, const char *message),
         void *warn_context, struct gdb **gdbp, struct failure *failure)
{
    struct gdb *gdb = calloc(1, sizeof(*gdb));
    int error;

    if (gdb == NULL)
        return failure_set(failure, -ENOMEM, "no memory for a debugger");
    error = gdb_listen_open(address, &gdb->listen, failure);
    if (error != 0) {
        free(gdb);
        return error;
    }
    gdb->wait = wait;
    gdb->warn = warn;
    gdb->warn_context = warn_context;
    *gdbp = gdb;
    tell_where(gdb);
    return 0;
}

void
gdb_close(struct gdb *gdb)
{
    if (gdb == NULL)
        return;
    gdb_listen_close(&gdb->listen);
    free(gdb);
}

/* A breakpoint instruction that KVM does not see is the guest's: better said before it crashes. */
static void
tell_abilities(const struct gdb *gdb)
{
    const struct arch_debug_abilities *can = &gdb->target.abilities;
    const char *line = NULL;

    if (!can->kernel.breakpoints && can->kernel.step)
        line =
            "this host's KVM does not stop at breakpoints: the guest steps through the pages that "
            "have one, which is slow";
    else if (!can->kernel.breakpoints)
        line = "this host's KVM does not stop at breakpoints: the guest gets them as its own "
               "exceptions";
    else if (!can->user.breakpoints)
        line = "this host's KVM stops at breakpoints in ring 0 only: in ring 3 the guest gets them "
               "as its own exceptions";
    if (line != NULL && gdb->warn != NULL)
        gdb->warn(gdb->warn_context, line);
}

static int
start(void *debugger, struct vm *vm, struct event_loop *loop)
{
    struct gdb *gdb = debugger;
    int error = gdb_vm_init(&gdb->target, vm);

    if (error != 0)
        return error;
    error = gdb_server_init(&gdb->server, gdb->listen.fd, &gdb_vm_ops, &gdb->target, gdb->warn,
                            gdb->warn_context);
    if (error != 0) {
        gdb_vm_fini(&gdb->target);
        return error;
    }
    gdb->started = true;
    tell_abilities(gdb);
    if (gdb->wait)
        gdb_vm_ops.interrupt(&gdb->target);
    return gdb_server_start(&gdb->server, loop);
}

static void
rested(void *debugger)
{
    struct gdb *gdb = debugger;

    gdb_server_rested(&gdb->server);
}

static bool
trap(void *debugger, unsigned cpu, bool in_place)
{
    struct gdb *gdb = debugger;

    return gdb_vm_trap(&gdb->target, cpu, in_place);
}

static void
look(void *debugger, unsigned cpu)
{
    struct gdb *gdb = debugger;

    gdb_walk_look(&gdb->target, cpu);
}

/* As the process will end: vkvm(1), exit status. */
static unsigned
exit_status(const struct vm_outcome *outcome)
{
    switch (outcome->end) {
    case VM_END_GUEST:
    case VM_END_INTERRUPTED:
        return (unsigned)outcome->status;
    case VM_END_TIMEOUT:
        return 124;
    case VM_END_CRASHED:
        return 70;
    case VM_END_RESET:
        return 75;
    case VM_END_FAILED:
        break;
    }
    return 125;
}

static void
finish(void *debugger, const struct vm_outcome *outcome)
{
    struct gdb *gdb = debugger;

    if (gdb->started)
        gdb_server_finish(&gdb->server, outcome->end == VM_END_INTERRUPTED, exit_status(outcome));
}

static void
release(void *debugger)
{
    struct gdb *gdb = debugger;

    if (!gdb->started)
        return;
    gdb->started = false;
    gdb_server_fini(&gdb->server);
    gdb_vm_fini(&gdb->target);
}

const struct vm_debug_ops gdb_debug_ops = {
    .start = start,
    .rested = rested,
    .trap = trap,
    .look = look,
    .finish = finish,
    .release = release,
};
