/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame store, extents, the page array and the names of results. */
#include "vmm/vpagetable/vm_system.h"

#include "tests/unit/checked_test.h"
#include "tests/unit/sanitized.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_page.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define STORE_ORDER 20
#define STORE ((uint64_t)1 << STORE_ORDER)

static struct vm_system sys;

static void
vm_system_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
}

static void
vm_system_teardown(void)
{
    vm_system_fini(&sys);
}

static void
vm_extent_setup(void)
{
    vm_system_setup();
}

static void
vm_extent_teardown(void)
{
    vm_system_teardown();
}

TestSuite(vm_system_init, .timeout = 60);
TestSuite(vm_system, .timeout = 120);
TestSuite(vm_extent, .timeout = 120);

static bool
is_hole(vm_frame_t frame)
{
    off_t offset = (off_t)(frame << PAGE_SHIFT);

    return lseek(sys.memfd, offset, SEEK_DATA) != offset;
}

/* The number the next descriptor would get: shows whether one leaked. */
static int
next_fd(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

/* Address space in use, pages. */
static unsigned long
address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return pages;
}

static void
limit(int resource, rlim_t value)
{
    struct rlimit l;

    cr_assert_eq(getrlimit(resource, &l), 0);
    l.rlim_cur = value;
    cr_assert_eq(setrlimit(resource, &l), 0);
}

Test(vm_system_init, zeros_in_the_configuration_mean_the_defaults)
{
    const struct vm_system_config config = { .store_pages = SANITIZED ? STORE : 0 };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(sys.store_pages, SANITIZED ? STORE : (uint64_t)1 << 28);
    cr_assert_eq(sys.ram_budget, UINT64_MAX);
    cr_assert(sys.tunables.fast_fault);
    cr_assert_eq(sys.tunables.prefault_pages, VM_PREFAULT_DEFAULT);
    cr_assert_eq(vm_budget_resident(&sys), 0);
    vm_system_fini(&sys);
}

Test(vm_system_init, the_configuration_is_taken)
{
    const struct vm_system_config config = { .store_pages = 1000, .ram_budget = 17 };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(sys.store_pages, 1000);
    cr_assert_eq(sys.ram_budget, 17);
    vm_system_fini(&sys);
}

Test(vm_system_init, a_ram_budget_too_small_for_a_fault_is_invalid)
{
    struct vm_system_config config = { .store_pages = STORE, .ram_budget = VM_RAM_BUDGET_MIN - 1 };

    cr_assert_eq(vm_system_init(&sys, &config), -EINVAL);
    config.ram_budget = VM_RAM_BUDGET_MIN;
    cr_assert_eq(vm_system_init(&sys, &config), 0);
    vm_system_fini(&sys);
}

Test(vm_system_init, a_store_above_the_limit_is_invalid)
{
    const struct vm_system_config config = { .store_pages = VM_STORE_PAGES_MAX + 1 };

    cr_assert_eq(vm_system_init(&sys, &config), -EINVAL);
}

Test(vm_system_init, the_largest_store_is_made, .disabled = SANITIZED)
{
    const struct vm_system_config config = { .store_pages = VM_STORE_PAGES_MAX };
    uint64_t first;

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(vm_extent_alloc(&sys, VM_STORE_PAGES_MAX, &first), 0);
    cr_assert_eq(first, 0);
    cr_assert_eq(vm_extent_alloc(&sys, 1, &first), -ENOSPC);
    vm_extent_free(&sys, 0, VM_STORE_PAGES_MAX);
    vm_system_fini(&sys);
}

Test(vm_system_init, without_a_descriptor_left_it_is_emfile)
{
    const struct vm_system_config config = { .store_pages = STORE };

    limit(RLIMIT_NOFILE, (rlim_t)next_fd());
    cr_assert_eq(vm_system_init(&sys, &config), -EMFILE);
}

Test(vm_system_init, a_store_above_the_file_size_limit_is_efbig_and_holds_nothing)
{
    const struct vm_system_config config = { .store_pages = STORE };
    int fd = next_fd();

    signal(SIGXFSZ, SIG_IGN);
    limit(RLIMIT_FSIZE, STORE * PAGE_SIZE - 1);
    cr_assert_eq(vm_system_init(&sys, &config), -EFBIG);
    cr_assert_eq(next_fd(), fd);
}

/* Each mapping in turn is the first that does not fit. */
Test(vm_system_init, when_any_of_its_mappings_fails_nothing_is_held, .disabled = SANITIZED)
{
    const struct vm_system_config config = { .store_pages = (uint64_t)1 << 24 };
    const rlim_t direct = config.store_pages * PAGE_SIZE;
    const rlim_t pages = config.store_pages * sizeof(struct vm_page);
    const rlim_t rooms[] = { direct / 2, direct + pages / 2, direct + pages + PAGE_SIZE };
    unsigned long before = address_space();
    int fd = next_fd();

    for (unsigned i = 0; i < 3; i++) {
        limit(RLIMIT_AS, before * PAGE_SIZE + rooms[i]);
        cr_assert_eq(vm_system_init(&sys, &config), -ENOMEM, "mapping %u", i);
        limit(RLIMIT_AS, RLIM_INFINITY);
        cr_assert_eq(next_fd(), fd);
        cr_assert_leq(address_space(), before + 64);
    }
    cr_assert_eq(vm_system_init(&sys, &config), 0);
    vm_system_fini(&sys);
}

/* Is the host page of this address mapped? */
static bool
is_mapped(void *at)
{
    void *page = (void *)((uintptr_t)at & ~(uintptr_t)PAGE_MASK);
    void *got =
        mmap(page, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (got != MAP_FAILED)
        munmap(got, PAGE_SIZE);
    return got != page;
}

/* One word of bits more than a host page has.  What is behind them may be mapped, but not by the system. */
Test(vm_system_init, the_last_slot_of_any_store_has_its_bit)
{
    const struct vm_system_config config = { .store_pages = 8 * PAGE_SIZE + 1 };
    void *bit;

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    bit = (void *)(uintptr_t)&sys.moved[(config.store_pages - 1) / 64];
    cr_assert(is_mapped(bit));
    vm_slot_set_moved(&sys, config.store_pages - 1, true);
    cr_assert(vm_slot_is_moved(&sys, config.store_pages - 1));
    vm_system_fini(&sys);
    cr_assert(!is_mapped(bit));
}

CHECKED_TEST(vm_system, the_frame_store_is_closed_on_exec)
{
    cr_assert_neq(fcntl(sys.memfd, F_GETFD) & FD_CLOEXEC, 0);
}

CHECKED_TEST(vm_system, every_frame_begins_as_a_hole)
{
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1);
    cr_assert_eq(errno, ENXIO);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_END), (off_t)(STORE * PAGE_SIZE));
}

CHECKED_TEST(vm_system, the_direct_map_shows_the_store)
{
    char byte = 0;

    *(char *)vm_frame_address(&sys, 5) = 'x';
    cr_assert_eq(pread(sys.memfd, &byte, 1, 5 * (off_t)PAGE_SIZE), 1);
    cr_assert_eq(byte, 'x');
}

CHECKED_TEST(vm_system, punching_a_frame_makes_it_a_hole_of_zeros_and_leaves_its_neighbours)
{
    for (vm_frame_t frame = 4; frame < 7; frame++)
        memset(vm_frame_address(&sys, frame), 'x', PAGE_SIZE);
    cr_assert_eq(vm_frame_punch(&sys, 5), 0);
    cr_assert(!is_hole(4));
    cr_assert(is_hole(5));
    cr_assert(!is_hole(6));
    cr_assert_eq(*(char *)vm_frame_address(&sys, 5), 0);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_END), (off_t)(STORE * PAGE_SIZE));
}

CHECKED_TEST(vm_system, punching_a_run_punches_exactly_the_run)
{
    for (vm_frame_t frame = 10; frame < 20; frame++)
        *(char *)vm_frame_address(&sys, frame) = 'x';
    cr_assert_eq(vm_frame_punch_run(&sys, 12, 5), 0);
    for (vm_frame_t frame = 10; frame < 20; frame++)
        cr_assert_eq(is_hole(frame), frame >= 12 && frame < 17);
}

CHECKED_TEST(vm_system, a_punch_the_host_refuses_returns_its_error)
{
    int memfd = sys.memfd;

    sys.memfd = -1;
    cr_assert_eq(vm_frame_punch(&sys, 0), -EBADF);
    sys.memfd = memfd;
}

CHECKED_TEST(vm_system, a_counter_counts)
{
    vm_meter_add(&sys.meter, v_pageout, 3);
    vm_meter_add(&sys.meter, v_pageout, 4);
    cr_assert_eq(vm_meter_get(&sys.meter, v_pageout), 7);
}

#define COUNTERS (2 * VM_PARTS)
#define COUNTS 1000u

static void *
count_pages(void *context)
{
    for (unsigned i = 0; i < COUNTS; i++)
        vm_meter_add((struct vm_map_meter *)context, v_zfod, 3);
    return NULL;
}

Test(vm_system, a_counter_is_the_sum_of_what_all_threads_counted)
{
    struct vm_map_meter meter = { 0 };
    pthread_t threads[COUNTERS];

    for (unsigned i = 0; i < COUNTERS; i++)
        cr_assert(pthread_create(&threads[i], NULL, count_pages, &meter) == 0);
    for (unsigned i = 0; i < COUNTERS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect_eq(vm_meter_get(&meter, v_zfod), 3 * COUNTS * COUNTERS);
    cr_expect_eq(vm_meter_get(&meter, v_ozfod), 0);
}

CHECKED_TEST(vm_system, ending_it_with_an_extent_left_aborts, .signal = SIGABRT)
{
    uint64_t first;

    cr_assert_eq(vm_extent_alloc(&sys, 1, &first), 0);
    vm_system_fini(&sys);
}

CHECKED_TEST(vm_system, every_result_has_a_name_of_its_own)
{
    for (unsigned i = 0; i < VM_RESULT_COUNT; i++) {
        cr_assert_str_neq(vm_result_name((enum vm_result)i), "unknown");
        for (unsigned j = 0; j < i; j++)
            cr_assert_str_neq(vm_result_name((enum vm_result)i), vm_result_name((enum vm_result)j));
    }
    cr_assert_str_eq(vm_result_name(VM_VPTE_INVALID), "vpte-invalid");
    cr_assert_str_eq(vm_result_name(VM_RESULT_COUNT), "unknown");
}

CHECKED_TEST(vm_extent, no_pages_are_invalid)
{
    uint64_t first = 77;

    cr_assert_eq(vm_extent_alloc(&sys, 0, &first), -EINVAL);
    cr_assert_eq(first, 77);
}

CHECKED_TEST(vm_extent, more_pages_than_the_store_has_are_no_space)
{
    uint64_t first = 77;

    cr_assert_eq(vm_extent_alloc(&sys, STORE + 1, &first), -ENOSPC);
    cr_assert_eq(vm_extent_alloc(&sys, UINT64_MAX, &first), -ENOSPC);
    cr_assert_eq(first, 77);
}

CHECKED_TEST(vm_extent, a_full_store_is_no_space_until_something_is_freed)
{
    uint64_t all;
    uint64_t first = 77;

    cr_assert_eq(vm_extent_alloc(&sys, STORE, &all), 0);
    cr_assert_eq(vm_extent_alloc(&sys, 1, &first), -ENOSPC);
    cr_assert_eq(first, 77);
    vm_extent_free(&sys, all, STORE);
    cr_assert_eq(vm_extent_alloc(&sys, 1, &first), 0);
    vm_extent_free(&sys, first, 1);
}

CHECKED_TEST(vm_extent, a_store_of_any_size_can_be_used_up)
{
    const struct vm_system_config config = { .store_pages = 1000 };
    const uint64_t sizes[] = { 512, 256, 128, 64, 32, 8 };
    struct vm_system odd;
    uint64_t first[6];
    uint64_t none;

    cr_assert_eq(vm_system_init(&odd, &config), 0);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(vm_extent_alloc(&odd, sizes[i], &first[i]), 0);
    cr_assert_eq(vm_extent_alloc(&odd, 1, &none), -ENOSPC);
    for (unsigned i = 0; i < 6; i++)
        vm_extent_free(&odd, first[i], sizes[i]);
    cr_assert_eq(vm_extent_alloc(&odd, 512, &none), 0);
    vm_extent_free(&odd, none, 512);
    vm_system_fini(&odd);
}

#define MODEL_PAGES 4096
#define MODEL_EXTENTS 256

/* Allocate a random extent and check it against the map of slots in use. */
static void
model_alloc(struct vm_system *small, uint8_t *used, uint64_t *first, uint64_t npages)
{
    if (vm_extent_alloc(small, npages, first) != 0) {
        *first = UINT64_MAX;
        return;
    }
    for (uint64_t size = 1; size < npages; size *= 2)
        cr_assert_eq(*first & size, 0, "aligned to its power of two");
    for (uint64_t slot = *first; slot < *first + npages; slot++) {
        cr_assert_lt(slot, MODEL_PAGES);
        cr_assert_eq(used[slot]++, 0, "slot in two extents");
    }
}

CHECKED_TEST(vm_extent, extents_are_aligned_and_disjoint_and_merge_again_whatever_the_order)
{
    const struct vm_system_config config = { .store_pages = MODEL_PAGES };
    static uint8_t used[MODEL_PAGES];
    uint64_t first[MODEL_EXTENTS];
    uint64_t npages[MODEL_EXTENTS];
    struct vm_system small;
    unsigned seed = 1;
    uint64_t all;

    cr_assert_eq(vm_system_init(&small, &config), 0);
    memset(first, 0xff, sizeof(first));
    for (unsigned step = 0; step < 100000; step++) {
        unsigned i = (unsigned)rand_r(&seed) % MODEL_EXTENTS;

        if (first[i] == UINT64_MAX) {
            npages[i] = 1 + (uint64_t)rand_r(&seed) % ((uint64_t)1 << rand_r(&seed) % 8);
            model_alloc(&small, used, &first[i], npages[i]);
        } else {
            memset(&used[first[i]], 0, npages[i]);
            vm_extent_free(&small, first[i], npages[i]);
            first[i] = UINT64_MAX;
        }
    }
    for (unsigned i = 0; i < MODEL_EXTENTS; i++) {
        if (first[i] != UINT64_MAX)
            vm_extent_free(&small, first[i], npages[i]);
    }
    cr_assert_eq(vm_extent_alloc(&small, MODEL_PAGES, &all), 0, "all merged");
    vm_extent_free(&small, all, MODEL_PAGES);
    vm_system_fini(&small);
}

CHECKED_TEST(vm_extent, a_million_cycles_leave_nothing_behind)
{
    const unsigned cycles = SANITIZED ? 50000 : 1000000;
    struct mallinfo2 before;
    uint64_t first;

    for (unsigned i = 0; i < cycles; i++) {
        cr_assert_eq(vm_extent_alloc(&sys, 1 + i % 60, &first), 0);
        vm_extent_free(&sys, first, 1 + i % 60);
        if (i == 0)
            before = mallinfo2();
    }
    cr_assert_eq(mallinfo2().uordblks, before.uordblks);
    cr_assert_eq(vm_extent_alloc(&sys, STORE, &first), 0);
    vm_extent_free(&sys, first, STORE);
}

struct block {
    struct block *next;
    char fill[40];
};

CHECKED_TEST(vm_extent, a_large_extent_takes_no_more_than_a_sixteenth_too_much,
             .disabled = SANITIZED)
{
    const struct vm_system_config config = { .store_pages = VM_STORE_PAGES_MAX };
    const uint64_t large = (uint64_t)1217 << 18, rest = VM_STORE_PAGES_MAX / 4;
    uint64_t first, other, all;
    struct vm_system big;

    cr_assert_eq(vm_system_init(&big, &config), 0);
    cr_assert_eq(vm_extent_alloc(&big, large, &first), 0);
    cr_assert_eq(vm_extent_alloc(&big, rest, &other), 0);
    cr_expect(other >= first + large);
    cr_expect_eq(vm_extent_alloc(&big, rest, &all), -ENOSPC);
    vm_extent_free(&big, first, large);
    vm_extent_free(&big, other, rest);
    cr_assert_eq(vm_extent_alloc(&big, VM_STORE_PAGES_MAX, &all), 0, "all merged");
    vm_extent_free(&big, all, VM_STORE_PAGES_MAX);
    vm_system_fini(&big);
}

CHECKED_TEST(vm_extent, the_smallest_large_extent_takes_sixteenths_too)
{
    const uint64_t large = ((uint64_t)1 << 17) + 1, step = (uint64_t)1 << 14;
    uint64_t first, next;

    cr_assert_eq(vm_extent_alloc(&sys, large, &first), 0);
    cr_assert_eq(vm_extent_alloc(&sys, step, &next), 0);
    cr_expect_eq(next, first + large - 1 + step);
    vm_extent_free(&sys, first, large);
    vm_extent_free(&sys, next, step);
}

/* Take all the memory there is in blocks of an extent record's size. */
static struct block *
exhaust_memory(void)
{
    struct block *blocks = NULL;
    struct block *block;

    limit(RLIMIT_AS, address_space() * PAGE_SIZE);
    while ((block = malloc(sizeof(*block))) != NULL) {
        block->next = blocks;
        blocks = block;
    }
    return blocks;
}

static struct block *
release_blocks(struct block *blocks, unsigned count)
{
    while (blocks != NULL && count-- > 0) {
        struct block *next = blocks->next;

        free(blocks);
        blocks = next;
    }
    return blocks;
}

/* A one-slot extent of a fresh store needs one record per order. */
CHECKED_TEST(vm_extent, without_memory_for_its_records_it_is_enomem_and_nothing_changed,
             .disabled = SANITIZED)
{
    struct block *blocks = exhaust_memory();
    unsigned failures = 0;
    uint64_t first = 77;

    while (vm_extent_alloc(&sys, 1, &first) == -ENOMEM && blocks != NULL) {
        if (first != 77 || vm_extent_alloc(&sys, STORE, &first) != 0)
            abort();
        vm_extent_free(&sys, first, STORE);
        first = 77;
        failures++;
        blocks = release_blocks(blocks, 1);
    }
    release_blocks(blocks, UINT32_MAX);
    limit(RLIMIT_AS, RLIM_INFINITY);
    cr_assert_geq(failures, 2);
    cr_assert_leq(failures, 2 * STORE_ORDER);
    vm_extent_free(&sys, first, 1);
    cr_assert_eq(vm_extent_alloc(&sys, STORE, &first), 0);
    vm_extent_free(&sys, first, STORE);
}

CHECKED_TEST(vm_extent, freeing_a_range_that_was_not_allocated_aborts, .signal = SIGABRT)
{
    vm_extent_free(&sys, 8, 8);
}

CHECKED_TEST(vm_extent, freeing_with_another_size_aborts, .signal = SIGABRT)
{
    uint64_t first;

    cr_assert_eq(vm_extent_alloc(&sys, 8, &first), 0);
    vm_extent_free(&sys, first, 16);
}

CHECKED_TEST(vm_extent, freeing_gives_the_page_array_back_but_for_slots_with_a_moved_frame)
{
    uint64_t first;

    cr_assert_eq(vm_extent_alloc(&sys, 256, &first), 0);
    for (unsigned i = 0; i < 256; i++)
        sys.pages[first + i].spare = 1;
    sys.pages[first + 130].frame_delta = 3;
    vm_slot_set_moved(&sys, first + 130, true);
    vm_extent_free(&sys, first, 200);
    cr_assert_eq(sys.pages[first + 130].frame_delta, 3);
    for (unsigned i = 0; i < 256; i++)
        cr_assert_eq(sys.pages[first + i].spare, i >= 128 && i < 192, "slot %u", i);
    vm_slot_set_moved(&sys, first + 130, false);
}

CHECKED_TEST(vm_extent, freeing_a_small_extent_leaves_the_page_array_of_its_neighbours)
{
    uint64_t a;
    uint64_t b;

    cr_assert_eq(vm_extent_alloc(&sys, 32, &a), 0);
    cr_assert_eq(vm_extent_alloc(&sys, 32, &b), 0);
    sys.pages[b].spare = 1;
    vm_extent_free(&sys, a, 32);
    cr_assert_eq(sys.pages[b].spare, 1);
    vm_extent_free(&sys, b, 32);
}

CHECKED_TEST(vm_extent, moved_slots_are_counted_once_each)
{
    vm_slot_set_moved(&sys, 64, true);
    vm_slot_set_moved(&sys, 64, true);
    vm_slot_set_moved(&sys, 65, true);
    cr_assert_eq(atomic_load(&sys.moved_slots), 2);
    vm_slot_set_moved(&sys, 64, false);
    vm_slot_set_moved(&sys, 64, false);
    cr_assert_eq(atomic_load(&sys.moved_slots), 1);
    vm_slot_set_moved(&sys, 65, false);
}
