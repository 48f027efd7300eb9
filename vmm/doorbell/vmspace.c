/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmspaces, windows and regions.  All windows are in one tree, by their start, so that a
 * range is found in the logarithm of their number; each vmspace has a list of its own.
 *
 * A call that works on the map has one shape:
 *
 *     find what it is about, and count as a user of it    `books`
 *     edit the map                                        no lock of ours but perhaps `cut`
 *     enter in the books what changed; be a user no more  `books`
 */
#include "vmm/doorbell/vmspace.h"

#include <errno.h>
#include <stdlib.h>

struct vmspace_window {
    RB_ENTRY(vmspace_window) by_start; /* books: in vmspaces.windows */
    LIST_ENTRY(vmspace_window) link;   /* books: in vmspace.windows; not of the command line's */
    gpa_t start;                       /* (c) */
    gpa_t end;                         /* (c) */
    bool region;                       /* (c) NORMAL: a region or a mapped file */
    unsigned users;                    /* books: calls that work on it */
};

struct vmspace {
    LIST_ENTRY(vmspace) link;            /* books */
    uint64_t id;                         /* (c) */
    LIST_HEAD(, vmspace_window) windows; /* books: owned */
    unsigned users;                      /* books: calls that work in it */
    bool ending;                         /* books: being destroyed; nobody finds it any more */
};

static int
window_compare(const struct vmspace_window *a, const struct vmspace_window *b)
{
    uint64_t x = gpa_to_u64(a->start), y = gpa_to_u64(b->start);

    return x < y ? -1 : x > y;
}

RB_GENERATE_INTERNAL(vmspace_window_tree, vmspace_window, by_start, window_compare,
                     __attribute__((unused)) static)

/* --- Finding.  locked: books --------------------------------------------- */

/* The vmspace, whether it is ending or not, or NULL. */
static struct vmspace *
space_search(struct vmspaces *spaces, uint64_t id) VM_REQUIRES(spaces->lock)
{
    struct vmspace *space;

    LIST_FOREACH (space, &spaces->buckets[id % VMSPACE_BUCKETS], link) {
        if (space->id == id)
            return space;
    }
    return NULL;
}

/* The vmspace for its next user, or NULL. */
static struct vmspace *
space_find(struct vmspaces *spaces, uint64_t id) VM_REQUIRES(spaces->lock)
{
    struct vmspace *space = space_search(spaces, id);

    return space == NULL || space->ending ? NULL : space;
}

/* The window at `start`, whoever owns it, or NULL. */
static struct vmspace_window *
window_at(struct vmspaces *spaces, gpa_t start) VM_REQUIRES(spaces->lock)
{
    struct vmspace_window key = { .start = start };

    return RB_FIND(vmspace_window_tree, &spaces->windows, &key);
}

/* The window that starts last at or before `start`, or NULL. */
static struct vmspace_window *
window_before(struct vmspaces *spaces, gpa_t start) VM_REQUIRES(spaces->lock)
{
    struct vmspace_window key = { .start = start };
    struct vmspace_window *window = RB_NFIND(vmspace_window_tree, &spaces->windows, &key);

    if (window == NULL)
        return RB_MAX(vmspace_window_tree, &spaces->windows);
    if (gpa_to_u64(window->start) == gpa_to_u64(start))
        return window;
    return RB_PREV(vmspace_window_tree, &spaces->windows, window);
}

static bool
window_is(const struct vmspace_window *window, const struct call_range *range)
{
    return gpa_to_u64(window->start) == gpa_to_u64(range->start) &&
           gpa_to_u64(window->end) == gpa_to_u64(range->end);
}

/* --- Users --------------------------------------------------------------- */

static void
count_user_out(struct vmspaces *spaces, unsigned *users) VM_REQUIRES(spaces->lock)
{
    if (--*users == 0)
        vm_cond_broadcast(&spaces->unused);
}

/* Become a user of the vmspace.  Returns 0 or -ENOENT. */
static int
space_get(struct vmspaces *spaces, uint64_t id, struct vmspace **spacep)
{
    int error = -ENOENT;

    vm_mutex_lock(&spaces->lock);
    *spacep = space_find(spaces, id);
    if (*spacep != NULL) {
        (*spacep)->users++;
        error = 0;
    }
    vm_mutex_unlock(&spaces->lock);
    return error;
}

static void
space_put(struct vmspaces *spaces, struct vmspace *space)
{
    vm_mutex_lock(&spaces->lock);
    count_user_out(spaces, &space->users);
    vm_mutex_unlock(&spaces->lock);
}

/* Become a user of just this window.  Returns 0; -ENOENT (none starts there), -EINVAL. */
static int
window_get(struct vmspaces *spaces, const struct call_range *range, struct vmspace_window **windowp)
{
    struct vmspace_window *window;
    int error = -ENOENT;

    vm_mutex_lock(&spaces->lock);
    window = window_at(spaces, range->start);
    if (window != NULL)
        error = window_is(window, range) ? 0 : -EINVAL;
    if (error == 0) {
        window->users++;
        *windowp = window;
    }
    vm_mutex_unlock(&spaces->lock);
    return error;
}

/* Become a user of the window that the range lies in.  Returns 0; -ENOENT, -EINVAL (sticks out). */
static int
window_get_around(struct vmspaces *spaces, const struct call_range *range,
                  struct vmspace_window **windowp)
{
    struct vmspace_window *window;
    int error = -ENOENT;

    vm_mutex_lock(&spaces->lock);
    window = window_before(spaces, range->start);
    if (window != NULL && gpa_to_u64(range->start) < gpa_to_u64(window->end))
        error = gpa_to_u64(range->end) <= gpa_to_u64(window->end) ? 0 : -EINVAL;
    if (error == 0) {
        window->users++;
        *windowp = window;
    }
    vm_mutex_unlock(&spaces->lock);
    return error;
}

static void
window_put(struct vmspaces *spaces, struct vmspace_window *window)
{
    vm_mutex_lock(&spaces->lock);
    count_user_out(spaces, &window->users);
    vm_mutex_unlock(&spaces->lock);
}

/* --- Entering and taking out --------------------------------------------- */

/* A window of that range, not in the books; NULL = no memory. */
static struct vmspace_window *
window_new(gpa_t start, gpa_t end, bool region)
{
    struct vmspace_window *window = calloc(1, sizeof(*window));

    if (window != NULL) {
        window->start = start;
        window->end = end;
        window->region = region;
    }
    return window;
}

/* A user's vmspace has the window, which is mapped. */
static void
window_enter(struct vmspaces *spaces, struct vmspace *space, struct vmspace_window *window)
    VM_REQUIRES(spaces->lock)
{
    RB_INSERT(vmspace_window_tree, &spaces->windows, window);
    LIST_INSERT_HEAD(&space->windows, window, link);
}

/*
 * Unmap a window and forget it.  Nobody finds it from the start, and who found it is waited for.
 * locked: `books`, but not throughout; the caller is a user of the vmspace, or the one that ends
 * it.
 * Returns 0, or vm_map_remove's -errno: the window stays.
 */
static int
window_remove(struct vmspaces *spaces, struct vmspace *space, struct vmspace_window *window)
    VM_REQUIRES(spaces->lock)
{
    int error;

    RB_REMOVE(vmspace_window_tree, &spaces->windows, window);
    LIST_REMOVE(window, link);
    while (window->users != 0)
        vm_cond_wait(&spaces->unused, &spaces->lock);
    vm_mutex_unlock(&spaces->lock);
    error = vm_map_remove(spaces->map, window->start, window->end);
    vm_mutex_lock(&spaces->lock);
    if (error == 0)
        free(window);
    else
        window_enter(spaces, space, window);
    return error;
}

/* --- Windows as they are ------------------------------------------------- */

int
vmspace_setmap(struct vmspaces *spaces, const struct call_setmap *call)
{
    struct vmspace_window *window;
    int error = window_get(spaces, &call->range, &window);

    if (error != 0)
        return error;
    error = vm_map_setmap(spaces->map, call->range.start, call->range.end, call->root);
    window_put(spaces, window);
    return error;
}

int
vmspace_protect(struct vmspaces *spaces, const struct call_protect *call)
{
    struct vmspace_window *window;
    int error = window_get(spaces, &call->range, &window);

    if (error != 0)
        return error;
    error = vm_map_protect(spaces->map, call->range.start, call->range.end, call->prot);
    window_put(spaces, window);
    return error;
}

/* --- What may cut entries ------------------------------------------------ */

/* May a call make more entries?  locked: `cut`, so that not several find room for the same ones */
static bool
has_room(struct vmspaces *spaces, unsigned nentries_max) VM_REQUIRES(spaces->cut_lock)
{
    unsigned nentries;

    vm_rwlock_read_lock(&spaces->map->lock);
    nentries = spaces->map->nentries;
    vm_rwlock_read_unlock(&spaces->map->lock);
    return nentries < nentries_max;
}

/* A part of a mapping may become an entry of its own, and what is on both sides of it too. */
static int
advise_part(struct vmspaces *spaces, const struct call_advise *call)
{
    int error = -ENOSPC;

    vm_mutex_lock(&spaces->cut_lock);
    if (has_room(spaces, VMSPACE_ENTRIES_MAX))
        error = vm_map_advise(spaces->map, call->range.start, call->range.end, call->advice);
    vm_mutex_unlock(&spaces->cut_lock);
    return error;
}

static int
advise(struct vmspaces *spaces, const struct call_advise *call, bool is_whole)
{
    if (!is_whole)
        return advise_part(spaces, call);
    return vm_map_advise(spaces->map, call->range.start, call->range.end, call->advice);
}

int
vmspace_advise(struct vmspaces *spaces, const struct call_advise *call)
{
    uint64_t start = gpa_to_u64(call->range.start), size = call_range_size(&call->range);
    const struct machine_ram *ram = machine_find_ram(spaces->machine, start, 1);
    struct vmspace_window *window;
    int error;

    if (ram != NULL) {
        if (machine_find_ram(spaces->machine, start, size) == NULL)
            return -EINVAL;
        return advise(spaces, call, size == ram->size);
    }
    if (!call_range_in_windows(&call->range))
        return -EINVAL;
    error = window_get_around(spaces, &call->range, &window);
    if (error != 0)
        return error;
    error = advise(spaces, call, window_is(window, &call->range));
    window_put(spaces, window);
    return error;
}

/*
 * WIRE and UNWIRE.  A window's pages cannot be wired: which they are is the guest's to change.
 */
static int
change_wiring(struct vmspaces *spaces, const struct call_range *range, unsigned nentries_max,
              int (*change)(struct vm_map *map, gpa_t start, gpa_t end, bool user))
{
    int error = -ENOSPC;

    vm_mutex_lock(&spaces->cut_lock);
    if (has_room(spaces, nentries_max))
        error = change(spaces->map, range->start, range->end, true);
    vm_mutex_unlock(&spaces->cut_lock);
    return error == -EOPNOTSUPP ? -EINVAL : error;
}

int
vmspace_wire(struct vmspaces *spaces, const struct call_range *range)
{
    return change_wiring(spaces, range, VMSPACE_ENTRIES_MAX, vm_map_wire);
}

int
vmspace_unwire(struct vmspaces *spaces, const struct call_range *range)
{
    return change_wiring(spaces, range, 2 * VMSPACE_ENTRIES_MAX, vm_map_unwire);
}

/* --- vmspaces ------------------------------------------------------------ */

int
vmspace_create(struct vmspaces *spaces, const struct call_vmspace *call)
{
    struct vmspace *space = calloc(1, sizeof(*space));
    int error = 0;

    if (space == NULL)
        return -ENOMEM;
    space->id = call->id;
    LIST_INIT(&space->windows);
    vm_mutex_lock(&spaces->lock);
    if (space_search(spaces, call->id) != NULL)
        error = -EEXIST;
    else
        LIST_INSERT_HEAD(&spaces->buckets[call->id % VMSPACE_BUCKETS], space, link);
    vm_mutex_unlock(&spaces->lock);
    if (error != 0)
        free(space);
    return error;
}

/* Unmap all windows of a vmspace and forget it. */
static int
space_end(struct vmspaces *spaces, struct vmspace *space) VM_REQUIRES(spaces->lock)
{
    struct vmspace_window *window;
    int error;

    space->ending = true;
    while (space->users != 0)
        vm_cond_wait(&spaces->unused, &spaces->lock);
    while ((window = LIST_FIRST(&space->windows)) != NULL) {
        error = window_remove(spaces, space, window);
        if (error != 0) {
            space->ending = false;
            return error;
        }
    }
    LIST_REMOVE(space, link);
    free(space);
    return 0;
}

int
vmspace_destroy(struct vmspaces *spaces, const struct call_vmspace *call)
{
    struct vmspace *space;
    int error = -ENOENT;

    vm_mutex_lock(&spaces->lock);
    space = space_find(spaces, call->id);
    if (space != NULL)
        error = space_end(spaces, space);
    vm_mutex_unlock(&spaces->lock);
    return error;
}

/* --- Windows and regions that come and go -------------------------------- */

/* Map what *args says, whose object's reference is dropped on failure. */
static int
insert(struct vmspaces *spaces, const struct vm_map_insert *args)
{
    int error = -ENOSPC;

    vm_mutex_lock(&spaces->cut_lock);
    if (has_room(spaces, VMSPACE_ENTRIES_MAX))
        error = vm_map_insert(spaces->map, args);
    vm_mutex_unlock(&spaces->cut_lock);
    if (error != 0)
        vm_object_unref(args->object);
    return error;
}

static int
insert_window(struct vmspaces *spaces, const void *argument)
{
    const struct call_vmspace_map *call = argument;
    const struct vm_map_insert args = {
        .start = call->range.start,
        .end = call->range.end,
        .object = spaces->ram,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = call->format,
        .root = call->root,
        .protection = call->prot,
        .max_protection = VM_PROT_ALL,
    };

    vm_object_ref(spaces->ram);
    return insert(spaces, &args);
}

/* The last page of a range is mapped; the others are what it may grow into. */
static void
make_stack(struct vm_map_insert *args, uint64_t npages)
{
    args->start = gpa_from_u64(gpa_to_u64(args->end) - PAGE_SIZE);
    args->offset = npages - 1;
    args->growth = npages - 1;
    args->eflags = MAP_ENTRY_GROWDOWN;
}

/* Zero-fill memory, or a guard, which has none. */
static int
insert_region(struct vmspaces *spaces, const void *argument)
{
    const struct call_region_map *call = argument;
    uint64_t npages = call_range_size(&call->range) >> PAGE_SHIFT;
    struct vm_map_insert args = {
        .start = call->range.start,
        .end = call->range.end,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = call->prot,
        .max_protection = VM_PROT_ALL,
        .eflags = call->guard ? MAP_ENTRY_NOFAULT : 0,
    };
    int error;

    if (call->guard)
        return insert(spaces, &args);
    if (call->stack)
        make_stack(&args, npages);
    error = vm_object_create_default(spaces->map->sys, npages, &args.object);
    return error != 0 ? error : insert(spaces, &args);
}

/* The copy is cut where the region was: at worst it has as many entries as there are. */
static int
insert_copy(struct vmspaces *spaces, const void *argument)
{
    const struct call_copy *call = argument;
    int error = -ENOSPC;

    vm_mutex_lock(&spaces->cut_lock);
    if (has_room(spaces, VMSPACE_ENTRIES_MAX / 2))
        error =
            vm_map_copy(spaces->map, call->from.start, call->to.start, call_range_size(&call->to));
    vm_mutex_unlock(&spaces->cut_lock);
    return error;
}

/* Give a vmspace a window, which `make` maps as the call says. */
static int
window_make(struct vmspaces *spaces, uint64_t id, const struct call_range *range, bool region,
            int (*make)(struct vmspaces *spaces, const void *argument), const void *argument)
{
    struct vmspace_window *window;
    struct vmspace *space;
    int error = space_get(spaces, id, &space);

    if (error != 0)
        return error;
    window = window_new(range->start, range->end, region);
    error = window == NULL ? -ENOMEM : make(spaces, argument);
    vm_mutex_lock(&spaces->lock);
    if (error == 0)
        window_enter(spaces, space, window);
    count_user_out(spaces, &space->users);
    vm_mutex_unlock(&spaces->lock);
    if (error != 0)
        free(window);
    return error;
}

int
vmspace_map(struct vmspaces *spaces, const struct call_vmspace_map *call)
{
    return window_make(spaces, call->id, &call->range, false, insert_window, call);
}

int
vmspace_region_map(struct vmspaces *spaces, const struct call_region_map *call)
{
    return window_make(spaces, call->id, &call->range, true, insert_region, call);
}

int
vmspace_copy(struct vmspaces *spaces, const struct call_copy *call)
{
    struct vmspace_window *source;
    int error = window_get(spaces, &call->from, &source);

    if (error != 0)
        return error;
    error = source->region ? window_make(spaces, call->id, &call->to, true, insert_copy, call)
                           : -EINVAL;
    window_put(spaces, source);
    return error;
}

int
vmspace_unmap(struct vmspaces *spaces, const struct call_vmspace_unmap *call)
{
    struct vmspace_window *window;
    struct vmspace *space;
    int error = space_get(spaces, call->id, &space);

    if (error != 0)
        return error;
    vm_mutex_lock(&spaces->lock);
    LIST_FOREACH (window, &space->windows, link) {
        if (window_is(window, &call->range))
            break;
    }
    error = window == NULL ? -ENOENT : window_remove(spaces, space, window);
    vm_mutex_unlock(&spaces->lock);
    space_put(spaces, space);
    return error;
}

/* --- All of them --------------------------------------------------------- */

void
vmspaces_init(struct vmspaces *spaces, struct vm_map *map, struct vm_object *ram,
              const struct machine *machine)
{
    *spaces = (struct vmspaces){ .map = map, .ram = ram, .machine = machine };
    vm_mutex_init(&spaces->cut_lock);
    vm_mutex_init(&spaces->lock);
    vm_cond_init(&spaces->unused);
}

int
vmspaces_add_window(struct vmspaces *spaces, gpa_t start, gpa_t end, bool region)
{
    struct vmspace_window *window = window_new(start, end, region);

    if (window == NULL)
        return -ENOMEM;
    vm_mutex_lock(&spaces->lock);
    RB_INSERT(vmspace_window_tree, &spaces->windows, window);
    vm_mutex_unlock(&spaces->lock);
    return 0;
}

void
vmspaces_fini(struct vmspaces *spaces)
{
    struct vmspace_window *window;
    struct vmspace *space;

    while ((window = RB_MIN(vmspace_window_tree, &spaces->windows)) != NULL) {
        RB_REMOVE(vmspace_window_tree, &spaces->windows, window);
        free(window);
    }
    for (unsigned i = 0; i < VMSPACE_BUCKETS; i++) {
        while ((space = LIST_FIRST(&spaces->buckets[i])) != NULL) {
            LIST_REMOVE(space, link);
            free(space);
        }
    }
    vm_cond_fini(&spaces->unused);
    vm_mutex_fini(&spaces->lock);
    vm_mutex_fini(&spaces->cut_lock);
}
