/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries: finding, clipping and merging, shadowing and growing, windows.
 */
#include "vmm/vpagetable/vm_map_entry.h"

#include <errno.h>
#include <stdlib.h>

/* An entry grows by at least so many pages (seed's relatives: 128 KiB). */
#define GROW_PAGES 32

/* Pages unwired without letting others to the object, or a look at the stop flag. */
#define UNWIRE_PAGES 512

/* A window is rebased only if at most this part of it is mapped: that is lost. */
#define REBASE_PART 8

bool
vm_map_range_valid(gpa_t start, gpa_t end)
{
    return ((start.value | end.value) & PAGE_MASK) == 0 && start.value < end.value &&
           end.value <= PMAP_GPA_END;
}

/* --- Finding ------------------------------------------------------------- */

struct vm_map_entry *
vm_map_entry_search(const struct vm_map *map, gpa_t gpa)
{
    return vm_ranges_after(&map->ranges, gpa.value >> PAGE_SHIFT);
}

struct vm_map_entry *
vm_map_entry_next(struct vm_map_entry *entry, gpa_t end)
{
    entry = TAILQ_NEXT(entry, link);
    return entry != NULL && entry->start.value < end.value ? entry : NULL;
}

struct vm_map_entry *
vm_map_entry_first(const struct vm_map *map, gpa_t start, gpa_t end)
{
    struct vm_map_entry *entry = vm_map_entry_search(map, start);

    return entry != NULL && entry->start.value < end.value ? entry : NULL;
}

bool
vm_map_entries_cover(const struct vm_map *map, gpa_t start, gpa_t end)
{
    uint64_t covered = start.value;

    for (struct vm_map_entry *e = vm_map_entry_search(map, start);
         e != NULL && e->start.value <= covered && covered < end.value;
         e = vm_map_entry_next(e, end))
        covered = e->end.value;
    return covered >= end.value;
}

bool
vm_map_range_free(const struct vm_map *map, gpa_t start, gpa_t end)
{
    const struct vm_map_entry *after = vm_map_entry_search(map, start);

    return after == NULL || vm_map_entry_lowest(after).value >= end.value;
}

/* The NORMAL entry around gpa that keeps its object, or NULL. */
static const struct vm_map_entry *
entry_settled(const struct vm_map *map, gpa_t gpa)
{
    const struct vm_map_entry *entry = vm_map_entry_search(map, gpa);

    if (entry == NULL || gpa.value < entry->start.value || entry->object == NULL ||
        entry->maptype != VM_MAPTYPE_NORMAL || (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        return NULL;
    return entry;
}

bool
vm_map_shows_same(struct vm_map *map, gpa_t a, gpa_t b)
{
    const struct vm_map_entry *x, *y;
    bool same;

    vm_rwlock_read_lock(&map->lock);
    x = entry_settled(map, a);
    y = entry_settled(map, b);
    same =
        x != NULL && y != NULL && x->object == y->object &&
        x->offset + vm_map_range_pages(x->start, a) == y->offset + vm_map_range_pages(y->start, b);
    vm_rwlock_read_unlock(&map->lock);
    return same;
}

/* --- Clipping and merging ------------------------------------------------ */

int
vm_map_entry_reserve(struct vm_map *map)
{
    return vm_ranges_reserve(&map->ranges);
}

void
vm_map_entry_unreserve(struct vm_map *map)
{
    vm_ranges_unreserve(&map->ranges);
}

void
vm_map_entry_link(struct vm_map *map, struct vm_map_entry *entry)
{
    unsigned i = vm_ranges_search(&map->ranges, entry->start.value >> PAGE_SHIFT);

    if (i < map->ranges.n)
        TAILQ_INSERT_BEFORE((struct vm_map_entry *)map->ranges.ranges[i].owner, entry, link);
    else
        TAILQ_INSERT_TAIL(&map->entries, entry, link);
    vm_ranges_insert(&map->ranges, i, entry->end.value >> PAGE_SHIFT, entry);
    map->nentries++;
}

static unsigned
entry_index(const struct vm_map *map, const struct vm_map_entry *entry) VM_REQUIRES(map->lock)
{
    unsigned i = vm_ranges_search(&map->ranges, entry->start.value >> PAGE_SHIFT);

    assert(i < map->ranges.n && map->ranges.ranges[i].owner == entry);
    return i;
}

void
vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry)
{
    vm_ranges_remove(&map->ranges, entry_index(map, entry));
    TAILQ_REMOVE(&map->entries, entry, link);
    map->nentries--;
}

/* Between it and `end` is nothing. */
static void
entry_set_end(struct vm_map *map, struct vm_map_entry *entry, gpa_t end) VM_REQUIRES(map->lock)
{
    map->ranges.ranges[entry_index(map, entry)].end = end.value >> PAGE_SHIFT;
    entry->end = end;
}

/*
 * A second entry like this one, with a reference and a reservation of its own, not linked;
 * NULL = no memory.
 */
static struct vm_map_entry *
entry_clone(struct vm_map *map, const struct vm_map_entry *entry) VM_REQUIRES(map->lock)
{
    struct vm_map_entry *clone;

    if (vm_map_entry_reserve(map) != 0)
        return NULL;
    clone = malloc(sizeof(*clone));
    if (clone == NULL) {
        vm_map_entry_unreserve(map);
        return NULL;
    }
    *clone = *entry;
    if (clone->object != NULL)
        vm_object_ref(clone->object);
    return clone;
}

/*
 * Is b the continuation of a?  Never, if both are walked and still need a copy: they may
 * be copies that are to differ.
 */
static bool
entries_mergeable(const struct vm_map_entry *a, const struct vm_map_entry *b)
{
    if (a->end.value != b->start.value || a->object != b->object || a->maptype != b->maptype ||
        a->protection != b->protection || a->max_protection != b->max_protection ||
        a->advice != b->advice || a->eflags != b->eflags || a->wired_count != b->wired_count)
        return false;
    if (a->object != NULL && a->offset + vm_map_entry_pages(a) != b->offset)
        return false;
    return a->maptype == VM_MAPTYPE_NORMAL ||
           ((a->eflags & MAP_ENTRY_NEEDS_COPY) == 0 && a->format == b->format &&
            atomic_load(&a->root) == atomic_load(&b->root));
}

/* Merge what is alike in [start, end) and at its borders; entries that are left over are picked. */
static void
map_simplify(struct vm_map *map, gpa_t start, gpa_t end, struct vm_map_picked *dead)
    VM_REQUIRES(map->lock)
{
    gpa_t before = gpa_from_u64(start.value - (start.value != 0 ? PAGE_SIZE : 0));
    gpa_t after = gpa_add(end, PAGE_SIZE);
    struct vm_map_entry *entry = vm_map_entry_first(map, before, after);

    while (entry != NULL) {
        struct vm_map_entry *next = vm_map_entry_next(entry, after);

        if (next == NULL || !entries_mergeable(entry, next)) {
            entry = next;
            continue;
        }
        vm_map_entry_unlink(map, next);
        entry_set_end(map, entry, next->end);
        next->wired_end = next->start;
        SLIST_INSERT_HEAD(dead, next, picked);
    }
}

/* --- Shadowing and growing ----------------------------------------------- */

/* Has nobody but its entry to do with the object, now and ever? */
static bool
object_is_private(struct vm_object *object)
{
    bool private;

    vm_mutex_lock(&object->lock);
    private = object->ref_count == 1 && object->type != OBJT_FILE;
    vm_mutex_unlock(&object->lock);
    return private;
}

static uint64_t
object_size(struct vm_object *object)
{
    uint64_t size;

    vm_mutex_lock(&object->lock);
    size = object->size;
    vm_mutex_unlock(&object->lock);
    return size;
}

/* The entry's pages have other frames: so may its window.  Failing costs only speed. */
static void
entry_rebase(const struct vm_map *map, const struct vm_map_entry *entry)
{
    gpa_t lowest = vm_map_entry_lowest(entry);
    gpa_t start, end;

    if (!pmap_window_next(map->pmap, lowest, &start, &end) || start.value != lowest.value ||
        end.value != entry->end.value)
        return;
    if (pmap_window_mapped(map->pmap, start) <= vm_map_range_pages(start, end) / REBASE_PART)
        (void)!pmap_window_rebase(map->pmap, start, entry->object->extent);
}

int
vm_map_entry_shadow(struct vm_map *map, struct vm_map_entry *entry)
{
    struct vm_object *object = entry->object;
    bool normal = entry->maptype == VM_MAPTYPE_NORMAL;
    vm_pindex_t offset = normal ? entry->offset - entry->growth : 0;
    int error;

    if (!object_is_private(object)) {
        error = vm_object_shadow(&object, &offset,
                                 normal ? vm_map_entry_pages(entry) + entry->growth
                                        : object_size(object));
        if (error != 0)
            return error;
        entry->object = object;
        if (normal) {
            entry->offset = entry->growth;
            entry_rebase(map, entry);
        }
    }
    entry->eflags &= ~(unsigned)MAP_ENTRY_NEEDS_COPY;
    return 0;
}

/*
 * Split the entry around gpa there.  The walk of a VPAGETABLE entry may lead anywhere in
 * its object: should its halves shadow that each for itself, they would no longer see the
 * same memory.  So the whole entry is shadowed first.
 */
static int
clip_at(struct vm_map *map, gpa_t gpa) VM_REQUIRES(map->lock)
{
    struct vm_map_entry *entry = vm_map_entry_search(map, gpa);
    struct vm_map_entry *upper;
    int error;

    if (entry == NULL || entry->start.value >= gpa.value)
        return 0;
    if (entry->maptype == VM_MAPTYPE_VPAGETABLE && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0) {
        error = vm_map_entry_shadow(map, entry);
        if (error != 0)
            return error;
    }
    upper = entry_clone(map, entry);
    if (upper == NULL)
        return -ENOMEM;
    upper->start = gpa;
    upper->growth = 0;
    if (upper->object != NULL)
        upper->offset += vm_map_range_pages(entry->start, gpa);
    entry_set_end(map, entry, gpa);
    vm_map_entry_link(map, upper);
    return 0;
}

int
vm_map_clip(struct vm_map *map, gpa_t start, gpa_t end)
{
    int error = clip_at(map, start);

    return error != 0 ? error : clip_at(map, end);
}

static void
entry_extend(struct vm_map_entry *entry, uint64_t npages)
{
    entry->start.value -= npages << PAGE_SHIFT;
    entry->offset -= npages;
    entry->growth -= npages;
}

/* What wired pages are must not change: the new ones get an entry below. */
static int
grow_below(struct vm_map *map, struct vm_map_entry *entry, uint64_t npages) VM_REQUIRES(map->lock)
{
    struct vm_map_entry *below = entry_clone(map, entry);

    if (below == NULL)
        return -ENOMEM;
    below->wired_count = 0;
    below->eflags &= ~(unsigned)MAP_ENTRY_USER_WIRED;
    below->end = entry->start;
    entry->growth = 0;
    entry_extend(below, npages);
    vm_map_entry_link(map, below);
    return 0;
}

int
vm_map_entry_grow(struct vm_map *map, struct vm_map_entry *entry, gpa_t gpa)
{
    uint64_t npages = vm_map_range_pages(gpa_trunc_page(gpa), entry->start);

    if (npages < GROW_PAGES)
        npages = GROW_PAGES;
    if (npages > entry->growth - 1)
        npages = entry->growth - 1;
    if (entry->wired_count != 0) {
        int error = grow_below(map, entry, npages);

        if (error != 0)
            return error;
    } else {
        entry_extend(entry, npages);
    }
    return 0;
}

/* --- Edits --------------------------------------------------------------- */

void
vm_map_edit_begin(struct vm_map *map)
{
    vm_mutex_lock(&map->edit_lock);
    vm_rwlock_write_lock(&map->lock);
}

bool
vm_map_entry_unwire(struct vm_map_entry *entry, const _Atomic bool *stop)
{
    uint64_t left = vm_map_range_pages(entry->start, entry->wired_end);

    while (left != 0 && !vm_stopped(stop)) {
        uint64_t n = vm_min(left, UNWIRE_PAGES);

        left -= n;
        vm_object_unwire(entry->object, entry->offset + left, entry->offset + left + n);
        entry->wired_end = gpa_add(entry->start, left << PAGE_SHIFT);
    }
    return left == 0;
}

/* What is left of the picked entries goes with the map. */
static void
entries_abandon(struct vm_map *map, struct vm_map_picked *picked)
{
    struct vm_map_entry *entry;

    vm_rwlock_write_lock(&map->lock);
    while ((entry = SLIST_FIRST(picked)) != NULL) {
        SLIST_REMOVE_HEAD(picked, picked);
        SLIST_INSERT_HEAD(&map->abandoned, entry, picked);
    }
    vm_rwlock_write_unlock(&map->lock);
}

void
vm_map_entries_destroy(struct vm_map *map, struct vm_map_picked *picked)
{
    struct vm_map_entry *entry;

    while ((entry = SLIST_FIRST(picked)) != NULL && !vm_stopped(map->stop)) {
        assert(entry->wired_end.value == entry->start.value);
        if (entry->object != NULL)
            entry->object = vm_object_unref_until(entry->object, map->stop);
        if (entry->object != NULL)
            break;
        SLIST_REMOVE_HEAD(picked, picked);
        free(entry);
    }
    if (!SLIST_EMPTY(picked))
        entries_abandon(map, picked);
}

int
vm_map_edit_end(struct vm_map *map, gpa_t start, gpa_t end, int error)
{
    struct vm_map_picked dead = SLIST_HEAD_INITIALIZER(dead);

    map_simplify(map, start, end, &dead);
    vm_rwlock_write_unlock(&map->lock);
    vm_mutex_unlock(&map->edit_lock);
    vm_map_entries_destroy(map, &dead);
    return error;
}

/* --- Windows ------------------------------------------------------------- */

int
vm_map_windows_add(struct vm_map *map, gpa_t start, gpa_t end, vm_frame_t natural)
{
    gpa_t gpa = start;
    gpa_t next, next_end;
    int error;

    for (; gpa.value < end.value; gpa = next_end) {
        if (!pmap_window_next(map->pmap, gpa, &next, &next_end) || next.value >= end.value)
            next = next_end = end;
        if (next.value <= gpa.value)
            continue;
        error =
            pmap_window_add(map->pmap, gpa, vm_map_range_pages(gpa, next),
                            natural == PMAP_OWN_NATURAL ? natural
                                                        : natural + vm_map_range_pages(start, gpa));
        if (error != 0) {
            vm_map_windows_trim(map, start, end);
            return error;
        }
    }
    return 0;
}

void
vm_map_windows_trim(struct vm_map *map, gpa_t start, gpa_t end)
{
    gpa_t gpa = start;
    gpa_t next, next_end;
    bool empty;

    for (; pmap_window_next(map->pmap, gpa, &next, &next_end); gpa = next_end) {
        if (next.value >= end.value)
            break;
        vm_rwlock_read_lock(&map->lock);
        empty = vm_map_range_free(map, next, next_end);
        vm_rwlock_read_unlock(&map->lock);
        if (empty) {
            int error = pmap_window_remove(map->pmap, next);

            assert(error == 0);
            (void)error;
        }
    }
}
