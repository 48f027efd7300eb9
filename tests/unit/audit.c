/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See audit.h.  First all objects are found and given a record each, ordered by extent,
 * so that a page's object is found by its slot; then each structure is walked once.
 */
#include "tests/unit/audit.h"

#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/pmap_window.h"
#include "vmm/vpagetable/pv.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_pager.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUDIT(condition, ...)                                                          \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "engine audit: %s:%d: not true: %s: ", __func__, __LINE__, \
                    #condition);                                                       \
            fprintf(stderr, __VA_ARGS__);                                              \
            fputc('\n', stderr);                                                       \
            abort();                                                                   \
        }                                                                              \
    } while (0)

struct record {
    struct vm_object *object;
    const struct vm_map *map; /* whose entries refer to it; NULL = none */
    bool maps_many;           /* other maps' do too */
    bool written;             /* an entry may write to it, and no pager keeps what is written */
    unsigned references;      /* found */
    unsigned shadows;         /* found */
    uint32_t *wirings;        /* of each page, by entries; NULL = none */
};

struct auditor {
    const struct audit *audit;
    struct vm_system *sys;
    struct record *records;
    unsigned nrecords;
    unsigned capacity;
    uint64_t queued[PQ_COUNT];
    uint64_t resident;
    uint64_t wired;
    uint64_t mapped;
    uint64_t swapped;
};

/* --- Locks --------------------------------------------------------------- */

static void
audit_mutex(struct vm_mutex *m, const char *name)
{
    AUDIT(pthread_mutex_trylock(&m->mutex) == 0, "the lock is held: %s", name);
    pthread_mutex_unlock(&m->mutex);
}

static void
audit_rwlock(struct vm_rwlock *l, const char *name)
{
    for (unsigned i = 0; i < VM_PARTS; i++) {
        AUDIT(pthread_rwlock_trywrlock(&l->parts[i].rwlock) == 0, "the lock is held: %s", name);
        pthread_rwlock_unlock(&l->parts[i].rwlock);
    }
}

static void
audit_map_locks(struct vm_map *map)
{
    struct pmap *pmap = map->pmap;

    audit_mutex(&map->edit_lock, "E");
    audit_rwlock(&map->lock, "M");
    audit_mutex(&map->ilock_mutex, "I");
    audit_rwlock(&pmap->windows_lock, "W");
    for (unsigned i = 0; i < pmap->windows.n; i++) {
        for (uint64_t c = 0; c < pmap_window_at(pmap, i)->nchunks; c++) {
            struct pmap_chunk *chunk = atomic_load(&pmap_window_at(pmap, i)->chunks[c]);

            if (chunk != NULL)
                audit_mutex(&chunk->lock, "P");
        }
    }
}

/* All but those of objects, which are found with these free. */
static void
audit_engine_locks(const struct audit *audit)
{
    struct vm_system *sys = audit->sys;

    for (unsigned i = 0; i < audit->nmaps; i++)
        audit_map_locks(audit->maps[i]);
    audit_mutex(&sys->shadow_lock, "S");
    audit_mutex(&sys->extent_lock, "X");
    for (unsigned i = 0; i < PV_PARTS; i++)
        audit_mutex(&sys->pv_part[i].lock, "V");
    audit_rwlock(&sys->pmaps_lock, "L");
    audit_mutex(&sys->queue_lock, "Q");
    audit_mutex(&sys->budget.lock, "F");
}

/* --- Objects ------------------------------------------------------------- */

static struct record *
record_find(const struct auditor *a, const struct vm_object *object)
{
    for (unsigned i = 0; i < a->nrecords; i++) {
        if (a->records[i].object == object)
            return &a->records[i];
    }
    return NULL;
}

static struct record *
record_add(struct auditor *a, struct vm_object *object)
{
    if (a->nrecords == a->capacity) {
        a->capacity = a->capacity != 0 ? 2 * a->capacity : 64;
        a->records = reallocarray(a->records, a->capacity, sizeof(*a->records));
        AUDIT(a->records != NULL, "no memory for the audit");
    }
    a->records[a->nrecords] = (struct record){ .object = object };
    return &a->records[a->nrecords++];
}

/* Somebody refers to the object; so it, in turn, to its backing object, if it is new. */
static void
reference(struct auditor *a, struct vm_object *object, bool shadow)
{
    for (;;) {
        struct record *record = record_find(a, object);
        bool known = record != NULL;

        if (!known)
            record = record_add(a, object);
        record->references++;
        record->shadows += shadow;
        object = object->backing_object;
        shadow = true;
        if (known || object == NULL)
            return;
    }
}

/* What several maps map is written by none of them: a virtual copy looks for sharers in its own. */
static void
audit_sharing(const struct auditor *a, const struct vm_map *map, const struct vm_map_entry *entry)
{
    struct record *record = record_find(a, entry->object);

    record->maps_many = record->maps_many || (record->map != NULL && record->map != map);
    record->map = map;
    record->written = record->written || ((entry->max_protection & VM_PROT_WRITE) != 0 &&
                                          (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
                                          (entry->object->flags & OBJ_WRITEBACK) == 0);
    AUDIT(!record->maps_many || !record->written, "object %p is in two maps and written",
          (void *)entry->object);
}

/* NOLINTBEGIN(bugprone-macro-parentheses): e is declared here */
#define FOR_EACH_ENTRY(e, map)                                                            \
    for (struct vm_map_entry *e = vm_map_entry_search((map), gpa_from_u64(0)); e != NULL; \
         e = vm_map_entry_next(e, gpa_from_u64(PMAP_GPA_END)))
/* NOLINTEND(bugprone-macro-parentheses) */

/* What stopped calls left has its references still. */
static void
find_abandoned(struct auditor *a, const struct vm_map *map)
{
    const struct vm_map_entry *e;

    SLIST_FOREACH (e, &map->abandoned, picked) {
        if (e->object != NULL)
            reference(a, e->object, false);
    }
}

static void
find_objects(struct auditor *a)
{
    for (unsigned i = 0; i < a->audit->nmaps; i++) {
        FOR_EACH_ENTRY(e, a->audit->maps[i])
        {
            if (e->object == NULL)
                continue;
            reference(a, e->object, false);
            audit_sharing(a, a->audit->maps[i], e);
        }
        find_abandoned(a, a->audit->maps[i]);
    }
    for (unsigned i = 0; i < a->audit->nobjects; i++)
        reference(a, a->audit->objects[i], false);
}

static void
audit_links(struct auditor *a, const struct record *record)
{
    struct vm_object *object = record->object;
    struct vm_object *shadow;
    unsigned count = 0;

    AUDIT(object->sys == a->sys, "object of another system");
    AUDIT(object->ref_count == record->references, "object %p: %u counted, %u found",
          (void *)object, object->ref_count, record->references);
    AUDIT(object->shadow_count == record->shadows, "object %p: %u counted, %u found",
          (void *)object, object->shadow_count, record->shadows);
    LIST_FOREACH (shadow, &object->shadows, shadow_link) {
        AUDIT(shadow->backing_object == object, "list of shadows of %p", (void *)object);
        AUDIT(record_find(a, shadow) != NULL, "a shadow of %p that nobody refers to",
              (void *)object);
        count++;
    }
    AUDIT(count == record->shadows, "list of shadows: %u, found %u", count, record->shadows);
}

/* Has a call been stopped?  Then an object may be dead that still has pages. */
static bool
is_stopped(const struct auditor *a)
{
    bool stopped = false;

    for (unsigned i = 0; i < a->audit->nmaps; i++)
        stopped = stopped || vm_stopped(a->audit->maps[i]->stop);
    return stopped;
}

static void
audit_object(struct auditor *a, const struct record *record)
{
    struct vm_object *object = record->object;
    uint64_t words = (object->size + 63) / 64;
    uint64_t resident = 0;

    audit_links(a, record);
    AUDIT(object->paging_in_progress == 0, "object %p", (void *)object);
    AUDIT(object->freeing_count == 0, "object %p", (void *)object);
    AUDIT(object->scan_pins == 0, "object %p", (void *)object);
    AUDIT((object->flags & OBJ_DEAD) == 0 || is_stopped(a), "object %p", (void *)object);
    AUDIT(object->size != 0 && object->size <= a->sys->store_pages - object->extent,
          "extent outside the store");
    AUDIT((object->type == OBJT_SWAP) == (object->swap != NULL), "object %p", (void *)object);
    for (uint64_t i = 0; i < words; i++)
        resident += (unsigned)__builtin_popcountll(object->resident[i]);
    AUDIT(object->size % 64 == 0 || object->resident[words - 1] >> (object->size % 64) == 0,
          "bits beyond the object");
    AUDIT(resident == object->resident_count, "object %p: %" PRIu64 " counted, %" PRIu64 " found",
          (void *)object, object->resident_count, resident);
    a->resident += resident;
    if (object->type == OBJT_SWAP)
        a->swapped += swap_pager_count(object);
}

static int
record_compare(const void *left, const void *right)
{
    const struct record *a = left;
    const struct record *b = right;

    return (a->object->extent > b->object->extent) - (a->object->extent < b->object->extent);
}

/* Extents are powers of two and do not overlap.  Sorts the records. */
static void
audit_extents(struct auditor *a)
{
    uint64_t end = 0;

    if (a->nrecords == 0)
        return;
    qsort(a->records, a->nrecords, sizeof(*a->records), record_compare);
    for (unsigned i = 0; i < a->nrecords; i++) {
        const struct vm_object *object = a->records[i].object;

        AUDIT(object->extent >= end, "extents overlap at slot %" PRIu64, object->extent);
        end = object->extent + object->size;
    }
}

/* --- Chains -------------------------------------------------------------- */

static bool
pager_has(struct vm_object *object, vm_pindex_t pindex)
{
    bool has;

    vm_mutex_lock(&object->lock);
    has = object->type != OBJT_DEFAULT && object->pager->haspage(object, pindex, NULL, NULL);
    vm_mutex_unlock(&object->lock);
    return has;
}

static struct vm_page *
resident_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&object->lock);
    m = vm_page_lookup(object, pindex);
    vm_mutex_unlock(&object->lock);
    return m;
}

/* The resident page that shows at pindex; NULL if it is not resident, or nowhere. */
static struct vm_page *
showing_page(struct vm_object *object, vm_pindex_t pindex)
{
    for (; object != NULL; object = object->backing_object) {
        struct vm_page *m = pindex < object->size ? resident_page(object, pindex) : NULL;

        if (m != NULL)
            return m;
        if (pindex < object->size && pager_has(object, pindex))
            return NULL;
        pindex += object->backing_object_offset;
    }
    return NULL;
}

/* Does page m show in the object at any index? */
static bool
shows_somewhere(struct vm_object *object, struct vm_page *m)
{
    struct vm_object *first = object;
    uint64_t offset = 0;

    while (object != NULL && object != m->object) {
        offset += object->backing_object_offset;
        object = object->backing_object;
    }
    return object != NULL && vm_page_pindex(m) >= offset &&
           showing_page(first, vm_page_pindex(m) - offset) == m;
}

/* --- Entries ------------------------------------------------------------- */

static void
count_wirings(struct auditor *a, const struct vm_map_entry *entry, gpa_t end)
{
    struct record *record = record_find(a, entry->object);

    if (record->wirings == NULL)
        record->wirings = calloc(record->object->size, sizeof(*record->wirings));
    AUDIT(record->wirings != NULL, "no memory for the audit");
    for (uint64_t i = 0; i < vm_map_range_pages(entry->start, end); i++) {
        AUDIT(resident_page(entry->object, entry->offset + i) != NULL,
              "page %" PRIu64 " of the wired entry at %#" PRIx64, i, entry->start.value);
        record->wirings[entry->offset + i]++;
    }
}

static void
audit_entries(struct auditor *a, struct vm_map *map)
{
    const struct vm_map_entry *abandoned;

    FOR_EACH_ENTRY(e, map)
    {
        if (e->wired_count != 0)
            count_wirings(a, e, e->end);
    }
    SLIST_FOREACH (abandoned, &map->abandoned, picked) {
        if (abandoned->wired_end.value != abandoned->start.value)
            count_wirings(a, abandoned, abandoned->wired_end);
    }
    vm_map_audit(map);
    AUDIT(LIST_EMPTY(&map->ilocks) && map->ilock_waiters == 0, "an interlock at rest");
}

/* --- Pages and frames ---------------------------------------------------- */

static void
audit_free_slot(const struct auditor *a, uint64_t slot, const struct vm_page *m)
{
    AUDIT(m->object == NULL, "slot %" PRIu64 " has a page that no object knows", slot);
    AUDIT(atomic_load(&m->flags) == 0 && m->queue == PQ_NONE, "slot %" PRIu64, slot);
    AUDIT(m->hold_count == 0 && m->wire_count == 0, "slot %" PRIu64, slot);
    AUDIT(m->valid == 0 && atomic_load(&m->dirty) == 0, "slot %" PRIu64, slot);
    AUDIT(pv_none(m), "slot %" PRIu64 " is mapped", slot);
    if (a->audit->frames) {
        off_t offset = (off_t)((slot + (uint64_t)m->frame_delta) << PAGE_SHIFT);

        AUDIT(lseek(a->sys->memfd, offset, SEEK_DATA) != offset,
              "the frame of the free slot %" PRIu64 " is no hole", slot);
    }
}

static void
audit_page(struct auditor *a, const struct record *record, uint64_t slot, struct vm_page *m)
{
    const unsigned transient = VM_PAGE_BUSY | VM_PAGE_WANTED | VM_PAGE_FREEING | VM_PAGE_ZERO;
    vm_pindex_t pindex = slot - record->object->extent;
    uint32_t wirings = record->wirings != NULL ? record->wirings[pindex] : 0;

    AUDIT(m->object == record->object, "slot %" PRIu64 ": resident, but not in its page", slot);
    vm_page_assert_state(m);
    AUDIT(!vm_page_flag_test(m, transient), "slot %" PRIu64 ": flags %#x at rest", slot,
          atomic_load(&m->flags));
    AUDIT(m->hold_count == 0, "slot %" PRIu64 " is held at rest", slot);
    AUDIT(m->valid != 0, "slot %" PRIu64, slot);
    AUDIT(m->act_count <= ACT_MAX, "slot %" PRIu64, slot);
    AUDIT(m->wire_count == wirings, "slot %" PRIu64 ": %u counted, %u found", slot, m->wire_count,
          wirings);
    AUDIT((m->queue == PQ_NONE) == (m->wire_count != 0), "slot %" PRIu64 ": queue %u", slot,
          m->queue);
    a->queued[m->queue]++;
    a->wired += m->wire_count != 0;
    if (m->queue == PQ_CACHE) {
        AUDIT(atomic_load(&m->dirty) == 0, "slot %" PRIu64 " is dirty in the cache", slot);
        AUDIT(pv_none(m), "slot %" PRIu64 " is mapped", slot);
    }
}

/* Some slot that has another's frame in a ring with this one is in use. */
static void
audit_moved(const struct auditor *a, uint64_t slot)
{
    uint64_t next = slot;

    while (a->sys->pages[next].object == NULL) {
        next += (uint64_t)a->sys->pages[next].frame_delta;
        AUDIT(next != slot, "slot %" PRIu64 " could have its own frame", slot);
    }
}

/* Each frame belongs to one slot, and slots with another's frame are known. */
static void
audit_frame(const struct auditor *a, uint64_t slot, const struct vm_page *m, uint64_t *frames)
{
    uint64_t frame = slot + (uint64_t)m->frame_delta;
    uint64_t moved = atomic_load(&a->sys->moved[slot / 64]) >> (slot % 64) & 1;

    AUDIT(frame < a->sys->store_pages, "slot %" PRIu64 ": frame %" PRIu64, slot, frame);
    AUDIT((frames[frame / 64] >> (frame % 64) & 1) == 0,
          "frame %" PRIu64 " belongs to two slots, one is %" PRIu64, frame, slot);
    AUDIT(moved == (m->frame_delta != 0), "slot %" PRIu64, slot);
    if (moved != 0)
        audit_moved(a, slot);
    frames[frame / 64] |= (uint64_t)1 << (frame % 64);
}

static void
audit_pages(struct auditor *a)
{
    uint64_t *frames = calloc(a->sys->store_pages / 64 + 1, sizeof(*frames));
    uint64_t moved = 0;
    unsigned next = 0;

    AUDIT(frames != NULL, "no memory for the audit");
    for (uint64_t slot = 0; slot < a->sys->store_pages; slot++) {
        struct vm_page *m = &a->sys->pages[slot];
        const struct vm_object *object;

        while (next < a->nrecords &&
               a->records[next].object->extent + a->records[next].object->size <= slot)
            next++;
        object = next < a->nrecords ? a->records[next].object : NULL;
        audit_frame(a, slot, m, frames);
        moved += m->frame_delta != 0;
        if (object != NULL && slot >= object->extent &&
            (object->resident[(slot - object->extent) / 64] >> (slot - object->extent) % 64 & 1))
            audit_page(a, &a->records[next], slot, m);
        else
            audit_free_slot(a, slot, m);
    }
    free(frames);
    AUDIT(moved == atomic_load(&a->sys->moved_slots), "%" PRIu64 " found", moved);
}

static void
audit_queues(const struct auditor *a)
{
    struct vm_system *sys = a->sys;

    for (unsigned q = PQ_NONE + 1; q < PQ_COUNT; q++) {
        const struct vm_page *m;
        uint64_t length = 0;

        TAILQ_FOREACH (m, &sys->queues[q], pageq) {
            AUDIT(m->queue == q, "a page of queue %u says %u", q, m->queue);
            length++;
        }
        AUDIT(length == sys->queue_length[q], "queue %u: %" PRIu64 " counted, %" PRIu64 " found", q,
              sys->queue_length[q], length);
        AUDIT(length == a->queued[q], "queue %u: %" PRIu64 " pages, %" PRIu64 " say so", q, length,
              a->queued[q]);
    }
    AUDIT(sys->queue_length[PQ_HOLD] == 0, "a page is being freed");
}

/* --- Mappings ------------------------------------------------------------ */

static void
audit_mapping(const struct vm_map *map, gpa_t gpa, struct vm_page *m, bool write)
{
    const struct vm_map_entry *e = vm_map_entry_search(map, gpa);

    AUDIT(e != NULL && e->start.value <= gpa.value, "%#" PRIx64 " is mapped without an entry",
          gpa.value);
    AUDIT(e->object != NULL, "%#" PRIx64 " is mapped in a guard", gpa.value);
    AUDIT((e->protection & (VM_PROT_READ | VM_PROT_EXECUTE | VM_PROT_WRITE)) != 0,
          "%#" PRIx64 " is mapped, protection 0", gpa.value);
    if (e->maptype == VM_MAPTYPE_NORMAL)
        AUDIT(showing_page(e->object, e->offset + vm_map_range_pages(e->start, gpa)) == m,
              "%#" PRIx64 " maps another page than it shows", gpa.value);
    else
        AUDIT(shows_somewhere(e->object, m), "%#" PRIx64 " maps a page that its object hides",
              gpa.value);
    if (!write)
        return;
    assert(m != NULL);
    AUDIT((vm_map_entry_prot(e) & VM_PROT_WRITE) != 0, "%#" PRIx64 " is writable, its entry not",
          gpa.value);
    AUDIT(m->object == e->object, "%#" PRIx64 " allows writes to a backing object", gpa.value);
    AUDIT(vm_page_flag_test(m, VM_PAGE_WRITEABLE), "%#" PRIx64 " is writable unknown to its page",
          gpa.value);
    AUDIT(atomic_load(&m->dirty) != 0, "%#" PRIx64 " maps a clean page writable", gpa.value);
}

static uint64_t
audit_chunk(const struct vm_map *map, const struct pmap_chunk *chunk)
{
    unsigned count = 0;

    for (unsigned slot = 0; slot < chunk->npages; slot++) {
        pmap_pte_t pte = pte_load(chunk, slot);

        if (pte_prot(pte) == VM_PROT_NONE)
            continue;
        count++;
        if (vm_stopped(map->stop)) /* mappings may be left that a call was to drop */
            continue;
        audit_mapping(map, gpa_from_u64((chunk->page + slot) << PAGE_SHIFT),
                      pte_page(map->sys, pte), pte_prot(pte) == VM_PROT_RW);
    }
    AUDIT(count == chunk->nmapped, "chunk of page %#" PRIx64 ": %u counted, %u found", chunk->page,
          chunk->nmapped, count);
    return count;
}

/* A window goes with the last entry in it, or that may grow into it. */
static void
audit_window(const struct vm_map *map, const struct pmap_window *w)
{
    const struct vm_map_entry *e = vm_map_entry_search(map, w->start);
    uint64_t end = w->start.value + (w->npages << PAGE_SHIFT);

    AUDIT(vm_stopped(map->stop) || (e != NULL && vm_map_entry_lowest(e).value < end),
          "the window at %#" PRIx64 " has no entry", w->start.value);
}

static uint64_t
audit_mappings(const struct vm_map *map)
{
    struct pmap *pmap = map->pmap;
    uint64_t mapped = 0;

    for (unsigned i = 0; i < pmap->windows.n; i++) {
        const struct pmap_window *w = pmap_window_at(pmap, i);

        AUDIT(w->live, "a window is going away");
        audit_window(map, w);
        for (uint64_t c = 0; c < w->nchunks; c++) {
            const struct pmap_chunk *chunk = atomic_load(&w->chunks[c]);

            if (chunk != NULL)
                mapped += audit_chunk(map, chunk);
        }
    }
    AUDIT(mapped == pmap_mapped_pages(pmap), "%" PRIu64 " found", mapped);
    pmap_audit(pmap);
    return mapped;
}

/* --- Totals -------------------------------------------------------------- */

static void
audit_totals(const struct auditor *a)
{
    struct vm_system *sys = a->sys;
    uint64_t resident = vm_budget_resident(sys);
    uint64_t wired = atomic_load(&sys->wired_pages);

    AUDIT(resident == a->resident, "%" PRIu64 " counted, %" PRIu64 " found", resident, a->resident);
    AUDIT(resident <= sys->ram_budget, "%" PRIu64 " pages", resident);
    AUDIT(wired == a->wired, "%" PRIu64 " counted, %" PRIu64 " found", wired, a->wired);
    AUDIT(pv_count(sys) == a->mapped, "%" PRIu64 " reverse links, %" PRIu64 " mappings",
          pv_count(sys), a->mapped);
    AUDIT(sys->budget.first == NULL && atomic_load(&sys->budget.waiters) == 0,
          "somebody waits for memory");
    if (sys->swap != NULL)
        AUDIT(swap_device_used(sys->swap) == a->swapped + a->audit->swap_slots,
              "%" PRIu64 " slots in use, objects have %" PRIu64, swap_device_used(sys->swap),
              a->swapped);
}

static void
audit_meter(struct vm_map_meter *meter)
{
    uint64_t faults = vm_meter_get(meter, v_vm_faults);
    uint64_t good = vm_meter_get(meter, v_kind_resident) + vm_meter_get(meter, v_kind_zero_fill) +
                    vm_meter_get(meter, v_kind_page_in) + vm_meter_get(meter, v_kind_cow);
    uint64_t bad = vm_meter_get(meter, v_kind_failed) + vm_meter_get(meter, v_kind_host);

    AUDIT(faults == good + bad, "%" PRIu64 " faults", faults);
    AUDIT(vm_meter_get(meter, v_majflt) <= good, "%" PRIu64 " faults succeeded", good);
    AUDIT(vm_meter_get(meter, v_cow_optim) <= vm_meter_get(meter, v_cow_faults), "copies");
    AUDIT(vm_meter_get(meter, v_ozfod) <= vm_meter_get(meter, v_zfod), "zero-filled pages");
}

void
audit_engine(const struct audit *audit)
{
    struct auditor a = { .audit = audit, .sys = audit->sys };

    audit_engine_locks(audit);
    find_objects(&a);
    for (unsigned i = 0; i < a.nrecords; i++)
        audit_mutex(&a.records[i].object->lock, "an object's");
    for (unsigned i = 0; i < a.nrecords; i++)
        audit_object(&a, &a.records[i]);
    audit_extents(&a);
    for (unsigned i = 0; i < audit->nmaps; i++)
        audit_entries(&a, audit->maps[i]);
    audit_pages(&a);
    audit_queues(&a);
    for (unsigned i = 0; i < audit->nmaps; i++)
        a.mapped += audit_mappings(audit->maps[i]);
    audit_totals(&a);
    for (unsigned i = 0; i < audit->nmaps; i++)
        audit_meter(&audit->maps[i]->meter);
    for (unsigned i = 0; i < a.nrecords; i++)
        free(a.records[i].wirings);
    free(a.records);
}
