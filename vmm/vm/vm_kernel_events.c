/* SPDX-License-Identifier: BSD-2-Clause */
/* See vm_kernel_events.h. */
#include "vmm/vm/vm_kernel_events.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/trace/trace_kernel.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_trace.h"
#include "vmm/x86_64/arch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages that are taken at once. */
#define BATCH 256u

/* How often the end is looked for, ms, and how long the last message may take, ns. */
#define LOOK_MS 100
#define GIVE_UP_NS 10000000000u

/* Bits of an EPT violation's exit qualification.  Source: Intel SDM vol. 3C, table 28-7. */
#define EPT_WRITE (UINT64_C(1) << 1)
#define EPT_FETCH (UINT64_C(1) << 2)
#define EPT_LINEAR_VALID (UINT64_C(1) << 7)
#define EPT_TRANSLATED (UINT64_C(1) << 8)

/* --- Events ---------------------------------------------------------------- */

/* Bits of a page fault's error code for those that EPT tells. */
static uint64_t
error_code_of_ept(uint64_t qualification)
{
    uint64_t code = 0;

    if ((qualification & EPT_WRITE) != 0)
        code |= TRACE_PFERR_WRITE;
    if ((qualification & EPT_FETCH) != 0)
        code |= TRACE_PFERR_FETCH;
    if ((qualification & (EPT_LINEAR_VALID | EPT_TRANSLATED)) == EPT_LINEAR_VALID)
        code |= TRACE_PFERR_GUEST_PAGE;
    return code;
}

/* The vCPU whose thread that is, or nvcpus. */
static unsigned
vcpu_of_tid(const struct vm *vm, uint32_t tid)
{
    unsigned nvcpus = vm->config.machine.nvcpus;

    for (unsigned i = 0; i < nvcpus; i++) {
        if ((uint32_t)atomic_load_explicit(&vm->vcpus[i].tid, memory_order_relaxed) == tid)
            return i;
    }
    return nvcpus;
}

static void
take_event(struct vm *vm, const struct trace_kernel_message *message)
{
    struct vm_kernel_events *events = &vm->trace.kernel;
    unsigned cpu = vcpu_of_tid(vm, message->tid);
    struct trace_record record = {
        .kind = TRACE_REGISTERS,
        .time = message->time,
        .who = TRACE_VCPU,
        .number = cpu,
        .registers = { .fault = TRACE_NONE,
                       .rip = message->rip,
                       .linear = TRACE_NONE,
                       .kernel_event = true,
                       .error_code = events->ept ? error_code_of_ept(message->error_code)
                                                 : message->error_code,
                       .gpa = message->address },
    };

    if (cpu == vm->config.machine.nvcpus || !vm_trace_is_on(vm))
        return;
    events->events++;
    trace_put(vm->trace.writer, events->lane, &record);
}

static void
take(struct vm *vm, const struct trace_kernel_message *message)
{
    struct vm_kernel_events *events = &vm->trace.kernel;

    if (message->kind == TRACE_KERNEL_EVENT) {
        take_event(vm, message);
    } else if (message->kind == TRACE_KERNEL_END) {
        events->lost = message->lost;
        events->whole = true;
    }
}

/* --- The thread ------------------------------------------------------------ */

/* As soon as all vCPUs have their threads. */
static void
tell_threads(struct vm *vm)
{
    int first = INT32_MAX, last = 0;
    char line[TRACE_KERNEL_LINE_MAX];
    int size;

    for (unsigned i = 0; i < vm->config.machine.nvcpus; i++) {
        int tid = atomic_load(&vm->vcpus[i].tid);
        if (tid == 0)
            return;
        first = tid < first ? tid : first;
        last = tid > last ? tid : last;
    }
    size = snprintf(line, sizeof(line), "threads %d %d\n", first, last);
    vm->trace.kernel.told = write(vm->config.trace.kernel_fd, line, (size_t)size) == size;
}

static bool
is_late(const struct vm_kernel_events *events)
{
    uint64_t at = atomic_load(&events->give_up_at);

    return at != 0 && clock_now_ns() >= at;
}

/* Returns how many bytes of the batch are there, 0 at the end. */
static size_t
fill(struct vm *vm, struct trace_kernel_message *batch, size_t have)
{
    struct pollfd socket = { .fd = vm->config.trace.kernel_fd, .events = POLLIN };
    ssize_t size;

    while (poll(&socket, 1, LOOK_MS) <= 0) {
        if (!vm->trace.kernel.told)
            tell_threads(vm);
        if (is_late(&vm->trace.kernel))
            return 0;
    }
    size = read(socket.fd, (char *)batch + have, BATCH * sizeof(*batch) - have);
    return size <= 0 ? 0 : have + (size_t)size;
}

static void *
events_main(void *argument)
{
    struct vm *vm = argument;
    struct trace_kernel_message batch[BATCH];
    size_t have = 0;

    vm_confine(vm, SANDBOX_TRACE);
    while ((have = fill(vm, batch, have)) != 0) {
        size_t count = have / sizeof(batch[0]);

        if (!vm->trace.kernel.told)
            tell_threads(vm);
        for (size_t i = 0; i < count; i++)
            take(vm, &batch[i]);
        have -= count * sizeof(batch[0]);
        memmove(batch, &batch[count], have);
    }
    return NULL;
}

int
vm_kernel_events_start(struct vm *vm, struct trace_lane *lane, struct failure *failure)
{
    struct vm_kernel_events *events = &vm->trace.kernel;
    sigset_t all, saved;
    int error;

    events->lane = lane;
    events->ept = arch_kvm_has_ept();
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &saved);
    error = pthread_create(&events->thread, NULL, events_main, vm);
    (void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (error != 0)
        return failure_set(failure, -error, "cannot start the trace's thread: %s",
                           limits_explain_thread(-error).text);
    events->running = true;
    return 0;
}

void
vm_kernel_events_finish(struct vm *vm)
{
    struct vm_kernel_events *events = &vm->trace.kernel;

    if (!events->running)
        return;
    atomic_store(&events->give_up_at, clock_now_ns() + GIVE_UP_NS);
    (void)shutdown(vm->config.trace.kernel_fd, SHUT_WR);
    pthread_join(events->thread, NULL);
    events->running = false;
}
