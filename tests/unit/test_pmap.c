/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pmap: every line of its contract, over the fake machine half.
 *
 * Each test ends with the audits of pmap and fake (see teardown), so every test
 * also proves that tables, reverse links and machine agree.  All pages stay busy:
 * the tests are their owner.
 */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_object.h"
#include "vmm/vpagetable/vm_page.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define OBJECT_PAGES 4096
#define WINDOW_PAGES 1100

/* Windows do not begin at a chunk's border: they have a part of a chunk at both ends. */
#define LEAD_PAGES 100
#define BORDER (PMAP_CHUNK_PAGES - LEAD_PAGES) /* index of the first page of the second chunk */
#define NATURAL_START ((uint64_t)0x10000000 + LEAD_PAGES * PAGE_SIZE)
#define FOREIGN_START ((uint64_t)0x40000000 + LEAD_PAGES * PAGE_SIZE)

static struct vm_system sys;
static struct vm_object *object;
static struct fake_pmap fake;
static struct pmap pmap;

/* Page i of the window whose natural frames are the object's. */
static gpa_t
natural_at(uint64_t i)
{
    return gpa_from_u64(NATURAL_START + i * PAGE_SIZE);
}

/* Page i of the window without natural frames. */
static gpa_t
foreign_at(uint64_t i)
{
    return gpa_from_u64(FOREIGN_START + i * PAGE_SIZE);
}

static void
setup(void)
{
    struct vm_system_config config = { .store_pages = 1 << 16 };

    cr_assert(vm_system_init(&sys, &config) == 0);
    cr_assert(vm_object_create_default(&sys, OBJECT_PAGES, &object) == 0);
    fake_pmap_init(&fake);
    cr_assert(pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) == 0);
    cr_assert(pmap_window_add(&pmap, natural_at(0), WINDOW_PAGES, object->extent) == 0);
    cr_assert(pmap_window_add(&pmap, foreign_at(0), WINDOW_PAGES, PMAP_NO_NATURAL) == 0);
}

static void
pages_wakeup(void)
{
    vm_mutex_lock(&object->lock);
    for (vm_pindex_t i = 0; (i = vm_object_next_resident(object, i)) < object->size; i++) {
        struct vm_page *m = vm_page_lookup(object, i);

        if (vm_page_flag_test(m, VM_PAGE_BUSY))
            vm_page_wakeup(m);
    }
    vm_mutex_unlock(&object->lock);
}

static void
teardown(void)
{
    pmap_audit(&pmap);
    fake_pmap_audit(&fake);
    pmap_fini(&pmap);
    fake_pmap_fini(&fake);
    pages_wakeup();
    vm_object_unref(object);
    vm_system_fini(&sys);
}

TestSuite(pmap, .init = setup, .fini = teardown, .timeout = 60);

/* The object's page i, busy and valid. */
static struct vm_page *
page(vm_pindex_t i)
{
    struct vm_page *m;

    vm_mutex_lock(&object->lock);
    m = vm_page_lookup(object, i);
    if (m == NULL) {
        m = vm_page_alloc(object, i);
        cr_assert(m != NULL);
        m->valid = 1;
    }
    vm_mutex_unlock(&object->lock);
    return m;
}

static int
enter_in(struct pmap *in, gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    return pmap_enter(in, gpa, &m, &prot, 1, 0, NULL);
}

static int
enter(gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    return enter_in(&pmap, gpa, m, prot);
}

/* Enter pages [pindex, pindex + n) of the object as a run. */
static int
enter_run(gpa_t gpa, vm_pindex_t pindex, unsigned n, vm_prot_t prot, unsigned demand,
          unsigned *entered)
{
    struct vm_page *m[2 * PMAP_CHUNK_PAGES];
    vm_prot_t prots[2 * PMAP_CHUNK_PAGES];

    for (unsigned i = 0; i < n; i++) {
        m[i] = page(pindex + i);
        prots[i] = prot;
    }
    return pmap_enter(&pmap, gpa, m, prots, n, demand, entered);
}

static bool
maps(gpa_t gpa, const struct vm_page *m, vm_prot_t prot)
{
    struct vm_page *found;
    vm_frame_t frame = 0;
    vm_prot_t machine = VM_PROT_NONE;

    return pmap_extract(&pmap, gpa, &found) == prot && found == m &&
           fake_pmap_lookup(&fake, gpa, &frame, &machine) && frame == vm_page_frame(m) &&
           machine == prot;
}

static bool
maps_nothing(gpa_t gpa)
{
    return pmap_extract(&pmap, gpa, NULL) == VM_PROT_NONE &&
           !fake_pmap_lookup(&fake, gpa, NULL, NULL);
}

/* ---- Windows. ---- */

Test(pmap, a_window_that_overlaps_another_is_refused)
{
    cr_expect(pmap_window_add(&pmap, natural_at(0), 1, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, natural_at(5), 5, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, natural_at(WINDOW_PAGES - 1), 2, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(NATURAL_START - PAGE_SIZE), 2, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 0x80000, 0) == -EEXIST);
    cr_expect(fake.windows_created == 2);
}

Test(pmap, windows_may_touch)
{
    cr_assert(pmap_window_add(&pmap, natural_at(WINDOW_PAGES), 3, PMAP_NO_NATURAL) == 0);
    cr_assert(pmap_window_add(&pmap, gpa_from_u64(NATURAL_START - PAGE_SIZE), 1, 77) == 0);
    cr_expect(enter(natural_at(WINDOW_PAGES + 2), page(9), VM_PROT_READ) == 0);
    cr_expect(enter(gpa_from_u64(NATURAL_START - PAGE_SIZE), page(8), VM_PROT_READ) == 0);
    cr_expect(enter(natural_at(0), page(7), VM_PROT_READ) == 0);
}

Test(pmap, a_window_with_a_bad_range_is_refused)
{
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0x1001), 1, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 0, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(PMAP_GPA_END), 1, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(PMAP_GPA_END - PAGE_SIZE), 2, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(PAGE_SIZE), UINT64_MAX, 0) == -EINVAL);
    cr_expect(fake.windows_created == 2);
}

Test(pmap, the_last_page_that_can_have_a_window_can_be_mapped)
{
    gpa_t last = gpa_from_u64(PMAP_GPA_END - PAGE_SIZE);
    struct vm_page *m = page(3);

    cr_assert(pmap_window_add(&pmap, last, 1, PMAP_NO_NATURAL) == 0);
    cr_assert(enter(last, m, VM_PROT_READ) == 0);
    cr_expect(maps(last, m, VM_PROT_READ));
    pmap_page_protect(m, VM_PROT_NONE);
    cr_expect(maps_nothing(last));
}

Test(pmap, a_window_the_machine_refuses_leaves_nothing)
{
    fake.fail_window_create = -EMFILE;
    cr_assert(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == -EMFILE);
    cr_expect(enter(gpa_from_u64(0), page(0), VM_PROT_READ) == -ENOENT);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == 0);
}

Test(pmap, a_window_without_memory_leaves_nothing)
{
    if (!alloc_failure_available())
        cr_skip_test("the sanitizer has the allocator");
    for (unsigned n = 1; n <= 3; n++) {
        alloc_failure_set(n);
        cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == -ENOMEM, "allocation %u", n);
        alloc_failure_set(0);
        cr_expect(pmap.nwindows == 2 && fake.windows_created == 2);
    }
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == 0);
}

Test(pmap, windows_are_found_whatever_the_order_they_came_in)
{
    static const unsigned order[] = { 5, 2, 9, 0, 7, 3, 8, 1, 6, 4 };

    for (unsigned i = 0; i < 10; i++)
        cr_assert(pmap_window_add(&pmap, gpa_from_u64(order[i] * 2 * PAGE_SIZE), 1,
                                  PMAP_NO_NATURAL) == 0);
    for (unsigned i = 0; i < 10; i++) {
        cr_expect(enter(gpa_from_u64(i * 2 * PAGE_SIZE), page(i), VM_PROT_READ) == 0);
        cr_expect(enter(gpa_from_u64((i * 2 + 1) * PAGE_SIZE), page(i), VM_PROT_READ) == -ENOENT);
    }
}

Test(pmap, removing_a_window_drops_its_mappings_and_their_links)
{
    struct vm_page *m = page(600);

    cr_assert(enter(natural_at(600), m, VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(2), page(2), VM_PROT_RW) == 0);
    cr_assert(pmap_window_remove(&pmap, natural_at(0)) == 0);
    cr_expect(fake.windows_destroyed == 1 && fake.removed_pages == 2);
    cr_expect(!pmap_page_is_mapped(m) && !pmap_page_is_mapped(page(2)));
    cr_expect(pmap.mapped_pages == 0);
    cr_expect(enter(natural_at(2), page(2), VM_PROT_READ) == -ENOENT);
    cr_expect(pmap_window_add(&pmap, natural_at(0), 5, object->extent) == 0);
}

Test(pmap, removing_a_window_that_does_not_start_there_is_refused)
{
    cr_expect(pmap_window_remove(&pmap, natural_at(1)) == -ENOENT);
    cr_expect(pmap_window_remove(&pmap, gpa_from_u64(0)) == -ENOENT);
    cr_expect(fake.windows_destroyed == 0);
}

/* What the hooks below saw while a window was coming or going. */
static int seen_enter;
static int seen_add;
static int seen_remove;

static void
look_at_window(const struct pmap_window *w)
{
    seen_enter = enter(w->start, page(0), VM_PROT_READ);
    seen_add = pmap_window_add(&pmap, w->start, 1, 0);
    seen_remove = pmap_window_remove(&pmap, w->start);
    pmap_page_protect(page(0), VM_PROT_NONE);
}

static int
looking_window_create(void *md, struct pmap_window *w)
{
    look_at_window(w);
    return fake_pmap_ops.window_create(md, w);
}

static void
looking_window_destroy(void *md, struct pmap_window *w)
{
    look_at_window(w);
    fake_pmap_ops.window_destroy(md, w);
}

/* Nobody may be locked out meanwhile: the host waits for vCPUs that are inside a fault. */
Test(pmap, a_window_that_comes_or_goes_keeps_its_range_and_no_lock)
{
    struct pmap_ops ops = fake_pmap_ops;

    ops.window_create = looking_window_create;
    ops.window_destroy = looking_window_destroy;
    pmap.ops = &ops;
    cr_assert(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == 0);
    cr_expect(seen_enter == -ENOENT && seen_add == -EEXIST && seen_remove == -ENOENT);
    cr_expect(enter(gpa_from_u64(0), page(0), VM_PROT_READ) == 0);
    seen_enter = seen_add = seen_remove = 0;
    cr_assert(pmap_window_remove(&pmap, gpa_from_u64(0)) == 0);
    cr_expect(seen_enter == -ENOENT && seen_add == -EEXIST && seen_remove == -ENOENT);
    pmap.ops = &fake_pmap_ops;
}

Test(pmap, rebasing_a_window_drops_its_mappings_and_moves_its_natural_frames)
{
    cr_assert(enter(natural_at(10), page(10), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(600), page(11), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 1);
    cr_assert(pmap_window_rebase(&pmap, natural_at(20), object->extent + 1000) == 0);
    cr_expect(fake.rebases == 1 && maps_nothing(natural_at(10)) && maps_nothing(natural_at(600)));
    cr_assert(enter(natural_at(600), page(1600), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 1, "page 1600 is the natural one now");
}

Test(pmap, rebasing_what_is_no_window_is_refused)
{
    cr_expect(pmap_window_rebase(&pmap, gpa_from_u64(0), 0) == -ENOENT);
    cr_expect(pmap_window_rebase(&pmap, natural_at(WINDOW_PAGES), 0) == -ENOENT);
}

Test(pmap, a_window_the_machine_cannot_rebase_keeps_its_natural_frames)
{
    fake.fail_window_rebase = -ENOMEM;
    cr_assert(pmap_window_rebase(&pmap, natural_at(0), 5) == -ENOMEM);
    cr_assert(enter(natural_at(3), page(3), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 0);
}

/* ---- The pmap itself. ---- */

Test(pmap, a_system_has_a_limited_number_of_pmaps_and_reuses_their_ids)
{
    static struct pmap others[VM_MAX_PMAPS];

    for (unsigned i = 0; i < VM_MAX_PMAPS - 1; i++)
        cr_assert(pmap_init(&others[i], &sys, &fake_pmap_ops, &fake) == 0);
    cr_expect(pmap_init(&others[VM_MAX_PMAPS - 1], &sys, &fake_pmap_ops, &fake) == -ENOSPC);
    pmap_fini(&others[7]);
    cr_expect(pmap_init(&others[VM_MAX_PMAPS - 1], &sys, &fake_pmap_ops, &fake) == 0);
    cr_expect(others[VM_MAX_PMAPS - 1].id == others[7].id);
    others[7] = others[VM_MAX_PMAPS - 1];
    sys.pmaps[others[7].id - 1] = &others[7];
    for (unsigned i = 0; i < VM_MAX_PMAPS - 1; i++)
        pmap_fini(&others[i]);
}

Test(pmap, a_pmap_that_ends_takes_its_mappings_and_windows_along)
{
    struct pmap other;
    struct vm_page *m = page(1);

    cr_assert(pmap_init(&other, &sys, &fake_pmap_ops, &fake) == 0);
    cr_assert(pmap_window_add(&other, gpa_from_u64(0), 4, PMAP_NO_NATURAL) == 0);
    cr_assert(pmap_window_add(&other, gpa_from_u64(0x10000), 4, PMAP_NO_NATURAL) == 0);
    cr_assert(enter_in(&other, gpa_from_u64(0x10000), m, VM_PROT_RW) == 0);
    cr_expect(pmap_page_is_mapped(m));
    pmap_fini(&other);
    cr_expect(!pmap_page_is_mapped(m) && fake.windows_destroyed == 2);
}

/* ---- Enter. ---- */

Test(pmap, an_entered_page_is_mapped_with_the_protection_asked_for)
{
    cr_assert(enter(natural_at(4), page(4), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(5), page(5), VM_PROT_RW) == 0);
    cr_expect(maps(natural_at(4), page(4), VM_PROT_READ));
    cr_expect(maps(natural_at(5), page(5), VM_PROT_RW));
    cr_expect(fake_guest_access(&fake, natural_at(4), VM_PROT_READ));
    cr_expect(!fake_guest_access(&fake, natural_at(4), VM_PROT_WRITE));
    cr_expect(fake_guest_access(&fake, natural_at(5), VM_PROT_WRITE));
    cr_expect(pmap.mapped_pages == 2);
}

Test(pmap, a_page_cannot_be_entered_where_there_is_no_window)
{
    unsigned entered = 7;
    struct vm_page *m = page(0);
    vm_prot_t prot = VM_PROT_READ;

    cr_expect(pmap_enter(&pmap, gpa_from_u64(0), &m, &prot, 1, 0, &entered) == -ENOENT);
    cr_expect(entered == 0 && !pmap_page_is_mapped(m));
    cr_expect(enter(natural_at(WINDOW_PAGES), m, VM_PROT_READ) == -ENOENT);
}

Test(pmap, entering_a_page_of_zeros_fills_its_frame_and_clears_the_flag)
{
    struct vm_page *m = page(4);
    uint64_t value = 1;

    cr_assert(vm_page_flag_test(m, VM_PAGE_ZERO));
    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    cr_expect(!vm_page_flag_test(m, VM_PAGE_ZERO) && fake.filled_pages == 1);
    cr_expect(fake_guest_load(&fake, natural_at(4), &value) && value == 0);
}

Test(pmap, a_filled_frame_is_not_filled_again)
{
    struct vm_page *m = page(4);

    vm_page_zero_fill(m);
    *(uint64_t *)vm_page_address(m) = 0x1234;
    cr_assert(enter(foreign_at(0), m, VM_PROT_READ) == 0);
    cr_expect(fake.filled_pages == 0 && *(uint64_t *)vm_page_address(m) == 0x1234);
}

Test(pmap, only_a_writable_mapping_makes_a_page_writeable)
{
    cr_assert(enter(natural_at(0), page(0), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    cr_expect(!vm_page_flag_test(page(0), VM_PAGE_WRITEABLE));
    cr_expect(vm_page_flag_test(page(1), VM_PAGE_WRITEABLE));
}

Test(pmap, a_run_inside_a_chunk_is_one_machine_operation)
{
    unsigned entered;

    cr_assert(enter_run(natural_at(0), 0, BORDER, VM_PROT_RW, 3, &entered) == 0);
    cr_expect(fake.enters == 1 && entered == BORDER && fake.entered_pages == BORDER);
    for (unsigned i = 0; i < BORDER; i++)
        cr_expect(maps(natural_at(i), page(i), VM_PROT_RW));
}

Test(pmap, a_run_across_chunks_is_cut_at_their_borders)
{
    unsigned entered;

    cr_assert(enter_run(natural_at(BORDER - 3), BORDER - 3, PMAP_CHUNK_PAGES + 6, VM_PROT_READ,
                        PMAP_CHUNK_PAGES, &entered) == 0);
    cr_expect(fake.enters == 3 && entered == PMAP_CHUNK_PAGES + 6);
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES + 6; i++)
        cr_expect(maps(natural_at(BORDER - 3 + i), page(BORDER - 3 + i), VM_PROT_READ));
}

Test(pmap, absent_pages_of_a_run_are_skipped)
{
    struct vm_page *m[5] = { NULL, page(1), NULL, page(3), NULL };
    vm_prot_t prot[5] = { VM_PROT_RW, VM_PROT_READ, VM_PROT_RW, VM_PROT_RW, VM_PROT_RW };
    unsigned entered;

    cr_assert(enter(natural_at(2), page(2), VM_PROT_READ) == 0);
    cr_assert(pmap_enter(&pmap, natural_at(0), m, prot, 5, 1, &entered) == 0);
    cr_expect(entered == 2 && fake.enters == 3);
    cr_expect(maps_nothing(natural_at(0)) && maps_nothing(natural_at(4)));
    cr_expect(maps(natural_at(1), page(1), VM_PROT_READ));
    cr_expect(maps(natural_at(2), page(2), VM_PROT_READ), "what was there stays");
    cr_expect(maps(natural_at(3), page(3), VM_PROT_RW));
}

/* The fake insists on it: where another frame is mapped, enter aborts. */
Test(pmap, another_page_loses_its_mapping_first_and_need_not_be_busy)
{
    struct vm_page *old = page(50);

    cr_assert(enter(natural_at(1), old, VM_PROT_READ) == 0);
    cr_assert(enter(foreign_at(1), old, VM_PROT_READ) == 0);
    vm_mutex_lock(&object->lock);
    vm_page_wakeup(old);
    vm_mutex_unlock(&object->lock);
    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_RW, 1, NULL) == 0);
    cr_expect(maps(natural_at(1), page(1), VM_PROT_RW));
    cr_expect(fake.removes == 1 && fake.removed_pages == 1 && fake.enters == 3);
    cr_expect(maps(foreign_at(1), old, VM_PROT_READ), "its other mapping stays");
    pmap_remove(&pmap, foreign_at(1), foreign_at(2));
    cr_expect(!pmap_page_is_mapped(old));
}

Test(pmap, the_protection_of_a_mapping_only_grows)
{
    struct vm_page *m = page(4);

    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(4), m, VM_PROT_RW) == 0);
    cr_expect(maps(natural_at(4), m, VM_PROT_RW) && fake.entered_pages == 2);
    cr_expect(vm_page_flag_test(m, VM_PAGE_WRITEABLE));
    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    cr_expect(maps(natural_at(4), m, VM_PROT_RW));
    cr_expect(pmap.mapped_pages == 1 && fake.removes == 0);
}

/* The host may have dropped it unseen; waking alone would repeat the fault for ever. */
Test(pmap, a_demanded_page_that_seems_mapped_is_entered_again)
{
    unsigned entered;

    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_RW, 1, &entered) == 0 && entered == 3);
    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_RW, 1, &entered) == 0 && entered == 1);
    cr_expect(fake.enters == 2 && fake.refreshed_pages == 1);
}

Test(pmap, mapped_neighbours_are_left_as_they_are)
{
    unsigned entered;

    cr_assert(enter_run(natural_at(1), 1, 2, VM_PROT_READ, 0, NULL) == 0);
    cr_assert(enter_run(natural_at(0), 0, 5, VM_PROT_RW, 4, &entered) == 0);
    cr_expect(entered == 3 && fake.enters == 3, "two runs around the mapped pages");
    cr_expect(maps(natural_at(1), page(1), VM_PROT_READ));
    cr_expect(maps(natural_at(2), page(2), VM_PROT_READ));
    cr_expect(maps(natural_at(3), page(3), VM_PROT_RW));
}

/* The fake compares `foreign` with what it has seen itself. */
Test(pmap, the_machine_is_told_whether_the_last_mapping_was_foreign)
{
    cr_assert(enter(natural_at(4), page(9), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(4), page(4), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(4), page(9), VM_PROT_READ) == 0);
    pmap_remove(&pmap, natural_at(4), natural_at(5));
    cr_assert(enter(natural_at(4), page(8), VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(4), page(8), VM_PROT_RW) == 0);
    pmap_write_protect(&pmap, natural_at(4), natural_at(5));
    pmap_remove(&pmap, natural_at(4), natural_at(5));
    cr_assert(enter(natural_at(4), page(4), VM_PROT_READ) == 0);
    pmap_remove(&pmap, natural_at(4), natural_at(5));
    cr_assert(enter(natural_at(4), page(4), VM_PROT_READ) == 0);
    cr_assert(enter(foreign_at(4), page(4), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 4);
}

Test(pmap, when_the_machine_fails_for_the_demanded_page_the_error_is_returned)
{
    unsigned entered = 7;

    fake_pmap_fail_next_enter(&fake, -EIO, 2);
    cr_assert(enter_run(natural_at(0), 0, 5, VM_PROT_RW, 2, &entered) == -EIO);
    cr_expect(entered == 2 && fake.enters == 1);
    cr_expect(maps(natural_at(1), page(1), VM_PROT_RW));
    for (unsigned i = 2; i < 5; i++) {
        cr_expect(maps_nothing(natural_at(i)) && !pmap_page_is_mapped(page(i)));
        cr_expect(vm_page_flag_test(page(i), VM_PAGE_ZERO), "its frame is still a hole");
    }
}

Test(pmap, when_the_machine_fails_before_the_demanded_page_that_is_tried_alone)
{
    unsigned entered;

    fake_pmap_fail_next_enter(&fake, -EIO, 1);
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 4, &entered) == 0);
    cr_expect(entered == 2 && fake.enters == 2);
    cr_expect(maps(natural_at(0), page(0), VM_PROT_RW));
    cr_expect(maps(natural_at(4), page(4), VM_PROT_RW));
    cr_expect(maps_nothing(natural_at(1)) && !pmap_page_is_mapped(page(1)));
    cr_expect(maps_nothing(natural_at(5)) && !pmap_page_is_mapped(page(5)));
}

Test(pmap, when_the_machine_fails_twice_the_demanded_page_gives_its_error)
{
    unsigned entered = 7;

    fake_pmap_fail_next_enter(&fake, -EIO, 0);
    fake.fail_repeat = 1;
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 4, &entered) == -EIO);
    cr_expect(entered == 0 && fake.enters == 2 && pmap.mapped_pages == 0);
}

Test(pmap, when_the_machine_fails_after_the_demanded_page_that_is_a_success)
{
    unsigned entered;

    fake_pmap_fail_next_enter(&fake, -ENOMEM, 3);
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 2, &entered) == 0);
    cr_expect(entered == 3 && fake.enters == 1);
    cr_expect(maps(natural_at(2), page(2), VM_PROT_RW) && maps_nothing(natural_at(3)));
}

Test(pmap, a_failure_in_another_chunk_does_not_touch_the_demanded_page)
{
    unsigned entered;

    fake_pmap_fail_next_enter(&fake, -EIO, 0);
    cr_assert(enter_run(natural_at(BORDER - 2), 0, 4, VM_PROT_RW, 2, &entered) == 0);
    cr_expect(entered == 2 && fake.enters == 2);
    cr_expect(maps_nothing(natural_at(BORDER - 1)));
    cr_expect(maps(natural_at(BORDER), page(2), VM_PROT_RW));
}

Test(pmap, a_failed_upgrade_keeps_the_mapping)
{
    struct vm_page *m = page(4);

    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    fake_pmap_fail_next_enter(&fake, -EAGAIN, 0);
    cr_expect(enter(natural_at(4), m, VM_PROT_RW) == -EAGAIN);
    cr_expect(maps(natural_at(4), m, VM_PROT_READ));
}

Test(pmap, a_failed_replacement_leaves_nothing_mapped)
{
    cr_assert(enter(natural_at(4), page(5), VM_PROT_READ) == 0);
    fake_pmap_fail_next_enter(&fake, -EAGAIN, 0);
    cr_expect(enter(natural_at(4), page(4), VM_PROT_RW) == -EAGAIN);
    cr_expect(maps_nothing(natural_at(4)));
    cr_expect(!pmap_page_is_mapped(page(4)) && !pmap_page_is_mapped(page(5)));
}

Test(pmap, without_memory_for_a_reverse_link_only_that_page_is_not_entered)
{
    struct vm_page *m[3] = { page(0), page(1), page(2) };
    vm_prot_t prot[3] = { VM_PROT_RW, VM_PROT_RW, VM_PROT_RW };
    unsigned entered;

    if (!alloc_failure_available())
        cr_skip_test("the sanitizer has the allocator");
    cr_assert(pmap_enter(&pmap, foreign_at(0), m, prot, 3, 0, NULL) == 0);
    cr_assert(enter(natural_at(20), page(20), VM_PROT_READ) == 0, "natural_at has its chunk");
    alloc_failure_set(2);
    cr_expect(pmap_enter(&pmap, natural_at(0), m, prot, 3, 0, &entered) == 0);
    cr_expect(entered == 2 && maps_nothing(natural_at(1)));
    alloc_failure_set(1);
    cr_expect(pmap_enter(&pmap, natural_at(1), &m[1], prot, 1, 0, &entered) == -ENOMEM);
    cr_expect(entered == 0 && maps_nothing(natural_at(1)));
    cr_expect(maps(foreign_at(1), page(1), VM_PROT_RW));
}

Test(pmap, without_memory_for_a_table_nothing_is_entered)
{
    struct vm_page *m = page(0);

    if (!alloc_failure_available())
        cr_skip_test("the sanitizer has the allocator");
    alloc_failure_set(1);
    cr_expect(enter(natural_at(0), m, VM_PROT_READ) == -ENOMEM);
    cr_expect(!pmap_page_is_mapped(m) && fake.enters == 0);
    cr_expect(enter(natural_at(0), m, VM_PROT_READ) == 0);
}

/* ---- One page at many places. ---- */

Test(pmap, a_page_may_be_mapped_at_any_number_of_places)
{
    struct vm_page *m = page(0);
    unsigned i = 0;

    /* 7 and WINDOW_PAGES have no common factor: every place once, in no order. */
    for (unsigned n = 0; n < WINDOW_PAGES; n++, i = (i + 7) % WINDOW_PAGES)
        cr_assert(enter(foreign_at(i), m, (n & 1) != 0 ? VM_PROT_RW : VM_PROT_READ) == 0);
    cr_expect(sys.pv_links == WINDOW_PAGES);
    pmap_audit(&pmap);
    for (unsigned n = 0; n < WINDOW_PAGES / 2; n++, i = (i + 13) % WINDOW_PAGES)
        pmap_remove(&pmap, foreign_at(i), foreign_at(i + 1));
    cr_expect(sys.pv_links == WINDOW_PAGES - WINDOW_PAGES / 2);
    pmap_audit(&pmap);
    pmap_page_protect(m, VM_PROT_NONE);
    cr_expect(!pmap_page_is_mapped(m) && sys.pv_links == 0 && fake_pmap_mapped(&fake) == 0);
}

Test(pmap, page_protect_reaches_every_mapping_in_every_pmap)
{
    struct pmap other;
    struct vm_page *m = page(3);
    gpa_t gpa = gpa_from_u64(0x5000);

    cr_assert(pmap_init(&other, &sys, &fake_pmap_ops, &fake) == 0);
    cr_assert(pmap_window_add(&other, gpa, 4, PMAP_NO_NATURAL) == 0);
    cr_assert(enter_in(&other, gpa, m, VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(3), m, VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(4), page(4), VM_PROT_RW) == 0);
    cr_assert(enter(foreign_at(900), m, VM_PROT_READ) == 0);
    pmap_page_protect(m, VM_PROT_READ);
    cr_expect(maps(natural_at(3), m, VM_PROT_READ) && maps(foreign_at(900), m, VM_PROT_READ));
    cr_expect(pmap_extract(&other, gpa, NULL) == VM_PROT_READ);
    cr_expect(fake.protected_pages == 2 && fake.removes == 0);
    cr_expect(!vm_page_flag_test(m, VM_PAGE_WRITEABLE));
    pmap_audit(&pmap);
    pmap_page_protect(m, VM_PROT_NONE);
    cr_expect(maps_nothing(natural_at(3)) && maps_nothing(foreign_at(900)));
    cr_expect(pmap_extract(&other, gpa, NULL) == VM_PROT_NONE);
    cr_expect(!pmap_page_is_mapped(m) && fake.removed_pages == 3);
    cr_expect(maps(natural_at(4), page(4), VM_PROT_RW), "a neighbour keeps its mapping");
    pmap_fini(&other);
}

Test(pmap, page_protect_clears_writeable_of_a_page_that_lost_its_mappings)
{
    cr_assert(enter(natural_at(3), page(3), VM_PROT_RW) == 0);
    pmap_remove(&pmap, natural_at(3), natural_at(4));
    pmap_page_protect(page(3), VM_PROT_READ);
    cr_expect(!vm_page_flag_test(page(3), VM_PAGE_WRITEABLE) && fake.protects == 0);
}

/* ---- Remove and write-protect. ---- */

Test(pmap, remove_drops_the_range_and_nothing_else_and_keeps_the_data)
{
    uint64_t value = 0;

    cr_assert(enter_run(natural_at(0), 0, 8, VM_PROT_RW, 0, NULL) == 0);
    cr_assert(fake_guest_store(&fake, natural_at(3), 0xfeed));
    pmap_remove(&pmap, natural_at(2), natural_at(5));
    cr_expect(fake.removes == 1 && fake.removed_pages == 3 && pmap.mapped_pages == 5);
    for (unsigned i = 0; i < 8; i++)
        cr_expect(i >= 2 && i < 5 ? maps_nothing(natural_at(i))
                                  : maps(natural_at(i), page(i), VM_PROT_RW));
    cr_expect(!fake_guest_load(&fake, natural_at(3), &value));
    cr_assert(enter(natural_at(3), page(3), VM_PROT_READ) == 0);
    cr_expect(fake_guest_load(&fake, natural_at(3), &value) && value == 0xfeed);
}

Test(pmap, remove_goes_across_chunks_windows_and_gaps)
{
    cr_assert(enter(natural_at(0), page(0), VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(BORDER - 1), page(1), VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(BORDER), page(2), VM_PROT_RW) == 0);
    cr_assert(enter(foreign_at(WINDOW_PAGES - 1), page(3), VM_PROT_RW) == 0);
    pmap_remove(&pmap, gpa_from_u64(0), gpa_from_u64(PMAP_GPA_END));
    cr_expect(fake_pmap_mapped(&fake) == 0 && pmap.mapped_pages == 0);
    cr_expect(fake.removes == 3, "one operation for each chunk with mappings");
}

Test(pmap, where_nothing_is_mapped_remove_and_write_protect_do_nothing)
{
    cr_assert(enter(natural_at(0), page(0), VM_PROT_RW) == 0);
    pmap_remove(&pmap, natural_at(1), natural_at(WINDOW_PAGES));
    pmap_remove(&pmap, gpa_from_u64(0), gpa_from_u64(0x100000));
    pmap_remove(&pmap, natural_at(0), natural_at(0));
    pmap_write_protect(&pmap, natural_at(1), natural_at(WINDOW_PAGES));
    cr_expect(fake.removes == 0 && fake.protects == 0 && pmap.mapped_pages == 1);
}

Test(pmap, write_protect_takes_write_permission_and_only_that)
{
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 0, NULL) == 0);
    pmap_remove(&pmap, natural_at(2), natural_at(3));
    cr_assert(enter(natural_at(2), page(2), VM_PROT_READ) == 0);
    pmap_write_protect(&pmap, natural_at(1), natural_at(5));
    cr_expect(fake.protects == 2 && fake.protected_pages == 3, "two runs of writable pages");
    for (unsigned i = 0; i < 6; i++)
        cr_expect(maps(natural_at(i), page(i), i == 0 || i == 5 ? VM_PROT_RW : VM_PROT_READ));
    cr_expect(pmap.mapped_pages == 6);
}

/* ---- Questions. ---- */

Test(pmap, extract_says_what_is_mapped_anywhere_in_the_page)
{
    struct vm_page *m = page(9);

    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    cr_expect(pmap_extract(&pmap, gpa_from_u64(NATURAL_START + PAGE_SIZE + 123), &m) == VM_PROT_RW);
    cr_expect(m == page(1));
    cr_expect(pmap_extract(&pmap, natural_at(2), &m) == VM_PROT_NONE && m == NULL);
    cr_expect(pmap_extract(&pmap, natural_at(1000), &m) == VM_PROT_NONE && m == NULL);
    cr_expect(pmap_extract(&pmap, gpa_from_u64(0), &m) == VM_PROT_NONE && m == NULL);
    cr_expect(pmap_extract(&pmap, gpa_from_u64(UINT64_MAX), NULL) == VM_PROT_NONE);
}

Test(pmap, the_mapped_run_behind_ends_at_a_hole_the_window_or_the_maximum)
{
    cr_assert(enter_run(natural_at(0), 0, 10, VM_PROT_READ, 0, NULL) == 0);
    cr_assert(enter_run(natural_at(12), 12, BORDER + 8, VM_PROT_READ, 0, NULL) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(0), 64) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(10), 64) == 10);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(10), 4) == 4);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(10), 0) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(11), 64) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(13), 64) == 1);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(BORDER + 20), 1000) == BORDER + 8);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(BORDER), 1000) == BORDER - 12);
    cr_expect(pmap_mapped_run_behind(&pmap, natural_at(1000), 64) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, gpa_from_u64(0), 64) == 0);
}

Test(pmap, the_mapped_run_behind_ends_at_a_window_that_begins_with_a_chunk)
{
    gpa_t start = gpa_from_u64(4 * PMAP_CHUNK_PAGES * PAGE_SIZE);

    cr_assert(pmap_window_add(&pmap, start, 4, PMAP_NO_NATURAL) == 0);
    cr_assert(enter_run(start, 0, 4, VM_PROT_READ, 0, NULL) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, start, 64) == 0);
    cr_expect(pmap_mapped_run_behind(&pmap, gpa_add(start, 3 * PAGE_SIZE), 64) == 3);
}

Test(pmap, wake_reaches_the_machine_where_there_is_a_window)
{
    pmap_wake(&pmap, natural_at(7));
    cr_expect(fake.wakes == 1 && fake.last_wake.value == natural_at(7).value);
    pmap_wake(&pmap, gpa_from_u64(0));
    cr_expect(fake.wakes == 1);
}

/* Let the slots of two pages exchange their frames, as vm_page_rename does. */
static void
exchange_frames(struct vm_page *a, struct vm_page *b)
{
    a->frame_delta = b - a;
    b->frame_delta = a - b;
    vm_slot_set_moved(&sys, vm_page_slot(a), true);
    vm_slot_set_moved(&sys, vm_page_slot(b), true);
}

Test(pmap, mappings_move_with_the_page)
{
    struct vm_page *from = page(1);
    struct vm_page *to = page(2);

    cr_assert(enter(natural_at(1), from, VM_PROT_RW) == 0);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(enter(foreign_at(i), from, VM_PROT_READ) == 0);
    vm_page_zero_fill(to);
    exchange_frames(from, to);
    pmap_page_moved(from, to);
    vm_page_flag_set(to, VM_PAGE_WRITEABLE);
    cr_expect(!pmap_page_is_mapped(from) && maps(natural_at(1), to, VM_PROT_RW));
    for (unsigned i = 0; i < 5; i++)
        cr_expect(maps(foreign_at(i), to, VM_PROT_READ));
    cr_expect(fake.enters == 6 && fake.removes == 0 && fake.protects == 0);
    pmap_audit(&pmap);
    pmap_page_protect(to, VM_PROT_NONE);
    cr_expect(!pmap_page_is_mapped(to) && fake_pmap_mapped(&fake) == 0);
}

/* ---- The audits see what they are for. ---- */

Test(pmap, the_audit_sees_a_lost_reverse_link, .signal = SIGABRT)
{
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    page(1)->pv.where = 0;
    pmap_audit(&pmap);
}

Test(pmap, the_audit_sees_a_stale_reverse_link, .signal = SIGABRT)
{
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    pmap.windows[0]->chunks[0] = NULL;
    pmap.mapped_pages = 0;
    pmap_audit(&pmap);
}

Test(pmap, the_audit_sees_a_wrong_count, .signal = SIGABRT)
{
    pmap.mapped_pages = 1;
    pmap_audit(&pmap);
}

Test(pmap, the_audit_sees_a_mapped_hole, .signal = SIGABRT)
{
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    cr_assert(vm_frame_punch(&sys, vm_page_frame(page(1))) == 0);
    fake_pmap_audit(&fake);
}

Test(pmap, the_audit_sees_a_mapping_the_machine_has_alone, .signal = SIGABRT)
{
    struct pmap_frame frame = { .frame = vm_page_frame(page(1)),
                                .prot = VM_PROT_READ,
                                .fill = true };
    unsigned entered;

    cr_assert(fake_pmap_ops.enter(&fake, pmap.windows[0], 1, 1, &frame, &entered) == 0);
    fake_pmap_audit(&fake);
}

/* ---- Threads: where they look, assert() ends the test process. ---- */

#define STRESS_PAGES 24
#define STRESS_PLACES 32 /* half of them on each side of a chunk's border */
#define STRESS_ROUNDS 3000

/* Who has the page's lock is the thread that made it busy. */
static pthread_mutex_t owner[STRESS_PAGES];

static unsigned
stress_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static gpa_t
stress_place(unsigned i)
{
    return natural_at(BORDER - STRESS_PLACES / 2 + i);
}

/* Enter a run of up to 4 pages, as many as can be had. */
static void
stress_enter(unsigned *state)
{
    struct vm_page *m[4] = { NULL };
    vm_prot_t prot[4];
    unsigned first = stress_random(state) % STRESS_PAGES;
    unsigned n = 1 + stress_random(state) % 4;
    unsigned place = stress_random(state) % (STRESS_PLACES - 4);
    int error;

    pthread_mutex_lock(&owner[first]);
    m[0] = page(first);
    for (unsigned i = 1; i < n; i++) {
        if (first + i < STRESS_PAGES && pthread_mutex_trylock(&owner[first + i]) == 0)
            m[i] = page(first + i);
    }
    for (unsigned i = 0; i < n; i++)
        prot[i] = (stress_random(state) & 1) != 0 ? VM_PROT_RW : VM_PROT_READ;
    error = pmap_enter(&pmap, stress_place(place), m, prot, n, 0, NULL);
    assert(error == 0 || error == -ENOENT || error == -EIO);
    for (unsigned i = 0; i < n; i++) {
        if (m[i] != NULL)
            pthread_mutex_unlock(&owner[first + i]);
    }
}

/* Once page_protect returned, and while the page is busy, its mappings stay as they are. */
static void
stress_protect(unsigned *state)
{
    unsigned i = stress_random(state) % STRESS_PAGES;
    struct vm_page *m;
    struct vm_page *found;

    pthread_mutex_lock(&owner[i]);
    m = page(i);
    if ((stress_random(state) & 1) != 0) {
        pmap_page_protect(m, VM_PROT_NONE);
        assert(!pmap_page_is_mapped(m));
    } else {
        pmap_page_protect(m, VM_PROT_READ);
        for (unsigned place = 0; place < STRESS_PLACES; place++)
            assert(pmap_extract(&pmap, stress_place(place), &found) != VM_PROT_RW || found != m);
    }
    pthread_mutex_unlock(&owner[i]);
}

static void
stress_range(unsigned *state)
{
    unsigned from = stress_random(state) % STRESS_PLACES;
    unsigned to = from + stress_random(state) % (STRESS_PLACES - from) + 1;

    if ((stress_random(state) & 1) != 0)
        pmap_remove(&pmap, stress_place(from), stress_place(to));
    else
        pmap_write_protect(&pmap, stress_place(from), stress_place(to));
    assert(pmap_mapped_run_behind(&pmap, stress_place(to), 8) <= 8);
}

/* The window with all of this goes away and comes back. */
static void
stress_window(unsigned *state)
{
    if (stress_random(state) % 64 != 0)
        return;
    if ((stress_random(state) & 1) != 0) {
        assert(pmap_window_rebase(&pmap, natural_at(0), object->extent) == 0);
        return;
    }
    assert(pmap_window_remove(&pmap, natural_at(0)) == 0);
    assert(pmap_window_add(&pmap, natural_at(0), WINDOW_PAGES, object->extent) == 0);
}

typedef void stress_step(unsigned *state);

static void *
stress_thread(void *argument)
{
    stress_step *step = *(stress_step **)argument;
    unsigned state = (unsigned)((uintptr_t)argument >> 3);

    for (unsigned i = 0; i < STRESS_ROUNDS; i++)
        step(&state);
    return NULL;
}

static void
stress(stress_step **steps, unsigned n)
{
    pthread_t threads[8];

    for (unsigned i = 0; i < STRESS_PAGES; i++) {
        pthread_mutex_init(&owner[i], NULL);
        (void)page(i);
    }
    for (unsigned i = 0; i < n; i++)
        cr_assert(pthread_create(&threads[i], NULL, stress_thread, &steps[i]) == 0);
    for (unsigned i = 0; i < n; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
}

Test(pmap, enter_remove_and_page_protect_race_without_harm)
{
    stress_step *steps[] = { stress_enter, stress_enter, stress_protect, stress_range };

    stress(steps, 4);
    cr_expect(fake.entered_pages > STRESS_ROUNDS / 2, "the race took place");
}

Test(pmap, windows_come_and_go_under_enter_and_page_protect)
{
    stress_step *steps[] = { stress_enter, stress_enter, stress_protect, stress_window };

    stress(steps, 4);
    cr_expect(fake.windows_destroyed > 0 && fake.rebases > 0, "the race took place");
}

static void
fail_some(void *context, gpa_t gpa, unsigned npages)
{
    (void)context;
    if (gpa.value % (8 * PAGE_SIZE) == 0)
        fake_pmap_fail_next_enter(&fake, -EIO, npages / 2);
}

Test(pmap, failures_of_the_machine_race_without_harm)
{
    stress_step *steps[] = { stress_enter, stress_protect, stress_range };

    fake.before_enter = fail_some;
    stress(steps, 3);
    fake.before_enter = NULL;
}
