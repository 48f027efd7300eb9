/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map: its edits, lookup, and the range interlock with what uses it, SETMAP
 * and INVAL.  Entries and windows themselves are in vm_map_entry.c.
 *
 * A window is added before its entry appears and removed after its entry is gone,
 * both with E only (see vm_map.h).
 */
#include "vmm/vpagetable/vm_map.h"

#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_probe.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void
vm_map_init(struct vm_map *map, struct vm_system *sys, struct pmap *pmap)
{
    *map = (struct vm_map){ .sys = sys, .pmap = pmap };
    vm_mutex_init(&map->edit_lock);
    vm_rwlock_init(&map->lock);
    TAILQ_INIT(&map->entries);
    vm_mutex_init(&map->ilock_mutex);
    vm_cond_init(&map->ilock_cond);
    LIST_INIT(&map->ilocks);
    SLIST_INIT(&map->abandoned);
}

/* --- Insert -------------------------------------------------------------- */

/* Is there object and address space for what the entry may grow into? */
static bool
insert_growth_valid(const struct vm_map_insert *args)
{
    if ((args->eflags & MAP_ENTRY_GROWDOWN) == 0)
        return args->growth == 0;
    return args->growth <= args->offset && args->growth <= args->start.value >> PAGE_SHIFT;
}

static bool
insert_object_valid(const struct vm_map_insert *args)
{
    uint64_t npages = vm_map_range_pages(args->start, args->end);
    struct vm_object *object = args->object;
    uint64_t size;

    if ((args->eflags & MAP_ENTRY_NOFAULT) != 0)
        return object == NULL && args->growth == 0;
    if (object == NULL || !insert_growth_valid(args))
        return false;
    if (args->maptype == VM_MAPTYPE_VPAGETABLE)
        return args->format != NULL && args->offset <= UINT64_MAX - npages;
    vm_mutex_lock(&object->lock);
    size = object->size;
    vm_mutex_unlock(&object->lock);
    return npages <= size && args->offset <= size - npages;
}

static bool
insert_valid(const struct vm_map_insert *args)
{
    return vm_map_range_valid(args->start, args->end) &&
           (args->protection & ~args->max_protection) == 0 &&
           (args->eflags & MAP_ENTRY_USER_WIRED) == 0 && insert_object_valid(args);
}

static struct vm_map_entry *
entry_create(const struct vm_map_insert *args)
{
    struct vm_map_entry *entry = malloc(sizeof(*entry));

    if (entry == NULL)
        return NULL;
    *entry = (struct vm_map_entry){
        .start = args->start,
        .end = args->end,
        .object = args->object,
        .offset = args->offset,
        .maptype = args->maptype,
        .format = args->format,
        .root = args->root,
        .protection = args->protection,
        .max_protection = args->max_protection,
        .advice = args->advice,
        .eflags = args->eflags,
        .growth = args->growth,
    };
    return entry;
}

static int
entry_windows_add(struct vm_map *map, const struct vm_map_entry *entry) VM_REQUIRES(map->edit_lock)
{
    vm_frame_t natural;

    if (entry->object == NULL)
        return 0;
    natural = entry->maptype == VM_MAPTYPE_NORMAL
                  ? entry->object->extent + entry->offset - entry->growth
                  : PMAP_OWN_NATURAL;
    return vm_map_windows_add(map, vm_map_entry_lowest(entry), entry->end, natural);
}

static int
insert_locked(struct vm_map *map, struct vm_map_entry *entry) VM_REQUIRES(map->edit_lock)
{
    bool taken;
    int error;

    vm_rwlock_read_lock(&map->lock);
    taken = !vm_map_range_free(map, vm_map_entry_lowest(entry), entry->end);
    vm_rwlock_read_unlock(&map->lock);
    if (taken)
        return -EEXIST;
    error = entry_windows_add(map, entry);
    if (error != 0)
        return error;
    vm_rwlock_write_lock(&map->lock);
    error = vm_map_entry_reserve(map);
    if (error == 0)
        vm_map_entry_link(map, entry);
    vm_rwlock_write_unlock(&map->lock);
    if (error != 0)
        vm_map_windows_trim(map, vm_map_entry_lowest(entry), entry->end);
    return error;
}

int
vm_map_insert(struct vm_map *map, const struct vm_map_insert *args)
{
    struct vm_map_entry *entry;
    int error;

    if (!insert_valid(args))
        return -EINVAL;
    if (vm_stopped(map->stop))
        return -ECANCELED;
    entry = entry_create(args);
    if (entry == NULL)
        return -ENOMEM;
    vm_mutex_lock(&map->edit_lock);
    error = insert_locked(map, entry);
    vm_mutex_unlock(&map->edit_lock);
    if (error != 0)
        free(entry);
    return error;
}

/* --- Remove -------------------------------------------------------------- */

/* Move the entries inside [start, end) out of the map.  From then on no fault enters a page. */
static int
entries_unlink(struct vm_map *map, gpa_t start, gpa_t end, struct vm_map_picked *removed)
    VM_REQUIRES(map->lock)
{
    struct vm_map_entry *next;
    int error;

    if (vm_map_entry_first(map, start, end) == NULL)
        return -ENOENT;
    error = vm_map_clip(map, start, end);
    if (error != 0)
        return error;
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL; e = next) {
        next = vm_map_entry_next(e, end);
        vm_map_entry_unlink(map, e);
        e->wired_end = e->wired_count != 0 ? e->end : e->start;
        SLIST_INSERT_HEAD(removed, e, picked);
    }
    return 0;
}

/*
 * Nobody finds the entries any more: let go of their mappings, wirings and windows.  May be done
 * again for all of them after -ECANCELED.
 */
static int
entries_unmap(struct vm_map *map, const struct vm_map_picked *removed) VM_REQUIRES(map->edit_lock)
{
    struct vm_map_entry *entry;

    SLIST_FOREACH (entry, removed, picked) {
        gpa_t lowest = vm_map_entry_lowest(entry);

        if (vm_stopped(map->stop) || !vm_map_entry_unwire(entry, map->stop) ||
            pmap_remove_until(map->pmap, lowest, entry->end, map->stop) != 0)
            return -ECANCELED;
        vm_map_windows_trim(map, lowest, entry->end);
    }
    return 0;
}

int
vm_map_remove(struct vm_map *map, gpa_t start, gpa_t end)
{
    struct vm_map_picked removed = SLIST_HEAD_INITIALIZER(removed);
    int error;

    if (!vm_map_range_valid(start, end))
        return -EINVAL;
    vm_map_edit_begin(map);
    error = entries_unlink(map, start, end, &removed);
    vm_rwlock_write_unlock(&map->lock);
    if (error == 0)
        error = entries_unmap(map, &removed);
    vm_rwlock_write_lock(&map->lock);
    error = vm_map_edit_end(map, start, end, error);
    vm_map_entries_destroy(map, &removed);
    return error;
}

/* Finish what stopped calls left. */
static void
map_finish_abandoned(struct vm_map *map)
{
    struct vm_map_picked abandoned;
    int error;

    vm_map_edit_begin(map);
    abandoned = map->abandoned;
    SLIST_INIT(&map->abandoned);
    vm_rwlock_write_unlock(&map->lock);
    error = entries_unmap(map, &abandoned);
    vm_mutex_unlock(&map->edit_lock);
    assert(error == 0);
    (void)error;
    vm_map_entries_destroy(map, &abandoned);
}

void
vm_map_fini(struct vm_map *map)
{
    int error;

    map->stop = NULL;
    map->inject = NULL;
    map_finish_abandoned(map);
    error = vm_map_remove(map, gpa_from_u64(0), gpa_from_u64(PMAP_GPA_END));
    assert(error == 0 || error == -ENOENT);
    (void)error;
    assert(LIST_EMPTY(&map->ilocks));
    vm_ranges_fini(&map->ranges);
    vm_cond_fini(&map->ilock_cond);
    vm_mutex_fini(&map->ilock_mutex);
    vm_rwlock_fini(&map->lock);
    vm_mutex_fini(&map->edit_lock);
}

/* --- Protect, advise ----------------------------------------------------- */

/*
 * Change an entry's protection and take from its mappings what is now forbidden.
 * READ and EXECUTE look the same in a mapping, so losing either drops it: the next
 * access is checked afresh.
 */
static int
entry_protect(const struct vm_map *map, struct vm_map_entry *entry, vm_prot_t prot)
{
    vm_prot_t lost = (vm_prot_t)(entry->protection & ~prot);

    entry->protection = prot;
    if ((lost & (VM_PROT_READ | VM_PROT_EXECUTE)) != 0)
        return pmap_remove_until(map->pmap, entry->start, entry->end, map->stop);
    if ((lost & VM_PROT_WRITE) != 0)
        return pmap_write_protect_until(map->pmap, entry->start, entry->end, map->stop);
    return 0;
}

static int
protect_check(const struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot)
{
    if (!vm_map_entries_cover(map, start, end))
        return -EINVAL;
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end)) {
        if ((prot & ~e->max_protection) != 0)
            return -EACCES;
    }
    return 0;
}

int
vm_map_protect(struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot)
{
    int error;

    if (!vm_map_range_valid(start, end))
        return -EINVAL;
    vm_map_edit_begin(map);
    error = protect_check(map, start, end, prot);
    if (error == 0)
        error = vm_map_clip(map, start, end);
    if (error == 0) {
        for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL && error == 0;
             e = vm_map_entry_next(e, end))
            error = entry_protect(map, e, prot);
    }
    return vm_map_edit_end(map, start, end, error);
}

static bool
advice_valid(enum vm_map_advice advice)
{
    return advice == VM_ADVICE_NORMAL || advice == VM_ADVICE_RANDOM ||
           advice == VM_ADVICE_SEQUENTIAL;
}

int
vm_map_advise(struct vm_map *map, gpa_t start, gpa_t end, enum vm_map_advice advice)
{
    int error;

    if (!vm_map_range_valid(start, end) || !advice_valid(advice))
        return -EINVAL;
    vm_map_edit_begin(map);
    error = vm_map_entry_first(map, start, end) != NULL ? vm_map_clip(map, start, end) : -ENOENT;
    if (error == 0) {
        for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
             e = vm_map_entry_next(e, end))
            e->advice = advice;
    }
    return vm_map_edit_end(map, start, end, error);
}

/* --- Lookup -------------------------------------------------------------- */

/*
 * May the entry serve the access?  Checks what does not depend on where in the
 * entry it is, and sets out->prot.
 */
static enum vm_result
lookup_check(const struct vm_map_entry *entry, vm_prot_t access, struct vm_map_lookup *out)
{
    vm_prot_t allowed = entry->protection;

    if ((entry->eflags & MAP_ENTRY_NOFAULT) != 0)
        return VM_NOFAULT;
    out->prot = entry->protection;
    if ((access & VM_PROT_OVERRIDE) != 0)
        allowed = entry->max_protection | VM_PROT_OVERRIDE;
    return (access & ~allowed) != 0 ? VM_PROTECTION : VM_OK;
}

/* The access is below the entry: within its growth?  VM_RETRY: it must grow first. */
static enum vm_result
lookup_below(const struct vm_map_entry *entry, gpa_t gpa, vm_prot_t access,
             struct vm_map_lookup *out)
{
    uint64_t lowest = vm_map_entry_lowest(entry).value;
    enum vm_result result;

    if (gpa.value < lowest)
        return VM_INVALID_ADDRESS;
    if (gpa.value - lowest < PAGE_SIZE)
        return VM_NOFAULT;
    result = lookup_check(entry, access, out);
    return result == VM_OK ? VM_RETRY : result;
}

/* May the entry serve the access?  Fills *out if so.  VM_RETRY: lookup_prepare it first. */
static enum vm_result
lookup_entry(struct vm_map_entry *entry, gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
{
    bool wired;
    enum vm_result result;

    if (entry == NULL)
        return VM_INVALID_ADDRESS;
    if (gpa.value < entry->start.value)
        return lookup_below(entry, gpa, access, out);
    result = lookup_check(entry, access, out);
    if (result != VM_OK)
        return result;
    wired = entry->wired_count != 0;
    access &= (vm_prot_t)~VM_PROT_OVERRIDE;
    if (entry->maptype == VM_MAPTYPE_VPAGETABLE || wired)
        access |= entry->protection & VM_PROT_WRITE;
    if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 && (access & VM_PROT_WRITE) != 0)
        return VM_RETRY;
    *out = (struct vm_map_lookup){
        .entry = entry,
        .object = entry->object,
        .pindex = entry->offset + vm_map_range_pages(entry->start, gpa),
        .access = access,
        .prot = entry->protection,
        .wired = wired,
    };
    return VM_OK;
}

/*
 * Grow or shadow the entry, unless that has become needless while M was not held.
 * Returns VM_RETRY: look again; or why the access fails.
 */
static enum vm_result
lookup_prepare(struct vm_map *map, gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
{
    struct vm_map_entry *entry;
    enum vm_result result;
    int error = 0;

    vm_rwlock_write_lock(&map->lock);
    entry = vm_map_entry_search(map, gpa);
    result = lookup_entry(entry, gpa, access, out);
    if (result == VM_OK)
        result = VM_RETRY;
    else if (result == VM_RETRY && gpa.value < entry->start.value)
        error = vm_map_entry_grow(map, entry, gpa);
    else if (result == VM_RETRY)
        error = vm_map_entry_shadow(map, entry);
    vm_rwlock_write_unlock(&map->lock);
    if (error == 0)
        return result;
    out->error = error;
    return VM_HOST_FAILURE;
}

/* M stays locked on VM_OK only, which lock analysis cannot express. */
enum vm_result
vm_map_lookup(struct vm_map *map, gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
    VM_NO_LOCK_ANALYSIS
{
    enum vm_result result;

    do {
        vm_rwlock_read_lock(&map->lock);
        result = lookup_entry(vm_map_entry_search(map, gpa), gpa, access, out);
        if (result == VM_OK)
            return VM_OK;
        vm_rwlock_read_unlock(&map->lock);
        if (result == VM_RETRY)
            result = lookup_prepare(map, gpa, access, out);
    } while (result == VM_RETRY);
    return result;
}

void
vm_map_lookup_done(struct vm_map *map) VM_NO_LOCK_ANALYSIS
{
    vm_rwlock_read_unlock(&map->lock);
}

/* --- The range interlock ------------------------------------------------- */

static bool
ilocks_overlap(const struct vm_map_ilock *a, const struct vm_map_ilock *b)
{
    return a->start.value < b->end.value && b->start.value < a->end.value;
}

/* Is an older interlock, held or waited for, in the way? */
static bool
ilock_blocked(const struct vm_map_ilock *ilock)
{
    for (const struct vm_map_ilock *older = LIST_NEXT(ilock, link); older != NULL;
         older = LIST_NEXT(older, link)) {
        if (ilocks_overlap(ilock, older))
            return true;
    }
    return false;
}

void
vm_map_interlock(struct vm_map *map, struct vm_map_ilock *ilock, gpa_t start, gpa_t end)
{
    *ilock = (struct vm_map_ilock){ .start = start, .end = end };
    vm_mutex_lock(&map->ilock_mutex);
    LIST_INSERT_HEAD(&map->ilocks, ilock, link);
    map->ilock_waiters++;
    while (ilock_blocked(ilock))
        vm_cond_wait(&map->ilock_cond, &map->ilock_mutex);
    map->ilock_waiters--;
    ilock->held = true;
    vm_mutex_unlock(&map->ilock_mutex);
}

void
vm_map_deinterlock(struct vm_map *map, struct vm_map_ilock *ilock)
{
    vm_mutex_lock(&map->ilock_mutex);
    LIST_REMOVE(ilock, link);
    if (map->ilock_waiters != 0)
        vm_cond_broadcast(&map->ilock_cond);
    vm_mutex_unlock(&map->ilock_mutex);
}

/* --- SETMAP and INVAL ---------------------------------------------------- */

/*
 * Is [start, end) made of whole VPAGETABLE entries?  Returns 0; -EAGAIN when some must
 * be clipped first, -ENOENT, -EINVAL.
 */
static int
setmap_check(const struct vm_map *map, gpa_t start, gpa_t end)
{
    bool whole = true;

    if (!vm_map_entries_cover(map, start, end))
        return -ENOENT;
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end)) {
        if (e->object == NULL || e->maptype != VM_MAPTYPE_VPAGETABLE)
            return -EINVAL;
        whole = whole && e->start.value >= start.value && e->end.value <= end.value;
    }
    return whole ? 0 : -EAGAIN;
}

/* Nobody walks the range. */
static int
setmap_change(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root) VM_REQUIRES_SHARED(map->lock)
{
    int error;

    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end))
        atomic_store(&e->root, root);
    error = pmap_remove_until(map->pmap, start, end, map->stop);
    if (error == 0)
        vm_meter_add(&map->meter, v_setmap, 1);
    return error;
}

static int
setmap_whole(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root) VM_REQUIRES_SHARED(map->lock)
{
    struct vm_map_ilock ilock;
    int error;

    vm_map_interlock(map, &ilock, start, end);
    error = setmap_change(map, start, end, root);
    vm_map_deinterlock(map, &ilock);
    return error;
}

/* Nobody walks while M is held exclusively: no interlock.  Entries may be merged after. */
static int
setmap_clipped(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root)
{
    int error;

    vm_map_edit_begin(map);
    error = setmap_check(map, start, end);
    if (error == -EAGAIN)
        error = vm_map_clip(map, start, end);
    if (error == 0)
        error = setmap_change(map, start, end, root);
    return vm_map_edit_end(map, start, end, error);
}

int
vm_map_setmap(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root)
{
    int error;

    if (!vm_map_range_valid(start, end))
        return -EINVAL;
    vm_rwlock_read_lock(&map->lock);
    error = setmap_check(map, start, end);
    if (error == 0)
        error = setmap_whole(map, start, end, root);
    vm_rwlock_read_unlock(&map->lock);
    return error == -EAGAIN ? setmap_clipped(map, start, end, root) : error;
}

int
vm_map_inval(struct vm_map *map, gpa_t start, gpa_t end)
{
    struct vm_map_ilock ilock;
    int error = -ENOENT;

    if (!vm_map_range_valid(start, end))
        return -EINVAL;
    VM_PROBE2(inval, start.value, end.value);
    vm_rwlock_read_lock(&map->lock);
    if (vm_map_entries_cover(map, start, end)) {
        vm_map_interlock(map, &ilock, start, end);
        error = pmap_remove_until(map->pmap, start, end, map->stop);
        vm_map_deinterlock(map, &ilock);
    }
    vm_rwlock_read_unlock(&map->lock);
    if (error == 0)
        vm_meter_add(&map->meter, v_inval, 1);
    return error;
}

/* --- Audit --------------------------------------------------------------- */

#define AUDIT(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "vm_map audit: %s: not true: %s\n", __func__, #condition); \
            abort();                                                                   \
        }                                                                              \
    } while (0)

static void
entry_audit(const struct vm_map_entry *entry)
{
    bool guard = (entry->eflags & MAP_ENTRY_NOFAULT) != 0;

    AUDIT(vm_map_range_valid(entry->start, entry->end));
    AUDIT((entry->protection & ~entry->max_protection) == 0);
    AUDIT(guard == (entry->object == NULL));
    AUDIT(guard || entry->maptype != VM_MAPTYPE_VPAGETABLE || entry->format != NULL);
    AUDIT(entry->growth == 0 || (entry->eflags & MAP_ENTRY_GROWDOWN) != 0);
    AUDIT(guard || entry->growth <= entry->offset);
    AUDIT((entry->eflags & MAP_ENTRY_USER_WIRED) == 0 || entry->wired_count != 0);
    AUDIT(entry->wired_count == 0 || !guard);
    AUDIT(advice_valid(entry->advice));
}

static void
ilocks_audit(struct vm_map *map)
{
    struct vm_map_ilock *a;

    vm_mutex_lock(&map->ilock_mutex);
    LIST_FOREACH (a, &map->ilocks, link) {
        for (struct vm_map_ilock *b = LIST_NEXT(a, link); b != NULL; b = LIST_NEXT(b, link))
            AUDIT(!a->held || !b->held || !ilocks_overlap(a, b));
    }
    vm_mutex_unlock(&map->ilock_mutex);
}

/* Every page of an entry with an object, and of its growth, lies in a window. */
static void
entry_windows_audit(const struct vm_map *map, const struct vm_map_entry *entry)
{
    gpa_t gpa = vm_map_entry_lowest(entry);
    gpa_t start, end;

    for (; entry->object != NULL && gpa.value < entry->end.value; gpa = end)
        AUDIT(pmap_window_next(map->pmap, gpa, &start, &end) && start.value <= gpa.value);
}

/* Nobody edits the map meanwhile. */
void
vm_map_audit(struct vm_map *map)
{
    const struct vm_map_entry *e;
    uint64_t end = 0;
    unsigned count = 0;

    vm_rwlock_read_lock(&map->lock);
    AUDIT(map->nentries == map->ranges.n && map->ranges.reserved == 0);
    TAILQ_FOREACH (e, &map->entries, link) {
        entry_audit(e);
        entry_windows_audit(map, e);
        AUDIT(vm_map_entry_lowest(e).value >= end);
        end = e->end.value;
        AUDIT(count < map->ranges.n && map->ranges.ranges[count].owner == e);
        AUDIT(map->ranges.ranges[count].end == end >> PAGE_SHIFT);
        count++;
    }
    AUDIT(count == map->nentries);
    ilocks_audit(map);
    vm_rwlock_read_unlock(&map->lock);
}
