/* SPDX-License-Identifier: BSD-2-Clause */
/* The pmap: every line of its contract about mappings, over the fake machine half. */
#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/pv.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/pmap_rig.h"
#include "tests/unit/sanitized.h"
#include "vmm/vpagetable/pmap_window.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(pmap, .timeout = 60);

/* --- Enter --------------------------------------------------------------- */

CHECKED_TEST(pmap, an_entered_page_is_mapped_with_the_protection_asked_for)
{
    cr_assert(enter(natural_at(4), page(4), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(5), page(5), VM_PROT_RW) == 0);
    cr_expect(maps(natural_at(4), page(4), VM_PROT_READ));
    cr_expect(maps(natural_at(5), page(5), VM_PROT_RW));
    cr_expect(fake_guest_access(&fake, natural_at(4), VM_PROT_READ));
    cr_expect(!fake_guest_access(&fake, natural_at(4), VM_PROT_WRITE));
    cr_expect(fake_guest_access(&fake, natural_at(5), VM_PROT_WRITE));
    cr_expect(pmap_mapped_pages(&pmap) == 2);
}

CHECKED_TEST(pmap, a_page_cannot_be_entered_where_there_is_no_window)
{
    struct pmap_entered entered = { .npages = 7 };
    struct vm_page *m = page(0);
    vm_prot_t prot = VM_PROT_READ;

    cr_expect(pmap_enter(&pmap, NULL, gpa_from_u64(0), &m, &prot, 1, 0, &entered) == -ENOENT);
    cr_expect(entered.npages == 0 && !pmap_page_is_mapped(m));
    cr_expect(enter(natural_at(WINDOW_PAGES), m, VM_PROT_READ) == -ENOENT);
}

CHECKED_TEST(pmap, entering_a_page_of_zeros_fills_its_frame_and_clears_the_flag)
{
    struct vm_page *m = page(4);
    uint64_t value = 1;

    cr_assert(vm_page_flag_test(m, VM_PAGE_ZERO));
    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    cr_expect(!vm_page_flag_test(m, VM_PAGE_ZERO) && fake.filled_pages == 1);
    cr_expect(fake_guest_load(&fake, natural_at(4), &value) && value == 0);
}

CHECKED_TEST(pmap, a_filled_frame_is_not_filled_again)
{
    struct vm_page *m = page(4);

    vm_page_zero_fill(m);
    *(uint64_t *)vm_page_address(m) = 0x1234;
    cr_assert(enter(foreign_at(0), m, VM_PROT_READ) == 0);
    cr_expect(fake.filled_pages == 0 && *(uint64_t *)vm_page_address(m) == 0x1234);
}

CHECKED_TEST(pmap, only_a_writable_mapping_makes_a_page_writeable)
{
    cr_assert(enter(natural_at(0), page(0), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    cr_expect(!vm_page_flag_test(page(0), VM_PAGE_WRITEABLE));
    cr_expect(vm_page_flag_test(page(1), VM_PAGE_WRITEABLE));
}

CHECKED_TEST(pmap, a_run_inside_a_chunk_is_one_machine_operation)
{
    struct pmap_entered entered;

    cr_assert(enter_run(natural_at(0), 0, BORDER, VM_PROT_RW, 3, &entered) == 0);
    cr_expect(fake.enters == 1 && entered.npages == BORDER && fake.entered_pages == BORDER);
    for (unsigned i = 0; i < BORDER; i++)
        cr_expect(maps(natural_at(i), page(i), VM_PROT_RW));
}

CHECKED_TEST(pmap, a_run_across_chunks_is_cut_at_their_borders)
{
    struct pmap_entered entered;

    cr_assert(enter_run(natural_at(BORDER - 3), BORDER - 3, PMAP_CHUNK_PAGES + 6, VM_PROT_READ,
                        PMAP_CHUNK_PAGES, &entered) == 0);
    cr_expect(fake.enters == 3 && entered.npages == PMAP_CHUNK_PAGES + 6);
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES + 6; i++)
        cr_expect(maps(natural_at(BORDER - 3 + i), page(BORDER - 3 + i), VM_PROT_READ));
}

CHECKED_TEST(pmap, absent_pages_of_a_run_are_skipped)
{
    struct vm_page *m[5] = { NULL, page(1), NULL, page(3), NULL };
    vm_prot_t prot[5] = { VM_PROT_RW, VM_PROT_READ, VM_PROT_RW, VM_PROT_RW, VM_PROT_RW };
    struct pmap_entered entered;

    cr_assert(enter(natural_at(2), page(2), VM_PROT_READ) == 0);
    cr_assert(pmap_enter(&pmap, NULL, natural_at(0), m, prot, 5, 1, &entered) == 0);
    cr_expect(entered.npages == 2 && fake.enters == 3);
    cr_expect(maps_nothing(natural_at(0)) && maps_nothing(natural_at(4)));
    cr_expect(maps(natural_at(1), page(1), VM_PROT_READ));
    cr_expect(maps(natural_at(2), page(2), VM_PROT_READ), "what was there stays");
    cr_expect(maps(natural_at(3), page(3), VM_PROT_RW));
}

/* The generation of the demanded mapping; 256 when nothing was mapped. */
static unsigned
generation(gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    struct pmap_entered entered;

    return pmap_enter(&pmap, NULL, gpa, &m, &prot, 1, 0, &entered) == 0 ? entered.generation : 256;
}

CHECKED_TEST(pmap, a_mapping_that_was_there_all_the_time_keeps_its_generation)
{
    unsigned first = generation(natural_at(1), page(1), VM_PROT_READ);

    cr_expect(generation(natural_at(1), page(1), VM_PROT_READ) == first);
    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_READ, 2, NULL) == 0, "a neighbour's fault");
    cr_expect(generation(natural_at(1), page(1), VM_PROT_READ) == first);
    pmap_remove(&pmap, natural_at(2), natural_at(3));
    cr_expect(generation(natural_at(1), page(1), VM_PROT_READ) == first);
}

/* A mapping that comes back by somebody else's fault is another one too. */
CHECKED_TEST(pmap, a_mapping_that_came_back_or_grew_has_another_generation)
{
    unsigned before = generation(natural_at(1), page(1), VM_PROT_READ), now;

#define EXPECT_ANOTHER(prot)                                    \
    do {                                                        \
        now = generation(natural_at(1), page(1), prot);         \
        cr_expect(now != before && now < 256, "%u again", now); \
        before = now;                                           \
    } while (0)

    EXPECT_ANOTHER(VM_PROT_RW);
    pmap_write_protect(&pmap, natural_at(1), natural_at(2));
    EXPECT_ANOTHER(VM_PROT_RW);
    pmap_remove(&pmap, natural_at(1), natural_at(2));
    EXPECT_ANOTHER(VM_PROT_READ);
    pmap_page_protect(page(1), VM_PROT_NONE);
    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_READ, 0, NULL) == 0, "a neighbour's fault");
    EXPECT_ANOTHER(VM_PROT_READ);
    cr_assert(generation(natural_at(1), page(7), VM_PROT_READ) != before);
    EXPECT_ANOTHER(VM_PROT_READ);
#undef EXPECT_ANOTHER
}

/* Across a chunk's border, with one that is mapped elsewhere too and one that is not mapped. */
CHECKED_TEST(pmap, pages_that_follow_each_other_are_unmapped_by_one_operation_in_each_chunk)
{
    struct vm_page *m[20];

    cr_assert(enter_run(natural_at(BORDER - 12), BORDER - 12, 20, VM_PROT_RW, 0, NULL) == 0);
    cr_assert(enter(foreign_at(3), page(BORDER - 4), VM_PROT_READ) == 0);
    pmap_remove(&pmap, natural_at(BORDER - 7), natural_at(BORDER - 6));
    for (unsigned i = 0; i < 20; i++)
        m[i] = page(BORDER - 12 + i);
    fake.removes = 0;
    pmap_pages_unmap(m, 16);
    for (unsigned i = 0; i < 16; i++)
        cr_expect(maps_nothing(natural_at(BORDER - 12 + i)), "%u", i);
    cr_expect(maps_nothing(foreign_at(3)));
    for (unsigned i = 16; i < 20; i++)
        cr_expect(maps(natural_at(BORDER - 12 + i), m[i], VM_PROT_RW), "%u", i);
    /* Before the gap, behind it, in the other chunk; and elsewhere. */
    cr_expect(fake.removes == 4, "%u", fake.removes);
}

/* The fake insists on it: where another frame is mapped, enter aborts. */
CHECKED_TEST(pmap, another_page_loses_its_mapping_first_and_need_not_be_busy)
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

CHECKED_TEST(pmap, the_protection_of_a_mapping_only_grows)
{
    struct vm_page *m = page(4);

    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(4), m, VM_PROT_RW) == 0);
    cr_expect(maps(natural_at(4), m, VM_PROT_RW) && fake.entered_pages == 2);
    cr_expect(vm_page_flag_test(m, VM_PAGE_WRITEABLE));
    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    cr_expect(maps(natural_at(4), m, VM_PROT_RW));
    cr_expect(pmap_mapped_pages(&pmap) == 1 && fake.removes == 0);
}

/* The host may have dropped it unseen; waking alone would repeat the fault for ever. */
CHECKED_TEST(pmap, a_demanded_page_that_seems_mapped_is_entered_again)
{
    struct pmap_entered entered;

    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_RW, 1, &entered) == 0 && entered.npages == 3);
    cr_assert(enter_run(natural_at(0), 0, 3, VM_PROT_RW, 1, &entered) == 0 && entered.npages == 1);
    cr_expect(fake.enters == 2 && fake.refreshed_pages == 1);
}

CHECKED_TEST(pmap, mapped_neighbours_are_left_as_they_are)
{
    struct pmap_entered entered;

    cr_assert(enter_run(natural_at(1), 1, 2, VM_PROT_READ, 0, NULL) == 0);
    cr_assert(enter_run(natural_at(0), 0, 5, VM_PROT_RW, 4, &entered) == 0);
    cr_expect(entered.npages == 3 && fake.enters == 3, "two runs around the mapped pages");
    cr_expect(maps(natural_at(1), page(1), VM_PROT_READ));
    cr_expect(maps(natural_at(2), page(2), VM_PROT_READ));
    cr_expect(maps(natural_at(3), page(3), VM_PROT_RW));
}

/* The fake compares `foreign` with what it has seen itself. */
CHECKED_TEST(pmap, the_machine_is_told_whether_the_last_mapping_was_foreign)
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

CHECKED_TEST(pmap, when_the_machine_fails_for_the_demanded_page_the_error_is_returned)
{
    struct pmap_entered entered = { .npages = 7 };

    fake_pmap_fail_next_enter(&fake, -EIO, 2);
    cr_assert(enter_run(natural_at(0), 0, 5, VM_PROT_RW, 2, &entered) == -EIO);
    cr_expect(entered.npages == 2 && fake.enters == 1);
    cr_expect(maps(natural_at(1), page(1), VM_PROT_RW));
    for (unsigned i = 2; i < 5; i++) {
        cr_expect(maps_nothing(natural_at(i)) && !pmap_page_is_mapped(page(i)));
        cr_expect(vm_page_flag_test(page(i), VM_PAGE_ZERO), "its frame is still a hole");
    }
}

CHECKED_TEST(pmap, when_the_machine_fails_before_the_demanded_page_that_is_tried_alone)
{
    struct pmap_entered entered;

    fake_pmap_fail_next_enter(&fake, -EIO, 1);
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 4, &entered) == 0);
    cr_expect(entered.npages == 2 && fake.enters == 2);
    cr_expect(maps(natural_at(0), page(0), VM_PROT_RW));
    cr_expect(maps(natural_at(4), page(4), VM_PROT_RW));
    cr_expect(maps_nothing(natural_at(1)) && !pmap_page_is_mapped(page(1)));
    cr_expect(maps_nothing(natural_at(5)) && !pmap_page_is_mapped(page(5)));
}

CHECKED_TEST(pmap, when_the_machine_fails_twice_the_demanded_page_gives_its_error)
{
    struct pmap_entered entered = { .npages = 7 };

    fake_pmap_fail_next_enter(&fake, -EIO, 0);
    fake.fail_repeat = 1;
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 4, &entered) == -EIO);
    cr_expect(entered.npages == 0 && fake.enters == 2 && pmap_mapped_pages(&pmap) == 0);
}

CHECKED_TEST(pmap, when_the_machine_fails_after_the_demanded_page_that_is_a_success)
{
    struct pmap_entered entered;

    fake_pmap_fail_next_enter(&fake, -ENOMEM, 3);
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 2, &entered) == 0);
    cr_expect(entered.npages == 3 && fake.enters == 1);
    cr_expect(maps(natural_at(2), page(2), VM_PROT_RW) && maps_nothing(natural_at(3)));
}

CHECKED_TEST(pmap, a_failure_in_another_chunk_does_not_touch_the_demanded_page)
{
    struct pmap_entered entered;

    fake_pmap_fail_next_enter(&fake, -EIO, 0);
    cr_assert(enter_run(natural_at(BORDER - 2), 0, 4, VM_PROT_RW, 2, &entered) == 0);
    cr_expect(entered.npages == 2 && fake.enters == 2);
    cr_expect(maps_nothing(natural_at(BORDER - 1)));
    cr_expect(maps(natural_at(BORDER), page(2), VM_PROT_RW));
}

CHECKED_TEST(pmap, a_failed_upgrade_keeps_the_mapping)
{
    struct vm_page *m = page(4);

    cr_assert(enter(natural_at(4), m, VM_PROT_READ) == 0);
    fake_pmap_fail_next_enter(&fake, -EAGAIN, 0);
    cr_expect(enter(natural_at(4), m, VM_PROT_RW) == -EAGAIN);
    cr_expect(maps(natural_at(4), m, VM_PROT_READ));
}

CHECKED_TEST(pmap, a_failed_replacement_leaves_nothing_mapped)
{
    cr_assert(enter(natural_at(4), page(5), VM_PROT_READ) == 0);
    fake_pmap_fail_next_enter(&fake, -EAGAIN, 0);
    cr_expect(enter(natural_at(4), page(4), VM_PROT_RW) == -EAGAIN);
    cr_expect(maps_nothing(natural_at(4)));
    cr_expect(!pmap_page_is_mapped(page(4)) && !pmap_page_is_mapped(page(5)));
}

CHECKED_TEST(pmap, without_memory_for_a_reverse_link_only_that_page_is_not_entered)
{
    struct vm_page *m[3] = { page(0), page(1), page(2) };
    vm_prot_t prot[3] = { VM_PROT_RW, VM_PROT_RW, VM_PROT_RW };
    struct pmap_entered entered;

    cr_assert(pmap_enter(&pmap, NULL, foreign_at(0), m, prot, 3, 0, NULL) == 0);
    cr_assert(pmap_enter(&pmap, NULL, foreign_at(10), m, prot, 3, 0, NULL) == 0);
    cr_assert(enter(natural_at(20), page(20), VM_PROT_READ) == 0, "natural_at has its chunk");
    alloc_failure_set(3); /* two links of each page go to the heap: the first of page 1 fails */
    cr_expect(pmap_enter(&pmap, NULL, natural_at(0), m, prot, 3, 0, &entered) == 0);
    cr_expect(entered.npages == 2 && maps_nothing(natural_at(1)));
    for (unsigned n = 1; n <= 2; n++) {
        alloc_failure_set(n);
        cr_expect(pmap_enter(&pmap, NULL, natural_at(1), &m[1], prot, 1, 0, &entered) == -ENOMEM);
        cr_expect(entered.npages == 0 && maps_nothing(natural_at(1)));
        cr_expect(maps(foreign_at(1), page(1), VM_PROT_RW));
        cr_expect(maps(foreign_at(11), page(1), VM_PROT_RW));
        pmap_audit(&pmap);
    }
    cr_expect(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
}

CHECKED_TEST(pmap, a_page_at_two_places_needs_no_memory)
{
    cr_assert(enter(natural_at(20), page(20), VM_PROT_READ) == 0, "natural_at has its chunk");
    cr_assert(enter(foreign_at(20), page(20), VM_PROT_READ) == 0, "so has foreign_at");
    alloc_failure_set(1);
    for (unsigned i = 0; i < 10; i++) {
        cr_expect(enter(natural_at(1), page(1), VM_PROT_READ) == 0);
        cr_expect(enter(foreign_at(1), page(1), VM_PROT_READ) == 0);
        pmap_remove(&pmap, i % 2 == 0 ? natural_at(1) : foreign_at(1),
                    i % 2 == 0 ? natural_at(2) : foreign_at(2));
    }
    alloc_failure_set(0);
}

CHECKED_TEST(pmap, without_memory_for_a_table_nothing_is_entered)
{
    struct vm_page *m = page(0);

    alloc_failure_set(1);
    cr_expect(enter(natural_at(0), m, VM_PROT_READ) == -ENOMEM);
    cr_expect(!pmap_page_is_mapped(m) && fake.enters == 0);
    cr_expect(enter(natural_at(0), m, VM_PROT_READ) == 0);
}

/* The last slot of the largest store: all bits of a pte. */
Test(pmap_store, the_last_page_of_the_largest_store_is_mapped_as_any_other, .disabled = SANITIZED)
{
    const struct vm_system_config config = { .store_pages = VM_STORE_PAGES_MAX };
    const vm_pindex_t half = VM_STORE_PAGES_MAX / 2;
    struct vm_object *first;
    struct vm_page *m;

    cr_assert(vm_system_init(&sys, &config) == 0);
    cr_assert(vm_object_create_default(&sys, half, &first) == 0);
    cr_assert(vm_object_create_default(&sys, half, &object) == 0);
    fake_pmap_init(&fake);
    cr_assert(pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) == 0);
    cr_assert(pmap_window_add(&pmap, natural_at(0), 1, object->extent + half - 1) == 0);
    cr_assert(pmap_window_add(&pmap, foreign_at(0), 1, PMAP_NO_NATURAL) == 0);
    m = page(half - 1);
    cr_expect(vm_page_slot(m) == VM_STORE_PAGES_MAX - 1);
    cr_expect(enter(natural_at(0), m, VM_PROT_RW) == 0);
    cr_expect(enter(foreign_at(0), m, VM_PROT_READ) == 0);
    cr_expect(maps(natural_at(0), m, VM_PROT_RW) && maps(foreign_at(0), m, VM_PROT_READ));
    pmap_page_protect(m, VM_PROT_NONE);
    vm_object_unref(first);
    pmap_teardown();
}

/* --- One page at many places --------------------------------------------- */

CHECKED_TEST(pmap, a_page_may_be_mapped_at_any_number_of_places)
{
    struct vm_page *m = page(0);
    unsigned i = 0;

    /* 7 and WINDOW_PAGES have no common factor: every place once, in no order. */
    for (unsigned n = 0; n < WINDOW_PAGES; n++, i = (i + 7) % WINDOW_PAGES)
        cr_assert(enter(foreign_at(i), m, (n & 1) != 0 ? VM_PROT_RW : VM_PROT_READ) == 0);
    cr_expect(pv_count(&sys) == WINDOW_PAGES);
    pmap_audit(&pmap);
    for (unsigned n = 0; n < WINDOW_PAGES / 2; n++, i = (i + 13) % WINDOW_PAGES)
        pmap_remove(&pmap, foreign_at(i), foreign_at(i + 1));
    cr_expect(pv_count(&sys) == WINDOW_PAGES - WINDOW_PAGES / 2);
    pmap_audit(&pmap);
    pmap_page_protect(m, VM_PROT_NONE);
    cr_expect(!pmap_page_is_mapped(m) && pv_count(&sys) == 0 && fake_pmap_mapped(&fake) == 0);
}

/* The page's links, in order, are those places of foreign_at whose bit is set. */
static bool
links_are(const struct vm_page *m, unsigned places)
{
    uint64_t where = 0;

    for (unsigned i = 0; i < 5; i++) {
        if ((places >> i & 1) == 0)
            continue;
        where = pv_next(&sys, m, where);
        if (where != pv_where(&pmap, gpa_to_u64(foreign_at(i)) >> PAGE_SHIFT))
            return false;
    }
    return pv_next(&sys, m, where) == 0;
}

/* From any set of places to any other, over the border between page and tree and back. */
CHECKED_TEST(pmap, a_page_keeps_its_links_in_order_whatever_comes_and_goes)
{
    struct vm_page *m = page(0);
    unsigned places = 0;
    uint64_t random = 1;

    for (unsigned n = 0; n < 5000; n++) {
        unsigned i;

        random = random * 6364136223846793005 + 1442695040888963407;
        i = (unsigned)(random >> 33) % 5;
        if ((places >> i & 1) == 0)
            cr_assert(enter(foreign_at(i), m, VM_PROT_READ) == 0);
        else
            pmap_remove(&pmap, foreign_at(i), foreign_at(i + 1));
        places ^= 1u << i;
        cr_assert(links_are(m, places), "step %u: %#x", n, places);
        cr_assert(pv_count(&sys) == (unsigned)__builtin_popcount(places));
    }
}

CHECKED_TEST(pmap, page_protect_reaches_every_mapping_in_every_pmap)
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

CHECKED_TEST(pmap, page_protect_clears_writeable_of_a_page_that_lost_its_mappings)
{
    cr_assert(enter(natural_at(3), page(3), VM_PROT_RW) == 0);
    pmap_remove(&pmap, natural_at(3), natural_at(4));
    pmap_page_protect(page(3), VM_PROT_READ);
    cr_expect(!vm_page_flag_test(page(3), VM_PAGE_WRITEABLE) && fake.protects == 0);
}

/* --- Remove and write-protect -------------------------------------------- */

CHECKED_TEST(pmap, remove_drops_the_range_and_nothing_else_and_keeps_the_data)
{
    uint64_t value = 0;

    cr_assert(enter_run(natural_at(0), 0, 8, VM_PROT_RW, 0, NULL) == 0);
    cr_assert(fake_guest_store(&fake, natural_at(3), 0xfeed));
    pmap_remove(&pmap, natural_at(2), natural_at(5));
    cr_expect(fake.removes == 1 && fake.removed_pages == 3 && pmap_mapped_pages(&pmap) == 5);
    for (unsigned i = 0; i < 8; i++)
        cr_expect(i >= 2 && i < 5 ? maps_nothing(natural_at(i))
                                  : maps(natural_at(i), page(i), VM_PROT_RW));
    cr_expect(!fake_guest_load(&fake, natural_at(3), &value));
    cr_assert(enter(natural_at(3), page(3), VM_PROT_READ) == 0);
    cr_expect(fake_guest_load(&fake, natural_at(3), &value) && value == 0xfeed);
}

CHECKED_TEST(pmap, remove_goes_across_chunks_windows_and_gaps)
{
    cr_assert(enter(natural_at(0), page(0), VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(BORDER - 1), page(1), VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(BORDER), page(2), VM_PROT_RW) == 0);
    cr_assert(enter(foreign_at(WINDOW_PAGES - 1), page(3), VM_PROT_RW) == 0);
    pmap_remove(&pmap, gpa_from_u64(0), gpa_from_u64(PMAP_GPA_END));
    cr_expect(fake_pmap_mapped(&fake) == 0 && pmap_mapped_pages(&pmap) == 0);
    cr_expect(fake.removes == 3, "one operation for each chunk with mappings");
}

CHECKED_TEST(pmap, where_nothing_is_mapped_remove_and_write_protect_do_nothing)
{
    cr_assert(enter(natural_at(0), page(0), VM_PROT_RW) == 0);
    pmap_remove(&pmap, natural_at(1), natural_at(WINDOW_PAGES));
    pmap_remove(&pmap, gpa_from_u64(0), gpa_from_u64(0x100000));
    pmap_remove(&pmap, natural_at(0), natural_at(0));
    pmap_write_protect(&pmap, natural_at(1), natural_at(WINDOW_PAGES));
    cr_expect(fake.removes == 0 && fake.protects == 0 && pmap_mapped_pages(&pmap) == 1);
}

CHECKED_TEST(pmap, write_protect_takes_write_permission_and_only_that)
{
    cr_assert(enter_run(natural_at(0), 0, 6, VM_PROT_RW, 0, NULL) == 0);
    pmap_remove(&pmap, natural_at(2), natural_at(3));
    cr_assert(enter(natural_at(2), page(2), VM_PROT_READ) == 0);
    pmap_write_protect(&pmap, natural_at(1), natural_at(5));
    cr_expect(fake.protects == 2 && fake.protected_pages == 3, "two runs of writable pages");
    for (unsigned i = 0; i < 6; i++)
        cr_expect(maps(natural_at(i), page(i), i == 0 || i == 5 ? VM_PROT_RW : VM_PROT_READ));
    cr_expect(pmap_mapped_pages(&pmap) == 6);
}

/* --- Questions ----------------------------------------------------------- */

CHECKED_TEST(pmap, extract_says_what_is_mapped_anywhere_in_the_page)
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

static unsigned
run_behind(gpa_t gpa, unsigned max)
{
    uint64_t page = gpa.value >> PAGE_SHIFT;

    return pmap_window_run_behind(pmap_window_look(&pmap, page), page, max);
}

CHECKED_TEST(pmap, the_mapped_run_behind_ends_at_a_hole_the_window_or_the_maximum)
{
    cr_assert(enter_run(natural_at(0), 0, 10, VM_PROT_READ, 0, NULL) == 0);
    cr_assert(enter_run(natural_at(12), 12, BORDER + 8, VM_PROT_READ, 0, NULL) == 0);
    cr_expect(run_behind(natural_at(0), 64) == 0);
    cr_expect(run_behind(natural_at(10), 64) == 10);
    cr_expect(run_behind(natural_at(10), 4) == 4);
    cr_expect(run_behind(natural_at(10), 0) == 0);
    cr_expect(run_behind(natural_at(11), 64) == 0);
    cr_expect(run_behind(natural_at(13), 64) == 1);
    cr_expect(run_behind(natural_at(BORDER + 20), 1000) == BORDER + 8);
    cr_expect(run_behind(natural_at(BORDER), 1000) == BORDER - 12);
    cr_expect(run_behind(natural_at(1000), 64) == 0);
    cr_expect(run_behind(gpa_from_u64(0), 64) == 0);
}

CHECKED_TEST(pmap, the_mapped_run_behind_ends_at_a_window_that_begins_with_a_chunk)
{
    gpa_t start = gpa_from_u64(4 * PMAP_CHUNK_PAGES * PAGE_SIZE);

    cr_assert(pmap_window_add(&pmap, start, 4, PMAP_NO_NATURAL) == 0);
    cr_assert(enter_run(start, 0, 4, VM_PROT_READ, 0, NULL) == 0);
    cr_expect(run_behind(start, 64) == 0);
    cr_expect(run_behind(gpa_add(start, 3 * PAGE_SIZE), 64) == 3);
}

CHECKED_TEST(pmap, a_window_once_found_answers_for_its_pages_and_no_others)
{
    uint64_t first = natural_at(0).value >> PAGE_SHIFT;
    struct pmap_window *w = pmap_window_look(&pmap, first + 5);
    vm_frame_t frame = vm_page_frame(page(5));

    cr_assert(enter_run(natural_at(5), 5, 1, VM_PROT_RW, 0, NULL) == 0);
    cr_assert(w != NULL);
    cr_expect(w == pmap_window_look(&pmap, first));
    cr_expect(pmap_window_look(&pmap, first - 1) == NULL);
    cr_expect(pmap_window_has(w, first) && pmap_window_has(w, first + w->npages - 1));
    cr_expect(!pmap_window_has(w, first - 1) && !pmap_window_has(w, first + w->npages));
    cr_expect(!pmap_window_has(NULL, first));
    cr_expect(pmap_window_prot(w, first + 5) == VM_PROT_RW);
    cr_expect(pmap_window_prot(w, first + 4) == VM_PROT_NONE);
    cr_expect(pmap_window_prot(w, first - 1) == VM_PROT_NONE);
    cr_expect(pmap_window_is_natural(w, first + 5, frame));
    cr_expect(!pmap_window_is_natural(w, first + 4, frame));
    cr_expect(!pmap_window_is_natural(NULL, first + 5, frame));
}

CHECKED_TEST(pmap, wake_reaches_the_machine_where_there_is_a_window)
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

CHECKED_TEST(pmap, mappings_move_with_the_page)
{
    for (unsigned places = 1; places <= 6; places++) {
        struct vm_page *from = page(2 * places);
        struct vm_page *to = page(2 * places + 1);
        unsigned enters = fake.enters, removes = fake.removes;

        cr_assert(enter(natural_at(1), from, VM_PROT_RW) == 0);
        for (unsigned i = 1; i < places; i++)
            cr_assert(enter(foreign_at(i), from, VM_PROT_READ) == 0);
        vm_page_zero_fill(to);
        exchange_frames(from, to);
        alloc_failure_set(1); /* it needs no memory */
        pmap_page_moved(from, to);
        alloc_failure_set(0);
        vm_page_flag_set(to, VM_PAGE_WRITEABLE);
        cr_expect(!pmap_page_is_mapped(from) && maps(natural_at(1), to, VM_PROT_RW));
        for (unsigned i = 1; i < places; i++)
            cr_expect(maps(foreign_at(i), to, VM_PROT_READ));
        cr_expect(fake.enters == enters + places && fake.removes == removes);
        cr_expect(fake.protects == 0);
        pmap_audit(&pmap);
        pmap_page_protect(to, VM_PROT_NONE);
        cr_expect(!pmap_page_is_mapped(to) && fake_pmap_mapped(&fake) == 0);
    }
}

CHECKED_TEST(pmap, one_mapping_moves_alone)
{
    struct vm_page *from = page(1);
    struct vm_page *to = page(2);

    vm_page_zero_fill(to);
    pmap_mapping_moved(&pmap, natural_at(1), from, to); /* there is none */
    cr_expect(maps_nothing(natural_at(1)));
    cr_assert(enter(natural_at(1), from, VM_PROT_READ) == 0);
    cr_assert(enter(foreign_at(1), from, VM_PROT_READ) == 0);
    pmap_mapping_moved(&pmap, natural_at(1), from, to);
    pmap_page_protect(from, VM_PROT_NONE);
    vm_page_exchange_frames(from, to);
    cr_expect(maps_nothing(foreign_at(1)) && !pmap_page_is_mapped(from));
    cr_expect(maps(natural_at(1), to, VM_PROT_READ));
    cr_expect(fake.enters == 2 && fake.removes == 1 && fake.removed_pages == 1);
    cr_expect(enter(natural_at(1), to, VM_PROT_RW) == 0);
    cr_expect(maps(natural_at(1), to, VM_PROT_RW));
}
