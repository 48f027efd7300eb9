/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errands of a fault; see vm_errand.h.
 *
 * Reading: the needed page was made, busy and not valid, before the fault let go
 * of its locks, so nobody else reads it too.
 */
#include "vmm/vpagetable/vm_errand.h"

#include "vmm/vpagetable/vm_pageout.h"
#include "vmm/vpagetable/vm_readahead.h"

#include <string.h>
#include <time.h>

void
vm_errand_init(struct vm_errand *errand, struct vm_system *sys, struct vm_map_meter *meter,
               const _Atomic bool *stop)
{
    errand->sys = sys;
    memset(errand->waited, 0, sizeof(errand->waited));
    errand->meter = meter;
    errand->stop = stop;
    errand->kind = VM_ERRAND_NONE;
    errand->hardfault = false;
    errand->first = false;
    errand->exhausted = false;
    errand->limited = false;
    errand->stream.behind = NULL;
    errand->stream.ahead = NULL;
    errand->collapse = NULL;
    errand->holding = 0;
    errand->npages = 0;
}

static void
errand_page_release(const struct vm_errand_page *page)
{
    if (page->m != NULL)
        vm_page_unhold(page->m);
    vm_object_unref(page->object);
}

static void
errand_release_pages(struct vm_errand *errand)
{
    while (errand->npages != 0)
        errand_page_release(&errand->pages[--errand->npages]);
}

/* Read what follows a mark. */
static void
stream_read_ahead(const struct vm_errand_stream *stream, struct vm_map_meter *meter)
{
    struct vm_object *object = stream->ahead;
    struct vm_readahead ra;
    bool more;

    vm_mutex_lock(&object->lock);
    more = vm_readahead_next(&ra, object, stream->ahead_pindex, stream->advice);
    vm_mutex_unlock(&object->lock);
    if (more)
        (void)vm_readahead_read(&ra, meter, false);
}

/* Pages are let go of before others come. */
static void
errand_stream(struct vm_errand_stream *stream, struct vm_map_meter *meter, const _Atomic bool *stop)
{
    if (stream->behind != NULL) {
        vm_deactivate_behind(stream->behind, stream->behind_pindex);
        vm_object_unref(stream->behind);
        stream->behind = NULL;
    }
    if (stream->ahead != NULL) {
        if (!vm_stopped(stop))
            stream_read_ahead(stream, meter);
        vm_object_unref(stream->ahead);
        stream->ahead = NULL;
    }
}

bool
vm_errand_left_work(const struct vm_errand *errand)
{
    return errand->stream.ahead != NULL || errand->collapse != NULL ||
           vm_frames_are_due(errand->sys);
}

void
vm_errand_fini(struct vm_errand *errand)
{
    assert(errand->kind == VM_ERRAND_NONE);
    errand_release_pages(errand);
    if (errand->first)
        vm_budget_release(errand->sys, errand);
    errand_stream(&errand->stream, errand->meter, errand->stop);
    if (vm_frames_are_due(errand->sys))
        vm_frames_reclaim_all(errand->sys);
    if (errand->collapse != NULL) {
        vm_object_collapse(errand->collapse, errand->stop);
        vm_object_unref(errand->collapse);
    }
}

void
vm_errand_leave_collapse(struct vm_errand *errand, struct vm_object *object)
{
    if (errand->collapse != NULL)
        return;
    object->ref_count++;
    errand->collapse = object;
}

void
vm_errand_found(struct vm_errand *errand, struct vm_object *first, vm_pindex_t first_pindex,
                struct vm_page *m, bool read, enum vm_map_advice advice)
{
    struct vm_errand_stream *stream = &errand->stream;
    bool mark = vm_page_flag_test(m, VM_PAGE_RAM);
    bool sequential = advice == VM_ADVICE_SEQUENTIAL;

    if (!mark && !(sequential && read))
        return;
    vm_page_flag_clear(m, VM_PAGE_RAM);
    if (advice == VM_ADVICE_RANDOM || stream->behind != NULL)
        return;
    first->ref_count++;
    stream->behind = first;
    stream->behind_pindex = first_pindex;
    stream->advice = advice;
    if (mark) {
        m->object->ref_count++;
        stream->ahead = m->object;
        stream->ahead_pindex = vm_page_pindex(m);
    }
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

static enum vm_result
errand_pend_memory(struct vm_errand *errand, unsigned delay)
{
    assert(errand->kind == VM_ERRAND_NONE);
    errand->kind = VM_ERRAND_MEMORY;
    errand->delay = delay;
    return VM_RETRY;
}

enum vm_result
vm_errand_admit(struct vm_errand *errand)
{
    unsigned delay;

    if (!errand->limited) {
        errand->limited = true;
        delay = vm_fault_ratelimit(errand->sys);
        if (delay != 0)
            return errand_pend_memory(errand, delay);
    }
    if (!errand->first && vm_page_count_severe(errand->sys))
        return errand_pend_memory(errand, 0);
    return VM_OK;
}

enum vm_result
vm_errand_leave_memory(struct vm_errand *errand)
{
    return errand->exhausted ? VM_HOST_FAILURE : errand_pend_memory(errand, 0);
}

enum vm_result
vm_errand_leave_delay(struct vm_errand *errand, unsigned delay)
{
    assert(errand->kind == VM_ERRAND_NONE);
    errand->kind = VM_ERRAND_DELAY;
    errand->delay = delay;
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

void
vm_errand_drop(struct vm_errand *errand, struct vm_object *object, vm_pindex_t pindex)
{
    const struct vm_errand_page *known = vm_errand_find(errand, object, pindex);
    struct vm_errand_page page;

    if (known == NULL || known->m == NULL)
        return;
    page = errand_page_remove(errand, (unsigned)(known - errand->pages));
    assert(page.m->hold_count > page.m->hold_refs && object->ref_count > 1);
    page.m->hold_count--;
    object->ref_count--;
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
    vm_meter_add(errand->meter, v_intrans, 1);
    vm_mutex_lock(&object->lock);
    vm_page_sleep_busy(object, errand->pindex, errand->stop);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
}

static void
errand_page_in(struct vm_errand *errand)
{
    struct vm_object *object = errand->object;
    struct vm_errand_page page = { .object = object, .pindex = errand->pindex, .read = true };
    struct vm_readahead ra;

    errand_make_room(errand, object, errand->pindex);
    vm_mutex_lock(&object->lock);
    vm_fault_additional_pages(&ra, object, errand->m, errand->advice);
    vm_mutex_unlock(&object->lock);
    page.result = vm_readahead_read(&ra, errand->meter, true);
    if (page.result == VM_OK)
        page.m = errand->m;
    errand_page_add(errand, &page);
    errand->hardfault = true;
}

/* At most a second. */
static void
errand_sleep(unsigned microseconds)
{
    const struct timespec delay = { .tv_nsec = (long)microseconds * 1000 };

    nanosleep(&delay, NULL);
}

/* Be slow, in portions: the VM may end meanwhile. */
static void
errand_delay(const struct vm_errand *errand)
{
    unsigned left = errand->delay;

    while (left != 0 && !vm_stopped(errand->stop)) {
        unsigned portion = left < VM_STOP_POLL ? left : VM_STOP_POLL;

        errand_sleep(portion);
        left -= portion;
    }
}

/*
 * Wait for memory: as the first waiter, with what the errands brought; else without
 * it, or else two faults could keep each other waiting.
 */
static void
errand_memory(struct vm_errand *errand)
{
    struct vm_system *sys = errand->sys;

    if (errand->delay != 0) {
        errand_sleep(errand->delay);
        vm_meter_add(errand->meter, v_pflimit, 1);
        return;
    }
    vm_meter_add(errand->meter, v_pfwait, 1);
    errand->first = errand->first || vm_budget_claim(sys, errand);
    if (errand->first) {
        errand->exhausted = vm_waitpfault(sys, errand->npages + errand->holding, errand->stop) != 0;
    } else {
        errand_release_pages(errand);
        vm_budget_wait_turn(sys, errand->stop);
    }
}

/* It is not worth beginning: a page to be read goes, who waits for it looks again. */
static void
errand_drop(struct vm_errand *errand)
{
    struct vm_object *object = errand->object;

    if (errand->kind != VM_ERRAND_WAIT && errand->kind != VM_ERRAND_PAGE_IN)
        return;
    if (errand->kind == VM_ERRAND_PAGE_IN) {
        vm_mutex_lock(&object->lock);
        vm_page_free(errand->m);
        vm_object_pip_wakeup(object);
        vm_mutex_unlock(&object->lock);
    }
    vm_object_unref(object);
}

void
vm_errand_run(struct vm_errand *errand)
{
    enum vm_errand_kind kind = errand->kind;

    if (vm_stopped(errand->stop))
        errand_drop(errand);
    else if (kind == VM_ERRAND_WAIT)
        errand_wait(errand);
    else if (kind == VM_ERRAND_PAGE_IN)
        errand_page_in(errand);
    else if (kind == VM_ERRAND_MEMORY)
        errand_memory(errand);
    else if (kind == VM_ERRAND_DELAY)
        errand_delay(errand);
    errand->waited[kind]++;
    errand->kind = VM_ERRAND_NONE;
}
