/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual copy of a map range.
 *
 *     prepare      M exclusively: check, clip the source, make the new entries
 *     real copies  no M: pages of wired and shared entries, windows
 *     commit       M exclusively, can only be stopped: new entries get their objects, the
 *                  source's mappings become read-only; then the new entries are linked
 *
 * E is held from beginning to end.  Between prepare and commit a fault may shadow or
 * grow a source entry: so a new entry gets what the source has at commit.
 */
#include "vmm/vpagetable/vm_fault_wire.h"
#include "vmm/vpagetable/vm_map_entry.h"

#include <errno.h>
#include <stdlib.h>

struct copy {
    gpa_t src;
    gpa_t src_end;
    gpa_t dst;
    gpa_t dst_end;
    struct vm_map_picked
        entries;               /* new ones in order of address; with an object: copied for real */
    struct vm_map_entry *last; /* of entries */
};

/* Source entries in a row that map an object in ascending order of its pages. */
struct copy_run {
    gpa_t start, end;
    struct vm_object *object;
    vm_pindex_t first, last; /* [first, last); all of the object for VPAGETABLE */
    bool shared;             /* something else maps these pages */
};

/* --- What must stay shared ----------------------------------------------- */

static bool
entry_is_private(const struct vm_map_entry *entry)
{
    return (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

/* Does the entry continue the run? */
static bool
run_continues(const struct copy_run *run, const struct vm_map_entry *entry)
{
    return entry != NULL && entry->object == run->object && entry->maptype == VM_MAPTYPE_NORMAL &&
           !entry_is_private(entry) && entry->offset - entry->growth >= run->last;
}

static struct copy_run
run_collect(struct vm_map_entry *entry, gpa_t end)
{
    struct copy_run run = {
        .start = entry->start,
        .end = entry->end,
        .object = entry->object,
        .last = UINT64_MAX,
    };

    if (entry->maptype == VM_MAPTYPE_VPAGETABLE)
        return run;
    run.first = entry->offset - entry->growth;
    run.last = entry->offset + vm_map_entry_pages(entry);
    while (run_continues(&run, entry = vm_map_entry_next(entry, end))) {
        run.end = entry->end;
        run.last = entry->offset + vm_map_entry_pages(entry);
    }
    return run;
}

/* Does an entry outside the run write to its pages, or expect to see what is written there? */
static bool
entry_shares(const struct vm_map_entry *entry, const struct copy_run *run)
{
    if (entry->object != run->object || entry_is_private(entry))
        return false;
    if (entry->start.value >= run->start.value && entry->end.value <= run->end.value)
        return false;
    return entry->maptype == VM_MAPTYPE_VPAGETABLE ||
           (entry->offset - entry->growth < run->last &&
            run->first < entry->offset + vm_map_entry_pages(entry));
}

/* Fills run->shared.  Only objects with more than one reference are worth a look at all entries. */
static void
run_find_sharers(const struct vm_map *map, struct copy_run *run)
{
    bool referenced;

    vm_mutex_lock(&run->object->lock);
    run->shared = (run->object->flags & OBJ_WRITEBACK) != 0;
    referenced = run->object->ref_count > 1;
    vm_mutex_unlock(&run->object->lock);
    if (run->shared || !referenced)
        return;
    for (struct vm_map_entry *e = vm_map_entry_search(map, gpa_from_u64(0));
         e != NULL && !run->shared; e = vm_map_entry_next(e, gpa_from_u64(PMAP_GPA_END)))
        run->shared = entry_shares(e, run);
}

/* Must the entry keep its pages for others?  *run is the latest answer, for the next entries. */
static bool
entry_is_shared(const struct vm_map *map, const struct copy *copy, struct vm_map_entry *entry,
                struct copy_run *run)
{
    if (entry_is_private(entry))
        return false;
    if (entry->start.value >= run->end.value) {
        *run = run_collect(entry, copy->src_end);
        run_find_sharers(map, run);
    }
    return run->shared;
}

/* --- Prepare ------------------------------------------------------------- */

static gpa_t
copy_target(const struct copy *copy, gpa_t gpa)
{
    return gpa_from_u64(gpa.value - copy->src.value + copy->dst.value);
}

static gpa_t
copy_origin(const struct copy *copy, gpa_t gpa)
{
    return gpa_from_u64(gpa.value - copy->dst.value + copy->src.value);
}

/* The new object of an entry that is copied for real; its growth included. */
static int
copy_object(const struct vm_map *map, struct vm_map_entry *to)
{
    if (to->maptype == VM_MAPTYPE_VPAGETABLE)
        return -EOPNOTSUPP;
    if ((to->max_protection & VM_PROT_READ) == 0)
        return -EACCES;
    to->offset = to->growth;
    return vm_object_create_default(map->sys, to->growth + vm_map_entry_pages(to), &to->object);
}

/*
 * Make the copy of a source entry, with a reservation, without an object unless it is to be
 * copied for real.
 */
static int
copy_entry(struct vm_map *map, struct copy *copy, const struct vm_map_entry *from, bool real)
    VM_REQUIRES(map->lock)
{
    uint64_t below = vm_map_range_pages(copy->src, from->start);
    struct vm_map_entry *to;

    if (vm_map_entry_reserve(map) != 0)
        return -ENOMEM;
    to = malloc(sizeof(*to));
    if (to == NULL) {
        vm_map_entry_unreserve(map);
        return -ENOMEM;
    }
    *to = *from;
    to->object = NULL;
    to->start = copy_target(copy, from->start);
    to->end = copy_target(copy, from->end);
    to->wired_count = 0;
    to->wired_end = to->start;
    to->eflags &= ~(unsigned)(MAP_ENTRY_USER_WIRED | MAP_ENTRY_NEEDS_COPY);
    if (to->growth > below)
        to->growth = below;
    if (copy->last == NULL)
        SLIST_INSERT_HEAD(&copy->entries, to, picked);
    else
        SLIST_INSERT_AFTER(copy->last, to, picked);
    copy->last = to;
    return real ? copy_object(map, to) : 0;
}

static int
copy_prepare(struct vm_map *map, struct copy *copy) VM_REQUIRES(map->lock)
{
    struct copy_run run = { .end = copy->src };
    int error;

    if (vm_map_entry_first(map, copy->src, copy->src_end) == NULL)
        return -ENOENT;
    if (!vm_map_range_free(map, copy->dst, copy->dst_end))
        return -EEXIST;
    error = vm_map_clip(map, copy->src, copy->src_end);
    for (struct vm_map_entry *e = vm_map_entry_first(map, copy->src, copy->src_end);
         e != NULL && error == 0; e = vm_map_entry_next(e, copy->src_end)) {
        bool real =
            e->object != NULL && (e->wired_count != 0 || entry_is_shared(map, copy, e, &run));

        error = copy_entry(map, copy, e, real);
    }
    return error;
}

/* --- Real copies and windows --------------------------------------------- */

/* The frame that a page at `gpa` of the source has when it was not moved. */
static vm_frame_t
source_frame(struct vm_map *map, gpa_t gpa)
{
    const struct vm_map_entry *from;
    vm_frame_t frame;

    vm_rwlock_read_lock(&map->lock);
    from = vm_map_entry_search(map, gpa);
    frame = from->object->extent + from->offset + vm_map_range_pages(from->start, gpa);
    vm_rwlock_read_unlock(&map->lock);
    return frame;
}

/*
 * The new entry's windows have the source's frames as natural ones, until the entry
 * is shadowed; or those of its own object.
 */
static int
copy_windows(struct vm_map *map, const struct copy *copy, const struct vm_map_entry *to)
    VM_REQUIRES(map->edit_lock)
{
    vm_frame_t natural = PMAP_OWN_NATURAL;

    if ((to->eflags & MAP_ENTRY_NOFAULT) != 0)
        return 0;
    if (to->object != NULL)
        natural = to->object->extent;
    else if (to->maptype == VM_MAPTYPE_NORMAL)
        natural = source_frame(map, copy_origin(copy, to->start)) - to->growth;
    return vm_map_windows_add(map, vm_map_entry_lowest(to), to->end, natural);
}

static int
copy_pages(struct vm_map *map, const struct copy *copy) VM_REQUIRES(map->edit_lock)
{
    struct vm_map_entry *to;
    int error = 0;

    SLIST_FOREACH (to, &copy->entries, picked) {
        if (to->object != NULL)
            error = vm_fault_copy_entry(map, copy_origin(copy, to->start), vm_map_entry_pages(to),
                                        to->object, to->offset);
        if (error == 0)
            error = copy_windows(map, copy, to);
        if (error != 0)
            return error;
    }
    return 0;
}

/* --- Commit -------------------------------------------------------------- */

/*
 * From now on both sides share the object, and who writes first shadows it.  -ECANCELED: some of
 * the source can still be written to, so that nobody may see the copy.
 */
static int
commit_virtual(const struct vm_map *map, const struct copy *copy, struct vm_map_entry *to)
    VM_REQUIRES(map->lock)
{
    gpa_t origin = copy_origin(copy, to->start);
    struct vm_map_entry *from = vm_map_entry_search(map, origin);

    vm_object_ref(from->object);
    to->object = from->object;
    to->offset = from->offset + vm_map_range_pages(from->start, origin);
    atomic_store(&to->root, atomic_load(&from->root));
    to->eflags |= MAP_ENTRY_NEEDS_COPY;
    if ((from->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        return 0;
    if (pmap_write_protect_until(map->pmap, from->start, from->end, map->stop) != 0)
        return -ECANCELED;
    from->eflags |= MAP_ENTRY_NEEDS_COPY;
    return 0;
}

static void
copy_link(struct vm_map *map, struct copy *copy) VM_REQUIRES(map->lock)
{
    struct vm_map_entry *to;

    while ((to = SLIST_FIRST(&copy->entries)) != NULL) {
        SLIST_REMOVE_HEAD(&copy->entries, picked);
        vm_map_entry_link(map, to);
    }
}

/* Returns 0, or -ECANCELED: nothing is linked. */
static int
copy_commit(struct vm_map *map, struct copy *copy) VM_REQUIRES(map->lock)
{
    struct vm_map_entry *to;
    int error = 0;

    SLIST_FOREACH (to, &copy->entries, picked) {
        if (to->object == NULL && (to->eflags & MAP_ENTRY_NOFAULT) == 0)
            error = commit_virtual(map, copy, to);
        if (error != 0)
            return error;
    }
    copy_link(map, copy);
    return 0;
}

static void
copy_unreserve(struct vm_map *map, const struct copy *copy) VM_REQUIRES(map->lock)
{
    const struct vm_map_entry *to;

    SLIST_FOREACH (to, &copy->entries, picked)
        vm_map_entry_unreserve(map);
}

static bool
copy_valid(gpa_t src, gpa_t dst, uint64_t size)
{
    if (size > PMAP_GPA_END || src.value > PMAP_GPA_END || dst.value > PMAP_GPA_END)
        return false;
    return vm_map_range_valid(src, gpa_add(src, size)) &&
           vm_map_range_valid(dst, gpa_add(dst, size)) &&
           (src.value >= dst.value + size || dst.value >= src.value + size);
}

int
vm_map_copy(struct vm_map *map, gpa_t src, gpa_t dst, uint64_t size)
{
    struct copy copy = { .src = src, .dst = dst };
    int error;

    if (!copy_valid(src, dst, size))
        return -EINVAL;
    if (vm_stopped(map->stop))
        return -ECANCELED;
    copy.src_end = gpa_add(src, size);
    copy.dst_end = gpa_add(dst, size);
    vm_map_edit_begin(map);
    error = copy_prepare(map, &copy);
    vm_rwlock_write_unlock(&map->lock);
    if (error == 0) {
        error = copy_pages(map, &copy);
        if (error != 0)
            vm_map_windows_trim(map, copy.dst, copy.dst_end);
    }
    vm_rwlock_write_lock(&map->lock);
    if (error == 0)
        error = copy_commit(map, &copy);
    if (error != 0)
        copy_unreserve(map, &copy);
    error = vm_map_edit_end(map, src, copy.src_end, error);
    vm_map_entries_destroy(map, &copy.entries);
    return error;
}
