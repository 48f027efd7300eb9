/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects: creation, references, the resident index, the end. */
#include "vmm/vpagetable/vm_object.h"

#include "tests/unit/object_rig.h"
#include "tests/unit/sanitized.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

TestSuite(vm_object, .timeout = 120);
TestSuite(vm_object_abort, .init = vm_object_setup, .timeout = 60);

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

CHECKED_TEST(vm_object, its_end_drops_every_mapping)
{
    struct vm_object *object = new_object(100);
    struct fake_pmap fake;
    struct pmap pmap;

    for (vm_pindex_t i = 0; i < 100; i += 3)
        new_page(object, i);
    map_object(&fake, &pmap, object);
    cr_assert_eq(pmap_mapped_pages(&pmap), 34);
    vm_object_unref(object);
    cr_assert_eq(pmap_mapped_pages(&pmap), 0);
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
