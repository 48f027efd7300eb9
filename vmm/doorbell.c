/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doorbell calls.  Every argument is the guest's word and is checked here or
 * by the engine function it goes to; guest memory is only reached through
 * vm_map_read and vm_map_write.
 */
#include "vmm/doorbell.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/vm_internal.h"

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

static bool
range_is_in_window_space(uint64_t start, uint64_t size)
{
    return range_is_valid(start, size) && start >= VKVM_WINDOW_BASE && start < VKVM_WINDOW_END &&
           size <= VKVM_WINDOW_END - start;
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

/* Who rang. */
struct caller {
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
#define METER(name) atomic_load_explicit(&vm->sys.meter.name, memory_order_relaxed)
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
    uint64_t area = argument[1], size = caller->vm->config.memory_size;

    switch (argument[0]) {
    case VKVM_DELIVER_PF:
        caller->arch->delivery = VKVM_DELIVER_PF;
        return 0;
    case VKVM_DELIVER_VE:
        if (area % 8 != 0)
            return -VKVM_EINVAL;
        /* In RAM, so that writing it can never fail for a reason the guest has a hand in. */
        if (sizeof(struct vkvm_ve_area) > size || area > size - sizeof(struct vkvm_ve_area))
            return -VKVM_EFAULT;
        caller->arch->delivery = VKVM_DELIVER_VE;
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

/*
 * vmspaces and windows.  locked: S
 */

static int
window_compare(const struct vmspace_window *a, const struct vmspace_window *b)
{
    uint64_t x = gpa_to_u64(a->start), y = gpa_to_u64(b->start);

    return x < y ? -1 : x > y;
}

RB_GENERATE_INTERNAL(vmspace_window_tree, vmspace_window, by_start, window_compare,
                     __attribute__((unused)) static)

/* The window at `start`, whoever owns it, or NULL. */
static struct vmspace_window *
window_at_locked(struct vm *vm, uint64_t start)
{
    struct vmspace_window key = { .start = gpa_from_u64(start) };

    return RB_FIND(vmspace_window_tree, &vm->spaces.windows, &key);
}

/*
 * Is the range exactly one window?
 * Returns 0; -EINVAL (alignment, part of a window or more), -ENOENT (no window starts there).
 */
static int
check_window_locked(struct vm *vm, uint64_t start, uint64_t size)
{
    const struct vmspace_window *window;

    if (!range_is_in_window_space(start, size))
        return -EINVAL;
    window = window_at_locked(vm, start);
    if (window == NULL)
        return -ENOENT;
    return gpa_to_u64(window->end) - start == size ? 0 : -EINVAL;
}

static struct vmspace *
vmspace_find_locked(struct vm *vm, uint64_t id)
{
    struct vmspace *space;

    LIST_FOREACH (space, &vm->spaces.buckets[id % VMSPACE_BUCKETS], link) {
        if (space->id == id)
            return space;
    }
    return NULL;
}

static struct vmspace_window *
vmspace_window_find_locked(struct vmspace *space, uint64_t start, uint64_t size)
{
    struct vmspace_window *window;

    LIST_FOREACH (window, &space->windows, link) {
        if (gpa_to_u64(window->start) == start && gpa_to_u64(window->end) - start == size)
            return window;
    }
    return NULL;
}

static int
vmspace_create_locked(struct vm *vm, uint64_t id)
{
    struct vmspace *space;

    if (vmspace_find_locked(vm, id) != NULL)
        return -EEXIST;
    space = calloc(1, sizeof(*space));
    if (space == NULL)
        return -ENOMEM;
    space->id = (uint16_t)id;
    LIST_INIT(&space->windows);
    LIST_INSERT_HEAD(&vm->spaces.buckets[id % VMSPACE_BUCKETS], space, link);
    return 0;
}

/* Without the object's reference unless it succeeds. */
static int
vmspace_insert(struct vm *vm, struct vmspace_window *window, vpte_t root,
               const struct vpte_format *format, vm_prot_t prot)
{
    struct vm_map_insert args = {
        .start = window->start,
        .end = window->end,
        .object = vm->ram,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = format,
        .root = root,
        .protection = prot,
        .max_protection = VM_PROT_ALL,
    };
    int ret;

    vm_object_ref(vm->ram);
    ret = vm_map_insert(&vm->map, &args);
    if (ret != 0)
        vm_object_unref(vm->ram);
    return ret;
}

/* A window of the vmspace, not known yet.  Returns 0, -ENOENT or -ENOMEM. */
static int
vmspace_window_new_locked(struct vm *vm, uint64_t id, uint64_t start, uint64_t size,
                          struct vmspace_window **windowp)
{
    struct vmspace_window *window;

    if (vmspace_find_locked(vm, id) == NULL)
        return -ENOENT;
    window = calloc(1, sizeof(*window));
    if (window == NULL)
        return -ENOMEM;
    window->start = gpa_from_u64(start);
    window->end = gpa_add(window->start, size);
    *windowp = window;
    return 0;
}

/* The window was mapped, or not: make it known or free it.  Returns the error. */
static int
vmspace_window_done_locked(struct vm *vm, uint64_t id, struct vmspace_window *window, int error)
{
    if (error != 0) {
        free(window);
        return error;
    }
    RB_INSERT(vmspace_window_tree, &vm->spaces.windows, window);
    LIST_INSERT_HEAD(&vmspace_find_locked(vm, id)->windows, window, link);
    return 0;
}

static int
vmspace_map_locked(struct vm *vm, const uint64_t *argument, const struct vpte_format *format,
                   vm_prot_t prot)
{
    struct vmspace_window *window;
    int ret;

    ret = vmspace_window_new_locked(vm, argument[0], argument[1], argument[2], &window);
    if (ret != 0)
        return ret;
    ret = vmspace_insert(vm, window, argument[3], format, prot);
    return vmspace_window_done_locked(vm, argument[0], window, ret);
}

/* Map zero-fill memory. */
static int
region_insert(struct vm *vm, const struct vmspace_window *window, vm_prot_t prot)
{
    struct vm_map_insert args = {
        .start = window->start,
        .end = window->end,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = prot,
        .max_protection = VM_PROT_ALL,
    };
    uint64_t npages = (gpa_to_u64(window->end) - gpa_to_u64(window->start)) >> PAGE_SHIFT;
    int ret;

    ret = vm_object_create_default(&vm->sys, npages, &args.object);
    if (ret != 0)
        return ret;
    ret = vm_map_insert(&vm->map, &args);
    if (ret != 0)
        vm_object_unref(args.object);
    return ret;
}

static int
region_map_locked(struct vm *vm, const uint64_t *argument, vm_prot_t prot)
{
    struct vmspace_window *window;
    int ret;

    ret = vmspace_window_new_locked(vm, argument[0], argument[1], argument[2], &window);
    if (ret != 0)
        return ret;
    window->region = true;
    ret = region_insert(vm, window, prot);
    return vmspace_window_done_locked(vm, argument[0], window, ret);
}

static int
region_copy_locked(struct vm *vm, const uint64_t *argument)
{
    uint64_t id = argument[0], src = argument[1], dst = argument[2], size = argument[3];
    struct vmspace_window *window;
    int ret;

    ret = check_window_locked(vm, src, size);
    if (ret == 0 && !window_at_locked(vm, src)->region)
        ret = -EINVAL;
    if (ret == 0)
        ret = vmspace_window_new_locked(vm, id, dst, size, &window);
    if (ret != 0)
        return ret;
    window->region = true;
    ret = vm_map_copy(&vm->map, gpa_from_u64(src), gpa_from_u64(dst), size);
    return vmspace_window_done_locked(vm, id, window, ret);
}

/* Unmap and forget a window.  On failure it stays. */
static int
vmspace_unmap_locked(struct vm *vm, struct vmspace_window *window)
{
    int ret;

    ret = vm_map_remove(&vm->map, window->start, window->end);
    if (ret != 0)
        return ret;
    RB_REMOVE(vmspace_window_tree, &vm->spaces.windows, window);
    LIST_REMOVE(window, link);
    free(window);
    return 0;
}

/* On failure the vmspace stays, with the windows that are left. */
static int
vmspace_destroy_locked(struct vm *vm, uint64_t id)
{
    struct vmspace *space = vmspace_find_locked(vm, id);
    struct vmspace_window *window;
    int ret;

    if (space == NULL)
        return -ENOENT;
    while ((window = LIST_FIRST(&space->windows)) != NULL) {
        ret = vmspace_unmap_locked(vm, window);
        if (ret != 0)
            return ret;
    }
    LIST_REMOVE(space, link);
    free(space);
    return 0;
}

static int64_t
call_setmap(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    gpa_t start = gpa_from_u64(argument[0]);
    int ret;

    vm_mutex_lock(&vm->spaces_lock);
    ret = check_window_locked(vm, argument[0], argument[1]);
    if (ret == 0)
        ret = vm_map_setmap(&vm->map, start, gpa_add(start, argument[1]), argument[2]);
    vm_mutex_unlock(&vm->spaces_lock);
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
    vm_mutex_lock(&vm->spaces_lock);
    ret = check_window_locked(vm, argument[0], argument[1]);
    if (ret == 0)
        ret = vm_map_protect(&vm->map, start, gpa_add(start, argument[1]), prot);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
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
    int ret = 0;

    if (argument[2] >= sizeof(advice) / sizeof(advice[0]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&vm->spaces_lock);
    if (argument[0] != 0 || argument[1] != vm->config.memory_size)
        ret = check_window_locked(vm, argument[0], argument[1]);
    if (ret == 0)
        ret = vm_map_advise(&vm->map, start, gpa_add(start, argument[1]), advice[argument[2]]);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_create(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    int ret;

    if (argument[0] == 0 || argument[0] > UINT16_MAX)
        return -VKVM_EINVAL;
    vm_mutex_lock(&vm->spaces_lock);
    ret = vmspace_create_locked(vm, argument[0]);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_destroy(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    int ret;

    vm_mutex_lock(&vm->spaces_lock);
    ret = vmspace_destroy_locked(vm, argument[0]);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_map(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    const struct vpte_format *format = &vpte64_format;
    uint64_t flags = argument[4];
    vm_prot_t prot;
    int ret;

    if ((flags & VKVM_MAP_VPTE32) != 0)
        format = &vpte32_format;
    if (!range_is_in_window_space(argument[1], argument[2]) ||
        !permissions_from_flags(flags & ~(uint64_t)VKVM_MAP_VPTE32, &prot))
        return -VKVM_EINVAL;
    vm_mutex_lock(&vm->spaces_lock);
    ret = vmspace_map_locked(vm, argument, format, prot);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

static int64_t
call_vmspace_unmap(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    struct vmspace_window *window = NULL;
    struct vmspace *space;
    int ret = -ENOENT;

    if (!range_is_in_window_space(argument[1], argument[2]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&vm->spaces_lock);
    space = vmspace_find_locked(vm, argument[0]);
    if (space != NULL)
        window = vmspace_window_find_locked(space, argument[1], argument[2]);
    if (window != NULL)
        ret = vmspace_unmap_locked(vm, window);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

static int64_t
call_region_map(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    vm_prot_t prot;
    int ret;

    if (!range_is_in_window_space(argument[1], argument[2]) ||
        !permissions_from_flags(argument[3], &prot))
        return -VKVM_EINVAL;
    vm_mutex_lock(&vm->spaces_lock);
    ret = region_map_locked(vm, argument, prot);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

static int64_t
call_copy(const struct caller *caller, const uint64_t *argument)
{
    struct vm *vm = caller->vm;
    int ret;

    if (!range_is_in_window_space(argument[2], argument[3]))
        return -VKVM_EINVAL;
    vm_mutex_lock(&vm->spaces_lock);
    ret = region_copy_locked(vm, argument);
    vm_mutex_unlock(&vm->spaces_lock);
    return result_of(ret);
}

/*
 * WIRE, and UNWIRE with a higher limit, so that what was wired can be unwired.  A window's pages cannot be wired: which they
 * are is the guest's to change.
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
    vm_mutex_lock(&vm->spaces_lock);
    /* Only calls that hold S change the number of entries. */
    if (vm->map.nentries < nentries_max)
        ret = change(&vm->map, start, gpa_add(start, argument[1]), true);
    vm_mutex_unlock(&vm->spaces_lock);
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

int
doorbell_call(struct vm *vm, struct vcpu *vcpu)
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
    const struct caller caller = { vm, &vcpu->arch };
    struct arch_call call;
    int64_t result = -VKVM_ENOSYS;
    int ret;

    ret = arch_call_get(&vcpu->arch, &call);
    if (ret != 0)
        return ret;
    if (call.number < VKVM_CALL_COUNT)
        result = calls[call.number](&caller, call.argument);
    call.result = (uint64_t)result;
    return arch_call_set(&vcpu->arch, &call);
}

int
vmspaces_add_window(struct vmspaces *spaces, gpa_t start, gpa_t end, bool region)
{
    struct vmspace_window *window = calloc(1, sizeof(*window));

    if (window == NULL)
        return -ENOMEM;
    window->start = start;
    window->end = end;
    window->region = region;
    RB_INSERT(vmspace_window_tree, &spaces->windows, window);
    return 0;
}

void
vmspaces_free(struct vmspaces *spaces)
{
    struct vmspace_window *window;
    struct vmspace *space;
    unsigned i;

    while ((window = RB_MIN(vmspace_window_tree, &spaces->windows)) != NULL) {
        RB_REMOVE(vmspace_window_tree, &spaces->windows, window);
        free(window);
    }
    for (i = 0; i < VMSPACE_BUCKETS; i++) {
        while ((space = LIST_FIRST(&spaces->buckets[i])) != NULL) {
            LIST_REMOVE(space, link);
            free(space);
        }
    }
}
