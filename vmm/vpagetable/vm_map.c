/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map: entries in a tree by address, their edits, lookup, and the range
 * interlock with what uses it, SETMAP and INVAL.
 *
 * Every edit has the same shape: E; check everything; then change, which cannot
 * fail, with M held exclusively.  A window is added before its entry appears and
 * removed after its entry is gone, both with E only (see vm_map.h).
 */
#include "vmm/vpagetable/vm_map.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

SLIST_HEAD(vm_map_removed, vm_map_entry);

static int
vm_map_entry_compare(const struct vm_map_entry *a, const struct vm_map_entry *b)
{
    return (a->start.value > b->start.value) - (a->start.value < b->start.value);
}

RB_GENERATE_INTERNAL(vm_map_tree, vm_map_entry, link, vm_map_entry_compare,
                     __attribute__((unused)) static)

/* Whole pages, not empty, within what can be mapped. */
static bool
range_valid(gpa_t start, gpa_t end)
{
    return ((start.value | end.value) & PAGE_MASK) == 0 && start.value < end.value &&
           end.value <= PMAP_GPA_END;
}

static uint64_t
range_pages(gpa_t start, gpa_t end)
{
    return (end.value - start.value) >> PAGE_SHIFT;
}

/* The first entry that ends after gpa: the one around it, or the next, or NULL. */
static struct vm_map_entry *
entry_search(const struct vm_map *map, gpa_t gpa)
{
    struct vm_map_entry *entry = RB_ROOT(&map->entries);
    struct vm_map_entry *found = NULL;

    while (entry != NULL) {
        if (entry->end.value > gpa.value) {
            found = entry;
            entry = RB_LEFT(entry, link);
        } else {
            entry = RB_RIGHT(entry, link);
        }
    }
    return found;
}

/* The entry after this one if it begins before end, else NULL. */
static struct vm_map_entry *
entry_next(struct vm_map_entry *entry, gpa_t end)
{
    entry = RB_NEXT(vm_map_tree, , entry);
    return entry != NULL && entry->start.value < end.value ? entry : NULL;
}

/*
 * The first of the entries that overlap [start, end), all of which must lie inside.
 * Returns 0; -ENOENT when there is none, -EINVAL when one sticks out.
 */
static int
entries_inside(const struct vm_map *map, gpa_t start, gpa_t end, struct vm_map_entry **firstp)
{
    struct vm_map_entry *first = entry_search(map, start);

    if (first == NULL || first->start.value >= end.value)
        return -ENOENT;
    if (first->start.value < start.value)
        return -EINVAL;
    for (struct vm_map_entry *e = first; e != NULL; e = entry_next(e, end)) {
        if (e->end.value > end.value)
            return -EINVAL;
    }
    *firstp = first;
    return 0;
}

/* Do entries cover [start, end) without a gap?  They may stick out. */
static bool
entries_cover(const struct vm_map *map, gpa_t start, gpa_t end)
{
    uint64_t covered = start.value;

    for (struct vm_map_entry *e = entry_search(map, start);
         e != NULL && e->start.value <= covered && covered < end.value; e = entry_next(e, end))
        covered = e->end.value;
    return covered >= end.value;
}

void
vm_map_init(struct vm_map *map, struct vm_system *sys, struct pmap *pmap)
{
    *map = (struct vm_map){ .sys = sys, .pmap = pmap };
    vm_mutex_init(&map->edit_lock);
    vm_rwlock_init(&map->lock);
    RB_INIT(&map->entries);
    vm_mutex_init(&map->ilock_mutex);
    vm_cond_init(&map->ilock_cond);
    LIST_INIT(&map->ilocks);
}

/* ---- Insert. ---- */

static bool
insert_object_valid(const struct vm_map_insert *args)
{
    uint64_t npages = range_pages(args->start, args->end);
    struct vm_object *object = args->object;
    uint64_t size;

    if ((args->eflags & MAP_ENTRY_NOFAULT) != 0)
        return object == NULL;
    if (object == NULL)
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
    return range_valid(args->start, args->end) && (args->protection & ~args->max_protection) == 0 &&
           insert_object_valid(args);
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
    };
    return entry;
}

static int
entry_window_add(const struct vm_map *map, const struct vm_map_entry *entry)
{
    vm_frame_t natural = PMAP_NO_NATURAL;

    if (entry->object == NULL)
        return 0;
    if (entry->maptype == VM_MAPTYPE_NORMAL)
        natural = entry->object->extent + entry->offset;
    return pmap_window_add(map->pmap, entry->start, range_pages(entry->start, entry->end), natural);
}

static int
insert_locked(struct vm_map *map, struct vm_map_entry *entry) VM_REQUIRES(map->edit_lock)
{
    const struct vm_map_entry *after = entry_search(map, entry->start);
    int error;

    if (after != NULL && after->start.value < entry->end.value)
        return -EEXIST;
    error = entry_window_add(map, entry);
    if (error != 0)
        return error;
    vm_rwlock_write_lock(&map->lock);
    RB_INSERT(vm_map_tree, &map->entries, entry);
    map->nentries++;
    map->timestamp++;
    vm_rwlock_write_unlock(&map->lock);
    return 0;
}

int
vm_map_insert(struct vm_map *map, const struct vm_map_insert *args)
{
    struct vm_map_entry *entry;
    int error;

    if (!insert_valid(args))
        return -EINVAL;
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

/* ---- Remove. ---- */

/* Move the entries from `first` to `end` out of the tree.  From then on no fault enters a page. */
static void
entries_unlink(struct vm_map *map, struct vm_map_entry *first, gpa_t end,
               struct vm_map_removed *removed) VM_REQUIRES(map->edit_lock)
{
    struct vm_map_entry *next;

    vm_rwlock_write_lock(&map->lock);
    for (struct vm_map_entry *e = first; e != NULL; e = next) {
        next = entry_next(e, end);
        RB_REMOVE(vm_map_tree, &map->entries, e);
        map->nentries--;
        SLIST_INSERT_HEAD(removed, e, removed);
    }
    map->timestamp++;
    vm_rwlock_write_unlock(&map->lock);
}

static void
entries_window_remove(const struct vm_map *map, const struct vm_map_removed *removed)
{
    const struct vm_map_entry *entry;

    SLIST_FOREACH (entry, removed, removed) {
        if (entry->object != NULL) {
            int error = pmap_window_remove(map->pmap, entry->start);

            assert(error == 0);
            (void)error;
        }
    }
}

static void
entries_destroy(struct vm_map_removed *removed)
{
    struct vm_map_entry *entry;

    while ((entry = SLIST_FIRST(removed)) != NULL) {
        SLIST_REMOVE_HEAD(removed, removed);
        if (entry->object != NULL)
            vm_object_unref(entry->object);
        free(entry);
    }
}

int
vm_map_remove(struct vm_map *map, gpa_t start, gpa_t end)
{
    struct vm_map_removed removed = SLIST_HEAD_INITIALIZER(removed);
    struct vm_map_entry *first;
    int error;

    if (!range_valid(start, end))
        return -EINVAL;
    vm_mutex_lock(&map->edit_lock);
    error = entries_inside(map, start, end, &first);
    if (error == 0) {
        entries_unlink(map, first, end, &removed);
        entries_window_remove(map, &removed);
    }
    vm_mutex_unlock(&map->edit_lock);
    entries_destroy(&removed);
    return error;
}

void
vm_map_fini(struct vm_map *map)
{
    int error = vm_map_remove(map, gpa_from_u64(0), gpa_from_u64(PMAP_GPA_END));

    assert(error == 0 || error == -ENOENT);
    (void)error;
    assert(LIST_EMPTY(&map->ilocks));
    vm_cond_fini(&map->ilock_cond);
    vm_mutex_fini(&map->ilock_mutex);
    vm_rwlock_fini(&map->lock);
    vm_mutex_fini(&map->edit_lock);
}

/* ---- Protect, advise. ---- */

/*
 * Change an entry's protection and take from its mappings what is now forbidden.
 * READ and EXECUTE look the same in a mapping, so losing either drops it: the next
 * access is checked afresh.
 */
static void
entry_protect(const struct vm_map *map, struct vm_map_entry *entry, vm_prot_t prot)
{
    vm_prot_t lost = (vm_prot_t)(entry->protection & ~prot);

    entry->protection = prot;
    if ((lost & (VM_PROT_READ | VM_PROT_EXECUTE)) != 0)
        pmap_remove(map->pmap, entry->start, entry->end);
    else if ((lost & VM_PROT_WRITE) != 0)
        pmap_write_protect(map->pmap, entry->start, entry->end);
}

static int
protect_check(const struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot,
              struct vm_map_entry **firstp)
{
    if (!entries_cover(map, start, end) || entries_inside(map, start, end, firstp) != 0)
        return -EINVAL;
    for (struct vm_map_entry *e = *firstp; e != NULL; e = entry_next(e, end)) {
        if ((prot & ~e->max_protection) != 0)
            return -EACCES;
    }
    return 0;
}

int
vm_map_protect(struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot)
{
    struct vm_map_entry *first;
    int error;

    if (!range_valid(start, end))
        return -EINVAL;
    vm_mutex_lock(&map->edit_lock);
    error = protect_check(map, start, end, prot, &first);
    if (error == 0) {
        vm_rwlock_write_lock(&map->lock);
        for (struct vm_map_entry *e = first; e != NULL; e = entry_next(e, end))
            entry_protect(map, e, prot);
        map->timestamp++;
        vm_rwlock_write_unlock(&map->lock);
    }
    vm_mutex_unlock(&map->edit_lock);
    return error;
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
    struct vm_map_entry *first;
    int error;

    if (!range_valid(start, end) || !advice_valid(advice))
        return -EINVAL;
    vm_mutex_lock(&map->edit_lock);
    error = entries_inside(map, start, end, &first);
    if (error == 0) {
        vm_rwlock_write_lock(&map->lock);
        for (struct vm_map_entry *e = first; e != NULL; e = entry_next(e, end))
            e->advice = advice;
        map->timestamp++;
        vm_rwlock_write_unlock(&map->lock);
    }
    vm_mutex_unlock(&map->edit_lock);
    return error;
}

/* ---- Lookup. ---- */

/* May the entry serve the access?  Fills *out if so. */
static enum vm_result
lookup_entry(struct vm_map_entry *entry, gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
{
    if (entry == NULL || gpa.value < entry->start.value)
        return VM_INVALID_ADDRESS;
    if ((entry->eflags & MAP_ENTRY_NOFAULT) != 0)
        return VM_NOFAULT;
    out->prot = entry->protection;
    if ((access & ~entry->protection) != 0)
        return VM_PROTECTION;
    if (entry->maptype == VM_MAPTYPE_VPAGETABLE)
        access |= entry->protection & VM_PROT_WRITE;
    *out = (struct vm_map_lookup){
        .entry = entry,
        .object = entry->object,
        .pindex = entry->offset + range_pages(entry->start, gpa),
        .access = access,
        .prot = entry->protection,
        .wired = entry->wired_count != 0,
    };
    return VM_OK;
}

/* M stays locked on VM_OK only, which lock analysis cannot express. */
enum vm_result
vm_map_lookup(struct vm_map *map, gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
    VM_NO_LOCK_ANALYSIS
{
    enum vm_result result;

    vm_rwlock_read_lock(&map->lock);
    result = lookup_entry(entry_search(map, gpa), gpa, access, out);
    if (result == VM_OK)
        out->timestamp = map->timestamp;
    else
        vm_rwlock_read_unlock(&map->lock);
    return result;
}

void
vm_map_lookup_done(struct vm_map *map) VM_NO_LOCK_ANALYSIS
{
    vm_rwlock_read_unlock(&map->lock);
}

/* ---- The range interlock. ---- */

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

/* ---- SETMAP and INVAL. ---- */

/* The VPAGETABLE entry that is exactly [start, end).  Returns 0, -ENOENT or -EINVAL. */
static int
setmap_entry(const struct vm_map *map, gpa_t start, gpa_t end, struct vm_map_entry **entryp)
{
    struct vm_map_entry *entry = entry_search(map, start);

    if (entry == NULL || entry->start.value > start.value)
        return -ENOENT;
    if (entry->start.value != start.value || entry->end.value != end.value ||
        entry->maptype != VM_MAPTYPE_VPAGETABLE)
        return -EINVAL;
    *entryp = entry;
    return 0;
}

int
vm_map_setmap(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root)
{
    struct vm_map_ilock ilock;
    struct vm_map_entry *entry;
    int error;

    if (!range_valid(start, end))
        return -EINVAL;
    vm_rwlock_read_lock(&map->lock);
    error = setmap_entry(map, start, end, &entry);
    if (error == 0) {
        vm_map_interlock(map, &ilock, start, end);
        atomic_store(&entry->root, root);
        pmap_remove(map->pmap, start, end);
        vm_map_deinterlock(map, &ilock);
        vm_meter_add(map->sys, v_setmap, 1);
    }
    vm_rwlock_read_unlock(&map->lock);
    return error;
}

int
vm_map_inval(struct vm_map *map, gpa_t start, gpa_t end)
{
    struct vm_map_ilock ilock;
    int error = -ENOENT;

    if (!range_valid(start, end))
        return -EINVAL;
    vm_rwlock_read_lock(&map->lock);
    if (entries_cover(map, start, end)) {
        vm_map_interlock(map, &ilock, start, end);
        pmap_remove(map->pmap, start, end);
        vm_map_deinterlock(map, &ilock);
        vm_meter_add(map->sys, v_inval, 1);
        error = 0;
    }
    vm_rwlock_read_unlock(&map->lock);
    return error;
}

/* ---- Audit. ---- */

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

    AUDIT(range_valid(entry->start, entry->end));
    AUDIT((entry->protection & ~entry->max_protection) == 0);
    AUDIT(guard == (entry->object == NULL));
    AUDIT(guard || entry->maptype != VM_MAPTYPE_VPAGETABLE || entry->format != NULL);
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

void
vm_map_audit(struct vm_map *map)
{
    struct vm_map_entry *entry;
    uint64_t end = 0;
    unsigned count = 0;

    vm_rwlock_read_lock(&map->lock);
    RB_FOREACH (entry, vm_map_tree, &map->entries) {
        entry_audit(entry);
        AUDIT(entry->start.value >= end);
        end = entry->end.value;
        count++;
    }
    AUDIT(count == map->nentries);
    ilocks_audit(map);
    vm_rwlock_read_unlock(&map->lock);
}
