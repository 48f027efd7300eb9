/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell calls.  Every argument is the guest's word and is checked here or
 * by the engine function it goes to; guest memory is only reached through
 * vm_map_read and vm_map_write.
 */
#include "vmm/doorbell/doorbell.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/clock.h"
#include "vmm/doorbell/vmspace.h"
#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
    default:
        return -VKVM_EIO;
    }
}

static int64_t
result_of(int error)
{
    return error == 0 ? 0 : doorbell_error(VM_OK, error);
}

/* A range of whole pages that does not wrap around. */
static bool
range_is_valid(uint64_t start, uint64_t size)
{
    return size != 0 && ((start | size) & PAGE_MASK) == 0 && size - 1 <= UINT64_MAX - start &&
           start + size != 0;
}

/* Permissions from VKVM_MAP_*.  The second stage has no write without read (SDM vol. 3, 28.3.3.1). */
static bool
permissions_from_flags(uint64_t flags, vm_prot_t *prot)
{
    if ((flags & ~(uint64_t)(VKVM_MAP_READ | VKVM_MAP_WRITE | VKVM_MAP_EXECUTE)) != 0 ||
        (flags & (VKVM_MAP_READ | VKVM_MAP_WRITE)) == VKVM_MAP_WRITE)
        return false;
    *prot = (vm_prot_t)(((flags & VKVM_MAP_READ) != 0 ? VM_PROT_READ : 0) |
                        ((flags & VKVM_MAP_WRITE) != 0 ? VM_PROT_WRITE : 0) |
                        ((flags & VKVM_MAP_EXECUTE) != 0 ? VM_PROT_EXECUTE : 0));
    return true;
}

/* What answers one VM's guest: a device on its bus. */
struct doorbell {
    struct vm *vm;               /* (c) borrowed */
    struct vm_mutex spaces_lock; /* S */
    struct vmspaces spaces;      /* S */
};

/* Who rang. */
struct caller {
    struct doorbell *doorbell;
    struct vm *vm;
    struct arch_vcpu *arch;
};

static int64_t
call_version(const struct caller *caller, const uint64_t *argument)
{
    (void)caller;
    (void)argument;
    return VKVM_ABI_VERSION;
}

static int64_t
call_exit(const struct caller *caller, const uint64_t *argument)
{
    if (argument[0] > 255)
        return -VKVM_EINVAL;
    vm_end(caller->vm, VM_END_GUEST, (int)argument[0], "exit status %d", (int)argument[0]);
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
        .resident_pages = atomic_load(&vm->sys.resident_pages),
        .invals = METER(v_inval),
        .setmaps = METER(v_setmap),
        .pages_in = vm_meter_get(&vm->sys.meter, v_pagein),
        .pages_out = vm_meter_get(&vm->sys.meter, v_pageout),
        .time_ns = clock_now_ns() - vm->started_ns,
        .delivered = vm_exceptions(vm),
    };
#undef METER
}

static int64_t
call_statistics(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    struct vkvm_statistics statistics;
    struct vm_fault_info info;
    enum vm_result result;
    uint64_t size = argument[1];

    if (size == 0)
        return -VKVM_EINVAL;
    if (size > sizeof(statistics))
        size = sizeof(statistics);
    if (size - 1 > UINT64_MAX - argument[0])
        return -VKVM_EFAULT;
    fill_statistics(vm, &statistics);
    result = vm_map_write(&vm->map, gpa_from_u64(argument[0]), &statistics, size, &info);
    if (result == VM_OK)
        return (int64_t)size;
    if (result == VM_HOST_FAILURE)
        vm_end(vm, VM_END_FAILED, 0, "write of guest address 0x%" PRIx64 ": %s: %s",
               gpa_to_u64(info.gpa), info.cause != NULL ? info.cause : "host failure",
               strerror(-info.error));
    return doorbell_error(result, 0);
}

static int64_t
call_fault_delivery(const struct caller *caller, const uint64_t *argument)
{
    uint64_t area = argument[1];

    switch (argument[0]) {
    case VKVM_DELIVER_PF:
        caller->arch->delivery = VKVM_DELIVER_PF;
        atomic_store(&caller->vm->map.handles_loss, true);
        return 0;
    case VKVM_DELIVER_VE:
        if (area % 8 != 0)
            return -VKVM_EINVAL;
        /* In RAM, so that writing it can never fail for a reason the guest has a hand in. */
        if (machine_find_ram(&caller->vm->config.machine, area, sizeof(struct vkvm_ve_area)) ==
            NULL)
            return -VKVM_EFAULT;
        caller->arch->delivery = VKVM_DELIVER_VE;
        atomic_store(&caller->vm->map.handles_loss, true);
        caller->arch->ve_area = gpa_from_u64(area);
        return 0;
    default:
        return -VKVM_EINVAL;
    }
}

static int64_t
call_inval(const struct caller *caller, const uint64_t *argument)
{
    gpa_t start = gpa_from_u64(argument[0]);

    if (!range_is_valid(argument[0], argument[1]))
        return -VKVM_EINVAL;
    return result_of(vm_map_inval(&caller->vm->map, start, gpa_add(start, argument[1])));
}

static int64_t
call_setmap(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    gpa_t start = gpa_from_u64(argument[0]);
    int ret;

    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = vmspace_check_window_locked(&caller->doorbell->spaces, argument[0], argument[1]);
    if (ret == 0)
        ret = vm_map_setmap(&vm->map, start, gpa_add(start, argument[1]), argument[2]);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_protect(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    gpa_t start = gpa_from_u64(argument[0]);
    vm_prot_t prot;
    int ret;

    if (!permissions_from_flags(argument[2], &prot))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = vmspace_check_window_locked(&caller->doorbell->spaces, argument[0], argument[1]);
    if (ret == 0)
        ret = vm_map_protect(&vm->map, start, gpa_add(start, argument[1]), prot);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

/* May more entries be made?  Only calls that hold S make any. */
static bool
has_entries_locked(const struct vm *vm, unsigned nentries_max)
{
    return vm->map.nentries < nentries_max;
}

/*
 * Inside RAM or one window?  A part of these may cut an entry in three, which the limit is
 * for; the whole never does.
 * Returns 0, -EINVAL, -ENOENT (nothing there), -ENOSPC.
 */
static int
check_advise_locked(const struct caller *caller, uint64_t start, uint64_t size)
{
    struct vm *vm = caller->vm;
    const struct machine_ram *ram = machine_find_ram(&vm->config.machine, start, 1);
    bool is_whole;
    int ret;

    if (!range_is_valid(start, size))
        return -EINVAL;
    if (ram != NULL) {
        ret = machine_find_ram(&vm->config.machine, start, size) != NULL ? 0 : -EINVAL;
        is_whole = size == ram->size;
    } else {
        ret = vmspace_check_part_locked(&caller->doorbell->spaces, start, size);
        is_whole =
            ret == 0 && vmspace_check_window_locked(&caller->doorbell->spaces, start, size) == 0;
    }
    if (ret == 0 && !is_whole && !has_entries_locked(vm, DOORBELL_ENTRIES_MAX))
        ret = -ENOSPC;
    return ret;
}

static int64_t
call_advise(const struct caller *caller, const uint64_t *argument)
{
    static const enum vm_map_advice advice[] = {
        [VKVM_ADVICE_NORMAL] = VM_ADVICE_NORMAL,
        [VKVM_ADVICE_RANDOM] = VM_ADVICE_RANDOM,
        [VKVM_ADVICE_SEQUENTIAL] = VM_ADVICE_SEQUENTIAL,
    };
    struct vm *vm = caller->vm;
    gpa_t start = gpa_from_u64(argument[0]);
    int ret;

    if (argument[2] >= sizeof(advice) / sizeof(advice[0]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = check_advise_locked(caller, argument[0], argument[1]);
    if (ret == 0)
        ret = vm_map_advise(&vm->map, start, gpa_add(start, argument[1]), advice[argument[2]]);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_create(const struct caller *caller, const uint64_t *argument)
{
    int ret;

    if (argument[0] == 0 || argument[0] > UINT16_MAX)
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = vmspace_create_locked(&caller->doorbell->spaces, argument[0]);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_destroy(const struct caller *caller, const uint64_t *argument)
{
    int ret;

    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = vmspace_destroy_locked(&caller->doorbell->spaces, argument[0]);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_map(const struct caller *caller, const uint64_t *argument)
{
    const struct vpte_format *format = &vpte64_format;
    uint64_t flags = argument[4];
    vm_prot_t prot;
    int ret;

    if ((flags & VKVM_MAP_VPTE32) != 0)
        format = &vpte32_format;
    if (!vmspace_range_is_valid(argument[1], argument[2]) ||
        !permissions_from_flags(flags & ~(uint64_t)VKVM_MAP_VPTE32, &prot))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = vmspace_map_locked(&caller->doorbell->spaces, argument, format, prot);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_unmap(const struct caller *caller, const uint64_t *argument)
{
    struct vmspace_window *window = NULL;
    struct vmspace *space;
    int ret = -ENOENT;

    if (!vmspace_range_is_valid(argument[1], argument[2]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    space = vmspace_find_locked(&caller->doorbell->spaces, argument[0]);
    if (space != NULL)
        window = vmspace_window_find_locked(space, argument[1], argument[2]);
    if (window != NULL)
        ret = vmspace_unmap_locked(&caller->doorbell->spaces, window);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_region_map(const struct caller *caller, const uint64_t *argument)
{
    vm_prot_t prot;
    int ret;

    if (!vmspace_range_is_valid(argument[1], argument[2]) ||
        !permissions_from_flags(argument[3], &prot))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    ret = vmspace_region_map_locked(&caller->doorbell->spaces, argument, prot);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

static int64_t
call_copy(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    int ret = -ENOSPC;

    if (!vmspace_range_is_valid(argument[2], argument[3]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    /* The copy is cut where the region was: at worst it has as many entries as there are. */
    if (has_entries_locked(vm, DOORBELL_ENTRIES_MAX / 2))
        ret = vmspace_region_copy_locked(&caller->doorbell->spaces, argument);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret);
}

/*
 * WIRE, and UNWIRE with a higher limit, so that what was wired can be unwired.  A window's
 * pages cannot be wired: which they are is the guest's to change.
 */
static int64_t
change_wiring(const struct caller *caller, const uint64_t *argument, unsigned nentries_max,
              int (*change)(struct vm_map *map, gpa_t start, gpa_t end, bool user))
{
    struct vm *vm = caller->vm;
    gpa_t start = gpa_from_u64(argument[0]);
    int ret = -ENOSPC;

    if (!range_is_valid(argument[0], argument[1]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&caller->doorbell->spaces_lock);
    if (has_entries_locked(vm, nentries_max))
        ret = change(&vm->map, start, gpa_add(start, argument[1]), true);
    vm_mutex_unlock(&caller->doorbell->spaces_lock);
    return result_of(ret == -EOPNOTSUPP ? -EINVAL : ret);
}

static int64_t
call_wire(const struct caller *caller, const uint64_t *argument)
{
    return change_wiring(caller, argument, DOORBELL_ENTRIES_MAX, vm_map_wire);
}

static int64_t
call_unwire(const struct caller *caller, const uint64_t *argument)
{
    return change_wiring(caller, argument, 2 * DOORBELL_ENTRIES_MAX, vm_map_unwire);
}

static int64_t
call_sync(const struct caller *caller, const uint64_t *argument)
{
    gpa_t start = gpa_from_u64(argument[0]);

    if (!range_is_valid(argument[0], argument[1]))
        return -VKVM_EINVAL;
    return result_of(file_maps_sync(&caller->vm->files, start, gpa_add(start, argument[1])));
}

/* Answer the call whose number and arguments are in the vCPU's registers. */
static int
answer(struct doorbell *doorbell, struct arch_vcpu *arch)
{
    static int64_t (*const calls[VKVM_CALL_COUNT])(const struct caller *, const uint64_t *) = {
        [VKVM_CALL_VERSION] = call_version,
        [VKVM_CALL_EXIT] = call_exit,
        [VKVM_CALL_STATISTICS] = call_statistics,
        [VKVM_CALL_FAULT_DELIVERY] = call_fault_delivery,
        [VKVM_CALL_SETMAP] = call_setmap,
        [VKVM_CALL_INVAL] = call_inval,
        [VKVM_CALL_ADVISE] = call_advise,
        [VKVM_CALL_VMSPACE_CREATE] = call_vmspace_create,
        [VKVM_CALL_VMSPACE_DESTROY] = call_vmspace_destroy,
        [VKVM_CALL_VMSPACE_MAP] = call_vmspace_map,
        [VKVM_CALL_VMSPACE_UNMAP] = call_vmspace_unmap,
        [VKVM_CALL_PROTECT] = call_protect,
        [VKVM_CALL_SYNC] = call_sync,
        [VKVM_CALL_REGION_MAP] = call_region_map,
        [VKVM_CALL_COPY] = call_copy,
        [VKVM_CALL_WIRE] = call_wire,
        [VKVM_CALL_UNWIRE] = call_unwire,
    };
    const struct caller caller = { doorbell, doorbell->vm, arch };
    struct arch_call call;
    int64_t result = -VKVM_ENOSYS;
    int ret;

    ret = arch_call_get(arch, &call);
    if (ret != 0)
        return ret;
    if (call.number < VKVM_CALL_COUNT)
        result = calls[call.number](&caller, call.argument);
    call.result = (uint64_t)result;
    return arch_call_set(arch, &call);
}

/* Unlocked: a call may take long, and several vCPUs call at once. */
static int
doorbell_access(void *device, const struct bus_access *access)
{
    struct doorbell *doorbell = device;

    if (!access->write || access->size != 4 || access->offset != 0)
        return 0;
    return answer(doorbell, &doorbell->vm->vcpus[access->cpu].arch);
}

/* The windows and files of the command line belong to no vmspace. */
static int
add_configured(struct doorbell *doorbell)
{
    const struct machine *machine = &doorbell->vm->config.machine;
    int ret = 0;

    for (unsigned i = 0; i < machine->nwindows && ret == 0; i++)
        ret = vmspaces_add_window(&doorbell->spaces, machine->windows[i].start,
                                  gpa_add(machine->windows[i].start, machine->windows[i].size),
                                  false);
    for (unsigned i = 0; i < machine->nfiles && ret == 0; i++)
        ret = vmspaces_add_window(&doorbell->spaces, machine->files[i].start,
                                  gpa_add(machine->files[i].start, machine->files[i].size), true);
    return ret;
}

static void
doorbell_detach(void *guest)
{
    struct doorbell *doorbell = guest;

    vmspaces_free(&doorbell->spaces);
    vm_mutex_fini(&doorbell->spaces_lock);
    free(doorbell);
}

static int
doorbell_attach(struct vm *vm, void **guest, struct failure *error)
{
    const struct machine_device *device =
        machine_find_device(&vm->config.machine, MACHINE_DOORBELL);
    struct doorbell *doorbell = calloc(1, sizeof(*doorbell));
    int ret;

    if (doorbell == NULL)
        return failure_set(error, -ENOMEM, "cannot make the doorbell: %s", strerror(ENOMEM));
    doorbell->vm = vm;
    doorbell->spaces.map = &vm->map;
    doorbell->spaces.ram = vm->ram;
    vm_mutex_init(&doorbell->spaces_lock);
    ret = add_configured(doorbell);
    if (ret == 0 && device != NULL)
        ret = bus_add(&vm->bus, BUS_PORT, device->port, device->nports, BUS_UNLOCKED,
                      doorbell_access, doorbell);
    if (ret != 0) {
        doorbell_detach(doorbell);
        return failure_set(error, ret, "cannot make the doorbell: %s", strerror(-ret));
    }
    *guest = doorbell;
    return 0;
}

const struct vm_guest_ops doorbell_guest_ops = {
    .attach = doorbell_attach,
    .detach = doorbell_detach,
};
