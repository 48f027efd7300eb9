/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stop flag (vm_stop.h): each kind of long call and each wait is stopped in its middle, at a
 * place that a hook of the machine, or a page that somebody waits for, makes certain.  What is
 * left is in order, and goes with the map: the teardown audits it, and then that nothing leaked.
 */
#include "tests/unit/map_copy_rig.h"

#include "tests/unit/alloc_failure.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <errno.h>
#include <sched.h>

#define CHUNK ((uint64_t)PMAP_CHUNK_PAGES)
#define W(n) (RIG_WINDOW + ((uint64_t)(n) << PAGE_SHIFT))

static _Atomic bool stop;
static unsigned countdown; /* operations of the machine until one sets the flag; 0 = never */

static void
count_down(void)
{
    if (countdown != 0 && --countdown == 0)
        atomic_store(&stop, true);
}

static void
before_enter(void *context, gpa_t gpa, unsigned npages)
{
    (void)context;
    (void)gpa;
    (void)npages;
    count_down();
}

static void
before_change(struct fake_pmap *fake, gpa_t gpa)
{
    (void)fake;
    (void)gpa;
    count_down();
}

static void
vm_stop_setup(void)
{
    atomic_store(&stop, false);
    countdown = 0;
    rig_init(&rig, 0);
    rig.map.stop = &stop;
    rig.fake.before_enter = before_enter;
    rig.fake.before_remove = before_change;
    rig.fake.before_protect = before_change;
}

static void
vm_stop_teardown(void)
{
    atomic_store(&stop, true);
    rig_fini(&rig);
}

TestSuite(vm_stop, .timeout = 60);

/* The range of whole pages. */
static gpa_t
page_gpa(uint64_t base, uint64_t page)
{
    return gpa_from_u64(at(base, page));
}

/* Map one page in each of the first n chunks. */
static void
touch_chunks(uint64_t base, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rig_store(&rig, at(base, i * CHUNK), i);
}

static unsigned
mapped_chunks(uint64_t base, unsigned n)
{
    unsigned mapped = 0;

    for (unsigned i = 0; i < n; i++)
        mapped += rig_mapped(&rig, at(base, i * CHUNK)) != VM_PROT_NONE;
    return mapped;
}

static unsigned
writable_chunks(uint64_t base, unsigned n)
{
    unsigned writable = 0;

    for (unsigned i = 0; i < n; i++)
        writable += rig_mapped(&rig, at(base, i * CHUNK)) == VM_PROT_RW;
    return writable;
}

/* A thread that sets the flag as soon as somebody waits for the page. */
struct stopper {
    struct vm_object *object;
    struct vm_page *m;
    pthread_t thread;
};

static void *
stopper_thread(void *argument)
{
    struct stopper *stopper = argument;
    bool wanted = false;

    while (!wanted) {
        sched_yield();
        vm_mutex_lock(&stopper->object->lock);
        wanted = vm_page_flag_test(stopper->m, VM_PAGE_WANTED);
        vm_mutex_unlock(&stopper->object->lock);
    }
    atomic_store(&stop, true);
    return NULL;
}

static void
stopper_start(struct stopper *stopper, struct vm_page *m)
{
    stopper->object = m->object;
    stopper->m = m;
    cr_assert(zero(int, pthread_create(&stopper->thread, NULL, stopper_thread, stopper)));
}

static void
stopper_join(struct stopper *stopper)
{
    cr_assert(zero(int, pthread_join(stopper->thread, NULL)));
}

static void
hold(struct vm_page *m)
{
    vm_mutex_lock(&m->object->lock);
    vm_page_hold(m);
    vm_mutex_unlock(&m->object->lock);
}

/* --- Wiring -------------------------------------------------------------- */

static int
wire(uint64_t start, uint64_t npages)
{
    return vm_map_wire(&rig.map, page_gpa(start, 0), page_gpa(start, npages), true);
}

static int
unwire(uint64_t start, uint64_t npages)
{
    return vm_map_unwire(&rig.map, page_gpa(start, 0), page_gpa(start, npages), true);
}

/* How many of the first n pages of an object are wired: all before the first that is not. */
static unsigned
wired_pages(struct vm_object *object, unsigned n)
{
    unsigned wired = 0;

    for (unsigned i = 0; i < n; i++) {
        const struct vm_page *m = rig_page(object, i);
        bool is_wired = m != NULL && m->wire_count != 0;

        cr_assert(eq(uint, is_wired ? wired : i, i));
        wired += is_wired;
    }
    return wired;
}

CHECKED_TEST(vm_stop, a_wiring_that_is_stopped_counts_as_far_as_it_came)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    countdown = 5;
    cr_assert(eq(int, wire(SRC, NPAGES), -ECANCELED));
    cr_expect(eq(uint, wired_pages(object, NPAGES), 5));
    cr_expect(eq(u64, entry_at(SRC)->end.value, at(SRC, 5)));
    cr_expect(eq(uint, entry_at(SRC)->wired_count, 1));
    cr_expect(zero(uint, entry_at(at(SRC, 5))->wired_count));
    cr_expect(zero(uint, entry_at(at(SRC, 5))->eflags & MAP_ENTRY_USER_WIRED));
}

CHECKED_TEST(vm_stop, a_wiring_of_several_entries_leaves_whole_ones_wired_and_others_not)
{
    struct vm_object *first = map_new(SRC, NPAGES);
    struct vm_object *second = map_new(at(SRC, NPAGES), NPAGES);
    struct vm_object *third = map_new(at(SRC, 2 * NPAGES), NPAGES);

    countdown = NPAGES + 1;
    cr_assert(eq(int, wire(SRC, 3 * NPAGES), -ECANCELED));
    cr_expect(eq(uint, wired_pages(third, NPAGES), NPAGES)); /* the last one comes first */
    cr_expect(eq(uint, wired_pages(second, NPAGES), 1));
    cr_expect(zero(uint, wired_pages(first, NPAGES)));
    cr_expect(eq(uint, rig.map.nentries, 5));
}

static int
no_memory_once_stopped(enum alloc_call call)
{
    return call == ALLOC_HEAP && atomic_load(&stop) ? ENOMEM : 0;
}

CHECKED_TEST(vm_stop, without_memory_to_cut_an_entry_a_stopped_wiring_is_undone)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    countdown = 5;
    alloc_failure_hook(no_memory_once_stopped);
    cr_assert(eq(int, wire(SRC, NPAGES), -ECANCELED));
    alloc_failure_hook(NULL);
    cr_expect(zero(uint, wired_pages(object, NPAGES)));
    cr_expect(zero(uint, entry_at(SRC)->wired_count));
}

CHECKED_TEST(vm_stop, the_way_back_from_a_wiring_that_failed_is_stopped_too)
{
    struct rig_pager pager;
    struct vm_object *object = map_new(at(SRC, NPAGES), NPAGES);
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(SRC, NPAGES, file);

    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    pager.skip = 1;
    countdown = NPAGES + 1; /* after the first page of the file; the next one cannot be read */
    cr_assert(eq(int, wire(SRC, 2 * NPAGES), -ECANCELED));
    cr_expect(eq(uint, wired_pages(object, NPAGES), NPAGES));
    cr_expect(eq(uint, wired_pages(file, NPAGES), 1));
}

CHECKED_TEST(vm_stop, what_a_stopped_unwiring_leaves_stays_wired_and_counted)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    cr_assert(zero(int, wire(SRC, NPAGES)));
    atomic_store(&stop, true);
    cr_assert(eq(int, unwire(at(SRC, 8), 8), -ECANCELED));
    cr_expect(eq(uint, wired_pages(object, NPAGES), NPAGES));
    cr_expect(eq(uint, entry_at(at(SRC, 8))->wired_count, 1));
}

CHECKED_TEST(vm_stop, wired_pages_of_a_range_whose_removal_was_stopped_go_with_the_map)
{
    map_new(SRC, NPAGES);
    cr_assert(zero(int, wire(SRC, NPAGES)));
    atomic_store(&stop, true);
    cr_assert(eq(int, remove_pages(SRC, NPAGES), -ECANCELED));
    cr_expect(eq(u64, atomic_load(&rig.sys.wired_pages), NPAGES));
    cr_expect(ne(ptr, SLIST_FIRST(&rig.map.abandoned), NULL));
}

/* --- Mappings ------------------------------------------------------------ */

CHECKED_TEST(vm_stop, inval_setmap_and_protect_stop_between_chunks)
{
    rig_window(&rig, RIG_WINDOW, 4 * CHUNK, VM_PROT_ALL, &vpte64_format,
               VPTE_V | VPTE_R | VPTE_W | VPTE_PS); /* a linear map */
    touch_chunks(RIG_WINDOW, 4);
    countdown = 1;
    cr_assert(eq(int,
                 vm_map_inval(&rig.map, page_gpa(RIG_WINDOW, 0), page_gpa(RIG_WINDOW, 4 * CHUNK)),
                 -ECANCELED));
    cr_expect(eq(uint, mapped_chunks(RIG_WINDOW, 4), 3));
    cr_expect(zero(u64, rig_meter(&rig, v_inval)));

    atomic_store(&stop, false);
    countdown = 1;
    cr_assert(eq(
        int, vm_map_setmap(&rig.map, page_gpa(RIG_WINDOW, 0), page_gpa(RIG_WINDOW, 4 * CHUNK), 0),
        -ECANCELED));
    cr_expect(eq(uint, mapped_chunks(RIG_WINDOW, 4), 2));

    atomic_store(&stop, false);
    countdown = 1;
    cr_assert(eq(int,
                 vm_map_protect(&rig.map, page_gpa(RIG_WINDOW, 0), page_gpa(RIG_WINDOW, 4 * CHUNK),
                                VM_PROT_NONE),
                 -ECANCELED));
    cr_expect(eq(uint, mapped_chunks(RIG_WINDOW, 4), 1));

    atomic_store(&stop, false);
    touch_chunks(0, 4);
    countdown = 1;
    cr_assert(eq(int,
                 vm_map_protect(&rig.map, page_gpa(0, 0), page_gpa(0, 4 * CHUNK), VM_PROT_READ),
                 -ECANCELED));
    cr_expect(eq(uint, writable_chunks(0, 4), 3));
}

CHECKED_TEST(vm_stop, a_removal_that_is_stopped_is_finished_with_the_map)
{
    map_new(SRC, 4 * CHUNK);
    touch_chunks(SRC, 4);
    countdown = 2;
    cr_assert(eq(int, remove_pages(SRC, 4 * CHUNK), -ECANCELED));
    cr_expect(eq(uint, mapped_chunks(SRC, 4), 2));
    cr_expect(eq(u64, vm_budget_resident(&rig.sys), 4));
    cr_expect(eq(int, rig_touch(&rig, SRC, VM_PROT_READ), VM_INVALID_ADDRESS));
}

CHECKED_TEST(vm_stop, nothing_is_inserted_or_copied_where_a_stopped_call_may_have_left_mappings)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct vm_map_insert args = args_at(DST, NPAGES, object);

    atomic_store(&stop, true);
    cr_expect(eq(int, vm_map_insert(&rig.map, &args), -ECANCELED));
    cr_expect(eq(int, copy_pages(SRC, DST, NPAGES), -ECANCELED));
    cr_expect(eq(uint, object->ref_count, 1));
}

/* --- Objects ------------------------------------------------------------- */

CHECKED_TEST(vm_stop, an_object_whose_end_waits_for_a_page_goes_with_the_map)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct stopper stopper;
    struct vm_page *m;

    fill(SRC, NPAGES, 7);
    m = rig_page(object, 40);
    hold(m);
    stopper_start(&stopper, m);
    cr_assert(zero(int, remove_pages(SRC, NPAGES)), "the range itself was removed");
    stopper_join(&stopper);
    cr_expect(eq(uint, object->flags & OBJ_DEAD, OBJ_DEAD));
    cr_expect(eq(u64, object->resident_count, NPAGES - 40));
    vm_page_unhold(m);
}

CHECKED_TEST(vm_stop, a_flush_that_waits_for_a_page_is_stopped)
{
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(SRC, NPAGES, file);
    struct stopper stopper;
    struct vm_page *m;

    file->flags |= OBJ_WRITEBACK;
    vm_object_ref(file);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    fill(SRC, 8, 7);
    m = rig_page(file, 4);
    hold(m);
    stopper_start(&stopper, m);
    cr_assert(eq(int, vm_object_flush(file, 0, NPAGES, 0, &stop), -ECANCELED));
    stopper_join(&stopper);
    cr_expect(zero(uint, rig_page(file, 0)->dirty));
    cr_expect(eq(uint, rig_page(file, 5)->dirty, 1));
    vm_page_unhold(m);
    cr_expect(zero(int, vm_object_flush(file, 0, NPAGES, 0, NULL)));
    vm_object_unref(file);
}

CHECKED_TEST(vm_stop, a_chain_is_not_collapsed_any_more)
{
    struct vm_object *object = map_new(SRC, NPAGES);

    fill(SRC, NPAGES, 7);
    cr_assert(zero(int, copy_pages(SRC, DST, NPAGES)));
    rig_store(&rig, DST, 1);
    atomic_store(&stop, true);
    (void)!remove_pages(SRC, NPAGES);
    cr_expect(eq(ptr, entry_at(DST)->object->backing_object, object));
    expect(at(DST, 1), NPAGES - 1, 8);
}

/* --- Copies -------------------------------------------------------------- */

/* Of wired pages a copy is made page by page. */
CHECKED_TEST(vm_stop, a_real_copy_that_waits_for_a_page_is_stopped_and_leaves_nothing)
{
    struct vm_object *object = map_new(SRC, NPAGES);
    struct stopper stopper;
    struct vm_page *m;

    fill(SRC, NPAGES, 7);
    cr_assert(zero(int, wire(SRC, NPAGES)));
    m = rig_page(object, 40);
    rig_busy(m);
    stopper_start(&stopper, m);
    cr_assert(eq(int, copy_pages(SRC, DST, NPAGES), -ECANCELED));
    stopper_join(&stopper);
    cr_expect(eq(uint, rig.map.nentries, 2));
    rig_wakeup(m);
}

CHECKED_TEST(vm_stop, a_virtual_copy_that_is_stopped_is_not_there)
{
    struct vm_object *object = map_new(SRC, 4 * CHUNK);

    touch_chunks(SRC, 4);
    countdown = 2;
    cr_assert(eq(int, copy_pages(SRC, DST, 4 * CHUNK), -ECANCELED));
    cr_expect(eq(uint, writable_chunks(SRC, 4), 2));
    cr_expect(not(needs_copy(SRC)));
    cr_expect(eq(uint, rig.map.nentries, 2));
    cr_expect(eq(ptr, entry_at(SRC)->object, object));
}

/* --- Faults -------------------------------------------------------------- */

CHECKED_TEST(vm_stop, a_fault_that_waits_for_a_page_ends)
{
    struct rig_fault fault;
    struct stopper stopper;
    struct vm_page *m;

    rig_store(&rig, 0, 1);
    m = rig_page(rig.ram, 0);
    rig_busy(m);
    stopper_start(&stopper, m);
    rig_fault_start(&fault, &rig, 0, VM_PROT_READ);
    cr_assert(eq(int, rig_fault_join(&fault), VM_HOST_FAILURE));
    cr_expect(eq(int, fault.info.error, -ECANCELED));
    stopper_join(&stopper);
    rig_wakeup(m);
}

CHECKED_TEST(vm_stop, a_fault_that_need_not_wait_is_made_all_the_same)
{
    atomic_store(&stop, true);
    cr_expect(eq(int, rig_touch(&rig, 0, VM_PROT_WRITE), VM_OK));
}

CHECKED_TEST(vm_stop, what_must_be_read_first_is_not_read_any_more)
{
    struct rig_pager pager;
    struct vm_object *file = rig_pager_object(&rig, NPAGES, &pager);
    struct vm_map_insert args = args_at(SRC, NPAGES, file);

    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    atomic_store(&stop, true);
    cr_expect(eq(int, rig_touch(&rig, SRC, VM_PROT_READ), VM_HOST_FAILURE));
    cr_expect(eq(int, rig_info.error, -ECANCELED));
    cr_expect(zero(uint, pager.calls));
    cr_expect(zero(u64, file->resident_count));
}

/* --- Memory -------------------------------------------------------------- */

static void *
fault_of_another(void *argument)
{
    struct rig *small = argument;

    return (void *)(intptr_t)(vm_fault(&small->map, gpa_from_u64(at(0, 100)), VM_PROT_WRITE,
                                       VM_FAULT_NORMAL, &rig_info) == VM_HOST_FAILURE
                                  ? rig_info.error
                                  : 0);
}

/* A budget that is used up, by wired pages but for one that is busy. */
static struct vm_page *
use_up_memory(struct rig *small)
{
    struct vm_page *m;

    rig_init(small, VM_RAM_BUDGET_MIN);
    small->sys.tunables.fast_fault = false;
    small->map.stop = &stop;
    rig_store(small, 0, 1);
    cr_assert(
        zero(int, vm_map_wire(&small->map, page_gpa(0, 1), page_gpa(0, VM_RAM_BUDGET_MIN), true)));
    m = rig_page(small->ram, 0);
    rig_busy(m);
    return m;
}

static void
expect_wait_ends(struct rig *small, const char *who)
{
    uint64_t waits = rig_meter(small, v_pfwait);
    pthread_t thread;
    void *error;

    atomic_store(&stop, false);
    cr_assert(zero(int, pthread_create(&thread, NULL, fault_of_another, small)));
    rig_until(rig_meter(small, v_pfwait) != waits);
    atomic_store(&stop, true);
    cr_assert(zero(int, pthread_join(thread, &error)));
    cr_expect(eq(int, (int)(intptr_t)error, -ECANCELED), "%s", who);
}

Test(vm_stop, a_fault_that_waits_for_memory_ends_whether_it_is_the_first_or_not, .timeout = 60)
{
    struct rig small;
    struct vm_page *m = use_up_memory(&small);

    expect_wait_ends(&small, "the first one, while a page is busy that may be freed");
    cr_assert(vm_budget_claim(&small.sys, &small));
    expect_wait_ends(&small, "one that waits for its turn");
    vm_budget_release(&small.sys, &small);
    rig_wakeup(m);
    rig_fini(&small);
}
