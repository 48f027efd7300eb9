/* SPDX-License-Identifier: BSD-2-Clause */
/* A peek leaves no trace, wherever the page is; a poke is a write that counts as a debugger's. */
#include "vmm/vpagetable/vm_peek.h"

#include "tests/unit/swap_rig.h"
#include "vmm/pager/file_pager.h"

#include <fcntl.h>
#include <sys/mman.h>

TestSuite(vm_peek, .timeout = 30);

static struct vm_peek_info seen;

/* Everything that a fault would change. */
struct trace {
    uint64_t meter[sizeof(struct vm_map_meter) / sizeof(uint64_t)];
    uint64_t resident;
    uint64_t mapped;
    uint64_t entries;
};

static struct trace
take_trace(struct rig *rig)
{
    struct trace trace = { .resident = resident(rig),
                           .mapped = fake_pmap_mapped(&rig->fake),
                           .entries = rig->map.nentries };

    memcpy(trace.meter, &rig->map.meter, sizeof(trace.meter));
    return trace;
}

/* The word at gpa by vm_peek, of which nothing is to be seen afterwards. */
static uint64_t
peek(struct rig *rig, uint64_t gpa)
{
    struct trace before = take_trace(rig), after;
    uint64_t word = 0x5555;

    cr_assert(eq(int, vm_peek(&rig->map, gpa_from_u64(gpa), &word, sizeof(word), &seen), VM_OK));
    after = take_trace(rig);
    cr_assert(zero(int, memcmp(&before, &after, sizeof(before))));
    return word;
}

static void
refused(struct rig *rig, uint64_t gpa, enum vm_result result)
{
    struct trace before = take_trace(rig), after;
    uint64_t word = 0x5555;

    cr_assert(eq(int, vm_peek(&rig->map, gpa_from_u64(gpa), &word, sizeof(word), &seen), result));
    cr_assert(eq(int, seen.result, result));
    cr_assert(eq(u64, word, 0x5555));
    after = take_trace(rig);
    cr_assert(zero(int, memcmp(&before, &after, sizeof(before))));
}

Test(vm_peek, a_page_that_is_nowhere_reads_as_zeros_and_stays_nowhere)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(u64, peek(&rig, PAGE(9))));
    cr_assert(eq(int, seen.place, VM_PEEK_NOWHERE));
    cr_assert_null(rig_page(rig.ram, 9));
    rig_fini(&rig);
}

Test(vm_peek, a_resident_page_is_neither_mapped_nor_referenced)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(9), 77);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, peek(&rig, PAGE(9)), 77));
    cr_assert(eq(int, seen.place, VM_PEEK_RESIDENT));
    cr_assert(eq(u64, seen.pindex, 9));
    cr_assert(not(vm_page_flag_test(rig_page(rig.ram, 9), VM_PAGE_REFERENCED)));
    cr_assert(eq(int, rig_page(rig.ram, 9)->queue, PQ_INACTIVE));
    rig_fini(&rig);
}

Test(vm_peek, bytes_cross_pages)
{
    uint8_t out[9000], in[sizeof(out)];
    struct rig rig;

    rig_init(&rig, 0);
    memset(out, 0xA5, sizeof(out));
    cr_assert(
        eq(int, vm_poke(&rig.map, gpa_from_u64(PAGE(3) - 50), out, sizeof(out), &rig_info), VM_OK));
    cr_assert(eq(int, vm_peek(&rig.map, gpa_from_u64(PAGE(3) - 50), in, sizeof(in), &seen), VM_OK));
    cr_assert(zero(int, memcmp(in, out, sizeof(in))));
    cr_assert(eq(int, vm_peek(&rig.map, gpa_from_u64(0), in, 0, &seen), VM_OK));
    rig_fini(&rig);
}

Test(vm_peek, an_address_without_memory_is_refused)
{
    uint8_t bytes[64];
    struct rig rig;

    rig_init(&rig, 0);
    refused(&rig, PAGE(RIG_PAGES), VM_INVALID_ADDRESS);
    cr_assert(eq(int, vm_peek(&rig.map, gpa_from_u64(UINT64_MAX - 8), bytes, 64, &seen),
                 VM_INVALID_ADDRESS));
    rig_fini(&rig);
}

Test(vm_peek, a_window_is_walked_without_its_bits_being_set)
{
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, peek(&rig, W(3)), 3));
    cr_assert(seen.window);
    cr_assert(eq(uint, seen.level, 4));
    cr_assert(eq(u64, seen.pindex, 109));
    cr_assert(eq(u64, rig_window_flags(&rig, 3), RIG_PASS));
    cr_assert(zero(int, rig_vpte(&rig, 1, 0)[0] & (VPTE_A | VPTE_M)));
    refused(&rig, W(4), VM_VPTE_INVALID);
    rig_fini(&rig);
}

Test(vm_peek, a_table_beyond_the_object_is_a_bad_frame)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_window(&rig, RIG_WINDOW, 8, VM_PROT_ALL, &vpte64_format, rig_pte(RIG_PAGES, RIG_PASS));
    refused(&rig, W(0), VM_BAD_FRAME);
    rig_fini(&rig);
}

Test(vm_peek, a_linear_root_and_small_entries_are_walked_too)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(23), 5);
    rig_window(&rig, RIG_WINDOW, 8, VM_PROT_ALL, &vpte32_format, rig_pte(20, RIG_PASS | VPTE_PS));
    cr_assert(eq(u64, peek(&rig, W(3)), 5));
    cr_assert(eq(u64, seen.pindex, 23));
    rig_fini(&rig);
}

Test(vm_peek, the_page_of_a_copied_range_shows_through_and_no_shadow_is_made)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(9), 99);
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), gpa_from_u64(RIG_WINDOW), PAGE(16))));
    cr_assert(eq(u64, peek(&rig, W(9)), 99));
    cr_assert_neq(rig_entry(&rig, W(9))->eflags & MAP_ENTRY_NEEDS_COPY, 0);
    rig_store(&rig, W(8), 8);
    cr_assert(eq(u64, peek(&rig, W(9)), 99));
    cr_assert(eq(uint, seen.depth, 1));
    rig_fini(&rig);
}

Test(vm_peek, a_page_in_swap_is_read_and_stays_there)
{
    struct rig rig;
    uint64_t used;

    swap_rig(&rig, 64, 128);
    fill(&rig, 0, 50);
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 40);
    cr_assert_null(rig_page(rig.ram, 0));
    used = swap_device_used(rig.sys.swap);
    cr_assert(eq(u64, peek(&rig, PAGE(0)), 1));
    cr_assert(eq(int, seen.place, VM_PEEK_PAGER));
    cr_assert_null(rig_page(rig.ram, 0));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), used));
    read_error = EIO;
    refused(&rig, PAGE(0), VM_IO_ERROR);
    cr_assert(zero(int, swap_device_error(rig.sys.swap)));
    read_error = 0;
    swap_fini(&rig);
}

Test(vm_peek, a_files_page_is_read_and_its_rest_is_zeros)
{
    struct vm_object *object;
    struct rig rig;
    int fd = memfd_create("peek", MFD_CLOEXEC);
    const uint64_t word = 0x1122334455667788;

    cr_assert(eq(int, (int)pwrite(fd, &word, 8, 4096), 8));
    rig_init(&rig, 0);
    cr_assert(zero(int, file_pager_create(&rig.sys, fd, 0, 4, FILE_PAGER_SHARED, &object)));
    cr_assert(zero(int, vm_map_insert(&rig.map, &(struct vm_map_insert){
                                                    .start = gpa_from_u64(RIG_WINDOW),
                                                    .end = gpa_from_u64(W(4)),
                                                    .object = object,
                                                    .protection = VM_PROT_ALL,
                                                    .max_protection = VM_PROT_ALL,
                                                })));
    cr_assert(eq(u64, peek(&rig, W(1)), word));
    cr_assert(seen.writeback);
    cr_assert(zero(u64, peek(&rig, W(1) + 8)));
    refused(&rig, W(2), VM_IO_ERROR);
    rig_fini(&rig);
    close(fd);
}

Test(vm_peek, a_pager_that_gave_the_page_up_meanwhile_is_asked_no_more)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(u64, peek(&rig, PAGE(7)), 7 * 512));
    pager.result = VM_PAGER_FAIL;
    cr_assert(zero(u64, peek(&rig, PAGE(7))));
    cr_assert(zero(uint, pager.calls));
    rig_fini(&rig);
}

static void *
peek_thread(void *argument)
{
    struct rig *rig = argument;
    static uint64_t word;

    cr_assert(eq(int, vm_peek(&rig->map, gpa_from_u64(PAGE(3)), &word, 8, &seen), VM_OK));
    return &word;
}

Test(vm_peek, a_busy_page_is_waited_for)
{
    struct vm_page *m;
    struct rig rig;
    pthread_t thread;
    void *word;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(3), 33);
    m = rig_page(rig.ram, 3);
    rig_busy(m);
    cr_assert(zero(int, pthread_create(&thread, NULL, peek_thread, &rig)));
    rig_until(vm_page_flag_test(m, VM_PAGE_WANTED));
    rig_wakeup(m);
    cr_assert(zero(int, pthread_join(thread, &word)));
    cr_assert(eq(u64, *(uint64_t *)word, 33));
    rig_fini(&rig);
}

Test(vm_peek, a_stopped_map_is_not_waited_for)
{
    static const _Atomic bool stop = true;
    struct rig rig;
    uint64_t word;

    rig_init(&rig, 0);
    rig.map.stop = &stop;
    cr_assert(eq(int, vm_peek(&rig.map, gpa_from_u64(0), &word, 8, &seen), VM_HOST_FAILURE));
    rig.map.stop = NULL;
    rig_fini(&rig);
}

Test(vm_peek, a_poke_is_a_write_that_counts_as_the_debuggers)
{
    const uint64_t value = 0xCC;
    struct rig rig;
    uint64_t faults;

    rig_window_init(&rig, 4, RIG_PASS);
    faults = rig_meter(&rig, v_vm_faults);
    cr_assert(eq(int, vm_poke(&rig.map, gpa_from_u64(W(3)), &value, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, rig_window_flags(&rig, 3), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(u64, rig_load(&rig, PAGE(109)), value));
    cr_assert(rig_page(rig.ram, 109)->dirty);
    cr_assert(eq(u64, rig_meter(&rig, v_debugger), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), faults + 1)); /* rig_load's own */
    rig_fini(&rig);
}

Test(vm_peek, a_poke_into_a_shared_page_stays_on_its_side)
{
    const uint8_t breakpoint = 0xCC;
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(9), 99);
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), gpa_from_u64(RIG_WINDOW), PAGE(16))));
    cr_assert(eq(int, vm_poke(&rig.map, gpa_from_u64(W(9)), &breakpoint, 1, &rig_info), VM_OK));
    cr_assert(eq(u64, peek(&rig, W(9)), 0xCC));
    cr_assert(eq(u64, peek(&rig, PAGE(9)), 99));
    rig_fini(&rig);
}

Test(vm_peek, a_poke_goes_where_the_maximum_allows_it)
{
    const uint8_t breakpoint = 0xCC;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    cr_assert(eq(int, vm_poke(&rig.map, gpa_from_u64(PAGE(1)), &breakpoint, 1, &rig_info), VM_OK));
    cr_assert(eq(u64, peek(&rig, PAGE(1)), 0xCC));
    cr_assert(eq(int, vm_poke(&rig.map, gpa_from_u64(PAGE(RIG_PAGES)), &breakpoint, 1, &rig_info),
                 VM_INVALID_ADDRESS));
    rig_fini(&rig);
}
