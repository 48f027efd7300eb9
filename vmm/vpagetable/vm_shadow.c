/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow chains; see vm_shadow.h.
 *
 * A collapse goes in batches: both objects are locked, looked at afresh, and some
 * pages go up or away.  In between the chain is in order, only its pages are spread
 * differently.  So a page that is in use just ends it, and who waits for one of the
 * objects or for S waits for a portion, which is VM_SHADOW_STEPS batches, at most.
 *
 * Locks: shadow_..., collapse_..., bypass: S held, which lock analysis cannot tell to
 * be the same for all objects of a system.
 *
 * Source: DragonFly vm_object_collapse, vm_object_backing_scan, vm_object_shadow.
 */
#include "vmm/vpagetable/vm_shadow.h"

#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/vm_pager.h"

#include <time.h>

/* Pages of a backing object that nobody sees, busy. */
struct shadow_run {
    unsigned count;
    struct vm_page *m[VM_SHADOW_BATCH];
};

/* --- Links --------------------------------------------------------------- */

void
vm_shadow_attach(struct vm_object *object, struct vm_object *backing, vm_pindex_t offset)
{
    assert(object->backing_object == NULL && object != backing);
    object->backing_object = backing;
    object->backing_object_offset = offset;
    object->showing = VM_SHADOW_UNKNOWN;
    backing->shadow_count++;
    LIST_INSERT_HEAD(&backing->shadows, object, shadow_link);
}

/* The reference of the backing object becomes the caller's. */
static void
shadow_unlink(struct vm_object *object, struct vm_object *backing) VM_REQUIRES(backing->lock)
{
    assert(backing->shadow_count > 0);
    LIST_REMOVE(object, shadow_link);
    backing->shadow_count--;
    object->backing_object = NULL;
    object->backing_object_offset = 0;
}

struct vm_object *
vm_shadow_detach(struct vm_object *object)
{
    struct vm_system *sys = object->sys;
    struct vm_object *backing;

    vm_mutex_lock(&sys->shadow_lock);
    backing = object->backing_object;
    if (backing != NULL) {
        vm_mutex_lock(&backing->lock);
        shadow_unlink(object, backing);
        vm_mutex_unlock(&backing->lock);
    }
    vm_mutex_unlock(&sys->shadow_lock);
    return backing;
}

/* --- Pages of the two ---------------------------------------------------- */

/* Nobody but map entries and shadows can get at its pages, and no I/O is under way. */
static bool
object_is_quiet(const struct vm_object *object) VM_REQUIRES(object->lock)
{
    return (object->flags & OBJ_DEAD) == 0 && object->handle == NULL &&
           (object->type == OBJT_DEFAULT || object->type == OBJT_SWAP) &&
           object->paging_in_progress == 0;
}

/* Has the object's pager the page? */
static bool
pager_has(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    return object->type != OBJT_DEFAULT && object->pager->haspage(object, pindex, NULL, NULL);
}

/* Does page p of the backing object show at *pindex of the object if that has none itself? */
static bool
shows_at(const struct vm_object *object, vm_pindex_t p, vm_pindex_t *pindex)
    VM_REQUIRES(object->lock)
{
    vm_pindex_t offset = object->backing_object_offset;

    if (p < offset || p - offset >= object->size)
        return false;
    *pindex = p - offset;
    return true;
}

static bool
page_is_in_use(const struct vm_page *m)
{
    return vm_page_flag_test(m, VM_PAGE_BUSY) || m->hold_count != 0 || m->wire_count != 0;
}

struct vm_page *
vm_shadow_move_page(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
    VM_NO_LOCK_ANALYSIS
{
    struct vm_page *to = &object->sys->pages[object->extent + pindex];
    bool writeable = vm_page_flag_test(m, VM_PAGE_WRITEABLE);

    vm_pager_unswapped(m->object, vm_page_pindex(m));
    pmap_page_moved(m, to);
    to = vm_page_rename(m, object, pindex);
    if (writeable)
        vm_page_flag_set(to, VM_PAGE_WRITEABLE);
    return to;
}

/* --- Collapse ------------------------------------------------------------ */

/*
 * Move up to a batch of the backing object's pages; those that nobody sees are
 * collected in *run.  Returns false at a page that is in use.
 */
static bool
collapse_pages(struct vm_object *object, struct vm_object *backing, struct shadow_run *run)
    VM_REQUIRES(object->lock, backing->lock)
{
    vm_pindex_t p = 0;

    for (unsigned i = 0; i < VM_SHADOW_BATCH; i++, p++) {
        vm_pindex_t pindex;
        struct vm_page *m;

        p = vm_object_next_resident(backing, p);
        m = vm_page_lookup(backing, p);
        if (m == NULL)
            break;
        if (page_is_in_use(m))
            return false;
        if (!shows_at(object, p, &pindex) || vm_page_lookup(object, pindex) != NULL ||
            pager_has(object, pindex)) {
            vm_page_busy(m);
            run->m[run->count++] = m;
        } else if (vm_page_is_freeing(object, pindex)) {
            return false;
        } else {
            vm_page_busy(m);
            vm_page_wakeup(vm_shadow_move_page(m, object, pindex));
        }
    }
    return true;
}

/*
 * Free busy, unmapped pages, neighbours together.  (Between others there may be pages
 * that were read in meanwhile.)
 */
static void
collapse_free_pages(const struct shadow_run *run)
{
    for (unsigned i = 0, n; i < run->count; i += n) {
        for (n = 1; i + n < run->count && run->m[i + n] == run->m[i] + n; n++)
            ;
        vm_page_free_run(&run->m[i], n);
    }
}

/* Unmap and free the pages of the run; both objects are unlocked for a while. */
static void
collapse_free(struct vm_object *object, struct vm_object *backing, const struct shadow_run *run)
    VM_REQUIRES(object->lock, backing->lock)
{
    if (run->count == 0)
        return;
    vm_object_pip_add(object);
    vm_object_pip_add(backing);
    vm_mutex_unlock(&backing->lock);
    vm_mutex_unlock(&object->lock);
    pmap_pages_unmap(run->m, run->count);
    vm_mutex_lock(&object->lock);
    vm_mutex_lock(&backing->lock);
    collapse_free_pages(run);
    vm_object_pip_wakeup(backing);
    vm_object_pip_wakeup(object);
}

/* The object gets the backing object's place in front of the next one. */
static void
shadow_replace(struct vm_object *object, struct vm_object *backing, bool counted)
    VM_REQUIRES(object->lock, backing->lock)
{
    vm_pindex_t offset = object->backing_object_offset + backing->backing_object_offset;
    struct vm_object *next = backing->backing_object;

    shadow_unlink(object, backing);
    if (next == NULL)
        return;
    vm_mutex_lock(&next->lock);
    if (counted)
        shadow_unlink(backing, next);
    else
        next->ref_count++;
    vm_shadow_attach(object, next, offset);
    vm_mutex_unlock(&next->lock);
}

/* The backing object has no pages any more: its swap space goes up, and it is dead. */
static bool
collapse_end(struct vm_object *object, struct vm_object *backing, struct vm_object_list *dead)
    VM_REQUIRES(object->lock, backing->lock)
{
    if (backing->freeing_count != 0)
        return false;
    if (backing->type == OBJT_SWAP &&
        vm_pager_move_swap(backing, object, object->backing_object_offset) != 0)
        return false;
    shadow_replace(object, backing, true);
    backing->ref_count = 0;
    backing->flags |= OBJ_DEAD;
    LIST_INSERT_HEAD(dead, backing, shadow_link);
    vm_meter_add(&object->sys->meter, v_collapses, 1);
    return true;
}

/* A batch of the collapse, or its end.  Returns false when it cannot go on now. */
static bool
collapse_step(struct vm_object *object, struct vm_object *backing, struct vm_object_list *dead)
    VM_REQUIRES(object->lock, backing->lock)
{
    struct shadow_run run;
    bool more;

    if (backing->resident_count == 0)
        return collapse_end(object, backing, dead);
    run.count = 0;
    more = collapse_pages(object, backing, &run);
    collapse_free(object, backing, &run);
    return more;
}

/* --- Bypass -------------------------------------------------------------- */

/* Has the object a page of its own at pindex, which stays? */
static bool
object_owns(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    struct vm_page *m = vm_page_lookup(object, pindex);

    return m != NULL ? !vm_page_flag_test(m, VM_PAGE_BUSY) : pager_has(object, pindex);
}

/*
 * The first page at or after pindex of the object that shows the backing object's;
 * object->size if there is none.
 */
static vm_pindex_t
first_showing(struct vm_object *object, struct vm_object *backing, vm_pindex_t pindex)
    VM_REQUIRES(object->lock, backing->lock)
{
    vm_pindex_t offset = object->backing_object_offset;

    for (; pindex < object->size; pindex++) {
        vm_pindex_t p = pindex + offset;

        if (backing->type == OBJT_DEFAULT)
            p = vm_object_next_resident(backing, p);
        if (p >= backing->size || p - offset >= object->size)
            break;
        pindex = p - offset;
        if ((vm_page_lookup(backing, p) != NULL || pager_has(backing, p)) &&
            !object_owns(object, pindex))
            return pindex;
    }
    return object->size;
}

/*
 * Does nothing of the backing object show any more?  The page that was the last
 * answer's reason is looked at first, and pages before it again only when there is none
 * after it: all answers together cost little more than one look at all pages.
 */
static bool
is_obscured(struct vm_object *object, struct vm_object *backing)
    VM_REQUIRES(object->lock, backing->lock)
{
    vm_pindex_t from = object->showing != VM_SHADOW_UNKNOWN ? object->showing : 0;
    vm_pindex_t found = first_showing(object, backing, from);

    if (found == object->size && from != 0)
        found = first_showing(object, backing, 0);
    object->showing = found;
    return found == object->size;
}

/*
 * Returns false if the backing object is still needed.  *left is its only shadow if it
 * has just one now and no other reference.
 */
static bool
bypass(struct vm_object *object, struct vm_object *backing, struct vm_object **left)
    VM_REQUIRES(object->lock, backing->lock)
{
    if (!is_obscured(object, backing))
        return false;
    shadow_replace(object, backing, false);
    backing->ref_count--;
    if (backing->ref_count == 1 && backing->shadow_count == 1)
        *left = LIST_FIRST(&backing->shadows);
    vm_meter_add(&object->sys->meter, v_bypasses, 1);
    return true;
}

/* --- Both ---------------------------------------------------------------- */

/* What may be done before S is let go of. */
struct portion {
    unsigned steps;             /* left */
    struct vm_object_list dead; /* to be destroyed without S */
    struct vm_object *left;     /* its backing object is its alone now: that can be collapsed too */
};

static void
portion_init(struct portion *portion)
{
    portion->steps = VM_SHADOW_STEPS;
    LIST_INIT(&portion->dead);
    portion->left = NULL;
}

/* Without S. */
static void
portion_finish(struct portion *portion)
{
    struct vm_object *object;

    while ((object = LIST_FIRST(&portion->dead)) != NULL) {
        LIST_REMOVE(object, shadow_link);
        vm_object_destroy(object);
    }
}

/*
 * One step to make the chain behind the object shorter; false when there is none.
 * `alone`: only a collapse counts.
 */
static bool
shadow_step(struct portion *portion, struct vm_object *object, bool alone)
{
    struct vm_object *backing;
    bool more = false;

    vm_mutex_lock(&object->lock);
    backing = object->backing_object;
    if (backing != NULL) {
        vm_mutex_lock(&backing->lock);
        if (object_is_quiet(object) && object_is_quiet(backing)) {
            if (backing->ref_count == 1)
                more = collapse_step(object, backing, &portion->dead);
            else if (!alone)
                more = bypass(object, backing, &portion->left);
        }
        vm_mutex_unlock(&backing->lock);
    }
    vm_mutex_unlock(&object->lock);
    return more;
}

/* Returns whether there may be more to do: the portion is used up, or portion->left is set. */
static bool
shadow_steps(struct portion *portion, struct vm_object *object, bool alone)
{
    while (portion->steps != 0 && portion->left == NULL) {
        portion->steps--;
        if (!shadow_step(portion, object, alone))
            return false;
    }
    return true;
}

/* A reference of an object that S alone kept from going away; false: it is going. */
static bool
shadow_ref(struct vm_object *object)
{
    bool alive;

    vm_mutex_lock(&object->lock);
    alive = object->ref_count != 0;
    object->ref_count += alive;
    vm_mutex_unlock(&object->lock);
    return alive;
}

/* A portion with S from beginning to end.  *left has a reference of the caller's. */
static bool
shadow_portion(struct vm_object *object, bool alone, struct vm_object **left)
{
    struct vm_system *sys = object->sys;
    struct portion portion;
    bool more;

    portion_init(&portion);
    vm_mutex_lock(&sys->shadow_lock);
    more = shadow_steps(&portion, object, alone);
    *left = portion.left != NULL && shadow_ref(portion.left) ? portion.left : NULL;
    vm_mutex_unlock(&sys->shadow_lock);
    portion_finish(&portion);
    return more;
}

/* Most objects have none: they need not wait for S. */
static bool
has_backing(struct vm_object *object)
{
    bool has;

    vm_mutex_lock(&object->lock);
    has = object->backing_object != NULL;
    vm_mutex_unlock(&object->lock);
    return has;
}

/*
 * Between portions.  A mutex goes to who is awake: one that is let go of and taken again at once
 * never gets to who sleeps for it.
 */
static void
let_others(void)
{
    const struct timespec moment = { .tv_nsec = 1 };

    (void)nanosleep(&moment, NULL);
}

void
vm_object_collapse(struct vm_object *object, const _Atomic bool *stop)
{
    struct vm_object *left;
    bool more = has_backing(object);

    while (more && !vm_stopped(stop)) {
        struct vm_object *none;

        more = shadow_portion(object, false, &left);
        if (more)
            let_others();
        if (left == NULL)
            continue;
        while (!vm_stopped(stop) && shadow_portion(left, true, &none))
            let_others();
        vm_object_unref(left);
    }
}

bool
vm_shadow_unref(struct vm_object *object, struct vm_object **shadow)
{
    struct vm_system *sys = object->sys;
    bool last;

    *shadow = NULL;
    vm_mutex_lock(&sys->shadow_lock);
    vm_mutex_lock(&object->lock);
    last = object->ref_count == 1;
    if (!last && --object->ref_count == 1 && object->shadow_count == 1)
        *shadow = LIST_FIRST(&object->shadows);
    vm_mutex_unlock(&object->lock);
    if (*shadow != NULL && !shadow_ref(*shadow))
        *shadow = NULL;
    vm_mutex_unlock(&sys->shadow_lock);
    return !last;
}

/* One portion at most, and no reference that might be the last: M is held. */
static void
shadow_collapse_some(struct vm_object *object)
{
    struct vm_system *sys = object->sys;
    struct portion portion;
    struct vm_object *left;

    if (!has_backing(object))
        return;
    portion_init(&portion);
    vm_mutex_lock(&sys->shadow_lock);
    while (shadow_steps(&portion, object, false) && (left = portion.left) != NULL) {
        portion.left = NULL;
        (void)shadow_steps(&portion, left, true);
    }
    vm_mutex_unlock(&sys->shadow_lock);
    portion_finish(&portion);
}

int
vm_object_shadow(struct vm_object **objectp, vm_pindex_t *offset, uint64_t npages)
{
    struct vm_object *backing = *objectp;
    struct vm_object *object;
    int error = vm_object_create_default(backing->sys, npages, &object);

    if (error != 0)
        return error;
    shadow_collapse_some(backing);
    vm_mutex_lock(&backing->lock);
    vm_shadow_attach(object, backing, *offset);
    vm_mutex_unlock(&backing->lock);
    *objectp = object;
    *offset = 0;
    return 0;
}

bool
vm_shadow_is_ripe(const struct vm_object *object, const struct vm_object *backing,
                  vm_pindex_t pindex)
{
    if (backing->ref_count == 1)
        return backing->resident_count <= VM_SHADOW_BATCH;
    return object->showing == VM_SHADOW_UNKNOWN || object->showing == pindex;
}
