/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefault of neighbours; see vm_prefault.h.
 *
 * A neighbour joins a run only if it can be taken without waiting: not busy,
 * and not mapped at its address yet.  The first one that cannot be taken ends
 * its side of the run; one that is mapped already is only skipped.
 *
 * Pages of backing objects show through, read-only.  Only zero-fill objects are
 * looked through, so that no pager need be asked (seed).  A fault that copies takes
 * none of them along: a stream of writes would unmap them again one by one.
 *
 * A read-ahead mark (VM_PAGE_RAM) means nothing here (seed): a marked page is entered
 * as any other and keeps its mark.
 *
 * Source: DragonFly vm_prefault (4 pages on each side, zero-fill forward only).
 */
#include "vmm/vpagetable/vm_prefault.h"

#include "vmm/vpagetable/vm_budget.h"

/* Pages up to 2 MiB borders: the pmap cuts a run there. */
#define PREFAULT_CHUNK PMAP_CHUNK_PAGES

static uint64_t
prefault_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t
vm_prefault_room(const struct vm_system *sys)
{
    uint64_t count = vm_page_free_count(sys);

    return count > sys->budget.free_min ? count - sys->budget.free_min : 0;
}

vm_prot_t
vm_prefault_prot(const struct vm_map_entry *entry, const struct vm_page *m)
{
    bool clean = m->object->type == OBJT_FILE && !vm_page_flag_test(m, VM_PAGE_ZERO) &&
                 atomic_load_explicit(&m->dirty, memory_order_relaxed) == 0;

    if ((vm_map_entry_prot(entry) & VM_PROT_WRITE) == 0 || clean)
        return VM_PROT_READ;
    return VM_PROT_RW;
}

void
vm_set_nosync(struct vm_page *m, const struct vm_map_entry *entry)
{
    if ((entry->eflags & MAP_ENTRY_NOSYNC) == 0) {
        if (vm_page_flag_test(m, VM_PAGE_NOSYNC))
            vm_page_flag_clear(m, VM_PAGE_NOSYNC);
    } else if (atomic_load_explicit(&m->dirty, memory_order_relaxed) == 0) {
        vm_page_flag_set(m, VM_PAGE_NOSYNC);
    }
}

void
vm_prefault_writeable(const struct vm_map_entry *entry, struct vm_page *m)
{
    vm_set_nosync(m, entry);
    vm_page_may_be_modified(m);
}

void
vm_prefault_init(struct vm_prefault_run *run, uint64_t page, struct vm_page *m, vm_prot_t prot,
                 bool own)
{
    run->page = page;
    run->own = own;
    run->first = VM_PREFAULT_BEHIND;
    run->end = VM_PREFAULT_BEHIND + 1;
    run->m[VM_PREFAULT_BEHIND] = m;
    run->prot[VM_PREFAULT_BEHIND] = prot;
}

/* The guest page at an index of the run. */
static uint64_t
prefault_page(const struct vm_prefault_run *run, unsigned index)
{
    return run->page + index - VM_PREFAULT_BEHIND;
}

/* Put a page into the run at `index`, next to what is there; NULL leaves a gap. */
static void
prefault_put(struct vm_prefault_run *run, unsigned index, struct vm_page *m, vm_prot_t prot,
             bool fresh)
{
    run->m[index] = m;
    run->prot[index] = prot;
    run->fresh[index] = fresh;
    run->hole[index] = fresh && vm_page_flag_test(m, VM_PAGE_ZERO);
    if (index < run->first)
        run->first = index;
    if (index >= run->end)
        run->end = index + 1;
}

/* Gaps at the ends are no part of the run. */
static void
prefault_trim(struct vm_prefault_run *run)
{
    while (run->m[run->first] == NULL)
        run->first++;
    while (run->m[run->end - 1] == NULL)
        run->end--;
}

/*
 * The page that shows at pindex of `first`, its own or a backing object's, busy; NULL
 * if there is none, or none that can be taken now.  *zero: no object has the page and
 * none has a pager, so that the page is one of zeros.
 * Locks: those of backing objects are taken hand over hand, which lock analysis cannot
 * express.
 */
static struct vm_page *
prefault_find(struct vm_object *first, vm_pindex_t pindex, bool own, bool *zero)
    VM_REQUIRES(first->lock) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *object = first;
    struct vm_page *m;

    *zero = false;
    while ((m = vm_page_lookup(object, pindex)) == NULL && object->type == OBJT_DEFAULT) {
        struct vm_object *next = object->backing_object;

        *zero = next == NULL;
        if (next == NULL || own)
            break;
        pindex += object->backing_object_offset;
        vm_mutex_lock(&next->lock);
        if (object != first)
            vm_mutex_unlock(&object->lock);
        object = next;
    }
    if (m != NULL && vm_page_flag_test(m, VM_PAGE_BUSY))
        m = NULL;
    if (m != NULL)
        vm_page_busy(m);
    if (object != first)
        vm_mutex_unlock(&object->lock);
    return m;
}

/*
 * A page of zeros joins.  Its frame stays a hole that pmap_enter fills, if it is the
 * natural one where it is mapped.
 */
static bool
prefault_zero(struct vm_prefault_run *run, const struct vm_map_entry *entry,
              struct vm_object *object, vm_pindex_t pindex, unsigned index)
    VM_REQUIRES(object->lock)
{
    struct vm_page *m = vm_page_alloc(object, pindex);

    if (m == NULL)
        return false;
    if (!pmap_window_is_natural(run->window, prefault_page(run, index), vm_page_frame(m)))
        vm_page_zero_fill(m);
    m->valid = 1;
    vm_prefault_writeable(entry, m);
    prefault_put(run, index, m, VM_PROT_RW, true);
    return true;
}

/*
 * The neighbour at `index` of a NORMAL entry joins; false ends its side of the run.
 * `make`: it may be made of zeros.
 */
static bool
prefault_neighbour(struct vm_prefault_run *run, const struct vm_map_entry *entry,
                   struct vm_object *object, vm_pindex_t pindex, unsigned index, bool make)
    VM_REQUIRES(object->lock)
{
    uint64_t page = prefault_page(run, index);
    struct vm_page *m;
    vm_prot_t prot = VM_PROT_READ;
    bool zero;

    if (!pmap_window_has(run->window, page))
        return false;
    if (!make && object->backing_object == NULL && vm_page_lookup(object, pindex) == NULL)
        return false;
    if (pmap_window_prot(run->window, page) != VM_PROT_NONE) {
        prefault_put(run, index, NULL, VM_PROT_NONE, false);
        return true;
    }
    m = prefault_find(object, pindex, run->own, &zero);
    if (m == NULL)
        return zero && make && prefault_zero(run, entry, object, pindex, index);
    if (m->object == object)
        prot = vm_prefault_prot(entry, m);
    if ((prot & VM_PROT_WRITE) != 0)
        vm_prefault_writeable(entry, m);
    prefault_put(run, index, m, prot, false);
    return true;
}

/* How many neighbours of zeros may this fault make?  (Seed: the conditions of vm.fast_fault.) */
static uint64_t
prefault_zero_limit(const struct vm_map *map, const struct vm_map_entry *entry,
                    const struct vm_object *object) VM_REQUIRES(object->lock)
{
    if (!map->sys->tunables.fast_fault || (vm_map_entry_prot(entry) & VM_PROT_WRITE) == 0 ||
        object->type != OBJT_DEFAULT)
        return 0;
    return vm_prefault_room(map->sys);
}

/* Pages before the demanded one, at most `room`; how many joined. */
static unsigned
prefault_behind(struct vm_prefault_run *run, const struct vm_map_entry *entry,
                struct vm_object *object, vm_pindex_t pindex, uint64_t room)
    VM_REQUIRES(object->lock)
{
    unsigned joined = 0;

    for (unsigned i = 1; i <= room; i++) {
        unsigned index = VM_PREFAULT_BEHIND - i;

        if (!prefault_neighbour(run, entry, object, pindex - i, index, false))
            break;
        joined += run->m[index] != NULL;
    }
    return joined;
}

/* Pages after the demanded one, at most `room`; only the first `zero` may be made. */
static void
prefault_ahead(struct vm_prefault_run *run, const struct vm_map_entry *entry,
               struct vm_object *object, vm_pindex_t pindex, uint64_t room, uint64_t zero)
    VM_REQUIRES(object->lock)
{
    for (unsigned i = 1; i <= room; i++) {
        if (!prefault_neighbour(run, entry, object, pindex + i, VM_PREFAULT_BEHIND + i, i <= zero))
            break;
    }
}

/* How many pages ahead a fault asks for. */
static uint64_t
prefault_cluster(const struct vm_prefault_run *run, unsigned most, const struct vm_map_entry *entry,
                 struct vm_object *object, vm_pindex_t pindex, bool fresh) VM_REQUIRES(object->lock)
{
    unsigned cluster;

    if (fresh)
        cluster = vm_object_resident_run_behind(object, pindex, most);
    else
        cluster = pmap_window_run_behind(run->window, run->page, most);
    if (entry->advice == VM_ADVICE_SEQUENTIAL && cluster < VM_PREFAULT_SEQUENTIAL)
        cluster = VM_PREFAULT_SEQUENTIAL;
    return cluster;
}

void
vm_prefault_normal(struct vm_prefault_run *run, const struct pmap_window *window,
                   struct vm_map *map, const struct vm_map_entry *entry, struct vm_object *object,
                   vm_pindex_t pindex, bool fresh)
{
    uint64_t most = map->sys->tunables.prefault_pages;
    uint64_t page = run->page;
    uint64_t behind, ahead, cluster, zero;

    run->window = window;
    if (most == 0 || entry->advice == VM_ADVICE_RANDOM)
        return;
    behind = prefault_min(page % PREFAULT_CHUNK, page - (entry->start.value >> PAGE_SHIFT));
    behind = prefault_min(behind, prefault_min(VM_PREFAULT_BEHIND, most));
    most -= prefault_behind(run, entry, object, pindex, behind);

    ahead = prefault_min(PREFAULT_CHUNK - 1 - page % PREFAULT_CHUNK,
                         (entry->end.value >> PAGE_SHIFT) - page - 1);
    ahead = prefault_min(ahead, prefault_min(object->size - pindex - 1, most));
    cluster =
        prefault_cluster(run, map->sys->tunables.prefault_pages, entry, object, pindex, fresh);
    zero = fresh ? prefault_min(cluster, prefault_zero_limit(map, entry, object)) : 0;
    if (cluster < VM_PREFAULT_AHEAD)
        cluster = VM_PREFAULT_AHEAD;
    prefault_ahead(run, entry, object, pindex, prefault_min(ahead, cluster), zero);
    prefault_trim(run);
}

unsigned
vm_prefault_cluster(struct vm_map *map, const struct vm_map_entry *entry,
                    const struct pmap_window *window, uint64_t page)
{
    uint64_t most = prefault_min(map->sys->tunables.prefault_pages, VM_PREFAULT_VPAGETABLE);
    uint64_t cluster;

    if (entry->advice == VM_ADVICE_RANDOM)
        return 0;
    most = prefault_min(most, PREFAULT_CHUNK - 1 - page % PREFAULT_CHUNK);
    most = prefault_min(most, (entry->end.value >> PAGE_SHIFT) - page - 1);
    cluster = most == 0 ? 0 : pmap_window_run_behind(window, page, (unsigned)most);
    if (entry->advice == VM_ADVICE_SEQUENTIAL && cluster < VM_PREFAULT_SEQUENTIAL)
        cluster = VM_PREFAULT_SEQUENTIAL;
    return (unsigned)prefault_min(cluster, most);
}

void
vm_prefault_vpagetable(struct vm_prefault_run *run, const struct pmap_window *window,
                       const struct vm_map_entry *entry, struct vm_object *object,
                       struct vpte_walk *walk, unsigned npages)
{
    run->window = window;
    for (unsigned i = 1; i <= npages; i++) {
        unsigned index = VM_PREFAULT_BEHIND + i;
        uint64_t page = prefault_page(run, index);
        struct vm_page *m;
        vm_pindex_t pindex;
        bool writable, zero;

        if (!pmap_window_has(run->window, page))
            break;
        if (pmap_window_prot(run->window, page) != VM_PROT_NONE) {
            prefault_put(run, index, NULL, VM_PROT_NONE, false);
            continue;
        }
        if (vpte_walk_neighbour(walk, (int)i, &pindex, &writable) != VM_OK)
            break;
        m = prefault_find(object, pindex, run->own, &zero);
        if (m == NULL)
            break;
        writable =
            writable && m->object == object && (vm_map_entry_prot(entry) & VM_PROT_WRITE) != 0;
        if (writable)
            vm_prefault_writeable(entry, m);
        prefault_put(run, index, m, writable ? VM_PROT_RW : VM_PROT_READ, false);
    }
    prefault_trim(run);
}

/*
 * End the busy state of one neighbour, whose object's lock is held.  A page that is
 * mapped must not stay in the cache, where it could be taken away (seed).
 */
static void
prefault_settle(struct vm_prefault_run *run, unsigned index)
{
    struct vm_page *m = run->m[index];

    if (vm_page_flag_test(m, VM_PAGE_ZERO)) {
        vm_page_free(m);
        return;
    }
    if (run->fresh[index] || m->queue == PQ_CACHE)
        vm_page_deactivate(m);
    vm_page_wakeup(m);
}

/* A page of zeros that was entered is counted: made here, or by pmap_enter where it was a hole. */
static void
prefault_count(const struct vm_prefault_run *run, struct vm_map_meter *meter)
{
    unsigned zero = 0, filled = 0;

    for (unsigned i = VM_PREFAULT_BEHIND + 1; i < run->end; i++) {
        if (run->m[i] == NULL || !run->fresh[i] || vm_page_flag_test(run->m[i], VM_PAGE_ZERO))
            continue;
        zero++;
        filled += run->hole[i];
    }
    if (zero != 0) {
        vm_meter_add(meter, v_zfod, zero);
        vm_meter_add(meter, v_ozfod, filled);
    }
}

/* The pages of one object mostly stand together: its lock is kept from one to the next. */
void
vm_prefault_finish(struct vm_prefault_run *run, struct vm_map_meter *meter) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *locked = NULL;

    prefault_count(run, meter);
    for (unsigned i = run->first; i < run->end; i++) {
        struct vm_page *m = run->m[i];

        if (m == NULL || i == VM_PREFAULT_BEHIND)
            continue;
        if (m->object != locked) {
            if (locked != NULL)
                vm_mutex_unlock(&locked->lock);
            locked = m->object;
            vm_mutex_lock(&locked->lock);
        }
        prefault_settle(run, i);
    }
    if (locked != NULL)
        vm_mutex_unlock(&locked->lock);
}
