/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Discarding pages; see vm_discard.h.
 *
 * M is held from the look at the entry until its pages are gone, so that none is wired, copied or
 * protected meanwhile.  O is dropped while mappings go, with the pages busy: whoever touches one then
 * waits for it and starts over.  Other pages may come in the meantime, so only pages that follow
 * each other are freed together (vm_page_free_run).
 */
#include "vmm/vpagetable/vm_discard.h"

#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_stop.h"

/* What is looked at without letting go of M: a chunk, by whose frames superpages are made too. */
#define PORTION_SIZE ((uint64_t)PMAP_CHUNK_PAGES << PAGE_SHIFT)

/* Pages of an object, and those of them that go. */
struct discard {
    struct vm_object *object;
    vm_pindex_t start;
    vm_pindex_t end;
    unsigned count;
    struct vm_page *pages[PMAP_CHUNK_PAGES]; /* busy, ascending */
};

static bool
entry_gives(const struct vm_map_entry *entry)
{
    return entry->object != NULL && entry->maptype == VM_MAPTYPE_NORMAL &&
           (entry->protection & VM_PROT_WRITE) != 0 && (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0;
}

/* Does a page that is nowhere read as zeros, and to nobody else? */
static bool
object_gives(const struct vm_object *object) VM_REQUIRES(object->lock)
{
    return object->type != OBJT_FILE && (object->flags & (OBJ_DEAD | OBJ_WRITEBACK)) == 0 &&
           object->backing_object == NULL && object->shadow_count == 0;
}

static bool
page_goes(const struct vm_page *m)
{
    return m->hold_count == 0 && m->wire_count == 0;
}

static void
collect(struct discard *discard) VM_REQUIRES(discard->object->lock)
{
    vm_pindex_t pindex = vm_object_next_resident(discard->object, discard->start);

    for (; pindex < discard->end; pindex = vm_object_next_resident(discard->object, pindex + 1)) {
        struct vm_page *m = vm_page_lookup(discard->object, pindex);

        if (vm_page_flag_test(m, VM_PAGE_BUSY) || !page_goes(m))
            continue;
        vm_page_busy(m);
        discard->pages[discard->count++] = m;
    }
}

/* How many from the i-th on follow each other and go. */
static unsigned
goes_run(const struct discard *discard, unsigned i)
{
    struct vm_page *const *m = discard->pages + i;
    unsigned run = 0;

    while (i + run < discard->count && m[run] == m[0] + run && page_goes(m[run]))
        run++;
    return run;
}

/* Free those that nobody began to hold while they were unmapped.  Returns how many. */
static unsigned
free_pages(const struct discard *discard) VM_REQUIRES(discard->object->lock)
{
    unsigned freed = 0, run;

    for (unsigned i = 0; i < discard->count; i += run != 0 ? run : 1) {
        run = goes_run(discard, i);
        if (run == 0)
            vm_page_wakeup(discard->pages[i]);
        else
            vm_page_free_run(discard->pages + i, run);
        freed += run;
    }
    return freed;
}

/* What swap has of pages that are not resident is of no use. */
static void
free_swap(const struct discard *discard) VM_REQUIRES(discard->object->lock)
{
    vm_pindex_t start = discard->start, next;

    for (; start < discard->end; start = next + 1) {
        next = vm_min(vm_object_next_resident(discard->object, start), discard->end);
        if (next != start)
            vm_pager_freespace(discard->object, start, next - start);
    }
}

static unsigned
discard_pages(struct discard *discard)
{
    unsigned freed = 0;

    vm_mutex_lock(&discard->object->lock);
    if (object_gives(discard->object)) {
        collect(discard);
        if (discard->count != 0) {
            vm_mutex_unlock(&discard->object->lock);
            pmap_pages_unmap(discard->pages, discard->count);
            vm_mutex_lock(&discard->object->lock);
            freed = free_pages(discard);
        }
        free_swap(discard);
    }
    vm_mutex_unlock(&discard->object->lock);
    return freed;
}

/* [start, end) lies in one chunk. */
static uint64_t
discard_portion(struct vm_map *map, gpa_t start, gpa_t end)
{
    uint64_t freed = 0;

    vm_rwlock_read_lock(&map->lock);
    for (struct vm_map_entry *e = vm_map_entry_first(map, start, end); e != NULL;
         e = vm_map_entry_next(e, end)) {
        gpa_t from = gpa_from_u64(vm_max(start.value, e->start.value));
        gpa_t to = gpa_from_u64(vm_min(end.value, e->end.value));
        struct discard discard = { .object = e->object };

        if (!entry_gives(e))
            continue;
        discard.start = e->offset + vm_map_range_pages(e->start, from);
        discard.end = discard.start + vm_map_range_pages(from, to);
        freed += discard_pages(&discard);
    }
    vm_rwlock_read_unlock(&map->lock);
    return freed;
}

uint64_t
vm_discard(struct vm_map *map, gpa_t start, gpa_t end)
{
    uint64_t at = (start.value + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
    uint64_t last = vm_min(end.value, PMAP_GPA_END) & ~(uint64_t)PAGE_MASK;
    uint64_t freed = 0, next;

    if (at < start.value || at >= last)
        return 0;
    vm_meter_add(&map->meter, v_reported, (last - at) >> PAGE_SHIFT);
    for (; at < last && !vm_stopped(map->stop); at = next) {
        next = vm_min((at | (PORTION_SIZE - 1)) + 1, last);
        freed += discard_portion(map, gpa_from_u64(at), gpa_from_u64(next));
    }
    vm_meter_add(&map->meter, v_discarded, freed);
    return freed;
}
