/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a page index to a busy page: the shadow chain, the pagers, zero-fill, and whether a
 * write copies or moves.  See the picture in vm_fault.c.
 *
 * Locks: O of the first object throughout; those of backing objects hand over hand.
 *
 * Source: DragonFly vm_fault_object.
 */
#include "vmm/vpagetable/vm_fault_state.h"

#include "vmm/vpagetable/vm_pageout.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <errno.h>

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
        return vm_fault_host_failure(fs, -ENOMEM, vm_pageout_no_memory(object->sys));
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

/*
 * A page that is copied and lies in its natural frame at the faulting address: may the copy go
 * to the backing object, and the first one have that frame?  Then the guest's mapping need not
 * change but for its protection, and its memory stays in one piece.  Nobody else may count on
 * the frame.
 */
static bool
fault_may_keep_frame(struct faultstate *fs, const struct vm_page *m)
{
    return fs->map != NULL && vm_fault_enters(fs) && m->hold_count == 0 && m->wire_count == 0 &&
           pmap_window_is_natural(vm_fault_window(fs), fs->gpa.value >> PAGE_SHIFT,
                                  vm_page_frame(m));
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
        vm_meter_add(fs->meter, v_cow_faults, 1);
        vm_meter_add(fs->meter, v_cow_optim, 1);
    } else {
        result = fault_alloc(fs, fs->first_object, fs->pindex, &fs->m);
        if (result != VM_OK)
            return result;
        vm_page_busy(m);
        fs->source = m;
        fs->keep_frame = fault_may_keep_frame(fs, m);
        fs->sole_view =
            fs->first_object->ref_count == 1 && fs->map != NULL && !vm_fault_is_vpagetable(fs);
    }
    fs->kind = FAULT_COW;
    if (object == fs->first_object->backing_object &&
        vm_shadow_is_ripe(fs->first_object, object, fs->pindex))
        vm_errand_leave_collapse(&fs->errand, fs->first_object);
    return VM_OK;
}

/*
 * This fault saw the read fail.  What swap has lost was guest memory, which cannot be missing for
 * a guest that does not expect it: then the host has failed, and not the access.
 */
static enum vm_result
fault_unread(struct faultstate *fs, const struct vm_object *object, enum vm_result result)
{
    if (result != VM_IO_ERROR || object->type != OBJT_SWAP || fs->map == NULL ||
        atomic_load(&fs->map->handles_loss))
        return result;
    return vm_fault_host_failure(fs, -EIO,
                                 "its page cannot be read back from swap and is lost: give --swap "
                                 "a file or device that keeps what is written");
}

/* The page is resident in the first object, or in a backing object of it. */
static enum vm_result
fault_found(struct faultstate *fs, struct vm_object *object, vm_pindex_t pindex, struct vm_page *m,
            bool write) VM_REQUIRES(object->lock) VM_REQUIRES(fs->first_object->lock)
{
    const struct vm_errand_page *known = vm_errand_find(&fs->errand, object, pindex);
    bool read = known != NULL && known->read;
    enum vm_result result;

    if (vm_page_flag_test(m, VM_PAGE_BUSY)) {
        if (known != NULL && known->m == NULL) /* somebody else tries */
            return fault_unread(fs, object, known->result);
        return vm_errand_leave_wait(&fs->errand, object, pindex);
    }
    if (object != fs->first_object && write) {
        result = fault_cow(fs, object, pindex, m);
        if (result != VM_OK)
            return result;
    } else {
        vm_page_busy(m);
        fs->m = m;
        fs->kind = read ? FAULT_PAGE_IN : FAULT_RESIDENT;
        fs->from_file = object->type == OBJT_FILE;
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
        return fault_unread(fs, object, known->result);
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

enum vm_result
vm_fault_object(struct faultstate *fs, vm_pindex_t pindex, bool write)
    VM_REQUIRES(fs->first_object->lock) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *object = fs->first_object;
    struct vm_object *next;
    enum vm_result result;

    fs->step = FAULT_STEP_OBJECT;
    fs->depth = 0;
    fs->pindex = pindex;
    fs->m = NULL;
    fs->source = NULL;
    for (;;) {
        result = fault_look(fs, object, pindex, write);
        next = object->backing_object;
        if (result != VM_OK || fs->m != NULL || next == NULL)
            break;
        pindex += object->backing_object_offset;
        fs->depth++;
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
