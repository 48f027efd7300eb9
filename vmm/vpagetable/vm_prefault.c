/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefault of neighbours; see vm_prefault.h.
 *
 * A neighbour joins a run only if it can be taken without waiting: not busy,
 * and not mapped at its address yet.  The first one that cannot be taken ends
 * its side of the run; one that is mapped already is only skipped.
 *
 * Source: DragonFly vm_prefault (4 pages on each side, zero-fill forward only).
 */
#include "vmm/vpagetable/vm_prefault.h"

/* This part of the RAM budget is left to faults that need it. */
#define PREFAULT_RESERVE 8

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
    uint64_t resident = atomic_load_explicit(&sys->resident_pages, memory_order_relaxed);
    uint64_t limit = sys->ram_budget - sys->ram_budget / PREFAULT_RESERVE;

    return resident < limit ? limit - resident : 0;
}

vm_prot_t
vm_prefault_prot(const struct vm_map_entry *entry, const struct vm_page *m)
{
    bool clean = m->object->type != OBJT_DEFAULT && !vm_page_flag_test(m, VM_PAGE_ZERO) &&
                 atomic_load_explicit(&m->dirty, memory_order_relaxed) == 0;

    if ((entry->protection & VM_PROT_WRITE) == 0 || clean)
        return VM_PROT_READ;
    return VM_PROT_RW;
}

/* A page that was dirty before stays worth writing back (seed: vm_set_nosync). */
void
vm_prefault_writeable(const struct vm_map_entry *entry, struct vm_page *m)
{
    if ((entry->eflags & MAP_ENTRY_NOSYNC) == 0) {
        if (vm_page_flag_test(m, VM_PAGE_NOSYNC))
            vm_page_flag_clear(m, VM_PAGE_NOSYNC);
    } else if (atomic_load_explicit(&m->dirty, memory_order_relaxed) == 0) {
        vm_page_flag_set(m, VM_PAGE_NOSYNC);
    }
    vm_page_dirty(m);
}

void
vm_prefault_init(struct vm_prefault_run *run, gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    run->gpa = gpa;
    run->first = VM_PREFAULT_BEHIND;
    run->end = VM_PREFAULT_BEHIND + 1;
    run->m[VM_PREFAULT_BEHIND] = m;
    run->prot[VM_PREFAULT_BEHIND] = prot;
}

static gpa_t
prefault_gpa(const struct vm_prefault_run *run, unsigned index)
{
    return gpa_from_u64(run->gpa.value + ((uint64_t)index << PAGE_SHIFT) -
                        ((uint64_t)VM_PREFAULT_BEHIND << PAGE_SHIFT));
}

/* Put a page into the run at `index`, next to what is there; NULL leaves a gap. */
static void
prefault_put(struct vm_prefault_run *run, unsigned index, struct vm_page *m, vm_prot_t prot,
             bool fresh)
{
    run->m[index] = m;
    run->prot[index] = prot;
    run->fresh[index] = fresh;
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

/* The resident page at pindex if it can be taken now, busy; NULL if not. */
static struct vm_page *
prefault_take(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    struct vm_page *m = vm_page_lookup(object, pindex);

    if (m == NULL || vm_page_flag_test(m, VM_PAGE_BUSY))
        return NULL;
    vm_page_busy(m);
    return m;
}

/* A resident neighbour of a NORMAL entry joins; false if there is none to take. */
static bool
prefault_resident(struct vm_prefault_run *run, struct vm_map *map,
                  const struct vm_map_entry *entry, struct vm_object *object, vm_pindex_t pindex,
                  unsigned index) VM_REQUIRES(object->lock)
{
    struct vm_page *m;
    vm_prot_t prot;

    if (pmap_extract(map->pmap, prefault_gpa(run, index), NULL) != VM_PROT_NONE) {
        prefault_put(run, index, NULL, VM_PROT_NONE, false);
        return true;
    }
    m = prefault_take(object, pindex);
    if (m == NULL)
        return false;
    prot = vm_prefault_prot(entry, m);
    if ((prot & VM_PROT_WRITE) != 0)
        vm_prefault_writeable(entry, m);
    prefault_put(run, index, m, prot, false);
    return true;
}

/*
 * A page of zeros joins.  Its frame stays a hole that pmap_enter fills, unless
 * the slot's frame is not its natural one.
 */
static bool
prefault_zero(struct vm_prefault_run *run, const struct vm_map_entry *entry,
              struct vm_object *object, vm_pindex_t pindex, unsigned index)
    VM_REQUIRES(object->lock)
{
    struct vm_page *m = vm_page_alloc(object, pindex);

    if (m == NULL)
        return false;
    if (m->frame_delta != 0)
        vm_page_zero_fill(m);
    m->valid = 1;
    vm_prefault_writeable(entry, m);
    prefault_put(run, index, m, VM_PROT_RW, true);
    return true;
}

/* How many neighbours of zeros may this fault make?  (Seed: the conditions of vm.fast_fault.) */
static uint64_t
prefault_zero_limit(const struct vm_map *map, const struct vm_map_entry *entry,
                    const struct vm_object *object) VM_REQUIRES(object->lock)
{
    if (!map->sys->tunables.fast_fault || (entry->protection & VM_PROT_WRITE) == 0 ||
        object->type != OBJT_DEFAULT || object->backing_object != NULL)
        return 0;
    return vm_prefault_room(map->sys);
}

/* Resident pages before the demanded one, at most `room`; how many joined. */
static unsigned
prefault_behind(struct vm_prefault_run *run, struct vm_map *map,
                const struct vm_map_entry *entry, struct vm_object *object, vm_pindex_t pindex,
                uint64_t room) VM_REQUIRES(object->lock)
{
    unsigned joined = 0;

    for (unsigned i = 1; i <= room; i++) {
        unsigned index = VM_PREFAULT_BEHIND - i;

        if (vm_page_lookup(object, pindex - i) == NULL ||
            !prefault_resident(run, map, entry, object, pindex - i, index))
            break;
        joined += run->m[index] != NULL;
    }
    return joined;
}

/* Pages after the demanded one, at most `room`; only the first `zero` may be made. */
static void
prefault_ahead(struct vm_prefault_run *run, struct vm_map *map, const struct vm_map_entry *entry,
               struct vm_object *object, vm_pindex_t pindex, uint64_t room, uint64_t zero)
    VM_REQUIRES(object->lock)
{
    for (unsigned i = 1; i <= room; i++) {
        unsigned index = VM_PREFAULT_BEHIND + i;
        bool joined;

        if (vm_page_lookup(object, pindex + i) != NULL)
            joined = prefault_resident(run, map, entry, object, pindex + i, index);
        else
            joined = i <= zero && prefault_zero(run, entry, object, pindex + i, index);
        if (!joined)
            break;
    }
}

/* How many pages ahead a fault asks for. */
static uint64_t
prefault_cluster(struct vm_map *map, const struct vm_map_entry *entry, struct vm_object *object,
                 gpa_t gpa, vm_pindex_t pindex, bool fresh) VM_REQUIRES(object->lock)
{
    unsigned most = map->sys->tunables.prefault_pages;
    unsigned cluster;

    if (fresh)
        cluster = vm_object_resident_run_behind(object, pindex, most);
    else
        cluster = pmap_mapped_run_behind(map->pmap, gpa, most);
    if (entry->advice == VM_ADVICE_SEQUENTIAL && cluster < VM_PREFAULT_SEQUENTIAL)
        cluster = VM_PREFAULT_SEQUENTIAL;
    return cluster;
}

void
vm_prefault_normal(struct vm_prefault_run *run, struct vm_map *map,
                   const struct vm_map_entry *entry, struct vm_object *object, vm_pindex_t pindex,
                   bool fresh)
{
    uint64_t most = map->sys->tunables.prefault_pages;
    uint64_t page = run->gpa.value >> PAGE_SHIFT;
    uint64_t behind, ahead, cluster, zero;

    if (most == 0 || entry->advice == VM_ADVICE_RANDOM)
        return;
    behind = prefault_min(page % PREFAULT_CHUNK, page - (entry->start.value >> PAGE_SHIFT));
    behind = prefault_min(behind, prefault_min(VM_PREFAULT_BEHIND, most));
    most -= prefault_behind(run, map, entry, object, pindex, behind);

    ahead = prefault_min(PREFAULT_CHUNK - 1 - page % PREFAULT_CHUNK,
                         (entry->end.value >> PAGE_SHIFT) - page - 1);
    ahead = prefault_min(ahead, prefault_min(object->size - pindex - 1, most));
    cluster = prefault_cluster(map, entry, object, run->gpa, pindex, fresh);
    zero = fresh ? prefault_min(cluster, prefault_zero_limit(map, entry, object)) : 0;
    if (cluster < VM_PREFAULT_AHEAD)
        cluster = VM_PREFAULT_AHEAD;
    prefault_ahead(run, map, entry, object, pindex, prefault_min(ahead, cluster), zero);
    prefault_trim(run);
}

unsigned
vm_prefault_cluster(struct vm_map *map, const struct vm_map_entry *entry, gpa_t gpa,
                    vm_pindex_t pindex)
{
    uint64_t most = prefault_min(map->sys->tunables.prefault_pages, VM_PREFAULT_VPAGETABLE);
    uint64_t table = (uint64_t)1 << entry->format->page_bits;
    uint64_t page = gpa.value >> PAGE_SHIFT;
    uint64_t cluster;

    if (entry->advice == VM_ADVICE_RANDOM)
        return 0;
    most = prefault_min(most, table - 1 - pindex % table);
    most = prefault_min(most, PREFAULT_CHUNK - 1 - page % PREFAULT_CHUNK);
    most = prefault_min(most, (entry->end.value >> PAGE_SHIFT) - page - 1);
    cluster = most == 0 ? 0 : pmap_mapped_run_behind(map->pmap, gpa, (unsigned)most);
    if (entry->advice == VM_ADVICE_SEQUENTIAL && cluster < VM_PREFAULT_SEQUENTIAL)
        cluster = VM_PREFAULT_SEQUENTIAL;
    return (unsigned)prefault_min(cluster, most);
}

void
vm_prefault_vpagetable(struct vm_prefault_run *run, struct vm_map *map,
                       const struct vm_map_entry *entry, struct vm_object *object,
                       struct vpte_walk *walk, unsigned npages)
{
    for (unsigned i = 1; i <= npages; i++) {
        unsigned index = VM_PREFAULT_BEHIND + i;
        struct vm_page *m;
        vm_pindex_t pindex;
        bool writable;

        if (pmap_extract(map->pmap, prefault_gpa(run, index), NULL) != VM_PROT_NONE) {
            prefault_put(run, index, NULL, VM_PROT_NONE, false);
            continue;
        }
        if (vpte_walk_neighbour(walk, (int)i, &pindex, &writable) != VM_OK)
            break;
        m = prefault_take(object, pindex);
        if (m == NULL)
            break;
        writable = writable && (entry->protection & VM_PROT_WRITE) != 0;
        if (writable)
            vm_prefault_writeable(entry, m);
        prefault_put(run, index, m, writable ? VM_PROT_RW : VM_PROT_READ, false);
    }
    prefault_trim(run);
}

void
vm_prefault_finish(struct vm_prefault_run *run, struct vm_object *object)
{
    unsigned zero = 0, filled = 0;

    for (unsigned i = run->first; i < run->end; i++) {
        struct vm_page *m = run->m[i];

        if (m == NULL || i == VM_PREFAULT_BEHIND)
            continue;
        if (vm_page_flag_test(m, VM_PAGE_ZERO)) {
            vm_page_free(m);
            continue;
        }
        if (run->fresh[i]) {
            zero++;
            filled += m->frame_delta == 0;
            vm_page_deactivate(m);
        }
        vm_page_wakeup(m);
    }
    if (zero != 0) {
        vm_meter_add(object->sys, v_zfod, zero);
        vm_meter_add(object->sys, v_ozfod, filled);
    }
}
