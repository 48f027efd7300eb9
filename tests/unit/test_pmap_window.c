/* SPDX-License-Identifier: BSD-2-Clause */
/* The pmap: its windows, and all of it among threads. */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/pmap_rig.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>

/* --- Windows ------------------------------------------------------------- */

CHECKED_TEST(pmap, a_window_that_overlaps_another_is_refused)
{
    cr_expect(pmap_window_add(&pmap, natural_at(0), 1, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, natural_at(5), 5, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, natural_at(WINDOW_PAGES - 1), 2, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(NATURAL_START - PAGE_SIZE), 2, 0) == -EEXIST);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 0x80000, 0) == -EEXIST);
    cr_expect(fake.windows_created == 2);
}

CHECKED_TEST(pmap, windows_may_touch)
{
    cr_assert(pmap_window_add(&pmap, natural_at(WINDOW_PAGES), 3, PMAP_NO_NATURAL) == 0);
    cr_assert(pmap_window_add(&pmap, gpa_from_u64(NATURAL_START - PAGE_SIZE), 1, 77) == 0);
    cr_expect(enter(natural_at(WINDOW_PAGES + 2), page(9), VM_PROT_READ) == 0);
    cr_expect(enter(gpa_from_u64(NATURAL_START - PAGE_SIZE), page(8), VM_PROT_READ) == 0);
    cr_expect(enter(natural_at(0), page(7), VM_PROT_READ) == 0);
}

CHECKED_TEST(pmap, a_window_with_a_bad_range_is_refused)
{
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0x1001), 1, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 0, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(PMAP_GPA_END), 1, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(PMAP_GPA_END - PAGE_SIZE), 2, 0) == -EINVAL);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(PAGE_SIZE), UINT64_MAX, 0) == -EINVAL);
    cr_expect(fake.windows_created == 2);
}

CHECKED_TEST(pmap, the_last_page_that_can_have_a_window_can_be_mapped)
{
    gpa_t last = gpa_from_u64(PMAP_GPA_END - PAGE_SIZE);
    struct vm_page *m = page(3);

    cr_assert(pmap_window_add(&pmap, last, 1, PMAP_NO_NATURAL) == 0);
    cr_assert(enter(last, m, VM_PROT_READ) == 0);
    cr_expect(maps(last, m, VM_PROT_READ));
    pmap_page_protect(m, VM_PROT_NONE);
    cr_expect(maps_nothing(last));
}

CHECKED_TEST(pmap, a_window_the_machine_refuses_leaves_nothing)
{
    fake.fail_window_create = -EMFILE;
    cr_assert(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == -EMFILE);
    cr_expect(enter(gpa_from_u64(0), page(0), VM_PROT_READ) == -ENOENT);
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == 0);
}

CHECKED_TEST(pmap, a_window_without_memory_leaves_nothing)
{
    for (unsigned n = 1; n <= 3; n++) {
        alloc_failure_set(n);
        cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == -ENOMEM, "allocation %u", n);
        alloc_failure_set(0);
        cr_expect(pmap.windows.n == 2 && fake.windows_created == 2);
    }
    cr_expect(pmap_window_add(&pmap, gpa_from_u64(0), 4, 0) == 0);
}

CHECKED_TEST(pmap, windows_are_found_whatever_the_order_they_came_in)
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

CHECKED_TEST(pmap, removing_a_window_drops_its_mappings_and_their_links)
{
    struct vm_page *m = page(600);

    cr_assert(enter(natural_at(600), m, VM_PROT_RW) == 0);
    cr_assert(enter(natural_at(2), page(2), VM_PROT_RW) == 0);
    cr_assert(pmap_window_remove(&pmap, natural_at(0)) == 0);
    cr_expect(fake.windows_destroyed == 1 && fake.removed_pages == 2);
    cr_expect(!pmap_page_is_mapped(m) && !pmap_page_is_mapped(page(2)));
    cr_expect(pmap_mapped_pages(&pmap) == 0);
    cr_expect(enter(natural_at(2), page(2), VM_PROT_READ) == -ENOENT);
    cr_expect(pmap_window_add(&pmap, natural_at(0), 5, object->extent) == 0);
}

CHECKED_TEST(pmap, removing_a_window_that_does_not_start_there_is_refused)
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
CHECKED_TEST(pmap, a_window_that_comes_or_goes_keeps_its_range_and_no_lock)
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

CHECKED_TEST(pmap, rebasing_a_window_drops_its_mappings_and_moves_its_natural_frames)
{
    cr_assert(enter(natural_at(10), page(10), VM_PROT_READ) == 0);
    cr_assert(enter(natural_at(600), page(11), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 1);
    cr_assert(pmap_window_rebase(&pmap, natural_at(20), object->extent + 1000) == 0);
    cr_expect(fake.rebases == 1 && maps_nothing(natural_at(10)) && maps_nothing(natural_at(600)));
    cr_assert(enter(natural_at(600), page(1600), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 1, "page 1600 is the natural one now");
}

CHECKED_TEST(pmap, rebasing_what_is_no_window_is_refused)
{
    cr_expect(pmap_window_rebase(&pmap, gpa_from_u64(0), 0) == -ENOENT);
    cr_expect(pmap_window_rebase(&pmap, natural_at(WINDOW_PAGES), 0) == -ENOENT);
}

CHECKED_TEST(pmap, a_window_the_machine_cannot_rebase_keeps_its_natural_frames)
{
    fake.fail_window_rebase = -ENOMEM;
    cr_assert(pmap_window_rebase(&pmap, natural_at(0), 5) == -ENOMEM);
    cr_assert(enter(natural_at(3), page(3), VM_PROT_READ) == 0);
    cr_expect(fake.foreign_pages == 0);
}

/* --- The pmap itself ----------------------------------------------------- */

CHECKED_TEST(pmap, a_system_has_a_limited_number_of_pmaps_and_reuses_their_ids)
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

CHECKED_TEST(pmap, a_pmap_that_ends_takes_its_mappings_and_windows_along)
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

/* --- Threads: where they look, assert() ends the test process ------------ */

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
    error = pmap_enter(&pmap, NULL, stress_place(place), m, prot, n, 0, NULL);
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
    (void)pmap_extract(&pmap, stress_place(from), NULL);
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
stress_init(void)
{
    for (unsigned i = 0; i < STRESS_PAGES; i++) {
        pthread_mutex_init(&owner[i], NULL);
        (void)page(i);
    }
}

static void
stress(stress_step **steps, unsigned n)
{
    pthread_t threads[8];

    for (unsigned i = 0; i < n; i++)
        cr_assert(pthread_create(&threads[i], NULL, stress_thread, &steps[i]) == 0);
    for (unsigned i = 0; i < n; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
}

/* These go on until there was enough to race with; the suite's timeout is the bound. */
CHECKED_TEST(pmap, enter_remove_and_page_protect_race_without_harm)
{
    stress_step *steps[] = { stress_enter, stress_enter, stress_protect, stress_range };

    stress_init();
    do
        stress(steps, 4);
    while (fake.entered_pages < STRESS_ROUNDS || fake.removed_pages < STRESS_ROUNDS / 10);
}

CHECKED_TEST(pmap, windows_come_and_go_under_enter_and_page_protect)
{
    stress_step *steps[] = { stress_enter, stress_enter, stress_protect, stress_window };

    stress_init();
    do
        stress(steps, 4);
    while (fake.windows_destroyed < 10 || fake.rebases < 10);
}

static void
fail_some(void *context, gpa_t gpa, unsigned npages)
{
    (void)context;
    if (gpa.value % (8 * PAGE_SIZE) == 0)
        fake_pmap_fail_next_enter(&fake, -EIO, npages / 2);
}

CHECKED_TEST(pmap, failures_of_the_machine_race_without_harm)
{
    stress_step *steps[] = { stress_enter, stress_protect, stress_range };

    fake.before_enter = fail_some;
    stress_init();
    stress(steps, 3);
    fake.before_enter = NULL;
}
