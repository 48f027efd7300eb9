/* SPDX-License-Identifier: BSD-2-Clause */
/* For the tests of objects: a pager that keeps record, and pages in several states. */
#ifndef OBJECT_RIG_H
#define OBJECT_RIG_H

#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_object.h"
#include "vmm/vpagetable/vm_pager.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#define STORE ((uint64_t)1 << 18)

static struct vm_system sys;

static inline void
vm_object_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
}

/* Every object is gone, and with it every page, extent and byte. */
static inline void
vm_object_teardown(void)
{
    uint64_t first;

    cr_assert_eq(vm_budget_resident(&sys), 0);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1, "memory left behind");
    cr_assert_eq(vm_extent_alloc(&sys, STORE, &first), 0, "an extent left behind");
    vm_extent_free(&sys, first, STORE);
    vm_system_fini(&sys);
}

/* A pager that records what it is asked to write, and can be told to fail. */
struct recorder {
    atomic_bool released; /* what the object's end must wait for has happened */
    unsigned early;       /* I/O or dealloc before that */
    unsigned deallocs;
    unsigned writes; /* calls */
    unsigned pages_written;
    unsigned largest;    /* most pages in one call */
    unsigned writable;   /* pages a mapping still allowed to be written */
    vm_pindex_t failing; /* this page cannot be written */
    vm_pindex_t order[4096];
    struct pmap *pmap;
};

static inline bool
recorder_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    return vm_default_pager.haspage(object, pindex, before, after);
}

static inline enum vm_pager_result
recorder_getpages(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage,
                  bool *done)
{
    return vm_default_pager.getpages(object, m, count, reqpage, done);
}

static inline enum vm_pager_result
recorder_putpages(struct vm_object *object, struct vm_page **m, unsigned count, bool *done)
{
    struct recorder *r = object->handle;
    enum vm_pager_result result = VM_PAGER_OK;

    r->early += !atomic_load(&r->released);
    r->writes++;
    r->largest = count > r->largest ? count : r->largest;
    for (unsigned i = 0; i < count; i++) {
        vm_pindex_t pindex = vm_page_pindex(m[i]);

        cr_assert(vm_page_flag_test(m[i], VM_PAGE_BUSY));
        cr_assert_eq(pindex, vm_page_pindex(m[0]) + i, "consecutive");
        if (r->pmap != NULL)
            r->writable += (pmap_extract(r->pmap, gpa_from_u64(pindex << PAGE_SHIFT), NULL) &
                            VM_PROT_WRITE) != 0;
        done[i] = pindex != r->failing;
        if (done[i]) {
            atomic_store(&m[i]->dirty, 0);
            r->order[r->pages_written++] = pindex;
        } else {
            result = VM_PAGER_ERROR;
        }
    }
    return result;
}

static inline void
recorder_dealloc(struct vm_object *object)
{
    struct recorder *r = object->handle;

    r->early += !atomic_load(&r->released);
    r->deallocs++;
}

static const struct vm_pager_ops recorder_pager = {
    .name = "recorder",
    .haspage = recorder_haspage,
    .getpages = recorder_getpages,
    .putpages = recorder_putpages,
    .dealloc = recorder_dealloc,
};

static inline struct vm_object *
new_object(uint64_t npages)
{
    struct vm_object *object = NULL;

    cr_assert_eq(vm_object_create_default(&sys, npages, &object), 0);
    return object;
}

static inline struct vm_object *
new_recorded(uint64_t npages, struct recorder *r, unsigned flags)
{
    struct vm_object *object = NULL;

    *r = (struct recorder){ .released = true, .failing = UINT64_MAX };
    cr_assert_eq(vm_object_create(&sys, OBJT_FILE, npages, &recorder_pager, r, &object), 0);
    object->flags |= flags;
    return object;
}

static inline struct vm_page *
new_busy_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&object->lock);
    m = vm_page_alloc(object, pindex);
    vm_mutex_unlock(&object->lock);
    cr_assert_not_null(m);
    vm_page_zero_fill(m);
    m->valid = 1;
    return m;
}

static inline struct vm_page *
new_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m = new_busy_page(object, pindex);

    vm_mutex_lock(&object->lock);
    vm_page_activate(m);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
    return m;
}

static inline struct vm_page *
new_dirty_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m = new_page(object, pindex);

    vm_mutex_lock(&object->lock);
    vm_page_dirty(m);
    vm_mutex_unlock(&object->lock);
    return m;
}

/* A window on the whole object at GPA 0, with all its resident pages mapped writable. */
static inline void
map_object(struct fake_pmap *fake, struct pmap *pmap, struct vm_object *object)
{
    const vm_prot_t prot = VM_PROT_RW;

    fake_pmap_init(fake);
    cr_assert_eq(pmap_init(pmap, &sys, &fake_pmap_ops, fake), 0);
    cr_assert_eq(pmap_window_add(pmap, gpa_from_u64(0), object->size, object->extent), 0);
    for (vm_pindex_t i = 0; i < object->size; i++) {
        struct vm_page *m;

        vm_mutex_lock(&object->lock);
        m = vm_page_lookup(object, i);
        if (m != NULL)
            vm_page_busy(m);
        vm_mutex_unlock(&object->lock);
        if (m == NULL)
            continue;
        cr_assert_eq(pmap_enter(pmap, NULL, gpa_from_u64(i << PAGE_SHIFT), &m, &prot, 1, 0, NULL),
                     0);
        vm_mutex_lock(&object->lock);
        vm_page_wakeup(m);
        vm_mutex_unlock(&object->lock);
    }
}

/* Wait until a thread waits for this page. */
static inline void
wait_wanted(const struct vm_page *m)
{
    while (!vm_page_flag_test(m, VM_PAGE_WANTED))
        sched_yield();
}

#endif
