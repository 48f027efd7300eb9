/* SPDX-License-Identifier: BSD-2-Clause */
/* Copying between guest-physical memory and the monitor. */
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

Test(vm_copy, bytes_cross_page_borders_both_ways)
{
    uint8_t out[3 * 4096], in[sizeof(out)];
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 31 + i / 256);
    cr_assert(eq(int,
                 vm_map_write(&rig.map, gpa_from_u64(PAGE(8) - 100), out, sizeof(out), &rig_info),
                 VM_OK));
    cr_assert(eq(int, rig_info.result, VM_OK));
    cr_assert(eq(u64, rig.ram->resident_count, 4));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(PAGE(8) - 100), in, sizeof(in), &rig_info),
                 VM_OK));
    cr_assert(zero(int, memcmp(out, in, sizeof(in))));
    for (unsigned p = 7; p < 11; p++)
        cr_assert(rig_page(rig.ram, p)->dirty);
    cr_assert(zero(u64, fake_pmap_mapped(&rig.fake)));
    rig_fini(&rig);
}

Test(vm_copy, nothing_is_copied_for_no_bytes_even_where_nothing_is)
{
    struct rig rig;
    uint8_t byte = 0;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(UINT64_MAX), &byte, 0, &rig_info), VM_OK));
    cr_assert(
        eq(int, vm_map_write(&rig.map, gpa_from_u64(UINT64_MAX), &byte, 0, &rig_info), VM_OK));
    cr_assert(zero(u64, rig_meter(&rig, v_vm_faults)));
    rig_fini(&rig);
}

Test(vm_copy, a_range_that_wraps_around_is_refused_whole)
{
    uint8_t bytes[64] = { 1 };
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(UINT64_MAX - 8), bytes, 64, &rig_info),
                 VM_INVALID_ADDRESS));
    cr_assert(eq(int, rig_info.result, VM_INVALID_ADDRESS));
    cr_assert(eq(u64, rig_info.gpa.value, UINT64_MAX - 8));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(2), bytes, SIZE_MAX, &rig_info),
                 VM_INVALID_ADDRESS));
    cr_assert(zero(u64, rig_meter(&rig, v_vm_faults)));
    rig_fini(&rig);
}

Test(vm_copy, the_first_page_that_fails_ends_the_copy)
{
    uint8_t bytes[2 * 4096];
    struct rig rig;

    rig_init(&rig, 0);
    memset(bytes, 7, sizeof(bytes));
    cr_assert(eq(int,
                 vm_map_write(&rig.map, gpa_from_u64(PAGE(RIG_PAGES - 1)), bytes, sizeof(bytes),
                              &rig_info),
                 VM_INVALID_ADDRESS));
    cr_assert(eq(u64, rig_info.gpa.value, PAGE(RIG_PAGES)));
    cr_assert(eq(u64, rig_load(&rig, PAGE(RIG_PAGES - 1)), UINT64_C(0x0707070707070707)));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(0), bytes, 8, &rig_info), VM_PROTECTION));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(0), bytes, 8, &rig_info), VM_OK));
    rig_fini(&rig);
}

Test(vm_copy, copies_go_through_windows_and_mark_the_entries)
{
    uint64_t value = 0;
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(W(3)), &value, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, value, 3));
    cr_assert(eq(u64, rig_window_flags(&rig, 3), RIG_PASS | VPTE_A));
    value = 33;
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(W(3)), &value, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, rig_window_flags(&rig, 3), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(u64, rig_load(&rig, PAGE(109)), 33));
    cr_assert(
        eq(int, vm_map_read(&rig.map, gpa_from_u64(W(4)), &value, 8, &rig_info), VM_VPTE_INVALID));
    cr_assert(eq(uint, rig_info.level, 4));
    rig_fini(&rig);
}

Test(vm_copy, a_peek_is_no_fault_of_the_guest)
{
    struct rig rig;
    uint64_t value = 77, seen = 0, faults;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(3)), &value, 8, &rig_info), VM_OK));
    faults = rig_meter(&rig, v_vm_faults);
    cr_assert(eq(int, vm_map_peek(&rig.map, gpa_from_u64(PAGE(3)), &seen, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, seen, value));
    cr_assert(eq(int, vm_map_peek(&rig.map, gpa_from_u64(PAGE(RIG_PAGES)), &seen, 8, &rig_info),
                 VM_INVALID_ADDRESS));
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), faults));
    cr_assert(zero(u64, rig_meter(&rig, v_kind_failed)));
    cr_assert(eq(u64, rig_meter(&rig, v_lookups), 2));
    rig_fini(&rig);
}

/* --- What ends a translation waits for a copy that is under way ---------- */

/* What takes the page from the window, in a thread of its own once the copy is under way. */
struct taker {
    const char *name;
    int (*take)(struct rig *rig);
};

/* The monitor's side of the copy is a page that is inaccessible until the taker waits. */
static struct {
    struct rig rig;
    const struct taker *taker;
    uint64_t *slow;
    _Atomic bool copying; /* the copy has come to the inaccessible page */
    _Atomic bool taken;   /* the taker is done */
    uint64_t *page;       /* the window's first page, by the direct map */
    uint64_t seen;        /* what was in it when the taker was done */
} copy;

#define COPY_VALUE UINT64_C(0x5afe)
#define TAKER_VALUE UINT64_C(0x7a4e)

/* Does somebody wait for the map or the interlock that the copy has? */
static bool
taker_waits(void)
{
    struct vm_map *map = &copy.rig.map;
    unsigned waiters;

    if (pthread_rwlock_tryrdlock(&map->lock.parts[vm_part()].rwlock) ==
        EBUSY) /* behind a waiting writer */
        return true;
    pthread_rwlock_unlock(&map->lock.parts[vm_part()].rwlock);
    vm_mutex_lock(&map->ilock_mutex);
    waiters = map->ilock_waiters;
    vm_mutex_unlock(&map->ilock_mutex);
    return waiters != 0;
}

static void
copy_came_to_slow_page(int signal)
{
    (void)signal;
    atomic_store(&copy.copying, true);
    while (!atomic_load(&copy.taken) && !taker_waits())
        sched_yield();
    (void)mprotect(copy.slow, PAGE_SIZE, PROT_READ | PROT_WRITE);
}

static void *
taker_thread(void *argument)
{
    int *error = argument;

    rig_until(atomic_load(&copy.copying));
    *error = copy.taker->take(&copy.rig);
    copy.seen = *copy.page;
    *copy.page = TAKER_VALUE; /* it is the guest's again */
    atomic_store(&copy.taken, true);
    return NULL;
}

static void
copy_beside(const struct taker *taker, bool write)
{
    const struct sigaction action = { .sa_handler = copy_came_to_slow_page };
    gpa_t gpa = gpa_from_u64(W(0));
    enum vm_result result;
    pthread_t thread;
    int error = 1;

    memset(&copy, 0, sizeof(copy));
    copy.taker = taker;
    rig_window_init(&copy.rig, 4, RIG_PASS);
    copy.page = vm_page_address(rig_page(copy.rig.ram, 100));
    *copy.page = 1;
    copy.slow = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(copy.slow != MAP_FAILED);
    *copy.slow = COPY_VALUE;
    cr_assert(zero(int, sigaction(SIGSEGV, &action, NULL)));
    cr_assert(zero(int, mprotect(copy.slow, PAGE_SIZE, PROT_NONE)));
    cr_assert(zero(int, pthread_create(&thread, NULL, taker_thread, &error)));
    result = write ? vm_map_write(&copy.rig.map, gpa, copy.slow, 8, &rig_info)
                   : vm_map_read(&copy.rig.map, gpa, copy.slow, 8, &rig_info);
    pthread_join(thread, NULL);
    cr_assert(eq(int, result, VM_OK));
    cr_assert(zero(int, error), "%s", taker->name);
    if (write)
        cr_expect(eq(u64, copy.seen, COPY_VALUE), "%s returned before the write", taker->name);
    else
        cr_expect(eq(u64, *copy.slow, 1), "%s returned before the read", taker->name);
    munmap(copy.slow, PAGE_SIZE);
    rig_fini(&copy.rig);
}

/* The guest's protocol: take the vpte away, INVAL, then rely on the page. */
static int
take_by_inval(struct rig *rig)
{
    atomic_store(rig_vpte(rig, 4, 0), 0);
    return vm_map_inval(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(1)));
}

static int
take_by_setmap(struct rig *rig)
{
    return vm_map_setmap(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(512)), 0);
}

static int
take_by_setmap_of_a_part(struct rig *rig)
{
    return vm_map_setmap(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(1)), 0);
}

static int
take_by_protect(struct rig *rig)
{
    return vm_map_protect(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(1)), VM_PROT_NONE);
}

static int
take_by_remove(struct rig *rig)
{
    return vm_map_remove(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(512)));
}

static const struct taker takers[] = {
    { "INVAL", take_by_inval },
    { "SETMAP", take_by_setmap },
    { "SETMAP of a part", take_by_setmap_of_a_part },
    { "protect", take_by_protect },
    { "remove", take_by_remove },
};

Test(vm_copy, what_takes_a_page_away_returns_after_a_write_that_is_under_way, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++)
        copy_beside(&takers[i], true);
}

Test(vm_copy, what_takes_a_page_away_returns_after_a_read_that_is_under_way, .timeout = 60)
{
    for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++)
        copy_beside(&takers[i], false);
}

Test(vm_copy, a_page_that_a_device_holds_does_not_keep_inval_waiting)
{
    struct vm_page *m;
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(int, vm_fault_page_quick(&rig.map, gpa_from_u64(W(0)), VM_PROT_WRITE, &m), VM_OK));
    cr_assert(zero(int, take_by_inval(&rig)));
    vm_page_unhold(m);
    rig_fini(&rig);
}
