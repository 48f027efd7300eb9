/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects: writing dirty pages back. */
#include "tests/unit/object_rig.h"

#include <pthread.h>

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
    cr_assert_eq(vm_meter_get(&sys.meter, v_pageout), 8);
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
