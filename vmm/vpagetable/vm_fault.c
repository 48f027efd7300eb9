/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault engine: one attempt after the other until one of them need not wait.
 *
 *   vm_fault_attempt                         M shared from lookup to the end
 *     vm_map_lookup
 *     vm_map_interlock                       I; VPAGETABLE only
 *     vm_fault_resolve
 *       fault_choose                         O of the first object
 *         vm_fault_vpagetable                  walk, set A and M
 *         vm_fault_object                      page found or made: busy
 *         vm_prefault_...                      neighbours: busy
 *       vm_fault_fill                        no O: copy or zero the page
 *       vm_fault_enter or vm_fault_hold      no O: pmap_enter; then O, nothing is busy any more
 *   vm_errand_run                            no lock: what the attempt could not wait for
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

#include "vmm/vpagetable/vm_errand.h"
#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_pageout.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_prefault.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <errno.h>

/* How the page came about: one of the v_kind_* counters. */
enum fault_kind {
    FAULT_RESIDENT,
    FAULT_ZERO_FILL,
    FAULT_PAGE_IN,
    FAULT_COW
};

struct faultstate {
    struct vm_system *sys;
    struct vm_map *map; /* NULL: vm_fault_object_page, which has no address either */
    struct vm_fault_info *info;
    gpa_t gpa; /* of the page */
    vm_prot_t access;
    unsigned flags;        /* VM_FAULT_* */
    struct vm_page **held; /* vm_fault_page: where the page goes; NULL: enter it */
    struct vm_errand errand;
    /* One attempt's. */
    struct vm_map_lookup lookup;
    struct vm_object *first_object; /* borrowed from the entry */
    unsigned cluster;               /* VPAGETABLE: pages beyond the first that are interlocked */
    struct vpte_walk walk;          /* VPAGETABLE */
    bool unread_table;              /* VPAGETABLE: m is a table page that is not valid yet */
    vm_pindex_t pindex;             /* of m in first_object */
    struct vm_page *m;              /* busy: the page */
    struct vm_page *source;         /* busy: copy it to m first; or NULL */
    bool sole_view;                 /* source: first_object shows in this entry only */
    bool collapse;                  /* the chain can perhaps be made shorter */
    enum fault_kind kind;
    struct vm_prefault_run run;
};

static bool
fault_is_vpagetable(const struct faultstate *fs)
{
    return fs->lookup.entry->maptype == VM_MAPTYPE_VPAGETABLE;
}

static enum vm_result
fault_host_failure(struct faultstate *fs, int error, const char *cause)
{
    fs->info->error = error;
    fs->info->cause = cause;
    return VM_HOST_FAILURE;
}

/* ---- Finding or making the page. ---- */

/* A new busy page, not valid, at (object, pindex), which has none. */
static enum vm_result
fault_alloc(struct faultstate *fs, struct vm_object *object, vm_pindex_t pindex,
            struct vm_page **mp) VM_REQUIRES(object->lock)
{
    enum vm_result result = vm_errand_admit(&fs->errand);

    if (result != VM_OK)
        return result;
    *mp = vm_page_alloc(object, pindex);
    if (*mp != NULL)
        return VM_OK;
    if (vm_page_is_freeing(object, pindex))
        return vm_errand_leave_wait(&fs->errand, object, pindex);
    result = vm_errand_leave_memory(&fs->errand);
    if (result == VM_HOST_FAILURE)
        return fault_host_failure(fs, -ENOMEM, VM_PAGEOUT_NO_MEMORY);
    return result;
}

/*
 * May a backing object's page just change its place?  Nobody else may see the object it
 * is in, now or later: it has one shadow, no reference but that (and the one of the
 * errand that brought the page), no handle, a type that cannot be looked up, and is
 * the first object's own backing object.  That the map is still what it was at the
 * lookup goes without saying: M is held since, and after a sleep all is looked up again.
 */
static bool
fault_may_move(const struct faultstate *fs, const struct vm_object *object, vm_pindex_t pindex,
               const struct vm_page *m) VM_REQUIRES(object->lock, fs->first_object->lock)
{
    const struct vm_errand_page *known = vm_errand_find(&fs->errand, object, pindex);
    unsigned own = known != NULL && known->m != NULL;

    return object == fs->first_object->backing_object && object->shadow_count == 1 &&
           object->ref_count == 1 + own && object->handle == NULL &&
           (object->type == OBJT_DEFAULT || object->type == OBJT_SWAP) && m->hold_count == own &&
           m->wire_count == 0 && !vm_page_is_freeing(fs->first_object, fs->pindex);
}

/* A write finds the page in a backing object: move it to the first one, or make one to copy it to. */
static enum vm_result
fault_cow(struct faultstate *fs, struct vm_object *object, vm_pindex_t pindex, struct vm_page *m)
    VM_REQUIRES(object->lock, fs->first_object->lock)
{
    enum vm_result result;

    if (fault_may_move(fs, object, pindex, m)) {
        vm_errand_drop(&fs->errand, object, pindex);
        vm_page_busy(m);
        fs->m = vm_shadow_move_page(m, fs->first_object, fs->pindex);
        vm_meter_add(fs->sys, v_cow_faults, 1);
        vm_meter_add(fs->sys, v_cow_optim, 1);
    } else {
        result = fault_alloc(fs, fs->first_object, fs->pindex, &fs->m);
        if (result != VM_OK)
            return result;
        vm_page_busy(m);
        fs->source = m;
        fs->sole_view =
            fs->first_object->ref_count == 1 && fs->map != NULL && !fault_is_vpagetable(fs);
    }
    fs->kind = FAULT_COW;
    fs->collapse = object == fs->first_object->backing_object &&
                   vm_shadow_is_ripe(fs->first_object, object, fs->pindex);
    return VM_OK;
}

/* The page is resident in the first object, or in a backing object of it. */
static enum vm_result
fault_found(struct faultstate *fs, struct vm_object *object, vm_pindex_t pindex, struct vm_page *m,
            bool write) VM_REQUIRES(object->lock) VM_REQUIRES(fs->first_object->lock)
{
    const struct vm_errand_page *known = vm_errand_find(&fs->errand, object, pindex);
    bool read = known != NULL && known->read;
    enum vm_result result;

    if (vm_page_flag_test(m, VM_PAGE_BUSY))
        return vm_errand_leave_wait(&fs->errand, object, pindex);
    if (object != fs->first_object && write) {
        result = fault_cow(fs, object, pindex, m);
        if (result != VM_OK)
            return result;
    } else {
        vm_page_busy(m);
        fs->m = m;
        fs->kind = read ? FAULT_PAGE_IN : FAULT_RESIDENT;
    }
    vm_errand_found(&fs->errand, fs->first_object, fs->pindex,
                    fs->source != NULL ? fs->source : fs->m, read, fs->lookup.entry->advice);
    return VM_OK;
}

/* The pager has the page, unless this very fault saw it fail. */
static enum vm_result
fault_start_page_in(struct faultstate *fs, struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock)
{
    const struct vm_errand_page *known = vm_errand_find(&fs->errand, object, pindex);
    struct vm_page *m;
    enum vm_result result;

    if (known != NULL && known->m == NULL)
        return known->result;
    result = fault_alloc(fs, object, pindex, &m);
    if (result != VM_OK)
        return result;
    return vm_errand_leave_page_in(&fs->errand, object, m, fs->lookup.entry->advice);
}

/*
 * Look for the page in one object.  VM_OK with fs->m NULL: not here, look in the
 * backing object, which may be the smaller one.
 */
static enum vm_result
fault_look(struct faultstate *fs, struct vm_object *object, vm_pindex_t pindex, bool write)
    VM_REQUIRES(object->lock) VM_REQUIRES(fs->first_object->lock)
{
    struct vm_page *m;

    if ((object->flags & OBJ_DEAD) != 0)
        return VM_OBJECT_DEAD;
    if (pindex >= object->size)
        return object == fs->first_object ? VM_BEYOND_OBJECT : VM_OK;
    m = vm_page_lookup(object, pindex);
    if (m != NULL)
        return fault_found(fs, object, pindex, m, write);
    if (object->type != OBJT_DEFAULT && object->pager->haspage(object, pindex, NULL, NULL))
        return fault_start_page_in(fs, object, pindex);
    return VM_OK;
}

/*
 * The core: bring in (first_object, pindex) for reading or for writing.
 * Locks: O of the first object, held on return too.  Those of backing objects
 * are taken hand over hand, which lock analysis cannot express.
 * Returns VM_OK: fs->m is busy; it is valid, or fs->source is to be copied to it,
 * or it has VM_PAGE_ZERO.  VM_RETRY: an errand was left.  Else: nothing is busy.
 */
static enum vm_result
vm_fault_object(struct faultstate *fs, vm_pindex_t pindex, bool write)
    VM_REQUIRES(fs->first_object->lock) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *object = fs->first_object;
    struct vm_object *next;
    enum vm_result result;

    fs->pindex = pindex;
    fs->m = NULL;
    fs->source = NULL;
    for (;;) {
        result = fault_look(fs, object, pindex, write);
        next = object->backing_object;
        if (result != VM_OK || fs->m != NULL || next == NULL)
            break;
        pindex += object->backing_object_offset;
        vm_mutex_lock(&next->lock);
        if (object != fs->first_object)
            vm_mutex_unlock(&object->lock);
        object = next;
    }
    if (object != fs->first_object)
        vm_mutex_unlock(&object->lock);
    if (result != VM_OK || fs->m != NULL)
        return result;
    fs->kind = FAULT_ZERO_FILL;
    return fault_alloc(fs, fs->first_object, fs->pindex, &fs->m);
}

/* ---- The walk. ---- */

/*
 * The table page at pindex, resident and not busy, of the first object, because a
 * walk writes to it.  VM_RETRY: it must be brought in first.
 */
static enum vm_result
fault_table(struct faultstate *fs, vm_pindex_t pindex, struct vm_page **mp)
    VM_REQUIRES(fs->first_object->lock)
{
    struct vm_page *m = vm_page_lookup(fs->first_object, pindex);
    enum vm_result result;

    if (m != NULL && !vm_page_flag_test(m, VM_PAGE_BUSY)) {
        if (!vm_page_flag_test(m, VM_PAGE_REFERENCED))
            vm_page_flag_set(m, VM_PAGE_REFERENCED);
        *mp = m;
        return VM_OK;
    }
    result = vm_fault_object(fs, pindex, true);
    if (result != VM_OK)
        return result;
    fs->unread_table = true;
    return VM_RETRY;
}

/* From the root to the last entry, setting A and M; tables[l] holds the entry of level l. */
static enum vm_result
fault_walk(struct faultstate *fs, struct vm_page **tables) VM_REQUIRES(fs->first_object->lock)
{
    struct vm_map_entry *entry = fs->lookup.entry;
    struct vpte_walk *walk = &fs->walk;
    enum vm_result result;

    result = vpte_walk_start(walk, entry->format, atomic_load(&entry->root), fs->lookup.pindex,
                             fs->access, fs->first_object->size);
    while (result == VM_OK && !vpte_walk_done(walk)) {
        struct vm_page *m;
        vm_pindex_t table;

        result = vpte_walk_table(walk, &table);
        if (result == VM_OK)
            result = fault_table(fs, table, &m);
        if (result == VM_OK) {
            tables[walk->level + 1] = m;
            result = vpte_walk_step(walk, vm_page_address(m));
        }
    }
    return result;
}

/*
 * Settle what a walk, and prefault with it, did: changed table pages are dirty,
 * bits are counted.
 */
static void
fault_walk_settle(struct faultstate *fs, struct vm_page *const *tables)
    VM_REQUIRES(fs->first_object->lock)
{
    struct vm_system *sys = fs->sys;
    const struct vpte_walk *walk = &fs->walk;

    if (walk->dirtied == 0)
        return;
    for (unsigned level = 1; level <= walk->level; level++) {
        if ((walk->dirtied & 1u << level) != 0)
            vm_page_modified(tables[level]);
    }
    vm_meter_add(sys, v_vpte_a, walk->a_set);
    if (walk->m_set != 0)
        vm_meter_add(sys, v_vpte_m, walk->m_set);
    if (walk->dir_m_set != 0)
        vm_meter_add(sys, v_vpte_dir_m, walk->dir_m_set);
}

/* Why a walk failed, for the exception. */
static void
fault_walk_failed(struct faultstate *fs)
{
    fs->info->level = fs->walk.level;
    fs->info->vpte = fs->walk.steps[fs->walk.level].value;
    vm_meter_add(fs->sys, v_walk_failed, 1);
}

/* Translate the entry's page index into the object's by the guest's own tables. */
static enum vm_result
vm_fault_vpagetable(struct faultstate *fs, struct vm_page **tables, vm_pindex_t *pindex)
    VM_REQUIRES(fs->first_object->lock)
{
    enum vm_result result = fault_walk(fs, tables);

    if (result == VM_OK)
        result = vpte_walk_result(&fs->walk, pindex);
    if (result == VM_OK || result == VM_BAD_FRAME || result == VM_VPTE_INVALID ||
        result == VM_VPTE_PROTECTION)
        vm_meter_add(fs->sys, v_walks, 1);
    if (result == VM_BAD_FRAME || result == VM_VPTE_INVALID || result == VM_VPTE_PROTECTION)
        fault_walk_failed(fs);
    return result;
}

/* ---- Choosing, with O held. ---- */

/* May the page be mapped writable? */
static vm_prot_t
fault_protection(const struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    const struct vm_map_entry *entry = fs->lookup.entry;

    if ((vm_map_entry_prot(entry) & VM_PROT_WRITE) == 0)
        return VM_PROT_READ;
    if (fs->m->object != fs->first_object) /* it shows through others too */
        return VM_PROT_READ;
    if (fault_is_vpagetable(fs)) /* the first write must be seen: it sets M */
        return vpte_walk_writable(&fs->walk) ? VM_PROT_RW : VM_PROT_READ;
    if (fs->access == VM_PROT_WRITE)
        return VM_PROT_RW;
    return vm_prefault_prot(entry, fs->m);
}

/* Add neighbours to the run. */
static void
fault_prefault(struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    if ((fs->flags & VM_FAULT_BURST) == 0 || fs->held != NULL || fs->lookup.wired)
        return;
    if (fault_is_vpagetable(fs))
        vm_prefault_vpagetable(&fs->run, fs->map, fs->lookup.entry, fs->first_object, &fs->walk,
                               fs->cluster);
    else
        vm_prefault_normal(&fs->run, fs->map, fs->lookup.entry, fs->first_object, fs->pindex,
                           fs->kind == FAULT_ZERO_FILL);
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
    prot = fault_protection(fs);
    if (write || (fs->flags & VM_FAULT_DIRTY) != 0 ||
        (fs->held == NULL && (prot & VM_PROT_WRITE) != 0))
        vm_prefault_writeable(fs->lookup.entry, fs->m);
    vm_prefault_init(&fs->run, fs->gpa, fs->m, prot, fs->source != NULL);
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
    fault_walk_settle(fs, tables);
    return result;
}

static enum vm_result
fault_choose(struct faultstate *fs) VM_REQUIRES(fs->first_object->lock)
{
    if ((fs->first_object->flags & OBJ_DEAD) != 0)
        return VM_OBJECT_DEAD;
    if (fault_is_vpagetable(fs))
        return fault_choose_walked(fs);
    return fault_choose_page(fs, fs->lookup.pindex);
}

/* ---- Filling and mapping, without O. ---- */

/* Drop what is mapped at the address. */
static void
fault_unmap(const struct faultstate *fs)
{
    pmap_remove(fs->map->pmap, fs->gpa, gpa_add(fs->gpa, PAGE_SIZE));
}

/*
 * Copy on write: the first object gets a page of its own.  Nobody may go on
 * reading the old one where the first object is mapped.  If that is just here (one
 * NORMAL entry refers to it and nobody else), pmap_enter replaces the mapping.  Else
 * such places cannot be told from others: all mappings go, and come back as they are
 * touched.
 */
static void
fault_copy(struct faultstate *fs)
{
    struct vm_page *source = fs->source;
    struct vm_object *object = source->object;

    vm_page_copy(source, fs->m);
    vm_page_dirty(fs->m);
    if (!fs->sole_view)
        pmap_page_protect(source, VM_PROT_NONE);
    else if (fs->held != NULL)
        fault_unmap(fs);
    vm_mutex_lock(&object->lock);
    vm_page_deactivate(source);
    vm_page_wakeup(source);
    vm_mutex_unlock(&object->lock);
    vm_meter_add(fs->sys, v_cow_faults, 1);
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
        vm_meter_add(fs->sys, v_zfod, 1);
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

    vm_prefault_finish(&fs->run, fs->sys);
    vm_mutex_lock(&object->lock);
    if (vm_page_flag_test(fs->m, VM_PAGE_ZERO))
        vm_page_free(fs->m);
    else if (entered)
        fault_settle_wired(fs);
    else
        fault_settle(fs->m);
    vm_mutex_unlock(&object->lock);
}

/* Map the run. */
static enum vm_result
vm_fault_enter(struct faultstate *fs)
{
    struct vm_system *sys = fs->sys;
    const struct vm_prefault_run *run = &fs->run;
    unsigned behind = VM_PREFAULT_BEHIND - run->first;
    unsigned entered;
    bool hole;
    int error;

    vm_fault_fill(fs, pmap_is_natural(fs->map->pmap, fs->gpa, vm_page_frame(fs->m)));
    hole = vm_page_flag_test(fs->m, VM_PAGE_ZERO);
    error =
        pmap_enter(fs->map->pmap, gpa_from_u64(fs->gpa.value - ((uint64_t)behind << PAGE_SHIFT)),
                   &run->m[run->first], &run->prot[run->first], run->end - run->first, behind,
                   &entered);
    fault_settle_run(fs, error == 0);
    if (error != 0)
        return fault_host_failure(fs, error, "mapping the page failed");
    if (hole) {
        vm_meter_add(sys, v_zfod, 1);
        vm_meter_add(sys, v_ozfod, 1);
    }
    if (entered > 1) {
        fs->info->prefaulted = entered - 1;
        vm_meter_add(sys, v_prefault, entered - 1);
    }
    return VM_OK;
}

/* Hold the page for the caller of vm_fault_page instead. */
static enum vm_result
vm_fault_hold(struct faultstate *fs)
{
    struct vm_object *object = fs->m->object;

    vm_fault_fill(fs, false);
    vm_mutex_lock(&object->lock);
    vm_page_hold(fs->m);
    if ((fs->flags & VM_FAULT_UNSWAP) != 0) {
        vm_page_dirty(fs->m);
        vm_pager_unswapped(object, vm_page_pindex(fs->m));
    }
    fault_settle_wired(fs);
    vm_mutex_unlock(&object->lock);
    *fs->held = fs->m;
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

static enum vm_result
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
    return fs->held != NULL ? vm_fault_hold(fs) : vm_fault_enter(fs);
}

/* ---- The driver. ---- */

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
    if ((fs->flags & VM_FAULT_BURST) != 0 && fs->held == NULL)
        fs->cluster = vm_prefault_cluster(fs->map, fs->lookup.entry, fs->gpa);
    vm_map_interlock(fs->map, &ilock, fs->gpa,
                     gpa_add(fs->gpa, ((uint64_t)fs->cluster + 1) << PAGE_SHIFT));
    result = vm_fault_resolve(fs);
    vm_map_deinterlock(fs->map, &ilock);
    return result;
}

static enum vm_result
vm_fault_attempt(struct faultstate *fs)
{
    vm_prot_t access = fs->access;
    enum vm_result result;

    if ((fs->flags & VM_FAULT_OVERRIDE) != 0)
        access |= VM_PROT_OVERRIDE;
    fs->lookup.prot = VM_PROT_NONE;
    result = vm_map_lookup(fs->map, fs->gpa, access, &fs->lookup);
    fs->info->entry_prot = fs->lookup.prot;
    if (result == VM_HOST_FAILURE)
        return fault_host_failure(fs, fs->lookup.error, "shadowing or growing the entry failed");
    if (result != VM_OK)
        return result;
    fs->first_object = fs->lookup.object;
    fs->collapse = false;
    if (fault_is_vpagetable(fs))
        result = fault_resolve_interlocked(fs);
    else
        result = vm_fault_resolve(fs);
    if (fs->collapse)
        vm_object_collapse(fs->first_object);
    vm_map_lookup_done(fs->map);
    return result;
}

static void
fault_count_kind(struct vm_system *sys, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_RESIDENT:
        vm_meter_add(sys, v_kind_resident, 1);
        break;
    case FAULT_ZERO_FILL:
        vm_meter_add(sys, v_kind_zero_fill, 1);
        break;
    case FAULT_PAGE_IN:
        vm_meter_add(sys, v_kind_page_in, 1);
        break;
    case FAULT_COW:
        vm_meter_add(sys, v_kind_cow, 1);
        break;
    }
}

/* Each fault is counted once, as it ends, so that the kinds add up. */
static void
fault_count(const struct faultstate *fs, enum vm_result result)
{
    struct vm_system *sys = fs->sys;

    vm_meter_add(sys, v_vm_faults, 1);
    if (result == VM_HOST_FAILURE) {
        vm_meter_add(sys, v_kind_host, 1);
    } else if (result != VM_OK) {
        vm_meter_add(sys, v_kind_failed, 1);
    } else {
        fault_count_kind(sys, fs->kind);
        if (fs->info->hardfault)
            vm_meter_add(sys, v_majflt, 1);
        else
            vm_meter_add(sys, v_minflt, 1);
    }
}

/* Everything but where: the map and address, or the object. */
static void
fault_init(struct faultstate *fs, struct vm_system *sys, vm_prot_t access, unsigned flags,
           struct vm_page **held, struct vm_fault_info *info)
{
    assert(access == VM_PROT_READ || access == VM_PROT_WRITE || access == VM_PROT_EXECUTE);
    fs->sys = sys;
    fs->info = info;
    fs->access = access;
    fs->flags = flags;
    fs->held = held;
    vm_errand_init(&fs->errand, sys);
}

/* One fault from beginning to end. */
static enum vm_result
fault_run(struct faultstate *fs, enum vm_result (*attempt)(struct faultstate *))
{
    enum vm_result result;

    while ((result = attempt(fs)) == VM_RETRY) {
        vm_meter_add(fs->sys, v_restarts, 1);
        vm_errand_run(&fs->errand);
    }
    fs->info->result = result;
    fs->info->hardfault = fs->errand.hardfault;
    fault_count(fs, result);
    vm_errand_fini(&fs->errand);
    return result;
}

/* `held` is NULL to enter the page. */
static enum vm_result
fault_run_map(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
              struct vm_page **held, struct vm_fault_info *info)
{
    struct faultstate fs; /* each step writes what later ones read; clearing it all would cost */

    *info = (struct vm_fault_info){ .gpa = gpa, .access = access };
    fault_init(&fs, map->sys, access, flags, held, info);
    fs.map = map;
    fs.gpa = gpa_trunc_page(gpa);
    return fault_run(&fs, vm_fault_attempt);
}

enum vm_result
vm_fault(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
         struct vm_fault_info *info)
{
    return fault_run_map(map, gpa, access, flags, NULL, info);
}

enum vm_result
vm_fault_page(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags, struct vm_page **mp,
              struct vm_fault_info *info)
{
    return fault_run_map(map, gpa, access, flags, mp, info);
}

enum vm_result
vm_fault_page_quick(struct vm_map *map, gpa_t gpa, vm_prot_t access, struct vm_page **mp)
{
    struct vm_fault_info info;

    return vm_fault_page(map, gpa, access, VM_FAULT_NORMAL, mp, &info);
}

/* An attempt on an object: there is no map to look anything up in. */
static enum vm_result
fault_attempt_object(struct faultstate *fs)
{
    enum vm_result result;

    fs->collapse = false;
    result = vm_fault_resolve(fs);
    if (fs->collapse)
        vm_object_collapse(fs->first_object);
    return result;
}

/* The object is resolved as if an entry mapped all of it, through the table if there is one. */
enum vm_result
vm_fault_object_page(struct vm_object *object, const struct vm_fault_table *table,
                     vm_pindex_t pindex, vm_prot_t access, unsigned flags, struct vm_page **mp,
                     struct vm_fault_info *info)
{
    struct vm_map_entry entry = { .object = object, .protection = access };
    struct faultstate fs;

    assert((flags & (VM_FAULT_WIRE_MASK | VM_FAULT_BURST | VM_FAULT_OVERRIDE)) == 0);
    if (table != NULL) {
        entry.maptype = VM_MAPTYPE_VPAGETABLE;
        entry.format = table->format;
        entry.root = table->root;
    }
    *info = (struct vm_fault_info){ .gpa = gpa_from_u64(pindex << PAGE_SHIFT),
                                    .access = access,
                                    .entry_prot = access };
    fault_init(&fs, object->sys, access, flags, mp, info);
    fs.map = NULL;
    fs.gpa = info->gpa;
    fs.first_object = object;
    fs.lookup = (struct vm_map_lookup){
        .entry = &entry, .object = object, .pindex = pindex, .access = access, .prot = access
    };
    return fault_run(&fs, fault_attempt_object);
}
