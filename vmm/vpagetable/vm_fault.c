/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault engine: one attempt after the other until one of them need not wait.  The walk,
 * the search for the page, and the calls that hold it are in files of their own: vm_fault_state.h.
 *
 *   vm_fault_attempt                         M shared from lookup to the end
 *     vm_map_lookup
 *     vm_fault_inject                        with a table of rules only
 *     vm_map_interlock                       I; VPAGETABLE only
 *     vm_fault_resolve
 *       fault_choose                         O of the first object
 *         vm_fault_vpagetable                  walk, set A and M
 *         vm_fault_object                      page found or made: busy
 *         vm_prefault_...                      neighbours: busy
 *       vm_fault_fill                        no O: copy or zero the page
 *       vm_fault_enter                       no O: pmap_enter; then O, nothing is busy any more
 *       or vm_fault_hold, fault_copy_bytes     ... for the monitor instead of the guest
 *   vm_errand_run                            no lock: what the attempt could not wait for
 *   vm_errand_fini                           no lock, the waiter goes on: read ahead, collapse
 *
 * What becomes of (object, pindex):
 *
 *   resident, busy     -> wait, start over
 *   resident           -> found; in a backing object: a read maps it read-only,
 *                         a write copies it to the first object
 *   the pager has it   -> read it, start over
 *   none of these      -> look in the backing object; at the end of the chain a
 *                         page of zeros in the first object
 *
 * Invariants:
 *  1. Nobody sleeps for a page or for I/O with a lock held: the attempt leaves an
 *     errand (vm_errand.h), unwinds and returns VM_RETRY.
 *  2. Between attempts no page is busy but the one an errand is to read.
 *  3. A walk runs with O held from the root to its result, and its neighbours are
 *     taken with it still held.  A table page that is resident and not busy stays
 *     as it is while O is held, so it need not be held itself.
 *
 * Source: DragonFly sys/vm/vm_fault.c.
 */
#include "vmm/vpagetable/vm_fault.h"

#include "vmm/vpagetable/vm_fault_state.h"

#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_probe.h"

#include <errno.h>
#include <string.h>

/* --- Choosing, with O held ----------------------------------------------- */

/* May the page be mapped writable? */
static vm_prot_t
fault_protection(const struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    const struct vm_map_entry *entry = fs->lookup.entry;

    if ((vm_map_entry_prot(entry) & VM_PROT_WRITE) == 0)
        return VM_PROT_READ;
    if (fs->m->object != fs->first_object) /* it shows through others too */
        return VM_PROT_READ;
    if (vm_fault_is_vpagetable(fs)) /* the first write must be seen: it sets M */
        return vpte_walk_writable(&fs->walk) ? VM_PROT_RW : VM_PROT_READ;
    if (fs->access == VM_PROT_WRITE)
        return VM_PROT_RW;
    if ((fs->flags & VM_FAULT_SINGLE) != 0) /* a write is to be seen */
        return VM_PROT_READ;
    return vm_prefault_prot(entry, fs->m);
}

/* Add neighbours to the run. */
static void
fault_prefault(struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    fs->super = false;
    if ((fs->flags & VM_FAULT_BURST) == 0 || !vm_fault_enters(fs) || fs->lookup.wired)
        return;
    fs->super =
        fs->kind == FAULT_ZERO_FILL && !vm_fault_is_vpagetable(fs) && vm_fault_super_choose(fs);
    if (fs->super)
        return;
    if (vm_fault_is_vpagetable(fs))
        vm_prefault_vpagetable(&fs->run, vm_fault_window(fs), fs->lookup.entry, fs->first_object,
                               &fs->walk, fs->cluster);
    else
        vm_prefault_normal(&fs->run, vm_fault_window(fs), fs->map, fs->lookup.entry,
                           fs->first_object, fs->pindex, fs->kind == FAULT_ZERO_FILL);
}

/*
 * The page is dirty from now on.  With VM_FAULT_DIRTY that may be a backing object's,
 * which knows what it has in swap.
 */
static void
fault_modified(struct faultstate *fs) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *object = fs->m->object;

    if (object != fs->first_object)
        vm_mutex_lock(&object->lock);
    vm_set_nosync(fs->m, fs->lookup.entry);
    vm_page_modified(fs->m);
    if (object != fs->first_object)
        vm_mutex_unlock(&object->lock);
}

/* The page at pindex of the first object, how it is mapped, and its neighbours. */
static enum vm_result
fault_choose_page(struct faultstate *fs, vm_pindex_t pindex) VM_REQUIRES(fs->first_object->lock)
{
    bool write = fs->access == VM_PROT_WRITE;
    bool wired = (fs->lookup.wired && (fs->lookup.prot & VM_PROT_WRITE) != 0) ||
                 (fs->flags & VM_FAULT_WIRE_MASK) != 0; /* a wired page is the entry's own */
    enum vm_result result = vm_fault_object(fs, pindex, write || wired);
    vm_prot_t prot;

    if (result != VM_OK)
        return result;
    fs->step = FAULT_STEP_PAGE;
    prot = fault_protection(fs);
    if (write || (fs->flags & VM_FAULT_DIRTY) != 0)
        fault_modified(fs);
    else if (vm_fault_enters(fs) && (prot & VM_PROT_WRITE) != 0)
        vm_prefault_writeable(fs->lookup.entry, fs->m);
    if (fs->walked && fs->source == NULL && vm_fault_enters(fs))
        prot |= vm_prefault_move(fs->first_object, fs->m);
    vm_prefault_init(&fs->run, fs->gpa.value >> PAGE_SHIFT, fs->m, prot, fs->source != NULL);
    fault_prefault(fs);
    return VM_OK;
}

static enum vm_result
fault_choose_walked(struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    struct vm_page *tables[VPTE_MAX_LEVELS + 1];
    vm_pindex_t pindex;
    enum vm_result result = vm_fault_vpagetable(fs, tables, &pindex);

    if (result == VM_OK)
        result = fault_choose_page(fs, pindex);
    vm_fault_walk_settle(fs, tables);
    return result;
}

static enum vm_result
fault_choose(struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    if ((fs->first_object->flags & OBJ_DEAD) != 0)
        return VM_OBJECT_DEAD;
    fs->walked = vm_fault_is_vpagetable(fs);
    if (fs->walked)
        return fault_choose_walked(fs);
    return fault_choose_page(fs, fs->lookup.pindex);
}

/* --- Filling and mapping, without O -------------------------------------- */

/* Drop what is mapped at the address. */
static void
fault_unmap(const struct faultstate *fs)
{
    pmap_remove(fs->map->pmap, fs->gpa, gpa_add(fs->gpa, PAGE_SIZE));
}

/*
 * The new page gets the source's frame with the mapping here, which pmap_enter makes writable;
 * the source gets the copy.  Its other mappings go before that is made: where the source's object
 * shows without a copy, it may be written to until then.
 */
static void
fault_copy_keep_frame(const struct faultstate *fs)
{
    pmap_mapping_moved(fs->map->pmap, fs->gpa, fs->source, fs->m);
    pmap_page_protect(fs->source, VM_PROT_NONE);
    vm_page_copy(fs->source, fs->m);
    vm_page_exchange_frames(fs->source, fs->m);
}

/*
 * The new page gets a copy.  Nobody may go on reading the source where the first object is
 * mapped.  If that is just here (one NORMAL entry refers to it and nobody else), pmap_enter
 * replaces the mapping.  Else such places cannot be told from others: all mappings go, and
 * come back as they are touched.
 */
static void
fault_copy_page(const struct faultstate *fs)
{
    vm_page_copy(fs->source, fs->m);
    if (!fs->sole_view)
        pmap_page_protect(fs->source, VM_PROT_NONE);
    else if (!vm_fault_enters(fs))
        fault_unmap(fs);
}

/* Copy on write: the first object gets a page of its own. */
static void
fault_copy(struct faultstate *fs)
{
    struct vm_page *source = fs->source;
    struct vm_object *object = source->object;

    if (fs->keep_frame)
        fault_copy_keep_frame(fs);
    else
        fault_copy_page(fs);
    VM_PROBE3(copy, fs->gpa.value, source - fs->errand.sys->pages, fs->m - fs->errand.sys->pages);
    vm_page_dirty(fs->m);
    vm_mutex_lock(&object->lock);
    assert(!fs->keep_frame || source->hold_count == 0); /* a busy page gets no hold */
    vm_page_deactivate(source);
    vm_page_wakeup(source);
    vm_mutex_unlock(&object->lock);
    vm_meter_add(fs->meter, v_cow_faults, 1);
}

/*
 * Make the busy page valid.  `natural`: it is going to be mapped where its frame
 * is the natural one, so that pmap_enter can fill a hole and no zeros need be
 * written here.
 */
static void
vm_fault_fill(struct faultstate *fs, bool natural)
{
    if (fs->source != NULL) {
        fault_copy(fs);
    } else if (vm_page_flag_test(fs->m, VM_PAGE_ZERO) && !natural) {
        vm_page_zero_fill(fs->m);
        vm_meter_add(fs->meter, v_zfod, 1);
    }
    fs->m->valid = 1;
}

/* A busy page is in order: let go of it. */
static void
fault_settle(struct vm_page *m)
{
    if (!vm_page_flag_test(m, VM_PAGE_REFERENCED))
        vm_page_flag_set(m, VM_PAGE_REFERENCED);
    if (m->queue != PQ_ACTIVE)
        vm_page_activate(m);
    vm_page_wakeup(m);
}

/* The same for the page the fault is about, which stays in memory if it is to be wired. */
static void
fault_settle_wired(const struct faultstate *fs)
{
    fault_settle(fs->m);
    if ((fs->flags & VM_FAULT_WIRE_MASK) != 0)
        vm_page_wire(fs->m);
}

/*
 * The same for the run, whether pmap_enter failed or not.  A page that it was to fill
 * and did not is gone.
 */
static void
fault_settle_run(struct faultstate *fs, bool entered)
{
    struct vm_object *object = fs->m->object;

    vm_prefault_finish(&fs->run, fs->meter);
    vm_mutex_lock(&object->lock);
    if (vm_page_flag_test(fs->m, VM_PAGE_ZERO))
        vm_page_free(fs->m);
    else if (entered)
        fault_settle_wired(fs);
    else
        fault_settle(fs->m);
    vm_mutex_unlock(&object->lock);
}

/* A page made for a place in a window gets the window's own frame there from the beginning. */
static void
fault_place(struct faultstate *fs)
{
    if (fs->walked && vm_page_flag_test(fs->m, VM_PAGE_ZERO) &&
        (fs->source == NULL || !fs->keep_frame))
        pmap_window_place(vm_fault_window(fs), fs->gpa.value >> PAGE_SHIFT, fs->m);
}

/* What of the neighbours is mapped now. */
static void
fault_tell_neighbours(struct faultstate *fs, unsigned entered, unsigned below, unsigned above)
{
    fs->info->prefaulted = entered;
    fs->info->below = below;
    fs->info->above = above;
    vm_meter_add(fs->meter, v_prefault, entered);
}

/* Map the pages that were made for a superpage.  False: only the run is left to be mapped. */
static bool
fault_enter_super(struct faultstate *fs)
{
    unsigned below = (unsigned)((fs->gpa.value >> PAGE_SHIFT) % PMAP_CHUNK_PAGES);

    fs->m->valid = 1;
    if (vm_fault_super_enter(fs) != 0)
        return false;
    fault_settle_run(fs, true);
    vm_meter_add(fs->meter, v_zfod, 1);
    vm_meter_add(fs->meter, v_ozfod, 1);
    fs->info->generation = 0;
    fault_tell_neighbours(fs, PMAP_CHUNK_PAGES - 1, below, PMAP_CHUNK_PAGES - 1 - below);
    return true;
}

/* Map the run. */
static enum vm_result
vm_fault_enter(struct faultstate *fs)
{
    struct vm_map_meter *meter = fs->meter;
    const struct vm_prefault_run *run = &fs->run;
    unsigned behind = VM_PREFAULT_BEHIND - run->first;
    struct pmap_entered entered;
    bool hole;
    int error;

    if (fs->super && fault_enter_super(fs))
        return VM_OK;
    fault_place(fs);
    vm_fault_fill(fs, vm_page_flag_test(fs->m, VM_PAGE_ZERO) &&
                          pmap_window_is_natural(vm_fault_window(fs), fs->gpa.value >> PAGE_SHIFT,
                                                 vm_page_frame(fs->m)));
    hole = vm_page_flag_test(fs->m, VM_PAGE_ZERO);
    error = pmap_enter(fs->map->pmap, fs->window,
                       gpa_from_u64(fs->gpa.value - ((uint64_t)behind << PAGE_SHIFT)),
                       &run->m[run->first], &run->prot[run->first], run->end - run->first, behind,
                       &entered);
    fault_settle_run(fs, error == 0);
    if (error != 0)
        return vm_fault_host_failure(fs, error, "mapping the page failed");
    if (hole) {
        vm_meter_add(meter, v_zfod, 1);
        vm_meter_add(meter, v_ozfod, 1);
    }
    if (entered.moved != 0)
        vm_meter_add(meter, v_placed, entered.moved);
    fs->info->generation = entered.generation;
    if (entered.npages > 1)
        fault_tell_neighbours(fs, entered.npages - 1, behind, run->end - 1 - VM_PREFAULT_BEHIND);
    return VM_OK;
}

/* Hold the page for the caller of vm_fault_page instead. */
static enum vm_result
vm_fault_hold(struct faultstate *fs)
{
    struct vm_object *object = fs->m->object;

    vm_fault_fill(fs, false);
    vm_mutex_lock(&object->lock);
    vm_page_hold_object(fs->m);
    if ((fs->flags & VM_FAULT_UNSWAP) != 0) {
        vm_page_dirty(fs->m);
        vm_pager_unswapped(object, vm_page_pindex(fs->m));
    }
    fault_settle_wired(fs);
    vm_mutex_unlock(&object->lock);
    *fs->held = fs->m;
    return VM_OK;
}

/*
 * Copy the bytes.  M, and through a virtual page table I, are still held: no edit of the map and
 * no INVAL ends in between.
 */
static enum vm_result
fault_copy_bytes(struct faultstate *fs)
{
    const struct fault_bytes *bytes = fs->bytes;
    struct vm_object *object = fs->m->object;
    uint8_t *page;

    vm_fault_fill(fs, false);
    page = (uint8_t *)vm_page_address(fs->m) + bytes->offset;
    if (bytes->from != NULL)
        memcpy(page, bytes->from, bytes->size);
    else
        memcpy(bytes->to, page, bytes->size);
    vm_mutex_lock(&object->lock);
    fault_settle(fs->m);
    vm_mutex_unlock(&object->lock);
    return VM_OK;
}

/* A table page was made; the walk starts over and will find it. */
static void
fault_finish_table(struct faultstate *fs)
{
    vm_fault_fill(fs, false);
    vm_mutex_lock(&fs->first_object->lock);
    vm_errand_keep(&fs->errand, fs->first_object, fs->m);
    fault_settle(fs->m);
    vm_mutex_unlock(&fs->first_object->lock);
}

enum vm_result
vm_fault_resolve(struct faultstate *fs)
{
    enum vm_result result;

    fs->unread_table = false;
    vm_mutex_lock(&fs->first_object->lock);
    result = fault_choose(fs);
    vm_mutex_unlock(&fs->first_object->lock);
    if (fs->unread_table)
        fault_finish_table(fs);
    if (result != VM_OK)
        return result;
    if (fs->bytes != NULL)
        return fault_copy_bytes(fs);
    return fs->held != NULL ? vm_fault_hold(fs) : vm_fault_enter(fs);
}

/* --- The driver ---------------------------------------------------------- */

/*
 * The range interlock is held from before the root is read until after
 * pmap_enter, for every page that may be entered.
 */
static enum vm_result
fault_resolve_interlocked(struct faultstate *fs)
{
    struct vm_map_ilock ilock;
    enum vm_result result;

    fs->cluster = 0;
    if ((fs->flags & VM_FAULT_BURST) != 0 && vm_fault_enters(fs))
        fs->cluster = vm_prefault_cluster(fs->map, fs->lookup.entry, vm_fault_window(fs),
                                          fs->gpa.value >> PAGE_SHIFT);
    vm_map_interlock(fs->map, &ilock, fs->gpa,
                     gpa_add(fs->gpa, ((uint64_t)fs->cluster + 1) << PAGE_SHIFT));
    result = vm_fault_resolve(fs);
    vm_map_deinterlock(fs->map, &ilock);
    return result;
}

enum vm_result
vm_fault_attempt(struct faultstate *fs)
{
    vm_prot_t access = fs->access;
    enum vm_result result;

    if ((fs->flags & VM_FAULT_OVERRIDE) != 0)
        access |= VM_PROT_OVERRIDE;
    fs->step = FAULT_STEP_LOOKUP;
    fs->lookup.prot = VM_PROT_NONE;
    result = vm_map_lookup(fs->map, fs->gpa, access, &fs->lookup);
    fs->info->entry_prot = fs->lookup.prot;
    if (result == VM_HOST_FAILURE)
        return vm_fault_host_failure(fs, fs->lookup.error, "shadowing or growing the entry failed");
    if (result != VM_OK)
        return result;
    fs->first_object = fs->lookup.object;
    fs->object_number = fs->first_object->number;
    fs->window = NULL;
    if (fs->inject != NULL)
        result = vm_fault_inject(fs);
    if (result == VM_OK)
        result = vm_fault_is_vpagetable(fs) ? fault_resolve_interlocked(fs) : vm_fault_resolve(fs);
    vm_map_lookup_done(fs->map);
    return result;
}

static void
fault_count_kind(struct vm_map_meter *meter, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_RESIDENT:
        vm_meter_add(meter, v_kind_resident, 1);
        break;
    case FAULT_ZERO_FILL:
        vm_meter_add(meter, v_kind_zero_fill, 1);
        break;
    case FAULT_PAGE_IN:
        vm_meter_add(meter, v_kind_page_in, 1);
        break;
    case FAULT_COW:
        vm_meter_add(meter, v_kind_cow, 1);
        break;
    }
}

/* Each fault is counted once, as it ends, so that the kinds add up. */
static void
fault_count(const struct faultstate *fs, enum vm_result result)
{
    struct vm_map_meter *meter = fs->meter;

    if ((fs->flags & VM_FAULT_DEBUGGER) != 0) {
        vm_meter_add(meter, v_debugger, 1);
        return;
    }
    if ((fs->flags & VM_FAULT_QUIET) != 0) {
        vm_meter_add(meter, v_lookups, 1);
        return;
    }
    if (result == VM_HOST_FAILURE) {
        vm_meter_add(meter, v_kind_host, 1);
    } else if (result != VM_OK) {
        vm_meter_add(meter, v_kind_failed, 1);
    } else {
        fault_count_kind(meter, fs->kind);
        if (fs->info->hardfault)
            vm_meter_add(meter, v_majflt, 1);
    }
    vm_meter_add(meter, v_vm_faults, 1); /* last: who finds it equal to v_begun finds its kind */
}

void
vm_fault_init(struct faultstate *fs, struct vm_system *sys, struct vm_map_meter *meter,
              const _Atomic bool *stop, vm_prot_t access, unsigned flags,
              struct vm_fault_info *info)
{
    assert(access == VM_PROT_READ || access == VM_PROT_WRITE || access == VM_PROT_EXECUTE);
    fs->meter = meter;
    fs->info = info;
    fs->access = access;
    fs->flags = flags;
    fs->held = NULL;
    fs->bytes = NULL;
    vm_errand_init(&fs->errand, sys, meter, stop);
    fs->errand.holding = (flags & VM_FAULT_HOLDER) != 0;
    if ((flags & (VM_FAULT_QUIET | VM_FAULT_DEBUGGER)) == 0)
        vm_meter_add(meter, v_begun, 1);
}

/* The fault came to this. */
static enum vm_result
fault_over(struct faultstate *fs, enum vm_result result)
{
    fs->info->result = result;
    fs->info->hardfault = fs->errand.hardfault;
    fault_count(fs, result);
    VM_PROBE4(fault_end, gpa_to_u64(fs->info->gpa), fs->access, result, fs->kind);
    if (fs->trace != NULL)
        vm_fault_trace_end(fs);
    return result;
}

enum vm_result
vm_fault_advance(struct faultstate *fs, enum vm_result (*attempt)(struct faultstate *))
{
    enum vm_result result;

    while ((result = attempt(fs)) == VM_RETRY) {
        vm_meter_add(fs->meter, v_restarts, 1);
        if (fs->errand.kind != VM_ERRAND_NONE)
            return VM_RETRY;
        fs->errand.waited[VM_ERRAND_NONE]++;
    }
    return fault_over(fs, result);
}

enum vm_result
vm_fault_finish(struct faultstate *fs, enum vm_result (*attempt)(struct faultstate *),
                enum vm_result result)
{
    while (result == VM_RETRY) {
        vm_errand_run(&fs->errand);
        if (vm_stopped(fs->errand.stop))
            return fault_over(fs, vm_fault_host_failure(fs, -ECANCELED, "the VM has ended"));
        result = vm_fault_advance(fs, attempt);
    }
    return result;
}

enum vm_result
vm_fault_run(struct faultstate *fs, enum vm_result (*attempt)(struct faultstate *))
{
    enum vm_result result = vm_fault_finish(fs, attempt, vm_fault_advance(fs, attempt));

    vm_errand_fini(&fs->errand);
    return result;
}

void
vm_fault_set_place(struct faultstate *fs, struct vm_map *map, gpa_t gpa,
                   const struct vm_fault_origin *origin)
{
    *fs->info = (struct vm_fault_info){ .gpa = gpa, .access = fs->access };
    fs->map = map;
    fs->gpa = gpa_trunc_page(gpa);
    fs->origin = origin;
    fs->inject = map->inject;
    VM_PROBE2(fault_begin, gpa.value, fs->access);
    fs->trace = atomic_load_explicit(&map->trace, memory_order_acquire);
    if (fs->trace != NULL)
        fs->begun = origin != NULL && origin->begun != 0 ? origin->begun
                                                         : fs->trace->begin(fs->trace->context);
}

enum vm_result
vm_fault_run_map(struct faultstate *fs, struct vm_map *map, gpa_t gpa,
                 const struct vm_fault_origin *origin)
{
    vm_fault_set_place(fs, map, gpa, origin);
    return vm_fault_run(fs, vm_fault_attempt);
}

enum vm_result
vm_fault_of(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
            const struct vm_fault_origin *origin, struct vm_fault_info *info)
{
    struct faultstate fs; /* each step writes what later ones read; clearing it all would cost */

    vm_fault_init(&fs, map->sys, &map->meter, map->stop, access, flags, info);
    return vm_fault_run_map(&fs, map, gpa, origin);
}

enum vm_result
vm_fault(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
         struct vm_fault_info *info)
{
    return vm_fault_of(map, gpa, access, flags, NULL, info);
}

/* Is there a page that can be entered without making or reading one? */
static bool
fault_is_resident(struct vm_map *map, gpa_t gpa)
{
    struct vm_map_lookup lookup;
    bool resident;

    if (vm_map_lookup(map, gpa, VM_PROT_READ, &lookup) != VM_OK)
        return false;
    vm_mutex_lock(&lookup.object->lock);
    resident = vm_page_lookup(lookup.object, lookup.pindex) != NULL;
    vm_mutex_unlock(&lookup.object->lock);
    vm_map_lookup_done(map);
    return resident;
}

void
vm_fault_ahead(struct vm_map *map, gpa_t start, gpa_t end)
{
    struct vm_fault_info info;

    if (map->inject != NULL) /* each of these pages is to be a fault */
        return;
    while (start.value < end.value && fault_is_resident(map, start)) {
        if (vm_fault(map, start, VM_PROT_READ, VM_FAULT_BURST | VM_FAULT_QUIET, &info) != VM_OK ||
            info.hardfault)
            return;
        start = gpa_add(start, (1 + (uint64_t)info.prefaulted) << PAGE_SHIFT);
    }
}
