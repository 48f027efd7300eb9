/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects: creation, references, the resident index, write-back, the end. */
#include "vmm/vpagetable/vm_object.h"

#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define STORE ((uint64_t)1 << 18)

static struct vm_system sys;

static void
vm_object_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
}

/* Every object is gone, and with it every page, extent and byte. */
static void
vm_object_teardown(void)
{
    uint64_t first;

    cr_assert_eq(atomic_load(&sys.resident_pages), 0);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1, "memory left behind");
    cr_assert_eq(vm_extent_alloc(&sys, STORE, &first), 0, "an extent left behind");
    vm_extent_free(&sys, first, STORE);
    vm_system_fini(&sys);
}

TestSuite(vm_object, .timeout = 120);
TestSuite(vm_object_abort, .init = vm_object_setup, .timeout = 60);

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

static bool
recorder_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    return vm_default_pager.haspage(object, pindex, before, after);
}

static enum vm_pager_result
recorder_getpages(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage,
                  bool *done)
{
    return vm_default_pager.getpages(object, m, count, reqpage, done);
}

static enum vm_pager_result
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

static void
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

static struct vm_object *
new_object(uint64_t npages)
{
    struct vm_object *object = NULL;

    cr_assert_eq(vm_object_create_default(&sys, npages, &object), 0);
    return object;
}

static struct vm_object *
new_recorded(uint64_t npages, struct recorder *r, unsigned flags)
{
    struct vm_object *object = NULL;

    *r = (struct recorder){ .released = true, .failing = UINT64_MAX };
    cr_assert_eq(vm_object_create(&sys, OBJT_FILE, npages, &recorder_pager, r, &object), 0);
    object->flags |= flags;
    return object;
}

static struct vm_page *
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

static struct vm_page *
new_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m = new_busy_page(object, pindex);

    vm_mutex_lock(&object->lock);
    vm_page_activate(m);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
    return m;
}

static struct vm_page *
new_dirty_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m = new_page(object, pindex);

    vm_mutex_lock(&object->lock);
    vm_page_dirty(m);
    vm_mutex_unlock(&object->lock);
    return m;
}

CHECKED_TEST(vm_object, a_new_object_is_empty_and_has_one_reference)
{
    struct vm_object *object = new_object(100);

    cr_assert(object->sys == &sys && object->type == OBJT_DEFAULT && object->size == 100);
    cr_assert(object->ref_count == 1 && object->shadow_count == 0 && object->flags == 0);
    cr_assert(object->paging_in_progress == 0 && object->resident_count == 0);
    cr_assert(object->backing_object == NULL && object->pager == &vm_default_pager);
    vm_mutex_lock(&object->lock);
    cr_assert_eq(vm_object_next_resident(object, 0), 100);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
}

CHECKED_TEST(vm_object, an_object_of_no_pages_is_invalid_and_its_handle_stays_the_callers)
{
    struct recorder r = { .released = true };
    struct vm_object *object = NULL;

    cr_assert_eq(vm_object_create(&sys, OBJT_FILE, 0, &recorder_pager, &r, &object), -EINVAL);
    cr_assert_null(object);
    cr_assert_eq(r.deallocs, 0);
}

CHECKED_TEST(vm_object,
             an_object_larger_than_the_store_is_no_space_and_its_handle_stays_the_callers)
{
    struct recorder r = { .released = true };
    struct vm_object *object = NULL;

    cr_assert_eq(vm_object_create(&sys, OBJT_FILE, STORE + 1, &recorder_pager, &r, &object),
                 -ENOSPC);
    cr_assert_null(object);
    cr_assert_eq(r.deallocs, 0);
}

/* The bitmap does not fit any more; the extent's few records do. */
CHECKED_TEST(vm_object, without_memory_for_its_index_it_is_enomem_and_the_extent_is_free_again,
             .disabled = SANITIZED)
{
    const struct vm_system_config config = { .store_pages = (uint64_t)1 << 28 };
    struct rlimit limit = { .rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY };
    struct rlimit unlimited = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
    struct vm_object *object = NULL;
    struct vm_system large;

    cr_assert_eq(vm_system_init(&large, &config), 0);
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert_eq(vm_object_create_default(&large, config.store_pages, &object), -ENOMEM);
    cr_assert_null(object);
    cr_assert_eq(setrlimit(RLIMIT_AS, &unlimited), 0);
    cr_assert_eq(vm_object_create_default(&large, config.store_pages, &object), 0);
    vm_object_unref(object);
    vm_system_fini(&large);
}

CHECKED_TEST(vm_object, the_default_pager_has_no_page_and_takes_none)
{
    struct vm_object *object = new_object(10);
    struct vm_page *m[2] = { new_busy_page(object, 3), new_busy_page(object, 4) };
    bool done[2] = { true, true };
    unsigned before = 7;
    unsigned after = 7;

    cr_assert(!vm_default_pager.haspage(object, 3, &before, &after));
    cr_assert(before == 0 && after == 0);
    cr_assert(!vm_default_pager.haspage(object, 3, NULL, NULL));
    cr_assert_eq(vm_default_pager.getpages(object, m, 2, 0, done), VM_PAGER_FAIL);
    cr_assert(!done[0] && !done[1]);
    done[0] = done[1] = true;
    vm_page_dirty(m[0]);
    cr_assert_eq(vm_default_pager.putpages(object, m, 2, done), VM_PAGER_FAIL);
    cr_assert(!done[0] && !done[1] && m[0]->dirty);
    vm_mutex_lock(&object->lock);
    vm_page_wakeup(m[0]);
    vm_page_wakeup(m[1]);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
}

CHECKED_TEST(vm_object, it_lives_until_the_last_reference_is_dropped)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);

    vm_object_ref(object);
    vm_object_ref(object);
    vm_object_unref(object);
    vm_object_unref(object);
    cr_assert_eq(r.deallocs, 0);
    cr_assert_eq(object->ref_count, 1);
    vm_object_unref(object);
    cr_assert_eq(r.deallocs, 1);
}

CHECKED_TEST(vm_object, its_end_frees_pages_queues_frames_and_budget)
{
    struct vm_object *object = new_object(1000);

    for (vm_pindex_t i = 0; i < 1000; i += 1 + i % 3)
        new_page(object, i);
    cr_assert_neq(sys.queue_length[PQ_ACTIVE], 0);
    vm_object_unref(object);
    cr_assert_eq(sys.queue_length[PQ_ACTIVE], 0);
}

CHECKED_TEST(vm_object, its_end_with_more_pages_than_one_batch_frees_all)
{
    struct vm_object *object = new_object(5000);

    for (vm_pindex_t i = 0; i < 5000; i++)
        new_page(object, i);
    vm_object_unref(object);
}

/* A window on the whole object at GPA 0, with all its resident pages mapped writable. */
static void
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
        cr_assert_eq(pmap_enter(pmap, gpa_from_u64(i << PAGE_SHIFT), &m, &prot, 1, 0, NULL), 0);
        vm_mutex_lock(&object->lock);
        vm_page_wakeup(m);
        vm_mutex_unlock(&object->lock);
    }
}

CHECKED_TEST(vm_object, its_end_drops_every_mapping)
{
    struct vm_object *object = new_object(100);
    struct fake_pmap fake;
    struct pmap pmap;

    for (vm_pindex_t i = 0; i < 100; i += 3)
        new_page(object, i);
    map_object(&fake, &pmap, object);
    cr_assert_eq(atomic_load(&pmap.mapped_pages), 34);
    vm_object_unref(object);
    cr_assert_eq(atomic_load(&pmap.mapped_pages), 0);
    pmap_audit(&pmap);
    pmap_fini(&pmap);
    fake_pmap_fini(&fake);
}

static void *
unref_main(void *object)
{
    vm_object_unref(object);
    return NULL;
}

/* Start dropping the last reference in a thread and wait until the object is dying. */
static pthread_t
unref_start(struct vm_object *object)
{
    pthread_t thread;
    bool dead = false;

    cr_assert_eq(pthread_create(&thread, NULL, unref_main, object), 0);
    while (!dead) {
        sched_yield();
        vm_mutex_lock(&object->lock);
        dead = (object->flags & OBJ_DEAD) != 0;
        vm_mutex_unlock(&object->lock);
    }
    return thread;
}

/* ... and until it waits for this page. */
static void
wait_wanted(const struct vm_page *m)
{
    while (!vm_page_flag_test(m, VM_PAGE_WANTED))
        sched_yield();
}

CHECKED_TEST(vm_object, its_end_waits_for_paging_in_progress)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);
    pthread_t thread;

    new_page(object, 1);
    atomic_store(&r.released, false);
    vm_mutex_lock(&object->lock);
    vm_object_pip_add(object);
    vm_object_pip_add(object);
    vm_mutex_unlock(&object->lock);
    thread = unref_start(object);
    vm_mutex_lock(&object->lock);
    vm_object_pip_wakeup(object);
    cr_assert_eq(object->resident_count, 1);
    atomic_store(&r.released, true);
    vm_object_pip_wakeup(object);
    vm_mutex_unlock(&object->lock);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(r.deallocs == 1 && r.early == 0);
}

CHECKED_TEST(vm_object, its_end_waits_for_a_busy_page)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);
    struct vm_page *m = new_busy_page(object, 1);
    pthread_t thread;

    atomic_store(&r.released, false);
    thread = unref_start(object);
    wait_wanted(m);
    vm_mutex_lock(&object->lock);
    atomic_store(&r.released, true);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(r.deallocs == 1 && r.early == 0);
}

CHECKED_TEST(vm_object, while_its_end_waits_for_a_page_it_has_no_other_busy)
{
    struct vm_object *object = new_object(10);
    struct vm_page *m = new_busy_page(object, 5);
    pthread_t thread;

    new_page(object, 1);
    new_page(object, 9);
    thread = unref_start(object);
    wait_wanted(m);
    vm_mutex_lock(&object->lock);
    cr_assert_null(vm_page_lookup(object, 1));
    cr_assert(!vm_page_flag_test(vm_page_lookup(object, 9), VM_PAGE_BUSY));
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

CHECKED_TEST(vm_object, its_end_waits_for_a_held_page)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);
    struct vm_page *m = new_page(object, 1);
    pthread_t thread;

    vm_mutex_lock(&object->lock);
    vm_page_hold(m);
    vm_mutex_unlock(&object->lock);
    atomic_store(&r.released, false);
    thread = unref_start(object);
    wait_wanted(m);
    atomic_store(&r.released, true);
    vm_page_unhold(m);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(r.deallocs == 1 && r.early == 0);
}

CHECKED_TEST(vm_object, its_end_waits_for_a_page_that_was_freed_while_held)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);
    struct vm_page *m = new_page(object, 1);
    pthread_t thread;

    vm_mutex_lock(&object->lock);
    vm_page_hold(m);
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&object->lock);
    atomic_store(&r.released, false);
    thread = unref_start(object);
    atomic_store(&r.released, true);
    vm_page_unhold(m);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(r.deallocs == 1 && r.early == 0);
}

static void
set_backing(struct vm_object *object, struct vm_object *backing)
{
    vm_mutex_lock(&backing->lock);
    vm_shadow_attach(object, backing, 0); /* the creator's reference passes on */
    vm_mutex_unlock(&backing->lock);
}

CHECKED_TEST(vm_object, its_end_drops_the_backing_objects_reference_and_shadow)
{
    struct recorder r;
    struct vm_object *backing = new_recorded(10, &r, 0);
    struct vm_object *object = new_object(10);

    vm_object_ref(backing);
    set_backing(object, backing);
    vm_object_unref(object);
    cr_assert_eq(r.deallocs, 0);
    cr_assert(backing->ref_count == 1 && backing->shadow_count == 0);
    vm_object_unref(backing);
    cr_assert_eq(r.deallocs, 1);
}

CHECKED_TEST(vm_object, a_long_chain_ends_without_recursion)
{
    struct vm_object *object = new_object(1);
    pthread_attr_t attr;
    pthread_t thread;

    for (unsigned i = 0; i < 100000; i++) {
        struct vm_object *shadow = new_object(1);

        set_backing(shadow, object);
        object = shadow;
    }
    cr_assert_eq(pthread_attr_init(&attr), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attr, 256 << 10), 0);
    cr_assert_eq(pthread_create(&thread, &attr, unref_main, object), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
}

Test(vm_object_abort, a_reference_to_an_object_without_any_aborts, .signal = SIGABRT)
{
    struct vm_object *object = new_object(1);

    object->ref_count = 0;
    vm_object_ref(object);
}

Test(vm_object_abort, ending_paging_that_did_not_begin_aborts, .signal = SIGABRT)
{
    struct vm_object *object = new_object(1);

    vm_mutex_lock(&object->lock);
    vm_object_pip_wakeup(object);
    vm_mutex_unlock(&object->lock);
}

/* What the index functions must answer, bit by bit. */
static vm_pindex_t
model_next(const bool *resident, vm_pindex_t size, vm_pindex_t pindex)
{
    while (pindex < size && !resident[pindex])
        pindex++;
    return pindex < size ? pindex : size;
}

static unsigned
model_behind(const bool *resident, vm_pindex_t pindex, unsigned max)
{
    unsigned run = 0;

    while (run < max && run < pindex && resident[pindex - run - 1])
        run++;
    return run;
}

static void
check_index(struct vm_object *object, const bool *resident)
{
    const unsigned maxima[] = { 0, 1, 7, 63, 64, 65, 1000 };

    vm_mutex_lock(&object->lock);
    for (vm_pindex_t i = 0; i <= object->size; i++) {
        cr_assert_eq(vm_object_next_resident(object, i), model_next(resident, object->size, i));
        for (unsigned j = 0; j < 7; j++)
            cr_assert_eq(vm_object_resident_run_behind(object, i, maxima[j]),
                         model_behind(resident, i, maxima[j]));
    }
    cr_assert_eq(vm_object_next_resident(object, UINT64_MAX), object->size);
    vm_mutex_unlock(&object->lock);
}

CHECKED_TEST(vm_object, the_resident_index_answers_as_a_scan_page_by_page_would)
{
    const vm_pindex_t sizes[] = { 1, 63, 64, 65, 200, 256 };
    const int densities[] = { 0, 2, 50, 98, 100 };
    unsigned seed = 1;

    for (unsigned s = 0; s < 6; s++) {
        for (unsigned d = 0; d < 5; d++) {
            struct vm_object *object = new_object(sizes[s]);
            bool resident[256] = { false };

            for (vm_pindex_t i = 0; i < sizes[s]; i++) {
                resident[i] = rand_r(&seed) % 100 < densities[d];
                if (resident[i])
                    new_page(object, i);
            }
            check_index(object, resident);
            vm_object_unref(object);
        }
    }
}

CHECKED_TEST(vm_object, behind_a_place_beyond_the_object_nothing_is_resident)
{
    struct vm_object *object = new_object(10);

    new_page(object, 9);
    vm_mutex_lock(&object->lock);
    cr_assert_eq(vm_object_resident_run_behind(object, 10, 5), 1);
    cr_assert_eq(vm_object_resident_run_behind(object, 11, 5), 0);
    cr_assert_eq(vm_object_resident_run_behind(object, UINT64_MAX, 5), 0);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
}

CHECKED_TEST(vm_object, cleaning_writes_exactly_the_dirty_pages_in_runs_and_leaves_them_clean)
{
    struct recorder r;
    struct vm_object *object = new_recorded(200, &r, OBJ_WRITEBACK);

    for (vm_pindex_t i = 0; i < 200; i++) {
        if (i < 3 || (i >= 10 && i < 15))
            new_dirty_page(object, i);
        else if (i % 2 == 1)
            new_page(object, i);
    }
    cr_assert_eq(vm_object_page_clean(object), 0);
    cr_assert_eq(r.writes, 2);
    cr_assert_eq(r.pages_written, 8);
    cr_assert(r.order[0] == 0 && r.order[3] == 10 && r.order[7] == 14);
    cr_assert_eq(atomic_load(&sys.meter.v_pageout), 8);
    cr_assert_eq(vm_object_page_clean(object), 0);
    cr_assert_eq(r.writes, 2, "nothing is dirty any more");
    vm_object_unref(object);
    cr_assert_eq(r.writes, 2);
}

CHECKED_TEST(vm_object, cleaning_a_long_run_is_cut_into_bounded_writes)
{
    struct recorder r;
    struct vm_object *object = new_recorded(1000, &r, OBJ_WRITEBACK);

    for (vm_pindex_t i = 0; i < 1000; i++)
        new_dirty_page(object, i);
    cr_assert_eq(vm_object_page_clean(object), 0);
    cr_assert_eq(r.pages_written, 1000);
    cr_assert_eq(r.largest, 32);
    vm_object_unref(object);
}

CHECKED_TEST(vm_object, a_page_that_cannot_be_written_is_an_io_error_and_stays_dirty)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, OBJ_WRITEBACK);
    struct vm_page *m[10];

    for (vm_pindex_t i = 0; i < 10; i++)
        m[i] = new_dirty_page(object, i);
    r.failing = 4;
    cr_assert_eq(vm_object_page_clean(object), -EIO);
    for (vm_pindex_t i = 0; i < 10; i++)
        cr_assert_eq(atomic_load(&m[i]->dirty), i == 4);
    r.failing = UINT64_MAX;
    cr_assert_eq(vm_object_page_clean(object), 0);
    vm_object_unref(object);
}

CHECKED_TEST(vm_object, an_object_whose_pager_keeps_nothing_is_never_written)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);

    new_dirty_page(object, 4);
    cr_assert_eq(vm_object_page_clean(object), 0);
    vm_object_unref(object);
    cr_assert_eq(r.writes, 0);
}

CHECKED_TEST(vm_object, the_end_of_an_object_writes_its_dirty_pages_first)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, OBJ_WRITEBACK);

    new_dirty_page(object, 4);
    vm_object_unref(object);
    cr_assert(r.writes == 1 && r.order[0] == 4 && r.deallocs == 1);
}

CHECKED_TEST(vm_object, the_end_of_an_object_comes_even_if_its_pages_cannot_be_written)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, OBJ_WRITEBACK);

    new_dirty_page(object, 4);
    r.failing = 4;
    vm_object_unref(object);
    cr_assert(r.writes == 1 && r.pages_written == 0 && r.deallocs == 1);
}

CHECKED_TEST(vm_object, a_page_is_written_only_when_no_mapping_allows_writes)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, OBJ_WRITEBACK);
    struct fake_pmap fake;
    struct pmap pmap;

    for (vm_pindex_t i = 2; i < 6; i++)
        new_dirty_page(object, i);
    map_object(&fake, &pmap, object);
    cr_assert_eq(pmap_extract(&pmap, gpa_from_u64(2 << PAGE_SHIFT), NULL), VM_PROT_RW);
    r.pmap = &pmap;
    cr_assert_eq(vm_object_page_clean(object), 0);
    cr_assert_eq(r.writable, 0);
    cr_assert_eq(pmap_extract(&pmap, gpa_from_u64(2 << PAGE_SHIFT), NULL), VM_PROT_READ);
    vm_object_unref(object);
    pmap_fini(&pmap);
    fake_pmap_fini(&fake);
}

static void *
clean_main(void *object)
{
    return vm_object_page_clean(object) == 0 ? object : NULL;
}

CHECKED_TEST(vm_object, a_held_page_is_written_only_when_it_is_let_go)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, OBJ_WRITEBACK);
    struct vm_page *m = new_dirty_page(object, 4);
    pthread_t thread;
    void *result;

    vm_mutex_lock(&object->lock);
    vm_page_hold(m);
    vm_mutex_unlock(&object->lock);
    atomic_store(&r.released, false);
    cr_assert_eq(pthread_create(&thread, NULL, clean_main, object), 0);
    wait_wanted(m);
    atomic_store(&r.released, true);
    vm_page_unhold(m);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert(result == object && r.writes == 1 && r.early == 0);
    vm_object_unref(object);
}

/* References come and go in many threads; the last one ends the object once. */
static void *
references_main(void *context)
{
    struct vm_object *object = context;

    for (unsigned i = 0; i < 20000; i++) {
        vm_object_ref(object);
        vm_object_unref(object);
    }
    vm_object_unref(object);
    return NULL;
}

CHECKED_TEST(vm_object, many_threads_dropping_references_end_it_exactly_once)
{
    struct recorder r;
    struct vm_object *object = new_recorded(10, &r, 0);
    pthread_t threads[4];

    new_page(object, 3);
    for (unsigned i = 0; i < 4; i++) {
        vm_object_ref(object);
        cr_assert_eq(pthread_create(&threads[i], NULL, references_main, object), 0);
    }
    vm_object_unref(object);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(r.deallocs, 1);
}

/* Objects are made, filled and ended in many threads at once: extents and budget stay right. */
static void *
lifetimes_main(void *context)
{
    unsigned seed = *(unsigned *)context;

    for (unsigned i = 0; i < 300; i++) {
        uint64_t npages = 1 + (uint64_t)rand_r(&seed) % 300;
        struct vm_object *object = new_object(npages);

        for (unsigned j = 0; j < 20; j++) {
            struct vm_page *m;

            vm_mutex_lock(&object->lock);
            if (vm_page_lookup(object, j * npages / 20) == NULL) {
                m = vm_page_alloc(object, j * npages / 20);
                vm_page_zero_fill(m);
                m->valid = 1;
                vm_page_deactivate(m);
                vm_page_wakeup(m);
            }
            vm_mutex_unlock(&object->lock);
        }
        vm_object_unref(object);
    }
    return NULL;
}

CHECKED_TEST(vm_object, many_threads_make_and_end_objects)
{
    pthread_t threads[4];
    unsigned seeds[4] = { 1, 2, 3, 4 };

    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, lifetimes_main, &seeds[i]), 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}
