/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arguments of the guest's calls.  All are the guest's word.
 */
#include "vmm/doorbell/call.h"

#include "guest/include/vkvm_abi.h"

#include <errno.h>

/* --- What several calls have --------------------------------------------- */

/* Whole pages, not empty, no wrapping around. */
static int
take_range(uint64_t start, uint64_t size, struct call_range *range)
{
    if (size == 0 || ((start | size) & PAGE_MASK) != 0 || size - 1 > UINT64_MAX - start ||
        start + size == 0)
        return -EINVAL;
    *range = (struct call_range){ gpa_from_u64(start), gpa_from_u64(start + size) };
    return 0;
}

bool
call_range_in_windows(const struct call_range *range)
{
    return gpa_to_u64(range->start) >= VKVM_WINDOW_BASE &&
           gpa_to_u64(range->end) <= VKVM_WINDOW_END;
}

/* ... in the window region. */
static int
take_window_range(uint64_t start, uint64_t size, struct call_range *range)
{
    int error = take_range(start, size, range);

    return error == 0 && !call_range_in_windows(range) ? -EINVAL : error;
}

/* VKVM_MAP_*.  The second stage has no write without read (SDM vol. 3, 28.3.3.1). */
static int
take_permissions(uint64_t flags, vm_prot_t *prot)
{
    if ((flags & ~(uint64_t)(VKVM_MAP_READ | VKVM_MAP_WRITE | VKVM_MAP_EXECUTE)) != 0 ||
        (flags & (VKVM_MAP_READ | VKVM_MAP_WRITE)) == VKVM_MAP_WRITE)
        return -EINVAL;
    *prot = (vm_prot_t)(((flags & VKVM_MAP_READ) != 0 ? VM_PROT_READ : 0) |
                        ((flags & VKVM_MAP_WRITE) != 0 ? VM_PROT_WRITE : 0) |
                        ((flags & VKVM_MAP_EXECUTE) != 0 ? VM_PROT_EXECUTE : 0));
    return 0;
}

/* --- The VM and the vCPU ------------------------------------------------- */

int
call_unpack_none(const uint64_t *argument, union call *call)
{
    (void)argument;
    (void)call;
    return 0;
}

int
call_unpack_exit(const uint64_t *argument, union call *call)
{
    if (argument[0] > 255)
        return -EINVAL;
    call->exit.status = (int)argument[0];
    return 0;
}

int
call_unpack_statistics(const uint64_t *argument, union call *call)
{
    if (argument[1] == 0)
        return -EINVAL;
    call->statistics =
        (struct call_statistics){ .to = gpa_from_u64(argument[0]), .size = argument[1] };
    return 0;
}

int
call_unpack_fault_delivery(const uint64_t *argument, union call *call)
{
    if (argument[0] != VKVM_DELIVER_PF && argument[0] != VKVM_DELIVER_VE)
        return -EINVAL;
    if (argument[0] == VKVM_DELIVER_VE && argument[1] % 8 != 0)
        return -EINVAL;
    call->fault_delivery = (struct call_fault_delivery){ .mode = (unsigned)argument[0],
                                                         .area = gpa_from_u64(argument[1]) };
    return 0;
}

/* --- Ranges -------------------------------------------------------------- */

int
call_unpack_range(const uint64_t *argument, union call *call)
{
    return take_range(argument[0], argument[1], &call->range);
}

int
call_unpack_advise(const uint64_t *argument, union call *call)
{
    static const enum vm_map_advice advice[] = {
        [VKVM_ADVICE_NORMAL] = VM_ADVICE_NORMAL,
        [VKVM_ADVICE_RANDOM] = VM_ADVICE_RANDOM,
        [VKVM_ADVICE_SEQUENTIAL] = VM_ADVICE_SEQUENTIAL,
    };

    if (argument[2] >= sizeof(advice) / sizeof(advice[0]))
        return -EINVAL;
    call->advise.advice = advice[argument[2]];
    return take_range(argument[0], argument[1], &call->advise.range);
}

int
call_unpack_setmap(const uint64_t *argument, union call *call)
{
    call->setmap.root = argument[2];
    return take_window_range(argument[0], argument[1], &call->setmap.range);
}

int
call_unpack_protect(const uint64_t *argument, union call *call)
{
    int error = take_permissions(argument[2], &call->protect.prot);

    if (error != 0)
        return error;
    return take_window_range(argument[0], argument[1], &call->protect.range);
}

/* --- vmspaces ------------------------------------------------------------ */

int
call_unpack_vmspace_create(const uint64_t *argument, union call *call)
{
    if (argument[0] == 0 || argument[0] > UINT16_MAX)
        return -EINVAL;
    call->vmspace.id = argument[0];
    return 0;
}

int
call_unpack_vmspace_destroy(const uint64_t *argument, union call *call)
{
    call->vmspace.id = argument[0];
    return 0;
}

int
call_unpack_vmspace_map(const uint64_t *argument, union call *call)
{
    uint64_t flags = argument[4] & ~(uint64_t)VKVM_MAP_VPTE32;
    int error = take_permissions(flags, &call->vmspace_map.prot);

    if (error != 0)
        return error;
    call->vmspace_map.id = argument[0];
    call->vmspace_map.root = argument[3];
    call->vmspace_map.format = flags != argument[4] ? &vpte32_format : &vpte64_format;
    return take_window_range(argument[1], argument[2], &call->vmspace_map.range);
}

int
call_unpack_vmspace_unmap(const uint64_t *argument, union call *call)
{
    call->vmspace_unmap.id = argument[0];
    return take_window_range(argument[1], argument[2], &call->vmspace_unmap.range);
}

int
call_unpack_region_map(const uint64_t *argument, union call *call)
{
    uint64_t kind = argument[3] & (VKVM_MAP_GUARD | VKVM_MAP_STACK);
    int error = take_permissions(argument[3] & ~kind, &call->region_map.prot);

    if (error != 0)
        return error;
    call->region_map.id = argument[0];
    call->region_map.guard = kind == VKVM_MAP_GUARD;
    call->region_map.stack = kind == VKVM_MAP_STACK;
    if (kind == (VKVM_MAP_GUARD | VKVM_MAP_STACK) ||
        (call->region_map.stack && argument[2] <= PAGE_SIZE))
        return -EINVAL;
    return take_window_range(argument[1], argument[2], &call->region_map.range);
}

int
call_unpack_copy(const uint64_t *argument, union call *call)
{
    int error = take_window_range(argument[1], argument[3], &call->copy.from);

    if (error != 0)
        return error;
    call->copy.id = argument[0];
    return take_window_range(argument[2], argument[3], &call->copy.to);
}

/* --- Waiting, and the console -------------------------------------------- */

int
call_unpack_wait(const uint64_t *argument, union call *call)
{
    if (argument[0] % sizeof(uint32_t) != 0 || argument[1] > UINT32_MAX)
        return -EINVAL;
    call->wait = (struct call_wait){ .word = gpa_from_u64(argument[0]),
                                     .expected = (uint32_t)argument[1],
                                     .timeout_ns = argument[2] };
    return 0;
}

int
call_unpack_wake(const uint64_t *argument, union call *call)
{
    if (argument[0] % sizeof(uint32_t) != 0 || argument[1] == 0)
        return -EINVAL;
    call->wake = (struct call_wake){ .word = gpa_from_u64(argument[0]), .count = argument[1] };
    return 0;
}

int
call_unpack_console(const uint64_t *argument, union call *call)
{
    uint64_t size = argument[1];

    if (size != 0 && size - 1 > UINT64_MAX - argument[0])
        return -EFAULT;
    call->console =
        (struct call_console){ .buffer = gpa_from_u64(argument[0]),
                               .size = size < VKVM_CONSOLE_MAX ? size : VKVM_CONSOLE_MAX };
    return 0;
}
