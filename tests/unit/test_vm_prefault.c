/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which neighbours a fault maps along: how runs grow, where they stop, what they
 * never do.
 */
#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_prefault.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

static void
advise(struct rig *rig, uint64_t start, uint64_t end, enum vm_map_advice advice)
{
    cr_assert(zero(int, vm_map_advise(&rig->map, gpa_from_u64(start), gpa_from_u64(end), advice)));
}

static void
inval(struct rig *rig, uint64_t start, uint64_t end)
{
    cr_assert(zero(int, vm_map_inval(&rig->map, gpa_from_u64(start), gpa_from_u64(end))));
}

/* Fault on `gpa` and say how many neighbours came along. */
static unsigned
burst(struct rig *rig, uint64_t gpa, vm_prot_t access)
{
    cr_assert(eq(int, rig_burst(rig, gpa, access), VM_OK));
    return rig_info.prefaulted;
}

/* --- NORMAL entries ------------------------------------------------------ */

Test(vm_prefault, a_sequential_stream_doubles_its_run_up_to_the_limit)
{
    unsigned faults = 0, longest = 0;
    uint64_t page = 0;
    struct rig rig;

    rig_init(&rig, 0);
    while (page < 512) {
        unsigned enters = rig.fake.enters, run;

        run = 1 + burst(&rig, PAGE(page), VM_PROT_WRITE);
        cr_assert(eq(uint, rig.fake.enters, enters + 1)); /* one machine operation */
        cr_assert(page == 0 || page + run == 512 || run == (page < 128 ? page + 1 : 129));
        longest = run > longest ? run : longest;
        page += run;
        faults++;
    }
    cr_assert(eq(uint, longest, 129));
    cr_assert(le(uint, faults, 11));
    cr_assert(eq(u64, page, 512)); /* and the run ended with the 2 MiB */
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), 512));
    cr_assert(eq(u64, rig_meter(&rig, v_ozfod), 512));
    cr_assert(eq(u64, rig_meter(&rig, v_prefault), 512 - faults));
    cr_assert(eq(uint, rig.fake.filled_pages, 512));
    rig_fini(&rig);
}

Test(vm_prefault, an_isolated_fault_gets_nothing)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned i = 0; i < 100; i++)
        cr_assert(zero(uint, burst(&rig, PAGE(i * 1237 % 4096), VM_PROT_WRITE)));
    cr_assert(eq(u64, rig.ram->resident_count, 100));
    rig_fini(&rig);
}

Test(vm_prefault, without_burst_a_fault_enters_one_page)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 20; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_prefault), 0));
    cr_assert(eq(u64, fake_pmap_mapped(&rig.fake), 20));
    rig_fini(&rig);
}

Test(vm_prefault, zeros_are_never_made_backwards)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 200; p > 100; p--)
        cr_assert(zero(uint, burst(&rig, PAGE(p), VM_PROT_WRITE)));
    cr_assert(eq(u64, rig.ram->resident_count, 100));
    rig_fini(&rig);
}

Test(vm_prefault, zeros_are_made_only_where_the_conditions_of_fast_fault_hold)
{
    struct vm_object *backing;
    struct rig rig;
    gpa_t end = gpa_from_u64(PAGE(RIG_PAGES));

    rig_init(&rig, 0);
    advise(&rig, 0, end.value, VM_ADVICE_SEQUENTIAL);

    rig.sys.tunables.fast_fault = false;
    cr_assert(zero(uint, burst(&rig, PAGE(0), VM_PROT_WRITE)));
    rig.sys.tunables.fast_fault = true;

    rig.sys.tunables.prefault_pages = 0;
    cr_assert(zero(uint, burst(&rig, PAGE(100), VM_PROT_WRITE)));
    rig.sys.tunables.prefault_pages = 3;
    cr_assert(eq(uint, burst(&rig, PAGE(200), VM_PROT_WRITE), 3));
    rig.sys.tunables.prefault_pages = VM_PREFAULT_MAX;
    cr_assert(eq(uint, burst(&rig, PAGE(300), VM_PROT_READ), VM_PREFAULT_SEQUENTIAL));

    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), end, VM_PROT_READ)));
    cr_assert(zero(uint, burst(&rig, PAGE(400), VM_PROT_READ)));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), end, VM_PROT_ALL)));

    advise(&rig, 0, end.value, VM_ADVICE_RANDOM);
    cr_assert(zero(uint, burst(&rig, PAGE(301 + VM_PREFAULT_SEQUENTIAL), VM_PROT_WRITE)));
    advise(&rig, 0, end.value, VM_ADVICE_SEQUENTIAL);

    cr_assert(zero(int, vm_object_create_default(&rig.sys, 8, &backing)));
    rig_shadow(rig.ram, backing, 0);
    cr_assert(eq(uint, burst(&rig, PAGE(600), VM_PROT_WRITE), VM_PREFAULT_SEQUENTIAL));
    rig_fini(&rig);
}

/* --- Shadow chains ------------------------------------------------------- */

/*
 * RAM of RIG_PAGES in front of a zero-fill object that has pages [16, 80), which show
 * 16 pages lower, in front of `bottom` (or nothing), which it shows 8 lower.
 * Returns the middle one with a reference, which keeps it from being collapsed.
 */
static struct vm_object *
chain_init(struct rig *rig, struct vm_object *bottom)
{
    struct vm_object *middle;

    cr_assert(zero(int, vm_object_create_default(&rig->sys, RIG_PAGES, &middle)));
    if (bottom != NULL)
        rig_shadow(middle, bottom, 8);
    for (unsigned p = 16; p < 80; p++) {
        struct vm_page *m;

        vm_mutex_lock(&middle->lock);
        m = vm_page_alloc(middle, p);
        vm_page_zero_fill(m);
        *(uint64_t *)vm_page_address(m) = p;
        vm_page_dirty(m);
        m->valid = 1;
        vm_page_deactivate(m);
        vm_page_wakeup(m);
        vm_mutex_unlock(&middle->lock);
    }
    rig_shadow(rig->ram, middle, 16);
    vm_object_ref(middle);
    return middle;
}

Test(vm_prefault, pages_of_a_backing_object_come_along_read_only_and_stay_where_they_are)
{
    struct vm_object *middle;
    struct rig rig;

    rig_init(&rig, 0);
    middle = chain_init(&rig, NULL);
    cr_assert(eq(uint, burst(&rig, PAGE(20), VM_PROT_READ), 8));
    for (unsigned p = 16; p <= 24; p++)
        cr_assert(eq(int, rig_mapped(&rig, PAGE(p)), VM_PROT_READ));
    cr_assert(zero(u64, rig.ram->resident_count));
    for (unsigned p = 0; p < 64; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p + 16));
    cr_assert(zero(u64, rig.ram->resident_count));
    cr_assert(lt(u64, rig_meter(&rig, v_vm_faults), 12));
    rig_store(&rig, PAGE(22), 7);
    cr_assert(eq(u64, rig_load(&rig, PAGE(22)), 7));
    cr_assert(eq(u64, rig_load(&rig, PAGE(23)), 23 + 16));
    vm_object_unref(middle);
    rig_fini(&rig);
}

Test(vm_prefault, the_first_objects_own_page_hides_the_one_behind_and_may_be_writable)
{
    struct vm_object *middle;
    struct rig rig;

    rig_init(&rig, 0);
    middle = chain_init(&rig, NULL);
    rig_store(&rig, PAGE(21), 7);
    inval(&rig, 0, PAGE(64));
    cr_assert(eq(uint, burst(&rig, PAGE(20), VM_PROT_READ), 8));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(20)), VM_PROT_READ));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(21)), VM_PROT_RW));
    cr_assert(eq(u64, rig_load(&rig, PAGE(21)), 7));
    vm_object_unref(middle);
    rig_fini(&rig);
}

Test(vm_prefault, a_fault_that_copies_takes_no_page_of_a_backing_object_along)
{
    struct vm_object *middle;
    struct rig rig;

    rig_init(&rig, 0);
    middle = chain_init(&rig, NULL);
    cr_assert(zero(uint, burst(&rig, PAGE(20), VM_PROT_WRITE)));
    cr_assert(eq(uint, burst(&rig, PAGE(21), VM_PROT_WRITE), 0));
    inval(&rig, 0, PAGE(64));
    cr_assert(eq(uint, burst(&rig, PAGE(22), VM_PROT_WRITE), 2)); /* its own two */
    vm_object_unref(middle);
    rig_fini(&rig);
}

Test(vm_prefault, a_chain_is_looked_through_only_up_to_a_pager)
{
    struct rig_pager pager;
    struct vm_object *middle;
    struct rig rig;

    rig_init(&rig, 0);
    middle = chain_init(&rig, rig_pager_object(&rig, RIG_PAGES, &pager));
    cr_assert(eq(uint, burst(&rig, PAGE(62), VM_PROT_READ), 5)); /* 58-61, 63: then it asks */
    cr_assert(zero(uint, pager.calls));
    /* What the pager brought is there, and is taken. */
    cr_assert(eq(uint, burst(&rig, PAGE(300), VM_PROT_READ), 8));
    cr_assert(eq(u64, rig_load(&rig, PAGE(301)), (301 + 16 + 8) * 512));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(302)), VM_PROT_READ));
    vm_object_unref(middle);
    rig_fini(&rig);
}

Test(vm_prefault, zeros_are_made_in_the_first_object_where_no_object_has_a_page)
{
    struct vm_object *middle;
    struct rig rig;

    rig_init(&rig, 0);
    middle = chain_init(&rig, NULL);
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, PAGE(200), VM_PROT_READ), VM_PREFAULT_SEQUENTIAL));
    cr_assert(eq(u64, rig.ram->resident_count, VM_PREFAULT_SEQUENTIAL + 1));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(210)), VM_PROT_RW));
    cr_assert(zero(u64, rig_load(&rig, PAGE(210))));
    inval(&rig, 0, PAGE(RIG_PAGES));
    cr_assert(eq(uint, burst(&rig, PAGE(70), VM_PROT_READ), VM_PREFAULT_SEQUENTIAL));
    cr_assert(eq(uint, burst(&rig, PAGE(63), VM_PROT_READ), 4)); /* no zeros beside a page */
    vm_object_unref(middle);
    rig_fini(&rig);
}

Test(vm_prefault, zeros_are_never_made_where_a_pager_might_have_the_page)
{
    struct rig_pager pager;
    struct vm_object *middle;
    struct rig rig;

    rig_init(&rig, 0);
    middle = chain_init(&rig, rig_pager_object(&rig, RIG_PAGES, &pager));
    pager.have_end = 0;
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    cr_assert(zero(uint, burst(&rig, PAGE(200), VM_PROT_WRITE)));
    vm_object_unref(middle);
    rig_fini(&rig);
}

Test(vm_prefault, a_page_of_zeros_whose_frame_is_not_the_natural_one_is_filled_here)
{
    struct vm_object *object;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, RIG_PAGES, &object)));
    vm_rwlock_write_lock(&rig.map.lock);
    TAILQ_FIRST(&rig.map.entries)->object = object; /* the window's frames are still RAM's */
    vm_rwlock_write_unlock(&rig.map.lock);
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, PAGE(0), VM_PROT_WRITE), VM_PREFAULT_SEQUENTIAL));
    for (unsigned p = 0; p <= VM_PREFAULT_SEQUENTIAL; p++)
        cr_assert(zero(u64, rig_load(&rig, PAGE(p))));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), VM_PREFAULT_SEQUENTIAL + 1));
    cr_assert(zero(u64, rig_meter(&rig, v_ozfod)));
    vm_object_unref(rig.ram); /* the reference the entry had */
    rig_fini(&rig);
}

Test(vm_prefault, a_window_shows_pages_of_a_backing_object_read_only_though_m_is_set)
{
    struct vm_object *middle;
    struct rig rig;
    vpte_t root;

    rig_init(&rig, 0);
    middle = chain_init(&rig, NULL);
    root = rig_tables(&rig, 32, 10, 1, RIG_PASS | VPTE_M);
    rig_window(&rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format, root);
    advise(&rig, RIG_WINDOW, W(512), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, W(0), VM_PROT_READ), VM_PREFAULT_SEQUENTIAL));
    for (unsigned i = 0; i <= VM_PREFAULT_SEQUENTIAL; i++) {
        cr_assert(eq(int, rig_mapped(&rig, W(i)), VM_PROT_READ));
        cr_assert(eq(u64, rig_load(&rig, W(i)), 10 + i + 16));
    }
    vm_object_unref(middle);
    rig_fini(&rig);
}

/* --- Marks and queues ---------------------------------------------------- */

Test(vm_prefault, a_marked_page_is_entered_as_any_other_and_keeps_its_mark)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(vm_page_flag_test(rig_page(rig.ram, 45), VM_PAGE_RAM));
    cr_assert(eq(uint, burst(&rig, PAGE(44), VM_PROT_READ), 7)); /* 41-43, 45-48 */
    cr_assert(eq(int, rig_mapped(&rig, PAGE(45)), VM_PROT_READ));
    cr_assert(vm_page_flag_test(rig_page(rig.ram, 45), VM_PAGE_RAM));
    cr_assert(eq(uint, pager.calls, 1));
    rig_fini(&rig);
}

Test(vm_prefault, a_page_of_the_cache_becomes_inactive_when_it_is_mapped_along)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_cache(vm_page_lookup(rig.ram, 41));
    vm_page_activate(vm_page_lookup(rig.ram, 42));
    vm_mutex_unlock(&rig.ram->lock);
    (void)burst(&rig, PAGE(40), VM_PROT_READ);
    cr_assert(eq(int, rig_mapped(&rig, PAGE(41)), VM_PROT_READ));
    cr_assert(eq(uint, rig_page(rig.ram, 41)->queue, PQ_INACTIVE));
    cr_assert(eq(uint, rig_page(rig.ram, 42)->queue, PQ_ACTIVE));
    rig_fini(&rig);
}

Test(vm_prefault, nosync_marks_only_a_page_that_is_not_dirty_and_its_absence_clears_the_mark)
{
    struct vm_map_entry nosync = { .eflags = MAP_ENTRY_NOSYNC }, sync = { .eflags = 0 };
    struct rig rig;
    struct vm_page *m;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, PAGE(0), VM_PROT_WRITE), VM_OK));
    m = rig_page(rig.ram, 0);
    for (unsigned i = 0; i < 8; i++) {
        bool dirty = i & 1, marked = (i & 2) != 0, wanted = (i & 4) != 0;

        atomic_store(&m->dirty, dirty);
        vm_page_flag_clear(m, VM_PAGE_NOSYNC);
        if (marked)
            vm_page_flag_set(m, VM_PAGE_NOSYNC);
        vm_set_nosync(m, wanted ? &nosync : &sync);
        cr_assert(eq(int, vm_page_flag_test(m, VM_PAGE_NOSYNC), wanted && (marked || !dirty)));
    }
    vm_page_flag_clear(m, VM_PAGE_NOSYNC);
    rig_fini(&rig);
}

Test(vm_prefault, an_object_with_a_pager_gets_no_zeros_beside_a_fault)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_empty(&rig, 0);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    pager.have_end = 0;
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    cr_assert(zero(uint, burst(&rig, PAGE(0), VM_PROT_WRITE)));
    rig_fini(&rig);
}

Test(vm_prefault, what_was_read_along_is_mapped_along_but_clean_pages_read_only)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_empty(&rig, 0);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    cr_assert(eq(uint, burst(&rig, PAGE(40), VM_PROT_WRITE), 8));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_RW));
    for (unsigned i = 1; i <= 4; i++) {
        cr_assert(eq(int, rig_mapped(&rig, PAGE(40 - i)), VM_PROT_READ));
        cr_assert(eq(int, rig_mapped(&rig, PAGE(40 + i)), VM_PROT_READ));
        cr_assert(not(rig_page(rig.ram, 40 + i)->dirty));
    }
    rig_fini(&rig);
}

Test(vm_prefault, zeros_stop_in_the_last_eighth_of_the_ram_budget)
{
    struct rig rig;

    rig_init(&rig, 64);
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, PAGE(0), VM_PROT_WRITE), VM_PREFAULT_SEQUENTIAL));
    (void)burst(&rig, PAGE(17), VM_PROT_WRITE);
    (void)burst(&rig, PAGE(rig.ram->resident_count), VM_PROT_WRITE);
    cr_assert(eq(u64, rig.ram->resident_count, 56));
    for (unsigned p = 1000; p < 1008; p++)
        cr_assert(zero(uint, burst(&rig, PAGE(p), VM_PROT_WRITE)));
    cr_assert(eq(int, rig_burst(&rig, PAGE(1008), VM_PROT_WRITE), VM_HOST_FAILURE));
    rig_fini(&rig);
}

Test(vm_prefault, a_run_stops_at_a_busy_page_and_skips_a_mapped_one)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 20; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    inval(&rig, 0, PAGE(20));
    cr_assert(eq(int, rig_touch(&rig, PAGE(8), VM_PROT_WRITE), VM_OK));
    rig_busy(rig_page(rig.ram, 12));
    rig_busy(rig_page(rig.ram, 6));
    cr_assert(eq(uint, burst(&rig, PAGE(10), VM_PROT_READ), 3)); /* 11, 9 and, past 8, 7 */
    cr_assert(eq(int, rig_mapped(&rig, PAGE(9)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(7)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(11)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(6)), VM_PROT_NONE));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(13)), VM_PROT_NONE));
    rig_wakeup(rig_page(rig.ram, 12));
    rig_wakeup(rig_page(rig.ram, 6));
    rig_fini(&rig);
}

Test(vm_prefault, the_limit_holds_for_both_sides_together)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 64; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    inval(&rig, 0, PAGE(64));
    rig.sys.tunables.prefault_pages = 6;
    cr_assert(eq(uint, burst(&rig, PAGE(30), VM_PROT_READ), 6));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(26)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(32)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(33)), VM_PROT_NONE));
    rig_fini(&rig);
}

Test(vm_prefault, resident_pages_come_along_on_both_sides_and_more_as_the_stream_goes)
{
    struct rig rig;
    unsigned faults = 0;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 512; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    inval(&rig, 0, PAGE(512));
    cr_assert(eq(uint, burst(&rig, PAGE(300), VM_PROT_READ), 8));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(296)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(304)), VM_PROT_RW));
    inval(&rig, 0, PAGE(512));
    for (uint64_t p = 0; p < 512; p += 1 + rig_info.prefaulted, faults++)
        (void)burst(&rig, PAGE(p), VM_PROT_READ);
    cr_assert(le(uint, faults, 10));
    cr_assert(eq(u64, fake_pmap_mapped(&rig.fake), 512));
    rig_fini(&rig);
}

Test(vm_prefault, a_run_ends_with_its_entry_and_its_2_mib)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(W(10)),
        .end = gpa_from_u64(W(16)),
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
        .advice = VM_ADVICE_SEQUENTIAL,
    };
    struct rig rig;

    rig_init(&rig, 0);
    args.object = rig.ram;
    args.offset = 20;
    vm_object_ref(rig.ram);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    for (unsigned p = 16; p <= 22; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(uint, burst(&rig, W(11), VM_PROT_READ), 2)); /* pages 20 and 22 */
    cr_assert(eq(uint, burst(&rig, W(13), VM_PROT_WRITE), 2));
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, PAGE(510), VM_PROT_WRITE), 1));
    cr_assert(eq(uint, burst(&rig, PAGE(512), VM_PROT_WRITE), VM_PREFAULT_SEQUENTIAL));
    rig.ram->size = 1003;
    cr_assert(eq(uint, burst(&rig, PAGE(1000), VM_PROT_WRITE), 2));
    rig.ram->size = RIG_PAGES;
    rig_fini(&rig);
}

Test(vm_prefault, pages_made_along_are_dirty_inactive_and_not_referenced)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    advise(&rig, 0, PAGE(RIG_PAGES), VM_ADVICE_SEQUENTIAL);
    (void)burst(&rig, PAGE(0), VM_PROT_READ);
    m = rig_page(rig.ram, 5);
    cr_assert(m->dirty);
    cr_assert(eq(int, m->queue, PQ_INACTIVE));
    cr_assert(not(vm_page_flag_test(m, VM_PAGE_REFERENCED)));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(5)), VM_PROT_RW));
    rig_fini(&rig);
}

/* --- Windows ------------------------------------------------------------- */

/* A window that is larger than what one table page maps. */
static void
window_init(struct rig *rig, unsigned npages, unsigned resident, vpte_t flags)
{
    vpte_t root = rig_window_tables(rig, npages, resident, flags);

    rig_window(rig, W(0), 1024, VM_PROT_ALL, &vpte64_format, root);
}

Test(vm_prefault, a_stream_through_scattered_frames_reaches_64_pages_per_fault)
{
    unsigned faults = 0, longest = 0;
    struct rig rig;

    window_init(&rig, 512, 512, RIG_PASS);
    for (uint64_t p = 0; p < 512; p += 1 + rig_info.prefaulted, faults++) {
        unsigned enters = rig.fake.enters;

        (void)burst(&rig, W(p), VM_PROT_READ);
        cr_assert(eq(uint, rig.fake.enters, enters + 1));
        longest = rig_info.prefaulted > longest ? rig_info.prefaulted : longest;
    }
    cr_assert(eq(uint, longest, VM_PREFAULT_VPAGETABLE));
    cr_assert(le(uint, faults, 15));
    for (unsigned i = 0; i < 512; i++) {
        cr_assert(eq(u64, rig_load(&rig, W(i)), i));
        cr_assert(eq(u64, rig_window_flags(&rig, i), RIG_PASS | VPTE_A));
    }
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_a), 512 + 3));
    rig_fini(&rig);
}

Test(vm_prefault, an_isolated_fault_through_a_window_takes_and_marks_no_neighbour)
{
    struct rig rig;

    window_init(&rig, 16, 16, RIG_PASS);
    cr_assert(zero(uint, burst(&rig, W(5), VM_PROT_READ)));
    cr_assert(eq(u64, rig_window_flags(&rig, 4), RIG_PASS));
    cr_assert(eq(u64, rig_window_flags(&rig, 6), RIG_PASS));
    rig_fini(&rig);
}

Test(vm_prefault, a_neighbour_is_writable_only_if_its_m_is_set_and_never_gets_m)
{
    struct rig rig;

    window_init(&rig, 16, 16, RIG_PASS);
    atomic_fetch_or(rig_vpte(&rig, 4, 2), VPTE_M);
    atomic_fetch_and(rig_vpte(&rig, 4, 3), ~(uint64_t)VPTE_W);
    atomic_fetch_or(rig_vpte(&rig, 4, 3), VPTE_M);
    advise(&rig, W(0), W(1024), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, W(0), VM_PROT_WRITE), 15));
    cr_assert(eq(int, rig_mapped(&rig, W(0)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, W(1)), VM_PROT_READ));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&rig, W(3)), VM_PROT_READ));
    cr_assert(eq(u64, rig_window_flags(&rig, 1), RIG_PASS | VPTE_A));
    cr_assert(eq(u64, rig_window_flags(&rig, 2), RIG_PASS | VPTE_A | VPTE_M));
    rig_fini(&rig);
}

Test(vm_prefault, a_neighbour_of_a_read_only_entry_is_read_only_though_m_is_set)
{
    struct rig rig;

    window_init(&rig, 4, 4, RIG_PASS | VPTE_M);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(1024)),
                                       VM_PROT_READ)));
    advise(&rig, W(0), W(1024), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, W(0), VM_PROT_READ), 3));
    for (unsigned i = 0; i < 4; i++)
        cr_assert(eq(int, rig_mapped(&rig, W(i)), VM_PROT_READ));
    rig_fini(&rig);
}

Test(vm_prefault, a_window_run_stops_at_a_page_that_is_absent_busy_or_forbidden)
{
    struct rig rig;
    uint64_t resident;

    window_init(&rig, 64, 40, RIG_PASS);
    advise(&rig, W(0), W(1024), VM_ADVICE_SEQUENTIAL);
    resident = rig.ram->resident_count;

    atomic_store(rig_vpte(&rig, 4, 3), 0);
    cr_assert(eq(uint, burst(&rig, W(0), VM_PROT_READ), 2));
    atomic_store(rig_vpte(&rig, 4, 13), rig_pte(139, VPTE_V | VPTE_W));
    cr_assert(eq(uint, burst(&rig, W(10), VM_PROT_READ), 2));
    cr_assert(eq(u64, rig_window_flags(&rig, 13), VPTE_V | VPTE_W));
    atomic_store(rig_vpte(&rig, 4, 22), rig_pte(RIG_PAGES, RIG_PASS));
    cr_assert(eq(uint, burst(&rig, W(20), VM_PROT_READ), 1));
    rig_busy(rig_page(rig.ram, 100 + 3 * 33));
    cr_assert(eq(uint, burst(&rig, W(30), VM_PROT_READ), 2));
    rig_wakeup(rig_page(rig.ram, 100 + 3 * 33));
    cr_assert(eq(uint, burst(&rig, W(38), VM_PROT_READ), 1)); /* 40 is not resident */
    cr_assert(eq(u64, rig.ram->resident_count, resident));
    rig_fini(&rig);
}

Test(vm_prefault, two_entries_of_one_page_do_not_take_it_twice)
{
    struct rig rig;

    window_init(&rig, 8, 8, RIG_PASS);
    atomic_store(rig_vpte(&rig, 4, 1), rig_pte(100, RIG_PASS)); /* as entry 0 */
    advise(&rig, W(0), W(1024), VM_ADVICE_SEQUENTIAL);
    cr_assert(zero(uint, burst(&rig, W(0), VM_PROT_READ)));
    cr_assert(eq(u64, rig_load(&rig, W(1)), 0));
    rig_fini(&rig);
}

Test(vm_prefault, a_window_run_ends_with_its_table_page)
{
    struct rig rig;

    window_init(&rig, 512, 512, RIG_PASS);
    advise(&rig, W(0), W(1024), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, W(508), VM_PROT_READ), 3));
    cr_assert(eq(int, rig_mapped(&rig, W(512)), VM_PROT_NONE));
    rig_fini(&rig);
}

Test(vm_prefault, random_advice_and_the_tunable_hold_for_windows_too)
{
    struct rig rig;

    window_init(&rig, 32, 32, RIG_PASS);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(eq(int, rig_touch(&rig, W(i), VM_PROT_READ), VM_OK));
    advise(&rig, W(0), W(1024), VM_ADVICE_RANDOM);
    cr_assert(zero(uint, burst(&rig, W(4), VM_PROT_READ)));
    advise(&rig, W(0), W(1024), VM_ADVICE_NORMAL);
    cr_assert(eq(uint, burst(&rig, W(5), VM_PROT_READ), 5));
    rig.sys.tunables.prefault_pages = 2;
    cr_assert(eq(uint, burst(&rig, W(11), VM_PROT_READ), 2));
    rig.sys.tunables.prefault_pages = 0;
    cr_assert(zero(uint, burst(&rig, W(14), VM_PROT_READ)));
    rig_fini(&rig);
}

Test(vm_prefault, the_table_page_changed_for_a_neighbour_is_dirty_and_so_is_its_directory)
{
    struct rig rig;

    window_init(&rig, 8, 8, RIG_PASS | VPTE_A);
    for (unsigned level = 1; level < 4; level++)
        atomic_fetch_or(rig_vpte(&rig, level, 0), VPTE_A);
    atomic_store(rig_vpte(&rig, 4, 1), rig_pte(103, RIG_PASS)); /* the only one without A */
    for (unsigned level = 1; level <= 4; level++)
        atomic_store(&rig_page(rig.ram, level)->dirty, 0);
    advise(&rig, W(0), W(1024), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, W(0), VM_PROT_READ), 7));
    for (unsigned level = 1; level <= 4; level++)
        cr_assert(rig_page(rig.ram, level)->dirty);
    for (unsigned level = 1; level < 4; level++)
        cr_assert(ne(u64, atomic_load(rig_vpte(&rig, level, 0)) & VPTE_M, 0));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_dir_m), 3));
    rig_fini(&rig);
}

Test(vm_prefault, a_linear_window_is_entered_in_runs_too)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 40; p++)
        rig_store(&rig, PAGE(p), p);
    rig_window(&rig, W(0), 64, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    advise(&rig, W(0), W(64), VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(uint, burst(&rig, W(8), VM_PROT_READ), VM_PREFAULT_SEQUENTIAL));
    cr_assert(eq(u64, rig_load(&rig, W(20)), 20));
    rig_fini(&rig);
}
