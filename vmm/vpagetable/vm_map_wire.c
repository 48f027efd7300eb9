/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring of map ranges: counts and flags of entries here, pages in vm_fault_wire.c.
 *
 * E is held from beginning to end and M is not while pages are brought in, so faults
 * go on.  An entry counts as wired before its first page is, and until its last is
 * not any more: from that the fault, growing and shadowing know to leave it alone.
 *
 * Pages are wired from an entry's start on and unwired from its end on, so that the wired ones
 * are those before entry->wired_end, wherever a call fails or is stopped.
 */
#include "vmm/vpagetable/vm_fault_wire.h"
#include "vmm/vpagetable/vm_map_entry.h"

#include <errno.h>

static int
wire_check_entry(const struct vm_map_entry *entry, bool user)
{
    vm_prot_t needed = user ? VM_PROT_READ : VM_PROT_WRITE;
    vm_prot_t allowed = user ? entry->max_protection : entry->protection;

    if (entry->object == NULL)
        return -ENOENT;
    if (entry->maptype == VM_MAPTYPE_VPAGETABLE)
        return -EOPNOTSUPP;
    return (needed & ~allowed) != 0 ? -EACCES : 0;
}

static int
wire_check(const struct vm_map *map, gpa_t start, gpa_t end, bool user)
{
    int error = vm_map_entries_cover(map, start, end) ? 0 : -ENOENT;

    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL && error == 0;
         e = vm_map_entry_next(e, end))
        error = wire_check_entry(e, user);
    return error;
}

/* Once pages are wired the entry keeps its object: what is to be shadowed is so now. */
static int
wire_shadow(struct vm_map *map, gpa_t start, gpa_t end) VM_REQUIRES(map->lock)
{
    int error = 0;

    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL && error == 0;
         e = vm_map_entry_next(e, end)) {
        if ((e->eflags & MAP_ENTRY_NEEDS_COPY) != 0 && (e->protection & VM_PROT_WRITE) != 0)
            error = vm_map_entry_shadow(map, e);
    }
    return error;
}

static void
entry_count_wiring(struct vm_map_entry *entry, bool user)
{
    entry->wired_count++;
    if (user)
        entry->eflags |= MAP_ENTRY_USER_WIRED;
}

static void
entry_count_unwiring(struct vm_map_entry *entry, bool user)
{
    entry->wired_count--;
    if (user)
        entry->eflags &= ~(unsigned)MAP_ENTRY_USER_WIRED;
}

/* Count the wiring in every entry of the range but those a user has wired, and pick them. */
static void
wire_count(struct vm_map *map, gpa_t start, gpa_t end, bool user, struct vm_map_picked *picked)
    VM_REQUIRES(map->lock)
{
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end)) {
        if (user && (e->eflags & MAP_ENTRY_USER_WIRED) != 0)
            continue;
        entry_count_wiring(e, user);
        e->wired_end = e->wired_count == 1 ? e->start : e->end;
        SLIST_INSERT_HEAD(picked, e, picked);
    }
}

/* Unwire the pages of those for which this was the only wiring. */
static void
picked_unwire(const struct vm_map_picked *picked, const _Atomic bool *stop)
{
    struct vm_map_entry *entry;

    SLIST_FOREACH (entry, picked, picked) {
        if (entry->wired_count == 1 && !vm_map_entry_unwire(entry, stop))
            return;
    }
}

/* Bring in the pages of those that were not wired before; on failure none stays wired but by `stop`. */
static int
picked_wire(struct vm_map *map, const struct vm_map_picked *picked, bool user)
    VM_REQUIRES(map->edit_lock)
{
    struct vm_map_entry *entry;
    int error = 0;

    SLIST_FOREACH (entry, picked, picked) {
        if (entry->wired_count == 1)
            error = vm_fault_wire(map, entry, user);
        if (error != 0)
            break;
    }
    if (error == 0)
        return 0;
    picked_unwire(picked, map->stop);
    return vm_stopped(map->stop) ? -ECANCELED : error;
}

/*
 * The entry does not count this wiring after all, but as far as its pages are wired by it: where
 * the way back was stopped, it is cut there.  Without memory to cut it, the rest of the way is
 * gone after all.
 */
static void
wiring_take_back(struct vm_map *map, struct vm_map_entry *entry, bool user) VM_REQUIRES(map->lock)
{
    if (entry->wired_count != 1 || entry->wired_end.value == entry->start.value) {
        entry_count_unwiring(entry, user);
        return;
    }
    if (entry->wired_end.value == entry->end.value)
        return;
    if (vm_map_clip(map, entry->wired_end, entry->wired_end) == 0)
        entry = TAILQ_NEXT(entry, link);
    else
        (void)vm_map_entry_unwire(entry, NULL);
    entry_count_unwiring(entry, user);
}

/* See vm_map_wire for why WRITE goes. */
static void
wire_finish(struct vm_map_entry *entry, bool user)
{
    if (user && (entry->protection & VM_PROT_WRITE) == 0)
        entry->max_protection &= (vm_prot_t)~VM_PROT_WRITE;
}

/* Wire the pages of what is picked, and settle what the entries count. */
static int
wire_picked(struct vm_map *map, const struct vm_map_picked *picked, bool user)
    VM_REQUIRES(map->edit_lock, map->lock)
{
    struct vm_map_entry *entry;
    int error;

    vm_rwlock_write_unlock(&map->lock);
    error = picked_wire(map, picked, user);
    vm_rwlock_write_lock(&map->lock);
    SLIST_FOREACH (entry, picked, picked) {
        if (error == 0)
            wire_finish(entry, user);
        else
            wiring_take_back(map, entry, user);
    }
    return error;
}

int
vm_map_wire(struct vm_map *map, gpa_t start, gpa_t end, bool user)
{
    struct vm_map_picked picked = SLIST_HEAD_INITIALIZER(picked);
    int error;

    if (!vm_map_range_valid(start, end))
        return -EINVAL;
    vm_map_edit_begin(map);
    error = wire_check(map, start, end, user);
    if (error == 0)
        error = vm_map_clip(map, start, end);
    if (error == 0)
        error = wire_shadow(map, start, end);
    if (error == 0) {
        wire_count(map, start, end, user, &picked);
        error = wire_picked(map, &picked, user);
    }
    return vm_map_edit_end(map, start, end, error);
}

/* Is every entry of the range wired this way? */
static int
unwire_check(const struct vm_map *map, gpa_t start, gpa_t end, bool user)
{
    if (!vm_map_entries_cover(map, start, end))
        return -ENOENT;
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end)) {
        unsigned by_user = (e->eflags & MAP_ENTRY_USER_WIRED) != 0;

        if (user ? by_user == 0 : e->wired_count == by_user)
            return -EINVAL;
    }
    return 0;
}

static void
unwire_pick(struct vm_map *map, gpa_t start, gpa_t end, struct vm_map_picked *picked)
    VM_REQUIRES(map->lock)
{
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end)) {
        e->wired_end = e->end;
        SLIST_INSERT_HEAD(picked, e, picked);
    }
}

int
vm_map_unwire(struct vm_map *map, gpa_t start, gpa_t end, bool user)
{
    struct vm_map_picked picked = SLIST_HEAD_INITIALIZER(picked);
    struct vm_map_entry *entry;
    int error;

    if (!vm_map_range_valid(start, end))
        return -EINVAL;
    vm_map_edit_begin(map);
    error = unwire_check(map, start, end, user);
    if (error == 0)
        error = vm_map_clip(map, start, end);
    if (error == 0) {
        unwire_pick(map, start, end, &picked);
        vm_rwlock_write_unlock(&map->lock);
        picked_unwire(&picked, map->stop);
        vm_rwlock_write_lock(&map->lock);
        SLIST_FOREACH (entry, &picked, picked)
            wiring_take_back(map, entry, user);
        if (vm_stopped(map->stop))
            error = -ECANCELED;
    }
    return vm_map_edit_end(map, start, end, error);
}
