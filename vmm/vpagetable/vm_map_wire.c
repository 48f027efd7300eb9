/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring of map ranges: counts and flags of entries here, pages in vm_fault_wire.c.
 *
 * E is held from beginning to end and M is not while pages are brought in, so faults
 * go on.  An entry counts as wired before its first page is, and until its last is
 * not any more: from that the fault, growing and shadowing know to leave it alone.
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
        SLIST_INSERT_HEAD(picked, e, picked);
    }
}

/* Unwire the pages of those before `end` for which this was the only wiring. */
static void
picked_unwire(const struct vm_map_picked *picked, const struct vm_map_entry *end)
{
    struct vm_map_entry *entry;

    SLIST_FOREACH (entry, picked, picked) {
        if (entry == end)
            break;
        if (entry->wired_count == 1)
            vm_fault_unwire(entry);
    }
}

/* Bring in the pages of those that were not wired before. */
static int
picked_wire(struct vm_map *map, const struct vm_map_picked *picked, bool user)
    VM_REQUIRES(map->edit_lock)
{
    struct vm_map_entry *entry;
    int error;

    SLIST_FOREACH (entry, picked, picked) {
        if (entry->wired_count != 1)
            continue;
        error = vm_fault_wire(map, entry, user);
        if (error != 0) {
            picked_unwire(picked, entry);
            return error;
        }
    }
    return 0;
}

/* See vm_map_wire for why WRITE goes. */
static void
wire_finish(struct vm_map_entry *entry, bool user, int error)
{
    if (error != 0)
        entry_count_unwiring(entry, user);
    else if (user && (entry->protection & VM_PROT_WRITE) == 0)
        entry->max_protection &= (vm_prot_t)~VM_PROT_WRITE;
}

int
vm_map_wire(struct vm_map *map, gpa_t start, gpa_t end, bool user)
{
    struct vm_map_picked picked = SLIST_HEAD_INITIALIZER(picked);
    struct vm_map_entry *entry;
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
        vm_rwlock_write_unlock(&map->lock);
        error = picked_wire(map, &picked, user);
        vm_rwlock_write_lock(&map->lock);
        SLIST_FOREACH (entry, &picked, picked)
            wire_finish(entry, user, error);
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
        for (entry = vm_map_entry_first(map, start, end); entry != NULL;
             entry = vm_map_entry_next(entry, end))
            SLIST_INSERT_HEAD(&picked, entry, picked);
        vm_rwlock_write_unlock(&map->lock);
        picked_unwire(&picked, NULL);
        vm_rwlock_write_lock(&map->lock);
        SLIST_FOREACH (entry, &picked, picked)
            entry_count_unwiring(entry, user);
    }
    return vm_map_edit_end(map, start, end, error);
}
