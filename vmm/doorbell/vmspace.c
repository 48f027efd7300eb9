/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmspaces, windows and regions.  All windows are in one tree, by their start, so that a
 * range is found in the logarithm of their number; each vmspace has a list of its own.
 *
 * The map is edited first and the books after it, or not at all.  locked: S
 */
#include "vmm/doorbell/vmspace.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/vpagetable/vm_map.h"

#include <errno.h>
#include <stdlib.h>

bool
vmspace_range_is_valid(uint64_t start, uint64_t size)
{
    return size != 0 && ((start | size) & PAGE_MASK) == 0 && start >= VKVM_WINDOW_BASE &&
           start < VKVM_WINDOW_END && size <= VKVM_WINDOW_END - start;
}

static int
vmspace_window_compare(const struct vmspace_window *a, const struct vmspace_window *b)
{
    uint64_t x = gpa_to_u64(a->start), y = gpa_to_u64(b->start);

    return x < y ? -1 : x > y;
}

RB_GENERATE_INTERNAL(vmspace_window_tree, vmspace_window, by_start, vmspace_window_compare,
                     __attribute__((unused)) static)

/* The window at `start`, whoever owns it, or NULL. */
static struct vmspace_window *
vmspace_window_at_locked(struct vmspaces *spaces, uint64_t start)
{
    struct vmspace_window key = { .start = gpa_from_u64(start) };

    return RB_FIND(vmspace_window_tree, &spaces->windows, &key);
}

int
vmspace_check_window_locked(struct vmspaces *spaces, uint64_t start, uint64_t size)
{
    const struct vmspace_window *window;

    if (!vmspace_range_is_valid(start, size))
        return -EINVAL;
    window = vmspace_window_at_locked(spaces, start);
    if (window == NULL)
        return -ENOENT;
    return gpa_to_u64(window->end) - start == size ? 0 : -EINVAL;
}

/* The window that starts last at or before `start`, or NULL. */
static struct vmspace_window *
vmspace_window_before_locked(struct vmspaces *spaces, uint64_t start)
{
    struct vmspace_window key = { .start = gpa_from_u64(start) };
    struct vmspace_window *window;

    window = RB_NFIND(vmspace_window_tree, &spaces->windows, &key);
    if (window == NULL)
        return RB_MAX(vmspace_window_tree, &spaces->windows);
    if (gpa_to_u64(window->start) == start)
        return window;
    return RB_PREV(vmspace_window_tree, &spaces->windows, window);
}

int
vmspace_check_part_locked(struct vmspaces *spaces, uint64_t start, uint64_t size)
{
    const struct vmspace_window *window;

    if (!vmspace_range_is_valid(start, size))
        return -EINVAL;
    window = vmspace_window_before_locked(spaces, start);
    if (window == NULL || start >= gpa_to_u64(window->end))
        return -ENOENT;
    return size <= gpa_to_u64(window->end) - start ? 0 : -EINVAL;
}

struct vmspace *
vmspace_find_locked(struct vmspaces *spaces, uint64_t id)
{
    struct vmspace *space;

    LIST_FOREACH (space, &spaces->buckets[id % VMSPACE_BUCKETS], link) {
        if (space->id == id)
            return space;
    }
    return NULL;
}

struct vmspace_window *
vmspace_window_find_locked(struct vmspace *space, uint64_t start, uint64_t size)
{
    struct vmspace_window *window;

    LIST_FOREACH (window, &space->windows, link) {
        if (gpa_to_u64(window->start) == start && gpa_to_u64(window->end) - start == size)
            return window;
    }
    return NULL;
}

int
vmspace_create_locked(struct vmspaces *spaces, uint64_t id)
{
    struct vmspace *space;

    if (vmspace_find_locked(spaces, id) != NULL)
        return -EEXIST;
    space = calloc(1, sizeof(*space));
    if (space == NULL)
        return -ENOMEM;
    space->id = (uint16_t)id;
    LIST_INIT(&space->windows);
    LIST_INSERT_HEAD(&spaces->buckets[id % VMSPACE_BUCKETS], space, link);
    return 0;
}

/* Without the object's reference unless it succeeds. */
static int
vmspace_insert(struct vmspaces *spaces, struct vmspace_window *window, vpte_t root,
               const struct vpte_format *format, vm_prot_t prot)
{
    struct vm_map_insert args = {
        .start = window->start,
        .end = window->end,
        .object = spaces->ram,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = format,
        .root = root,
        .protection = prot,
        .max_protection = VM_PROT_ALL,
    };
    int ret;

    vm_object_ref(spaces->ram);
    ret = vm_map_insert(spaces->map, &args);
    if (ret != 0)
        vm_object_unref(spaces->ram);
    return ret;
}

/* A window of the vmspace, not known yet.  Returns 0, -ENOENT or -ENOMEM. */
static int
vmspace_window_new_locked(struct vmspaces *spaces, uint64_t id, uint64_t start, uint64_t size,
                          struct vmspace_window **windowp)
{
    struct vmspace_window *window;

    if (vmspace_find_locked(spaces, id) == NULL)
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
vmspace_window_done_locked(struct vmspaces *spaces, uint64_t id, struct vmspace_window *window,
                           int error)
{
    if (error != 0) {
        free(window);
        return error;
    }
    RB_INSERT(vmspace_window_tree, &spaces->windows, window);
    LIST_INSERT_HEAD(&vmspace_find_locked(spaces, id)->windows, window, link);
    return 0;
}

int
vmspace_map_locked(struct vmspaces *spaces, const uint64_t *argument,
                   const struct vpte_format *format, vm_prot_t prot)
{
    struct vmspace_window *window;
    int ret;

    ret = vmspace_window_new_locked(spaces, argument[0], argument[1], argument[2], &window);
    if (ret != 0)
        return ret;
    ret = vmspace_insert(spaces, window, argument[3], format, prot);
    return vmspace_window_done_locked(spaces, argument[0], window, ret);
}

/* Map zero-fill memory. */
static int
vmspace_region_insert(struct vmspaces *spaces, const struct vmspace_window *window, vm_prot_t prot)
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

    ret = vm_object_create_default(spaces->map->sys, npages, &args.object);
    if (ret != 0)
        return ret;
    ret = vm_map_insert(spaces->map, &args);
    if (ret != 0)
        vm_object_unref(args.object);
    return ret;
}

int
vmspace_region_map_locked(struct vmspaces *spaces, const uint64_t *argument, vm_prot_t prot)
{
    struct vmspace_window *window;
    int ret;

    ret = vmspace_window_new_locked(spaces, argument[0], argument[1], argument[2], &window);
    if (ret != 0)
        return ret;
    window->region = true;
    ret = vmspace_region_insert(spaces, window, prot);
    return vmspace_window_done_locked(spaces, argument[0], window, ret);
}

int
vmspace_region_copy_locked(struct vmspaces *spaces, const uint64_t *argument)
{
    uint64_t id = argument[0], src = argument[1], dst = argument[2], size = argument[3];
    struct vmspace_window *window;
    int ret;

    ret = vmspace_check_window_locked(spaces, src, size);
    if (ret == 0 && !vmspace_window_at_locked(spaces, src)->region)
        ret = -EINVAL;
    if (ret == 0)
        ret = vmspace_window_new_locked(spaces, id, dst, size, &window);
    if (ret != 0)
        return ret;
    window->region = true;
    ret = vm_map_copy(spaces->map, gpa_from_u64(src), gpa_from_u64(dst), size);
    return vmspace_window_done_locked(spaces, id, window, ret);
}

int
vmspace_unmap_locked(struct vmspaces *spaces, struct vmspace_window *window)
{
    int ret;

    ret = vm_map_remove(spaces->map, window->start, window->end);
    if (ret != 0)
        return ret;
    RB_REMOVE(vmspace_window_tree, &spaces->windows, window);
    LIST_REMOVE(window, link);
    free(window);
    return 0;
}

int
vmspace_destroy_locked(struct vmspaces *spaces, uint64_t id)
{
    struct vmspace *space = vmspace_find_locked(spaces, id);
    struct vmspace_window *window;
    int ret;

    if (space == NULL)
        return -ENOENT;
    while ((window = LIST_FIRST(&space->windows)) != NULL) {
        ret = vmspace_unmap_locked(spaces, window);
        if (ret != 0)
            return ret;
    }
    LIST_REMOVE(space, link);
    free(space);
    return 0;
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
