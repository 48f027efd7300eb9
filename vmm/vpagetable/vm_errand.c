/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errands of a fault; see vm_errand.h.
 *
 * Reading: the needed page was made, busy and not valid, before the fault let go
 * of its locks, so nobody else reads it too.  Its neighbours that are not
 * resident are read along.  Pages that were read become valid, the others are
 * freed; whoever waited for one looks again.
 */
#include "vmm/vpagetable/vm_errand.h"

#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_prefault.h"

#include <string.h>

/* Pages read in one I/O: around the needed one, or after it where access is sequential. */
#define CLUSTER_MAX 32
#define CLUSTER_BEHIND 7
#define CLUSTER_AHEAD 8

void
vm_errand_init(struct vm_errand *errand, struct vm_system *sys)
{
    errand->sys = sys;
    errand->kind = VM_ERRAND_NONE;
    errand->hardfault = false;
    errand->npages = 0;
}

static void
errand_page_release(const struct vm_errand_page *page)
{
    if (page->m != NULL)
        vm_page_unhold(page->m);
    vm_object_unref(page->object);
}

void
vm_errand_fini(struct vm_errand *errand)
{
    assert(errand->kind == VM_ERRAND_NONE);
    while (errand->npages != 0)
        errand_page_release(&errand->pages[--errand->npages]);
}

static void
errand_pend(struct vm_errand *errand, enum vm_errand_kind kind, struct vm_object *object,
            vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    assert(errand->kind == VM_ERRAND_NONE);
    object->ref_count++;
    errand->kind = kind;
    errand->object = object;
    errand->pindex = pindex;
}

enum vm_result
vm_errand_leave_wait(struct vm_errand *errand, struct vm_object *object, vm_pindex_t pindex)
{
    errand_pend(errand, VM_ERRAND_WAIT, object, pindex);
    return VM_RETRY;
}

enum vm_result
vm_errand_leave_page_in(struct vm_errand *errand, struct vm_object *object, struct vm_page *m,
                        enum vm_map_advice advice)
{
    errand_pend(errand, VM_ERRAND_PAGE_IN, object, vm_page_pindex(m));
    vm_object_pip_add(object);
    errand->m = m;
    errand->advice = advice;
    return VM_RETRY;
}

/* Entry i is not needed any more; its hold and reference become the caller's. */
static struct vm_errand_page
errand_page_remove(struct vm_errand *errand, unsigned i)
{
    struct vm_errand_page page = errand->pages[i];

    errand->npages--;
    memmove(&errand->pages[i], &errand->pages[i + 1],
            (errand->npages - i) * sizeof(errand->pages[0]));
    return page;
}

static void
errand_page_add(struct vm_errand *errand, const struct vm_errand_page *page)
{
    assert(errand->npages < VM_ERRAND_PAGES);
    errand->pages[errand->npages++] = *page;
}

void
vm_errand_keep(struct vm_errand *errand, struct vm_object *object, struct vm_page *m)
{
    struct vm_errand_page page = { .object = object, .pindex = vm_page_pindex(m), .m = m };

    if (errand->npages == VM_ERRAND_PAGES)
        return;
    object->ref_count++;
    vm_page_hold(m);
    errand_page_add(errand, &page);
}

const struct vm_errand_page *
vm_errand_find(const struct vm_errand *errand, const struct vm_object *object, vm_pindex_t pindex)
{
    for (unsigned i = 0; i < errand->npages; i++) {
        if (errand->pages[i].object == object && errand->pages[i].pindex == pindex)
            return &errand->pages[i];
    }
    return NULL;
}

/* Make room by letting go of the oldest page, or of the one at (object, pindex). */
static void
errand_make_room(struct vm_errand *errand, const struct vm_object *object, vm_pindex_t pindex)
{
    const struct vm_errand_page *known = vm_errand_find(errand, object, pindex);
    struct vm_errand_page page;

    if (known == NULL && errand->npages < VM_ERRAND_PAGES)
        return;
    page = errand_page_remove(errand, known != NULL ? (unsigned)(known - errand->pages) : 0);
    errand_page_release(&page);
}

/* A page that this very fault holds would never stop being freed: let go of it first. */
static void
errand_wait(struct vm_errand *errand)
{
    struct vm_object *object = errand->object;

    errand_make_room(errand, object, errand->pindex);
    vm_meter_add(errand->sys, v_intrans, 1);
    vm_mutex_lock(&object->lock);
    vm_page_sleep_busy(object, errand->pindex);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
}

/* A page to read along, if there is none at pindex. */
static struct vm_page *
cluster_page(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    if (vm_page_lookup(object, pindex) != NULL)
        return NULL;
    return vm_page_alloc(object, pindex);
}

static unsigned
cluster_min(unsigned pages, uint64_t limit)
{
    return pages < limit ? pages : (unsigned)limit;
}

/* How far around the needed page one I/O may reach: advice, the pager and the RAM budget say. */
static void
cluster_limits(const struct vm_errand *errand, unsigned *behind, unsigned *ahead)
    VM_REQUIRES(errand->object->lock)
{
    struct vm_object *object = errand->object;
    bool sequential = errand->advice == VM_ADVICE_SEQUENTIAL;
    uint64_t room = vm_prefault_room(object->sys);

    *behind = 0;
    *ahead = 0;
    if (errand->advice == VM_ADVICE_RANDOM)
        return;
    (void)object->pager->haspage(object, errand->pindex, behind, ahead);
    *behind = cluster_min(*behind, sequential ? 0 : CLUSTER_BEHIND);
    *ahead = cluster_min(*ahead, sequential ? CLUSTER_MAX - 1 : CLUSTER_AHEAD);
    *behind = cluster_min(*behind, room);
    *ahead = cluster_min(*ahead, room - *behind);
}

/*
 * Collect the pages of one I/O in m[], busy, in ascending order; m[*reqpage] is
 * the needed one.  Returns their number.
 * Source: DragonFly vm_fault_additional_pages.
 */
static unsigned
vm_fault_additional_pages(const struct vm_errand *errand, struct vm_page **m, unsigned *reqpage)
    VM_REQUIRES(errand->object->lock)
{
    struct vm_page *back[CLUSTER_BEHIND];
    unsigned behind, ahead, n = 0;
    struct vm_page *more;

    cluster_limits(errand, &behind, &ahead);
    while (n < behind &&
           (more = cluster_page(errand->object, errand->pindex - n - 1)) != NULL)
        back[n++] = more;
    for (unsigned i = 0; i < n; i++)
        m[i] = back[n - 1 - i];
    *reqpage = n;
    m[n++] = errand->m;
    while (n - *reqpage <= ahead &&
           (more = cluster_page(errand->object, errand->pindex + n - *reqpage)) != NULL)
        m[n++] = more;
    return n;
}

/* Pages that were read become valid, the others go.  Returns how many were read. */
static unsigned
page_in_settle(struct vm_object *object, struct vm_page **m, const bool *done, unsigned count,
               unsigned reqpage) VM_REQUIRES(object->lock)
{
    unsigned read = 0;

    for (unsigned i = 0; i < count; i++) {
        if (!done[i]) {
            vm_page_free(m[i]);
            continue;
        }
        read++;
        vm_page_flag_clear(m[i], VM_PAGE_ZERO);
        m[i]->valid = 1;
        if (i == reqpage)
            vm_page_hold(m[i]);
        vm_page_deactivate(m[i]);
        vm_page_wakeup(m[i]);
    }
    vm_object_pip_wakeup(object);
    return read;
}

/* A page that the pager said it has, and then has not, is lost unless it stops saying so. */
static enum vm_result
page_in_result(enum vm_pager_result result, bool done)
{
    if (result == VM_PAGER_BAD)
        return VM_BEYOND_OBJECT;
    return result == VM_PAGER_OK && done ? VM_OK : VM_IO_ERROR;
}

static void
errand_page_in(struct vm_errand *errand)
{
    struct vm_object *object = errand->object;
    struct vm_errand_page page = { .object = object, .pindex = errand->pindex, .read = true };
    struct vm_page *m[CLUSTER_MAX];
    bool done[CLUSTER_MAX] = { false };
    unsigned reqpage, count, read;
    enum vm_pager_result rv;

    errand_make_room(errand, object, errand->pindex);
    vm_mutex_lock(&errand->object->lock);
    count = vm_fault_additional_pages(errand, m, &reqpage);
    vm_mutex_unlock(&errand->object->lock);

    rv = object->pager->getpages(object, m, count, reqpage, done);
    page.result = page_in_result(rv, done[reqpage]);
    done[reqpage] = page.result == VM_OK;

    vm_mutex_lock(&object->lock);
    read = page_in_settle(object, m, done, count, reqpage);
    vm_mutex_unlock(&object->lock);
    if (page.result == VM_OK)
        page.m = errand->m;
    errand_page_add(errand, &page);
    errand->hardfault = true;
    vm_meter_add(errand->sys, v_pagein, read);
}

void
vm_errand_run(struct vm_errand *errand)
{
    enum vm_errand_kind kind = errand->kind;

    if (kind == VM_ERRAND_WAIT)
        errand_wait(errand);
    else if (kind == VM_ERRAND_PAGE_IN)
        errand_page_in(errand);
    errand->kind = VM_ERRAND_NONE;
}
