/* SPDX-License-Identifier: BSD-2-Clause */
/* Page-out: what leaves, what stays, who waits, and that no byte is lost on the way. */
#include "vmm/vpagetable/vm_pageout.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/fault_rig.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_errand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif
#ifndef SLOW
#define SLOW 0
#endif

TestSuite(vm_pageout, .timeout = 120);

/* ---- A rig with swap. ---- */

static char path[64];
static _Atomic int write_error; /* errno of writes to swap, 0 = none */
static _Atomic int read_error;
static unsigned messages;
static char message[200];

static ssize_t
swap_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    errno = read_error;
    return errno != 0 ? -1 : preadv(fd, iov, count, offset);
}

static ssize_t
swap_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    errno = write_error;
    return errno != 0 ? -1 : pwritev(fd, iov, count, offset);
}

static const struct swap_device_io swap_io = { .read = swap_read, .write = swap_write };

static void
take_message(void *context, const char *text)
{
    cr_assert(context == &messages);
    messages++;
    snprintf(message, sizeof message, "%s", text);
}

/* Attach swap of so many pages to a rig that has not faulted yet. */
static void
swap_init(struct rig *rig, uint64_t pages)
{
    struct swap_device *device;

    strcpy(path, "/tmp/vm_pageout.XXXXXX");
    close(mkstemp(path));
    cr_assert(zero(int, swap_device_open_io(path, pages, &swap_io, &device)));
    swap_device_attach(device, &rig->sys);
    rig->sys.pageout_error = take_message;
    rig->sys.pageout_error_context = &messages;
}

static void
swap_fini(struct rig *rig)
{
    struct swap_device *device = rig->sys.swap;

    rig_fini(rig);
    cr_assert(zero(u64, swap_device_used(device)));
    swap_device_close(device);
    unlink(path);
}

static void
swap_rig(struct rig *rig, uint64_t budget, uint64_t pages)
{
    rig_init(rig, budget);
    rig->sys.tunables.fast_fault = false;
    swap_init(rig, pages);
}

/* Make RAM pages [first, end), of value p * 3. */
static void
fill(struct rig *rig, unsigned first, unsigned end)
{
    for (unsigned p = first; p < end; p++)
        rig_store(rig, PAGE(p), p * 3);
}

static void
check(struct rig *rig, unsigned first, unsigned end)
{
    for (unsigned p = first; p < end; p++)
        cr_assert(eq(u64, rig_load(rig, PAGE(p)), p * 3));
}

/* Unmap all and let everything be old: on PQ_INACTIVE, unreferenced, or on PQ_ACTIVE. */
static void
make_old(struct rig *rig, struct vm_object *object, bool active)
{
    pmap_remove(&rig->pmap, gpa_from_u64(0), gpa_from_u64(PAGE(1) * RIG_PAGES));
    vm_mutex_lock(&object->lock);
    for (vm_pindex_t p = vm_object_next_resident(object, 0); p < object->size;
         p = vm_object_next_resident(object, p + 1)) {
        struct vm_page *m = vm_page_lookup(object, p);

        vm_page_flag_clear(m, VM_PAGE_REFERENCED);
        if (active)
            vm_page_activate(m);
        else
            vm_page_deactivate(m);
    }
    vm_mutex_unlock(&object->lock);
}

static uint64_t
resident(struct rig *rig)
{
    return atomic_load(&rig->sys.resident_pages);
}

/* A write to it hits the budget with nothing that could leave. */
static void
expect_no_memory(struct rig *rig, unsigned page)
{
    cr_assert(eq(int, rig_touch(rig, PAGE(page), VM_PROT_WRITE), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    cr_assert(zero(int, strcmp(rig_info.cause, VM_PAGEOUT_NO_MEMORY)));
}

/* ---- The marks. ---- */

Test(vm_pageout, without_a_budget_memory_is_never_short)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(not(vm_page_count_target(&rig.sys)));
    cr_assert(not(vm_page_count_severe(&rig.sys)));
    cr_assert(zero(u64, vm_pageout_shortage(&rig.sys)));
    fill(&rig, 0, 100);
    cr_assert(zero(u64, rig_meter(&rig, v_pdwakeups)));
    rig_fini(&rig);
}

Test(vm_pageout, the_marks_are_ordered_for_every_budget)
{
    for (uint64_t budget = VM_RAM_BUDGET_MIN; budget < 1 << 26; budget += budget / 2) {
        struct vm_system_config config = { .store_pages = 64, .ram_budget = budget };
        struct vm_system sys;

        cr_assert(zero(int, vm_system_init(&sys, &config)));
        cr_assert(ge(u64, sys.pageout.free_severe, 1));
        cr_assert(lt(u64, sys.pageout.free_severe, sys.pageout.free_min));
        cr_assert(lt(u64, sys.pageout.free_min, sys.pageout.free_target));
        cr_assert(le(u64, sys.pageout.free_target + VM_ERRAND_PAGES, budget));
        vm_system_fini(&sys);
    }
}

Test(vm_pageout, each_mark_is_crossed_one_page_below_it)
{
    struct rig rig;

    rig_init(&rig, 64); /* severe 1, min 8, target 12 */
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 52);
    cr_assert(not(vm_page_count_target(&rig.sys)));
    fill(&rig, 52, 53);
    cr_assert(vm_page_count_target(&rig.sys));
    cr_assert(eq(u64, vm_pageout_shortage(&rig.sys), 1));
    fill(&rig, 53, 56);
    cr_assert(not(vm_page_count_min(&rig.sys)));
    cr_assert(zero(u64, rig_meter(&rig, v_pdwakeups)));
    fill(&rig, 56, 57);
    cr_assert(vm_page_count_min(&rig.sys));
    cr_assert(eq(u64, rig_meter(&rig, v_pdwakeups), 1));
    fill(&rig, 57, 63);
    cr_assert(not(vm_page_count_severe(&rig.sys)));
    fill(&rig, 63, 64);
    cr_assert(vm_page_count_severe(&rig.sys));
    cr_assert(eq(u64, rig_meter(&rig, v_pdwakeups), 1));
    rig_fini(&rig);
}

/* ---- What leaves. ---- */

Test(vm_pageout, a_modified_page_goes_to_swap_and_comes_back)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_assert(eq(int, rig.ram->type, OBJT_SWAP));
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_meter(&rig, v_pageout), 20));
    cr_assert(eq(u64, rig_meter(&rig, v_dfree), 20));
    check(&rig, 0, 20);
    cr_assert(rig_meter(&rig, v_kind_page_in) != 0);
    swap_fini(&rig);
}

Test(vm_pageout, freed_frames_leave_memory)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 100), 20));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(fake_frame_is_hole(&rig.sys, rig.ram->extent + p));
    swap_fini(&rig);
}

Test(vm_pageout, neighbours_are_written_together_and_what_is_not_needed_is_cached)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 40);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_pageout), VM_PAGEOUT_CLUSTER));
    cr_assert(eq(u64, rig.sys.queue_length[PQ_CACHE], VM_PAGEOUT_CLUSTER - 1));
    for (unsigned p = 1; p < VM_PAGEOUT_CLUSTER; p++) {
        cr_assert(zero(uint, rig_page(rig.ram, p)->dirty));
        cr_assert(eq(int, rig_page(rig.ram, p)->queue, PQ_CACHE));
    }
    /* The cache goes first, and needs no writing. */
    fill(&rig, 100, 110);
    make_old(&rig, rig.ram, true);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 1; p < VM_PAGEOUT_CLUSTER; p++)
        vm_page_cache(vm_page_lookup(rig.ram, p));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 31), 31));
    cr_assert(eq(u64, rig_meter(&rig, v_pageout), VM_PAGEOUT_CLUSTER));
    cr_assert(rig_page(rig.ram, 100) != NULL);
    check(&rig, 0, 40);
    swap_fini(&rig);
}

Test(vm_pageout, a_dirty_page_takes_its_old_neighbours_along_but_no_active_one)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 64);
    make_old(&rig, rig.ram, true);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_deactivate(vm_page_lookup(rig.ram, 40)); /* the head of the queue */
    for (unsigned p = 0; p < 64; p++) {
        if (p != 36 && p != 50)
            vm_page_deactivate(vm_page_lookup(rig.ram, p));
    }
    vm_page_hold(vm_page_lookup(rig.ram, 45));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(rig_page(rig.ram, 36)->dirty && rig_page(rig.ram, 50)->dirty);
    cr_assert(rig_page(rig.ram, 45)->dirty);
    vm_page_unhold(rig_page(rig.ram, 45));
    check(&rig, 0, 64);
    swap_fini(&rig);
}

Test(vm_pageout, a_clean_page_with_a_copy_in_swap_is_freed_without_writing)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    check(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_assert(eq(u64, rig_meter(&rig, v_pageout), 20));
    check(&rig, 0, 20);
    swap_fini(&rig);
}

Test(vm_pageout, a_page_read_from_swap_and_written_to_gives_its_slot_back)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 21));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(7)), VM_PROT_READ));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 20));
    rig_store(&rig, PAGE(7), 700);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 19));
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 700));
    swap_fini(&rig);
}

/* A window of 8 pages on untouched RAM, read only so far. */
static void
zero_window(struct rig *rig)
{
    rig_window(rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format,
               rig_tables(rig, 8, 100, 1, RIG_PASS));
    for (unsigned i = 0; i < 8; i++)
        cr_assert(zero(u64, rig_load(rig, W(i))));
}

Test(vm_pageout, a_page_of_zeros_that_was_never_written_is_just_freed)
{
    struct rig rig;

    rig_init(&rig, 0);
    zero_window(&rig);
    cr_assert(not(rig_page(rig.ram, 100)->dirty));
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 100), 8)); /* there is no swap */
    cr_assert(rig_page(rig.ram, 100) == NULL);
    cr_assert(rig_page(rig.ram, 4) != NULL);
    for (unsigned i = 0; i < 8; i++)
        cr_assert(zero(u64, rig_load(&rig, W(i))));
    rig_fini(&rig);
}

Test(vm_pageout, with_a_backing_object_a_page_of_zeros_is_written)
{
    struct vm_object *backing;
    struct rig rig;
    struct vm_page *m;

    swap_rig(&rig, 0, 100);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 16, &backing)));
    zero_window(&rig);
    m = rig_page(rig.ram, 100);
    vm_mutex_lock(&rig.ram->lock);
    rig.ram->backing_object = backing;
    vm_mutex_unlock(&rig.ram->lock);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 100);
    cr_assert(m->object == NULL);
    vm_mutex_lock(&rig.ram->lock);
    cr_assert(rig.ram->pager->haspage(rig.ram, 100, NULL, NULL));
    rig.ram->backing_object = NULL;
    vm_mutex_unlock(&rig.ram->lock);
    vm_object_unref(backing);
    swap_fini(&rig);
}

Test(vm_pageout, a_clean_page_of_a_file_is_freed_and_read_again)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (unsigned p = 0; p < 50; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
    cr_assert(ge(u64, vm_pageout_scan(&rig.sys, 1000), 50));
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 7 * 512));
    rig_fini(&rig);
}

Test(vm_pageout, dirty_pages_of_a_shared_file_are_written_and_those_of_a_private_one_stay)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    fill(&rig, 0, 10);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 1000);
    check(&rig, 0, 10);
    cr_assert(zero(u64, rig_meter(&rig, v_pageout)));
    rig.ram->flags |= OBJ_WRITEBACK;
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 1000);
    cr_assert(zero(u64, resident(&rig)));
    cr_assert(eq(u64, rig_meter(&rig, v_pageout), 10));
    rig_fini(&rig);
}

/* ---- What stays. ---- */

Test(vm_pageout, without_swap_modified_pages_stay_and_stay_mapped)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 20);
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, 20)));
    cr_assert(eq(u64, resident(&rig), 20));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(eq(int, rig_mapped(&rig, PAGE(p)), VM_PROT_RW));
    rig_fini(&rig);
}

Test(vm_pageout, wired_held_and_busy_pages_are_passed_over_and_never_lost)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_wire(vm_page_lookup(rig.ram, 3));
    vm_page_hold(vm_page_lookup(rig.ram, 5));
    vm_page_busy(vm_page_lookup(rig.ram, 7));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1000), 17));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(rig.ram, 3)), 9));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(rig.ram, 5)), 15));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(rig.ram, 7)), 21));
    vm_page_unhold(rig_page(rig.ram, 5));
    rig_wakeup(rig_page(rig.ram, 7));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_unwire(vm_page_lookup(rig.ram, 3), false);
    vm_mutex_unlock(&rig.ram->lock);
    check(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1000), 20));
    swap_fini(&rig);
}

Test(vm_pageout, a_held_page_stays_mapped)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_flag_clear(vm_page_lookup(rig.ram, 0), VM_PAGE_REFERENCED);
    vm_page_deactivate(vm_page_lookup(rig.ram, 0));
    vm_page_hold(vm_page_lookup(rig.ram, 0));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, 1)));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_RW));
    vm_page_unhold(rig_page(rig.ram, 0));
    swap_fini(&rig);
}

Test(vm_pageout, a_write_error_keeps_the_page_and_is_reported_once_until_it_ends)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    write_error = EIO;
    for (unsigned i = 0; i < 3; i++) {
        make_old(&rig, rig.ram, false);
        cr_assert(zero(u64, vm_pageout_scan(&rig.sys, 20)));
        cr_assert(eq(uint, messages, 1));
    }
    cr_assert(strstr(message, "writing") != NULL);
    cr_assert(ge(u64, rig_meter(&rig, v_pageout_failed), 60));
    cr_assert(zero(u64, rig_meter(&rig, v_swap_full)));
    cr_assert(zero(u64, rig_meter(&rig, v_pageout)));
    for (unsigned p = 0; p < 20; p++)
        cr_assert(rig_page(rig.ram, p)->dirty);
    write_error = 0;
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    check(&rig, 0, 20);
    fill(&rig, 0, 20);
    write_error = ENOSPC;
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(uint, messages, 2));
    check(&rig, 0, 20);
    write_error = 0;
    swap_fini(&rig);
}

Test(vm_pageout, a_page_that_could_not_be_written_is_out_of_the_way)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    write_error = EIO;
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 1);
    cr_assert(eq(u64, rig.sys.queue_length[PQ_INACTIVE] + rig.sys.queue_length[PQ_ACTIVE], 1));
    write_error = 0;
    swap_fini(&rig);
}

Test(vm_pageout, full_swap_is_reported_and_what_is_in_memory_stays_right)
{
    struct rig rig;

    swap_rig(&rig, 0, 12);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 12));
    cr_assert(eq(uint, messages, 1));
    cr_assert(strstr(message, "swap is full") != NULL);
    cr_assert(rig_meter(&rig, v_swap_full) != 0);
    check(&rig, 0, 20);
    fill(&rig, 0, 6); /* their slots are free again */
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 12));
    check(&rig, 0, 20);
    swap_fini(&rig);
}

Test(vm_pageout, without_memory_to_become_a_swap_object_the_page_stays)
{
    struct rig rig;

    if (!alloc_failure_available())
        return;
    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    make_old(&rig, rig.ram, false);
    alloc_failure_set(1);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 4), 4)); /* a later pass tried again */
    cr_assert(eq(u64, rig_meter(&rig, v_pageout_failed), 1));
    cr_assert(eq(uint, messages, 1));
    check(&rig, 0, 4);
    swap_fini(&rig);
}

Test(vm_pageout, a_read_error_of_swap_is_the_guests_and_no_zeros)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 4);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 4), 4));
    read_error = EIO;
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_READ), VM_IO_ERROR));
    read_error = 0;
    check(&rig, 0, 4);
    swap_fini(&rig);
}

/* ---- References. ---- */

/*
 * One pass 0 over PQ_ACTIVE: it ends when a page was freed, and there is one.  Without
 * a budget nothing else would be looked at.
 */
static void
sample(struct rig *rig)
{
    rig->sys.pageout.inactive_target = 1000;
    rig_store(rig, PAGE(2000), 1);
    pmap_remove(&rig->pmap, gpa_from_u64(PAGE(2000)), gpa_from_u64(PAGE(2001)));
    vm_mutex_lock(&rig->ram->lock);
    vm_page_flag_clear(vm_page_lookup(rig->ram, 2000), VM_PAGE_REFERENCED);
    vm_page_deactivate(vm_page_lookup(rig->ram, 2000));
    vm_mutex_unlock(&rig->ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig->sys, 1), 1));
    cr_assert(rig_page(rig->ram, 2000) == NULL);
}

Test(vm_pageout, act_count_begins_at_5_grows_by_3_to_64_and_declines_by_1)
{
    unsigned expected = ACT_INIT;
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 1);
    cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, 5));
    for (unsigned i = 0; i < 25; i++) {
        sample(&rig);
        expected = expected + 3 < 64 ? expected + 3 : 64;
        cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, expected));
        cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_NONE));
        cr_assert(zero(u64, rig_load(&rig, PAGE(0))));
    }
    sample(&rig);
    for (unsigned count = 63; count > 0; count--) {
        sample(&rig);
        cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, count));
        cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_ACTIVE));
    }
    sample(&rig);
    cr_assert(zero(uint, rig_page(rig.ram, 0)->act_count));
    cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_INACTIVE));
    cr_assert(zero(u64, rig_load(&rig, PAGE(0))));
    cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_ACTIVE));
    cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, ACT_INIT));
    swap_fini(&rig);
}

Test(vm_pageout, a_page_that_was_mapped_again_as_a_neighbour_does_not_decline)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 2);
    sample(&rig);
    cr_assert(eq(u64, rig_load(&rig, PAGE(0)), 0)); /* maps page 1 too */
    cr_assert(eq(int, rig_mapped(&rig, PAGE(1)), VM_PROT_RW));
    sample(&rig);
    cr_assert(eq(uint, rig_page(rig.ram, 0)->act_count, ACT_INIT + 2 * ACT_ADVANCE));
    cr_assert(eq(uint, rig_page(rig.ram, 1)->act_count, ACT_INIT + ACT_ADVANCE));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(1)), VM_PROT_NONE));
    sample(&rig);
    cr_assert(eq(uint, rig_page(rig.ram, 1)->act_count, ACT_INIT + ACT_ADVANCE - ACT_DECLINE));
    swap_fini(&rig);
}

/* In the order they came the ten pages would be read again every 12 rounds. */
Test(vm_pageout, pages_in_use_outlive_those_that_are_not)
{
    struct rig rig;

    swap_rig(&rig, 64, 2000);
    fill(&rig, 0, 10);
    for (unsigned round = 0; round < 100; round++) {
        check(&rig, 0, 10);
        fill(&rig, 100 + 4 * round, 104 + 4 * round);
    }
    cr_assert(lt(u64, rig_meter(&rig, v_majflt), 30));
    check(&rig, 100, 500);
    swap_fini(&rig);
}

Test(vm_pageout, an_inactive_page_that_was_touched_is_active_again)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    vm_page_flag_set(rig_page(rig.ram, 4), VM_PAGE_REFERENCED);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 19), 19));
    cr_assert(eq(int, rig_page(rig.ram, 4)->queue, PQ_ACTIVE));
    cr_assert(eq(u64, rig_meter(&rig, v_reactivated), 1));
    swap_fini(&rig);
}

Test(vm_pageout, a_mapped_inactive_page_goes_after_the_unmapped_ones)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 40);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(int, rig_touch(&rig, PAGE(0), VM_PROT_READ), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_flag_clear(vm_page_lookup(rig.ram, 0), VM_PAGE_REFERENCED);
    for (unsigned p = 0; p < 40; p++) {
        vm_page_activate(vm_page_lookup(rig.ram, p));
        vm_page_deactivate(vm_page_lookup(rig.ram, p));
    }
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 39), 39));
    cr_assert(rig_page(rig.ram, 0) != NULL);
    cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_NONE));
    swap_fini(&rig);
}

Test(vm_pageout, a_cached_page_that_is_mapped_again_is_no_cache_page)
{
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 10);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    cr_assert(eq(u64, rig_load(&rig, PAGE(5)), 15));
    cr_assert(eq(int, rig_page(rig.ram, 5)->queue, PQ_ACTIVE));
    check(&rig, 0, 10);
    swap_fini(&rig);
}

/* ---- Small budgets. ---- */

Test(vm_pageout, a_guest_64_times_the_budget_keeps_its_data)
{
    struct rig rig;

    swap_rig(&rig, 64, RIG_PAGES);
    fill(&rig, 0, RIG_PAGES);
    check(&rig, 0, RIG_PAGES);
    for (unsigned p = RIG_PAGES; p-- != 0;)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 3));
    cr_assert(le(u64, resident(&rig), 64));
    swap_fini(&rig);
}

Test(vm_pageout, prefault_and_read_ahead_work_below_the_budget_too)
{
    struct rig rig;

    rig_init(&rig, 256);
    swap_init(&rig, RIG_PAGES);
    fill(&rig, 0, RIG_PAGES);
    check(&rig, 0, RIG_PAGES);
    cr_assert(lt(u64, rig_meter(&rig, v_majflt), rig_meter(&rig, v_pagein)));
    swap_fini(&rig);
}

Test(vm_pageout, the_smallest_budget_serves_a_walk_of_four_levels)
{
    struct rig rig;

    swap_rig(&rig, VM_RAM_BUDGET_MIN, RIG_PAGES);
    for (unsigned i = 0; i < 200; i++)
        rig_store(&rig, PAGE(100 + 3 * i), i);
    rig_window(&rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format,
               rig_tables(&rig, 200, 100, 3, RIG_PASS));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 200; i++) {
            cr_assert(eq(u64, rig_load(&rig, W(i)), i + round));
            rig_store(&rig, W(i), i + round + 1);
        }
        for (unsigned i = 0; i < 200; i++)
            cr_assert(eq(u64, rig_load(&rig, PAGE(100 + 3 * i)), i + round + 1));
    }
    cr_assert(le(u64, resident(&rig), VM_RAM_BUDGET_MIN));
    swap_fini(&rig);
}

Test(vm_pageout, when_nothing_can_leave_the_fault_fails_and_works_again_afterwards)
{
    struct rig rig;

    swap_rig(&rig, 16, 20);
    for (unsigned p = 0; p < 36; p++)
        rig_store(&rig, PAGE(p), p * 3);
    expect_no_memory(&rig, 36);
    cr_assert(eq(uint, messages, 1));
    expect_no_memory(&rig, 37);
    cr_assert(rig.sys.pageout.first == NULL);
    cr_assert(eq(u64, rig_meter(&rig, v_kind_host), 2));
    vm_mutex_lock(&rig.ram->lock);
    vm_pager_freespace(rig.ram, 0, 4); /* as if the guest had given them up */
    vm_mutex_unlock(&rig.ram->lock);
    rig_store(&rig, PAGE(36), 1);
    swap_fini(&rig);
}

Test(vm_pageout, wired_pages_are_no_reason_to_wait)
{
    struct rig rig;

    swap_rig(&rig, 16, 100);
    fill(&rig, 0, 16);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 40; p++) {
        if (vm_page_lookup(rig.ram, p) != NULL)
            vm_page_wire(vm_page_lookup(rig.ram, p));
    }
    vm_mutex_unlock(&rig.ram->lock);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 100; p < 140; p++) {
        if (vm_page_lookup(rig.ram, p) != NULL)
            vm_page_wire(vm_page_lookup(rig.ram, p));
    }
    vm_mutex_unlock(&rig.ram->lock);
    expect_no_memory(&rig, 50);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 140; p++) {
        if (vm_page_lookup(rig.ram, p) != NULL)
            vm_page_unwire(vm_page_lookup(rig.ram, p), false);
    }
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(zero(u64, atomic_load(&rig.sys.wired_pages)));
    rig_store(&rig, PAGE(50), 1);
    swap_fini(&rig);
}

/* Pages [0, 16) of RAM, busy and on no queue: somebody is making them. */
static void
take_all(struct rig *rig)
{
    vm_mutex_lock(&rig->ram->lock);
    for (unsigned p = 0; p < 16; p++)
        cr_assert(vm_page_alloc(rig->ram, p) != NULL);
    vm_mutex_unlock(&rig->ram->lock);
}

Test(vm_pageout, pages_that_are_being_made_are_waited_for)
{
    struct rig_fault fault;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    take_all(&rig);
    rig_fault_start(&fault, &rig, PAGE(1000), VM_PROT_WRITE);
    rig_until(rig_meter(&rig, v_pfwait) != 0);
    usleep(20000);
    cr_assert(not(atomic_load(&fault.done)));
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 16; p++)
        vm_page_free(vm_page_lookup(rig.ram, p));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    swap_fini(&rig);
}

Test(vm_pageout, a_waiter_does_not_wait_for_the_pages_it_holds_itself)
{
    struct vm_page *m;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    for (unsigned p = 0; p < 16; p++) {
        cr_assert(eq(int,
                     vm_fault_page(&rig.map, gpa_from_u64(PAGE(p)), VM_PROT_WRITE, VM_FAULT_NORMAL,
                                   &m, &rig_info),
                     VM_OK));
    }
    cr_assert(eq(int, vm_waitpfault(&rig.sys, 16), -ENOMEM));
    cr_assert(lt(u64, rig_meter(&rig, v_pdpages), 16 * 40)); /* it did not try for long */
    for (unsigned p = 0; p < 16; p++)
        vm_page_unhold(rig_page(rig.ram, p));
    cr_assert(zero(int, vm_waitpfault(&rig.sys, 0)));
    swap_fini(&rig);
}

Test(vm_pageout, a_page_somebody_holds_is_waited_for)
{
    struct vm_page *held[16];
    struct rig_fault fault;
    unsigned n = 0;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    fill(&rig, 0, 8);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    for (vm_pindex_t p = vm_object_next_resident(rig.ram, 0); p < RIG_PAGES;
         p = vm_object_next_resident(rig.ram, p + 1)) {
        held[n] = vm_page_lookup(rig.ram, p);
        vm_page_hold(held[n++]);
    }
    vm_mutex_unlock(&rig.ram->lock);
    rig_fault_start(&fault, &rig, PAGE(1000), VM_PROT_WRITE);
    rig_until(rig_meter(&rig, v_pfwait) != 0);
    cr_assert(not(atomic_load(&fault.done)));
    while (n != 0)
        vm_page_unhold(held[--n]);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    swap_fini(&rig);
}

Test(vm_pageout, only_the_first_waiter_keeps_what_it_holds)
{
    struct vm_errand first, second;
    struct rig rig;

    swap_rig(&rig, 16, 100);
    vm_errand_init(&first, &rig.sys);
    vm_errand_init(&second, &rig.sys);
    fill(&rig, 0, 16);
    for (unsigned p = 100; resident(&rig) != 16; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    vm_errand_keep(&first, rig.ram, vm_page_lookup(rig.ram, vm_object_next_resident(rig.ram, 0)));
    vm_errand_keep(&second, rig.ram, vm_page_lookup(rig.ram, vm_object_next_resident(rig.ram, 0)));
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(int, vm_errand_admit(&first), VM_RETRY));
    vm_errand_run(&first);
    cr_assert(first.first && first.npages == 1 && !first.exhausted);
    cr_assert(eq(int, vm_errand_admit(&first), VM_OK));
    cr_assert(eq(int, vm_errand_leave_memory(&second), VM_RETRY));
    vm_errand_run(&second);
    cr_assert(not(second.first));
    cr_assert(zero(uint, second.npages));
    vm_errand_fini(&second);
    vm_errand_fini(&first);
    cr_assert(rig.sys.pageout.first == NULL);
    swap_fini(&rig);
}

/* ---- Slowing down. ---- */

Test(vm_pageout, vm_fault_ratelimit_is_off_unless_asked_for)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 60);
    cr_assert(zero(uint, vm_fault_ratelimit(&rig.sys)));
    rig_fini(&rig);
}

Test(vm_pageout, vm_fault_ratelimit_grows_with_the_load_and_gives_fewer_pages)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 58); /* half of the target of 12 is missing */
    rig.sys.tunables.load_enable = true;
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 50000));
    for (unsigned i = 0; i < 50; i++)
        cr_assert(zero(uint, vm_fault_ratelimit(&rig.sys)));
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 50000));
    rig.sys.tunables.load_enable = false;
    fill(&rig, 58, 64);
    rig.sys.tunables.load_enable = true;
    atomic_store(&rig.sys.pageout.supply, 0);
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 100000));
    cr_assert(eq(uint, vm_fault_ratelimit(&rig.sys), 100000));
    rig_fini(&rig);
}

Test(vm_pageout, a_fault_is_slowed_down_once_at_most)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 54);
    rig.sys.tunables.load_enable = true;
    cr_assert(eq(int, rig_touch(&rig, PAGE(100), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_pflimit), 1));
    cr_assert(eq(int, rig_touch(&rig, PAGE(100), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_pflimit), 1));
    cr_assert(zero(u64, rig_meter(&rig, v_pfwait)));
    rig_fini(&rig);
}

/* ---- The thread, and all at once. ---- */

static void *
pageout_main(void *arg)
{
    vm_pageout_run(arg);
    return NULL;
}

Test(vm_pageout, the_thread_frees_up_to_the_target_and_ends_when_it_is_stopped)
{
    pthread_t thread;
    struct rig rig;

    swap_rig(&rig, 64, 1000);
    cr_assert(zero(int, pthread_create(&thread, NULL, pageout_main, &rig.sys)));
    fill(&rig, 0, 57);
    rig_until(!vm_page_count_target(&rig.sys));
    vm_pageout_stop(&rig.sys);
    pthread_join(thread, NULL);
    cr_assert(not(vm_pageout_wait(&rig.sys)));
    check(&rig, 0, 57);
    swap_fini(&rig);
}

Test(vm_pageout, a_scan_in_vain_is_not_asked_for_again_until_something_was_freed)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    fill(&rig, 0, 57);
    cr_assert(vm_pageout_wait(&rig.sys));
    cr_assert(zero(u64, vm_pageout_scan(&rig.sys, vm_pageout_shortage(&rig.sys))));
    fill(&rig, 57, 60);
    cr_assert(eq(u64, rig_meter(&rig, v_pdwakeups), 1));
    rig_busy(rig_page(rig.ram, 9));
    pmap_page_protect(rig_page(rig.ram, 9), VM_PROT_NONE);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_free(vm_page_lookup(rig.ram, 9));
    vm_mutex_unlock(&rig.ram->lock);
    fill(&rig, 60, 61);
    cr_assert(eq(u64, rig_meter(&rig, v_pdwakeups), 2));
    rig_fini(&rig);
}

#define HAMMER_PAGES 400
#define HAMMER_THREADS 3

struct hammer {
    struct rig *rig;
    unsigned id;
    bool window;
    pthread_t thread;
};

/* Each thread has its own pages; a page's value is how often it was written. */
static void *
hammer_main(void *arg)
{
    struct hammer *h = arg;
    static _Thread_local uint64_t written[HAMMER_PAGES];
    unsigned seed = h->id;

    for (unsigned i = 0; i < (SLOW ? 1500 : 15000); i++) {
        unsigned p = (unsigned)rand_r(&seed) % HAMMER_PAGES;
        unsigned ram = 100 + p * HAMMER_THREADS + h->id;
        uint64_t gpa = h->window && rand_r(&seed) % 2 ? W(p * HAMMER_THREADS + h->id) : PAGE(ram);

        if (rand_r(&seed) % 3 == 0)
            rig_store(h->rig, gpa, ++written[p]);
        else if (rig_load(h->rig, gpa) != written[p])
            abort();
    }
    return NULL;
}

static void
hammer(uint64_t budget, uint64_t swap, bool window, bool thread)
{
    struct hammer threads[HAMMER_THREADS];
    pthread_t pageout;
    struct rig rig;

    rig_init(&rig, budget);
    swap_init(&rig, swap);
    if (window) {
        vpte_t root = rig_tables(&rig, 0, 0, 0, 0);

        for (unsigned i = 0; i < HAMMER_PAGES * HAMMER_THREADS; i++) {
            rig_vpte_set(&rig, 3, i / 512, rig_pte(4 + i / 512, RIG_PASS));
            rig_vpte_set(&rig, 4 + i / 512, i % 512, rig_pte(100 + i, RIG_PASS));
        }
        rig_window(&rig, RIG_WINDOW, HAMMER_PAGES * HAMMER_THREADS, VM_PROT_ALL, &vpte64_format,
                   root);
    }
    if (thread)
        cr_assert(zero(int, pthread_create(&pageout, NULL, pageout_main, &rig.sys)));
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        threads[i] = (struct hammer){ .rig = &rig, .id = i, .window = window };
        cr_assert(zero(int, pthread_create(&threads[i].thread, NULL, hammer_main, &threads[i])));
    }
    for (unsigned i = 0; i < HAMMER_THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    vm_pageout_stop(&rig.sys);
    if (thread)
        pthread_join(pageout, NULL);
    cr_assert(le(u64, resident(&rig), budget));
    cr_assert(zero(uint, messages));
    cr_assert(rig_meter(&rig, v_pageout) != 0);
    swap_fini(&rig);
}

Test(vm_pageout, threads_and_page_out_under_a_small_budget_lose_no_byte)
{
    hammer(128, 2000, false, true);
}

Test(vm_pageout, threads_and_page_out_through_virtual_page_tables_lose_no_byte)
{
    hammer(128, 2000, true, true);
}

Test(vm_pageout, threads_under_the_smallest_budget_and_without_a_page_out_thread_get_on)
{
    hammer(VM_RAM_BUDGET_MIN, 2000, true, false);
}
