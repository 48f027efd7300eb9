/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects: creation, references, the resident index, wiring and the end.
 *
 * The resident index is a bitmap read a word at a time: a page is found by its
 * slot, so nothing but "is it there" needs an index.
 *
 * The end of an object (vm_object_unref) goes through three steps, each of which
 * needs the one before it: nobody does I/O on it any more; its dirty pages are
 * written, if its pager's copy outlives it; its pages are unmapped and freed.
 * Chains of backing objects are followed in a loop, not by recursion.
 */
#include "vmm/vpagetable/vm_object.h"

#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Pages unmapped and freed together. */
#define FREE_BATCH 512

static struct vm_object *
object_new(struct vm_system *sys, uint64_t npages)
{
    struct vm_object *object = calloc(1, sizeof(*object));

    if (object == NULL)
        return NULL;
    object->resident = calloc((npages + 63) / 64, sizeof(*object->resident));
    if (object->resident == NULL) {
        free(object);
        return NULL;
    }
    object->sys = sys;
    object->size = npages;
    object->ref_count = 1;
    vm_mutex_init(&object->lock);
    vm_cond_init(&object->busy);
    LIST_INIT(&object->shadows);
    return object;
}

int
vm_object_create(struct vm_system *sys, enum vm_object_type type, uint64_t npages,
                 const struct vm_pager_ops *pager, void *handle, struct vm_object **objectp)
{
    struct vm_object *object;
    uint64_t extent;
    int error = vm_extent_alloc(sys, npages, &extent);

    if (error != 0)
        return error;
    object = object_new(sys, npages);
    if (object == NULL) {
        vm_extent_free(sys, extent, npages);
        return -ENOMEM;
    }
    object->type = type;
    object->extent = extent;
    object->number = atomic_fetch_add(&sys->nobjects, 1) + 1;
    object->pager = pager;
    object->handle = handle;
    *objectp = object;
    return 0;
}

int
vm_object_create_default(struct vm_system *sys, uint64_t npages, struct vm_object **objectp)
{
    return vm_object_create(sys, OBJT_DEFAULT, npages, &vm_default_pager, NULL, objectp);
}

void
vm_object_ref(struct vm_object *object)
{
    vm_mutex_lock(&object->lock);
    assert(object->ref_count > 0);
    object->ref_count++;
    vm_mutex_unlock(&object->lock);
}

void
vm_object_pip_add(struct vm_object *object)
{
    object->paging_in_progress++;
}

void
vm_object_pip_wakeup(struct vm_object *object)
{
    assert(object->paging_in_progress > 0);
    if (--object->paging_in_progress == 0)
        vm_cond_broadcast(&object->busy);
}

vm_pindex_t
vm_object_next_resident(const struct vm_object *object, vm_pindex_t pindex)
{
    uint64_t words = (object->size + 63) / 64;
    uint64_t word = pindex / 64;
    uint64_t bits;

    if (pindex >= object->size || object->resident_count == 0)
        return object->size;
    bits = object->resident[word] & (UINT64_MAX << (pindex % 64));
    while (bits == 0) {
        if (++word == words)
            return object->size;
        bits = object->resident[word];
    }
    return word * 64 + (unsigned)__builtin_ctzll(bits);
}

unsigned
vm_object_resident_run_behind(const struct vm_object *object, vm_pindex_t pindex, unsigned max)
{
    unsigned run = 0;

    if (pindex > object->size)
        return 0;
    while (run < max && run < pindex) {
        vm_pindex_t last = pindex - run - 1;
        unsigned width = (unsigned)(last % 64) + 1;
        uint64_t absent = ~(object->resident[last / 64] << (64 - width));
        unsigned ones = absent == 0 ? 64 : (unsigned)__builtin_clzll(absent);

        run += ones;
        if (ones < width)
            break;
    }
    return run < max ? run : max;
}

/* Sleep until some wanted page of the object changes; m is the one that is wanted. */
static void
object_wait_page(struct vm_object *object, struct vm_page *m, const _Atomic bool *stop)
    VM_REQUIRES(object->lock)
{
    vm_page_flag_set(m, VM_PAGE_WANTED);
    vm_cond_wait_until(&object->busy, &object->lock, stop);
}

/*
 * Busy the next pages from *pindex on, which is advanced.  A page somebody has
 * busy or held ends the batch; as the first one it is waited for.  (Not with
 * others busy already: who has it may be waiting for one of those.)
 * Returns their number, 0 only if there are none left or *stop is set.
 */
static unsigned
free_collect(struct vm_object *object, vm_pindex_t *pindex, struct vm_page **run,
             const _Atomic bool *stop) VM_REQUIRES(object->lock)
{
    unsigned count = 0;

    while (count < FREE_BATCH && !vm_stopped(stop)) {
        vm_pindex_t next = vm_object_next_resident(object, *pindex);
        struct vm_page *m = vm_page_lookup(object, next);

        if (m == NULL)
            break;
        if (!vm_page_flag_test(m, VM_PAGE_BUSY) && m->hold_count == 0) {
            vm_page_busy(m);
            run[count++] = m;
            *pindex = next + 1;
        } else if (count == 0) {
            object_wait_page(object, m, stop);
        } else {
            break;
        }
    }
    return count;
}

/* Unmap and free every page, until *stop is set.  The object is dead: none is added meanwhile. */
static void
object_free_pages(struct vm_object *object, const _Atomic bool *stop) VM_REQUIRES(object->lock)
{
    struct vm_page *run[FREE_BATCH];
    vm_pindex_t pindex = 0;
    unsigned count;

    while (object->freeing_count != 0 && !vm_stopped(stop))
        vm_cond_wait_until(&object->busy, &object->lock, stop);
    while ((count = free_collect(object, &pindex, run, stop)) != 0) {
        vm_mutex_unlock(&object->lock);
        pmap_pages_unmap(run, count);
        vm_mutex_lock(&object->lock);
        vm_page_free_run(run, count);
    }
}

void
vm_object_unwire(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_mutex_lock(&object->lock);
    for (; start < end; start++) {
        struct vm_page *m = vm_page_lookup(object, start);

        assert(m != NULL && m->wire_count != 0);
        vm_page_unwire(m, true);
    }
    vm_mutex_unlock(&object->lock);
}

void
vm_object_scan_unpin(struct vm_object *object)
{
    struct vm_system *sys = object->sys;

    vm_mutex_lock(&sys->queue_lock);
    if (--object->scan_pins == 0)
        vm_cond_broadcast(&sys->scan_ended);
    vm_mutex_unlock(&sys->queue_lock);
}

/* Wait until nobody scans the object any more.  It has no page left. */
static void
object_scan_end(struct vm_object *object)
{
    struct vm_system *sys = object->sys;

    vm_mutex_lock(&sys->queue_lock);
    while (object->scan_pins != 0)
        vm_cond_wait(&sys->scan_ended, &sys->queue_lock);
    vm_mutex_unlock(&sys->queue_lock);
}

void
vm_object_destroy(struct vm_object *object)
{
    assert(object->resident_count == 0 && object->backing_object == NULL);
    assert(LIST_EMPTY(&object->shadows));
    object_scan_end(object);
    if (object->pager->dealloc != NULL)
        object->pager->dealloc(object);
    vm_extent_free(object->sys, object->extent, object->size);
    vm_cond_fini(&object->busy);
    vm_mutex_fini(&object->lock);
    free(object->resident);
    free(object);
}

/* The last chance to write dirty pages.  What is lost here is told. */
static void
object_write_back(struct vm_object *object, const _Atomic bool *stop) VM_REQUIRES(object->lock)
{
    struct vm_system *sys = object->sys;

    if (vm_object_flush_locked(object, 0, object->size, VM_FLUSH_FORCE, stop) != -EIO ||
        sys->pageout_error == NULL)
        return;
    vm_mutex_unlock(&object->lock);
    sys->pageout_error(sys->pageout_error_context,
                       "dirty pages of a file could not be written back and are lost",
                       vm_pager_error(object));
    vm_mutex_lock(&object->lock);
}

/* Is nothing left of the dead object but itself? */
static bool
object_is_empty(const struct vm_object *object) VM_REQUIRES(object->lock)
{
    return object->paging_in_progress == 0 && object->freeing_count == 0 &&
           object->resident_count == 0;
}

/*
 * Nobody refers to the object any more: end it.  Returns its backing object or NULL; or the
 * object itself, dead and with the reference again, when *stop was set before it was empty.
 */
static struct vm_object *
object_terminate(struct vm_object *object, const _Atomic bool *stop) VM_RELEASES(object->lock)
{
    struct vm_object *backing;

    object->flags |= OBJ_DEAD;
    while (object->paging_in_progress != 0 && !vm_stopped(stop))
        vm_cond_wait_until(&object->busy, &object->lock, stop);
    object_write_back(object, stop);
    if (!vm_stopped(stop))
        object_free_pages(object, stop);
    if (!object_is_empty(object)) {
        assert(vm_stopped(stop));
        object->ref_count++;
        vm_mutex_unlock(&object->lock);
        return object;
    }
    vm_mutex_unlock(&object->lock);

    backing = vm_shadow_detach(object);
    vm_object_destroy(object);
    return backing;
}

/*
 * Drop one reference.  Returns the next object to be released: the backing object of a
 * dead one; or, when only one shadow is left, that, after it was collapsed; or the object
 * itself, when *stop was set.
 */
static struct vm_object *
object_release(struct vm_object *object, const _Atomic bool *stop)
{
    struct vm_object *shadow;

    vm_mutex_lock(&object->lock);
    assert(object->ref_count > 0);
    if (object->ref_count == 2 && object->shadow_count == 1) {
        vm_mutex_unlock(&object->lock);
        if (vm_shadow_unref(object, &shadow)) {
            if (shadow != NULL)
                vm_object_collapse(shadow, stop);
            return shadow;
        }
        vm_mutex_lock(&object->lock);
    }
    if (--object->ref_count != 0) {
        vm_mutex_unlock(&object->lock);
        return NULL;
    }
    return object_terminate(object, stop);
}

void
vm_object_unref(struct vm_object *object)
{
    while (object != NULL)
        object = object_release(object, NULL);
}

struct vm_object *
vm_object_unref_until(struct vm_object *object, const _Atomic bool *stop)
{
    while (object != NULL && !vm_stopped(stop))
        object = object_release(object, stop);
    return object;
}
