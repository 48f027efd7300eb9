/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell: a table of calls, each of which takes its arguments (call.h) and does what the guest
 * asks for.  Guest memory is only reached through vm_map_read and vm_map_write.
 */
#include "vmm/doorbell/doorbell.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/doorbell/doorbell_console.h"
#include "vmm/doorbell/doorbell_trace.h"
#include "vmm/doorbell/vmspace.h"
#include "vmm/doorbell/wait.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_trace.h"
#include "vmm/vpagetable/vm_budget.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* -ECANCELED has no number of its own: the VM has ended, and no guest ever sees it. */
int64_t
doorbell_error(enum vm_result result, int error)
{
    switch (result) {
    case VM_OK:
        break;
    case VM_IO_ERROR:
    case VM_HOST_FAILURE:
        return -VKVM_EIO;
    default:
        return -VKVM_EFAULT;
    }
    switch (-error) {
    case ENOENT:
        return -VKVM_ENOENT;
    case ENOMEM:
        return -VKVM_ENOMEM;
    case EACCES:
        return -VKVM_EACCES;
    case EFAULT:
        return -VKVM_EFAULT;
    case EBUSY:
        return -VKVM_EBUSY;
    case EEXIST:
        return -VKVM_EEXIST;
    case EINVAL:
        return -VKVM_EINVAL;
    case ENOSYS:
        return -VKVM_ENOSYS;
    case ENOSPC:
        return -VKVM_ENOSPC;
    case ENODATA:
        return -VKVM_ENODATA;
    case ETIMEDOUT:
        return -VKVM_ETIMEDOUT;
    default:
        return -VKVM_EIO;
    }
}

static int64_t
result_of(int error)
{
    return error == 0 ? 0 : doorbell_error(VM_OK, error);
}

int64_t
doorbell_memory_error(struct vm *vm, enum vm_result result, const struct vm_fault_info *info)
{
    if (result == VM_HOST_FAILURE)
        vm_end(vm, VM_END_FAILED, 0, "%s of guest address 0x%" PRIx64 ": %s: %s",
               info->access == VM_PROT_WRITE ? "write" : "read", gpa_to_u64(info->gpa),
               info->cause != NULL ? info->cause : "host failure",
               limits_explain_cause(info->cause, info->error).text);
    return doorbell_error(result, 0);
}

/* What answers one VM's guest: a device on its bus. */
struct doorbell {
    struct vm *vm; /* (c) borrowed */
    struct vmspaces spaces;
    struct wait_queue waits;
};

/* Who rang. */
struct caller {
    struct doorbell *doorbell;
    struct vm *vm;
    struct arch_vcpu *arch;
    unsigned cpu;
};

/* --- The VM and the vCPU ------------------------------------------------- */

static int64_t
run_version(const struct caller *caller, const union call *call)
{
    (void)caller;
    (void)call;
    return VKVM_ABI_VERSION;
}

static int64_t
run_exit(const struct caller *caller, const union call *call)
{
    int status = call->exit.status;

    vm_end(caller->vm, VM_END_GUEST, status, "exit status %d", status);
    return 0;
}

static void
fill_statistics(struct vm *vm, struct vkvm_statistics *s)
{
#define METER(name) vm_meter_get(&vm->map.meter, name)
    *s = (struct vkvm_statistics){
        .version = VKVM_ABI_VERSION,
        .faults = METER(v_vm_faults),
        .resident = METER(v_kind_resident),
        .zero_fill = METER(v_kind_zero_fill),
        .page_in = METER(v_kind_page_in),
        .cow = METER(v_kind_cow),
        .failed = METER(v_kind_failed),
        .host_failed = METER(v_kind_host),
        .walks = METER(v_walks),
        .vpte_a = METER(v_vpte_a),
        .vpte_m = METER(v_vpte_m),
        .vpte_dir_m = METER(v_vpte_dir_m),
        .prefaulted = METER(v_prefault),
        .resident_pages = vm_budget_resident(&vm->host->sys),
        .invals = METER(v_inval),
        .setmaps = METER(v_setmap),
        .pages_in = METER(v_pagein),
        .pages_out = vm_meter_get(&vm->host->sys.meter, v_pageout),
        .time_ns = clock_now_ns() - vm->started_ns,
        .delivered = vm_exceptions(vm),
        .zero_pages = METER(v_zfod),
        .walks_failed = METER(v_walk_failed),
        .swap_lost = METER(v_swap_lost),
        .begun = METER(v_begun),
    };
#undef METER
}

static int64_t
run_statistics(const struct caller *caller, const union call *call)
{
    struct vm *vm = caller->vm;
    struct vkvm_statistics statistics;
    struct vm_fault_info info;
    enum vm_result result;
    uint64_t size = call->statistics.size;

    if (size > sizeof(statistics))
        size = sizeof(statistics);
    fill_statistics(vm, &statistics);
    result = vm_map_write(&vm->map, call->statistics.to, &statistics, size, &info);
    return result == VM_OK ? (int64_t)size : doorbell_memory_error(vm, result, &info);
}

static int64_t
run_fault_delivery(const struct caller *caller, const union call *call)
{
    const struct call_fault_delivery *delivery = &call->fault_delivery;
    uint64_t area = gpa_to_u64(delivery->area);

    if (delivery->mode == VKVM_DELIVER_VE) {
        /* In RAM, so that writing it can never fail for a reason the guest has a hand in. */
        if (machine_find_ram(&caller->vm->config.machine, area, sizeof(struct vkvm_ve_area)) ==
            NULL)
            return -VKVM_EFAULT;
        caller->arch->ve_area = delivery->area;
    }
    caller->arch->delivery = delivery->mode;
    atomic_store(&caller->vm->map.handles_loss, true);
    return 0;
}

/* --- Ranges and vmspaces ------------------------------------------------- */

static int64_t
run_inval(const struct caller *caller, const union call *call)
{
    return result_of(vm_map_inval(&caller->vm->map, call->range.start, call->range.end));
}

static int64_t
run_sync(const struct caller *caller, const union call *call)
{
    return result_of(file_maps_sync(&caller->vm->files, call->range.start, call->range.end,
                                    caller->vm->map.stop));
}

/* What is done by the books' function of that name. */
#define RUN_BY_BOOKS(name, member)                                                  \
    static int64_t run_##name(const struct caller *caller, const union call *call)  \
    {                                                                               \
        return result_of(vmspace_##name(&caller->doorbell->spaces, &call->member)); \
    }

RUN_BY_BOOKS(setmap, setmap)
RUN_BY_BOOKS(protect, protect)
RUN_BY_BOOKS(advise, advise)
RUN_BY_BOOKS(create, vmspace)
RUN_BY_BOOKS(destroy, vmspace)
RUN_BY_BOOKS(map, vmspace_map)
RUN_BY_BOOKS(unmap, vmspace_unmap)
RUN_BY_BOOKS(region_map, region_map)
RUN_BY_BOOKS(copy, copy)
RUN_BY_BOOKS(wire, range)
RUN_BY_BOOKS(unwire, range)

/* --- Waiting, and the console -------------------------------------------- */

static int64_t
run_wait(const struct caller *caller, const union call *call)
{
    struct vm_fault_info info;
    enum vm_result result;
    int error;

    result = wait_queue_wait(&caller->doorbell->waits, caller->cpu, &call->wait, &error, &info);
    return result == VM_OK ? result_of(error) : doorbell_memory_error(caller->vm, result, &info);
}

static int64_t
run_wake(const struct caller *caller, const union call *call)
{
    struct vm_fault_info info;
    enum vm_result result;
    unsigned woken;

    result = wait_queue_wake(&caller->doorbell->waits, &call->wake, &woken, &info);
    return result == VM_OK ? woken : doorbell_memory_error(caller->vm, result, &info);
}

static int64_t
run_console_write(const struct caller *caller, const union call *call)
{
    return doorbell_console_write(caller->vm, &call->console);
}

static int64_t
run_console_read(const struct caller *caller, const union call *call)
{
    return doorbell_console_read(caller->vm, &call->console);
}

/* --- The bell ------------------------------------------------------------ */

/* A call: how its arguments are taken, and what it does. */
struct call_type {
    call_unpack_fn *unpack;
    int64_t (*run)(const struct caller *caller, const union call *call);
};

static const struct call_type call_types[VKVM_CALL_COUNT] = {
    [VKVM_CALL_VERSION] = { call_unpack_none, run_version },
    [VKVM_CALL_EXIT] = { call_unpack_exit, run_exit },
    [VKVM_CALL_STATISTICS] = { call_unpack_statistics, run_statistics },
    [VKVM_CALL_FAULT_DELIVERY] = { call_unpack_fault_delivery, run_fault_delivery },
    [VKVM_CALL_SETMAP] = { call_unpack_setmap, run_setmap },
    [VKVM_CALL_INVAL] = { call_unpack_range, run_inval },
    [VKVM_CALL_ADVISE] = { call_unpack_advise, run_advise },
    [VKVM_CALL_VMSPACE_CREATE] = { call_unpack_vmspace_create, run_create },
    [VKVM_CALL_VMSPACE_DESTROY] = { call_unpack_vmspace_destroy, run_destroy },
    [VKVM_CALL_VMSPACE_MAP] = { call_unpack_vmspace_map, run_map },
    [VKVM_CALL_VMSPACE_UNMAP] = { call_unpack_vmspace_unmap, run_unmap },
    [VKVM_CALL_PROTECT] = { call_unpack_protect, run_protect },
    [VKVM_CALL_SYNC] = { call_unpack_range, run_sync },
    [VKVM_CALL_REGION_MAP] = { call_unpack_region_map, run_region_map },
    [VKVM_CALL_COPY] = { call_unpack_copy, run_copy },
    [VKVM_CALL_WIRE] = { call_unpack_range, run_wire },
    [VKVM_CALL_UNWIRE] = { call_unpack_range, run_unwire },
    [VKVM_CALL_WAIT] = { call_unpack_wait, run_wait },
    [VKVM_CALL_WAKE] = { call_unpack_wake, run_wake },
    [VKVM_CALL_CONSOLE_WRITE] = { call_unpack_console, run_console_write },
    [VKVM_CALL_CONSOLE_READ] = { call_unpack_console, run_console_read },
};

static int64_t
run_call(const struct call_type *type, const struct caller *caller, uint64_t number,
         const union call *call)
{
    bool traced = vm_trace_is_on(caller->vm);
    uint64_t begun = traced ? clock_now_ns() : 0;
    int64_t result = type->run(caller, call);

    if (traced)
        doorbell_trace_call(caller->vm, caller->cpu, number, call, begun, result);
    return result;
}

/* Answer the call whose number and arguments are in the vCPU's registers. */
static int
answer(struct doorbell *doorbell, unsigned cpu)
{
    struct arch_vcpu *arch = &doorbell->vm->vcpus[cpu].arch;
    const struct caller caller = { doorbell, doorbell->vm, arch, cpu };
    int64_t result = -VKVM_ENOSYS;
    struct arch_call registers;
    union call call;
    int error;

    error = arch_call_get(arch, &registers);
    if (error != 0)
        return error;
    if (registers.number < VKVM_CALL_COUNT) {
        const struct call_type *type = &call_types[registers.number];

        result = result_of(type->unpack(registers.argument, &call));
        if (result == 0)
            result = run_call(type, &caller, registers.number, &call);
    }
    registers.result = (uint64_t)result;
    return arch_call_set(arch, &registers);
}

/* Unlocked: a call may take long, and several vCPUs call at once. */
static int
doorbell_access(void *device, const struct bus_access *access)
{
    struct doorbell *doorbell = device;

    if (!access->write || access->size != 4 || access->offset != 0)
        return 0;
    return answer(doorbell, access->cpu);
}

/* --- How vCPUs wait ------------------------------------------------------ */

static void
sleep_prepare(void *context, unsigned cpu)
{
    struct doorbell *doorbell = context;

    vcpu_sleep_prepare(&doorbell->vm->vcpus[cpu]);
}

static enum wait_sleep
sleep_vcpu(void *context, unsigned cpu, uint64_t deadline)
{
    struct doorbell *doorbell = context;

    switch (vcpu_sleep(&doorbell->vm->vcpus[cpu], deadline)) {
    case VCPU_WOKEN:
        return WAIT_WOKEN;
    case VCPU_TIMED_OUT:
        return WAIT_TIMED_OUT;
    default:
        return WAIT_INTERRUPTED;
    }
}

static void
wake_vcpu(void *context, unsigned cpu)
{
    struct doorbell *doorbell = context;

    vcpu_wake(&doorbell->vm->vcpus[cpu]);
}

static bool
park_vcpu(void *context)
{
    struct doorbell *doorbell = context;

    return vm_park(doorbell->vm);
}

static void
unpark_vcpu(void *context)
{
    struct doorbell *doorbell = context;

    vm_unpark(doorbell->vm);
}

static void
end_parked(void *context, unsigned cpu)
{
    struct doorbell *doorbell = context;

    vm_end_parked(doorbell->vm, cpu);
}

static const struct wait_ops wait_ops = {
    .prepare = sleep_prepare,
    .sleep = sleep_vcpu,
    .wake = wake_vcpu,
    .park = park_vcpu,
    .unpark = unpark_vcpu,
    .all_parked = end_parked,
};

/* --- Attaching ----------------------------------------------------------- */

/* The windows and files of the command line belong to no vmspace. */
static int
add_configured(struct doorbell *doorbell)
{
    const struct machine *machine = &doorbell->vm->config.machine;
    int error = 0;

    for (unsigned i = 0; i < machine->nwindows && error == 0; i++)
        error = vmspaces_add_window(&doorbell->spaces, machine->windows[i].start,
                                    gpa_add(machine->windows[i].start, machine->windows[i].size),
                                    false);
    for (unsigned i = 0; i < machine->nfiles && error == 0; i++)
        error = vmspaces_add_window(&doorbell->spaces, machine->files[i].start,
                                    gpa_add(machine->files[i].start, machine->files[i].size), true);
    return error;
}

static void
doorbell_detach(void *guest)
{
    struct doorbell *doorbell = guest;

    wait_queue_fini(&doorbell->waits);
    vmspaces_fini(&doorbell->spaces);
    free(doorbell);
}

static int
doorbell_attach(struct vm *vm, void **guest, struct failure *failure)
{
    const struct machine_device *device =
        machine_find_device(&vm->config.machine, MACHINE_DOORBELL);
    struct doorbell *doorbell = calloc(1, sizeof(*doorbell));
    int error;

    if (doorbell == NULL)
        return failure_set(failure, -ENOMEM, "cannot make the doorbell: %s", strerror(ENOMEM));
    doorbell->vm = vm;
    vmspaces_init(&doorbell->spaces, &vm->map, vm->ram, &vm->config.machine);
    wait_queue_init(&doorbell->waits, &vm->map, vm->ram, machine_ram_pages(&vm->config.machine),
                    &wait_ops, doorbell);
    error = add_configured(doorbell);
    if (error == 0 && device != NULL)
        error = bus_add(&vm->bus, BUS_PORT, device->port, device->nports, BUS_UNLOCKED,
                        doorbell_access, doorbell);
    if (error != 0) {
        doorbell_detach(doorbell);
        return failure_set(failure, error, "cannot make the doorbell: %s", strerror(-error));
    }
    *guest = doorbell;
    return 0;
}

const struct vm_guest_ops doorbell_guest_ops = {
    .attach = doorbell_attach,
    .detach = doorbell_detach,
};
