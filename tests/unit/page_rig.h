/* SPDX-License-Identifier: BSD-2-Clause */
/* For the tests of pages: two objects and their pages.  A file that includes this has its own. */
#ifndef PAGE_RIG_H
#define PAGE_RIG_H

#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_page.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define STORE ((uint64_t)1 << 16)
#define BUDGET 2048
#define OBJECT_PAGES 300

static struct vm_system sys;
static struct vm_object *object;
static struct vm_object *other;

static inline void
vm_page_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE, .ram_budget = BUDGET };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(vm_object_create_default(&sys, OBJECT_PAGES, &object), 0);
    cr_assert_eq(vm_object_create_default(&sys, OBJECT_PAGES, &other), 0);
}

/* Every test ends with no page busy, held or wired. */
static inline void
vm_page_teardown(void)
{
    vm_object_unref(object);
    vm_object_unref(other);
    cr_assert_eq(vm_budget_resident(&sys), 0);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1, "memory left behind");
    vm_system_fini(&sys);
}

/*
 * Most tests have one thread, and take O only around what clang checks, or what
 * the pages' owners of other threads look at.
 */
static inline struct vm_page *
lookup(struct vm_object *o, vm_pindex_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&o->lock);
    m = vm_page_lookup(o, pindex);
    vm_mutex_unlock(&o->lock);
    return m;
}

static inline struct vm_page *
alloc_page(struct vm_object *o, vm_pindex_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&o->lock);
    m = vm_page_alloc(o, pindex);
    vm_mutex_unlock(&o->lock);
    return m;
}

static inline bool
is_freeing(struct vm_object *o, vm_pindex_t pindex)
{
    bool freeing;

    vm_mutex_lock(&o->lock);
    freeing = vm_page_is_freeing(o, pindex);
    vm_mutex_unlock(&o->lock);
    return freeing;
}

static inline struct vm_page *
move_page(struct vm_page *m, struct vm_object *o, vm_pindex_t pindex)
{
    vm_mutex_lock(&o->lock);
    m = vm_page_rename(m, o, pindex);
    vm_mutex_unlock(&o->lock);
    return m;
}

/* A busy, valid page full of `tag`. */
static inline struct vm_page *
new_busy_page(struct vm_object *o, vm_pindex_t pindex, int tag)
{
    struct vm_page *m = alloc_page(o, pindex);

    cr_assert_not_null(m);
    vm_page_zero_fill(m);
    memset(vm_page_address(m), tag, PAGE_SIZE);
    m->valid = 1;
    return m;
}

static inline struct vm_page *
new_page(struct vm_object *o, vm_pindex_t pindex, int tag)
{
    struct vm_page *m = new_busy_page(o, pindex, tag);

    vm_page_wakeup(m);
    return m;
}

static inline bool
page_is(const struct vm_page *m, int tag)
{
    const uint8_t *bytes = vm_page_address(m);

    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        if (bytes[i] != (uint8_t)tag)
            return false;
    }
    return true;
}

static inline uint64_t
queue_count(enum vm_page_queue queue)
{
    struct vm_page *m;
    uint64_t count = 0;

    TAILQ_FOREACH (m, &sys.queues[queue], pageq)
        count++;
    cr_assert_eq(count, sys.queue_length[queue]);
    return count;
}

/* Map m at GPA 0 of a pmap that is never ended: the test aborts. */
static inline void
map_page(struct vm_page *m)
{
    static struct fake_pmap fake;
    static struct pmap pmap;
    vm_prot_t prot = VM_PROT_RW;
    struct pmap_entered entered;

    fake_pmap_init(&fake);
    if (pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) != 0 ||
        pmap_window_add(&pmap, gpa_from_u64(0), OBJECT_PAGES, object->extent) != 0 ||
        pmap_enter(&pmap, NULL, gpa_from_u64(vm_page_pindex(m) << PAGE_SHIFT), &m, &prot, 1, 0,
                   &entered) != 0)
        _exit(1);
}

#endif
