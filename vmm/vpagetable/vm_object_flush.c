/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write-back: dirty pages go to the pager of an object whose pager's copy outlives it.
 *
 * Pages are written in runs of consecutive indexes.  A run is busy, and no mapping of
 * it allows writes, from before its bytes are taken until they are written: what a
 * guest writes to it meanwhile faults, waits, and makes the page dirty again.  A held
 * page is waited for, because its holder may write to it at any time.
 *
 * Locks: O, dropped while the pager writes.
 */
#include "vmm/vpagetable/vm_object.h"

#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/vm_pager.h"

#include <errno.h>

/* Pages written together. */
#define FLUSH_BATCH 32

/* Is the page to be written? */
static bool
flush_wants(const struct vm_page *m, unsigned flags)
{
    if (atomic_load(&m->dirty) == 0)
        return false;
    return (flags & VM_FLUSH_FORCE) != 0 || !vm_page_flag_test(m, VM_PAGE_NOSYNC);
}

/* Sleep until some wanted page of the object changes; m is the one that is wanted. */
static void
flush_wait(struct vm_object *object, struct vm_page *m, const _Atomic bool *stop)
    VM_REQUIRES(object->lock)
{
    vm_page_flag_set(m, VM_PAGE_WANTED);
    vm_cond_wait_until(&object->busy, &object->lock, stop);
}

/* The first page of [pindex, end) to write, busied once nobody has it busy or held; or NULL. */
static struct vm_page *
flush_first(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t end, unsigned flags,
            const _Atomic bool *stop) VM_REQUIRES(object->lock)
{
    while (!vm_stopped(stop) && (pindex = vm_object_next_resident(object, pindex)) < end) {
        struct vm_page *m = vm_page_lookup(object, pindex);

        if (!flush_wants(m, flags)) {
            pindex++;
        } else if (vm_page_flag_test(m, VM_PAGE_BUSY) || m->hold_count != 0) {
            flush_wait(object, m, stop);
        } else {
            vm_page_busy(m);
            return m;
        }
    }
    return NULL;
}

/* Collect a run of pages to write from pindex on, all busied.  Returns their number. */
static unsigned
flush_collect(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t end, unsigned flags,
              const _Atomic bool *stop, struct vm_page **run) VM_REQUIRES(object->lock)
{
    struct vm_page *m = flush_first(object, pindex, end, flags, stop);
    unsigned count = 0;

    while (m != NULL) {
        vm_pindex_t next = vm_page_pindex(m) + 1;

        run[count++] = m;
        m = count < FLUSH_BATCH && next < end ? vm_page_lookup(object, next) : NULL;
        if (m == NULL || !flush_wants(m, flags) || m->hold_count != 0 ||
            vm_page_flag_test(m, VM_PAGE_BUSY))
            break;
        vm_page_busy(m);
    }
    return count;
}

/* Write a run of busy dirty pages; sleeps without O.  Returns how many failed. */
static unsigned
flush_write(struct vm_object *object, struct vm_page **run, unsigned count)
    VM_REQUIRES(object->lock)
{
    bool done[FLUSH_BATCH];
    unsigned written = 0;

    vm_object_pip_add(object);
    vm_mutex_unlock(&object->lock);
    for (unsigned i = 0; i < count; i++)
        pmap_page_protect(run[i], VM_PROT_READ);
    (void)object->pager->putpages(object, run, count, done);
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++) {
        written += done[i];
        vm_page_wakeup(run[i]);
    }
    vm_object_pip_wakeup(object);
    vm_meter_add(&object->sys->meter, v_pageout, written);
    vm_meter_add(&object->sys->meter, v_pageout_failed, count - written);
    return count - written;
}

int
vm_object_flush_locked(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned flags,
                       const _Atomic bool *stop)
{
    struct vm_page *run[FLUSH_BATCH];
    int error = 0;
    unsigned count;

    if ((object->flags & OBJ_WRITEBACK) == 0)
        return 0;
    if (end > object->size)
        end = object->size;
    while ((count = flush_collect(object, start, end, flags, stop, run)) != 0) {
        start = vm_page_pindex(run[count - 1]) + 1;
        if (flush_write(object, run, count) != 0)
            error = -EIO;
    }
    return vm_stopped(stop) ? -ECANCELED : error;
}

int
vm_object_flush(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned flags,
                const _Atomic bool *stop)
{
    int error;

    vm_mutex_lock(&object->lock);
    error = vm_object_flush_locked(object, start, end, flags, stop);
    vm_mutex_unlock(&object->lock);
    return error;
}

int
vm_object_page_clean(struct vm_object *object)
{
    return vm_object_flush(object, 0, UINT64_MAX, VM_FLUSH_FORCE, NULL);
}
