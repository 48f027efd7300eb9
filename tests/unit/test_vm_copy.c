/* SPDX-License-Identifier: BSD-2-Clause */
/* Copying between guest-physical memory and the monitor. */
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

Test(vm_copy, bytes_cross_page_borders_both_ways)
{
    uint8_t out[3 * 4096], in[sizeof out];
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 31 + i / 256);
    cr_assert(eq(int,
                 vm_map_write(&rig.map, gpa_from_u64(PAGE(8) - 100), out, sizeof out, &rig_info),
                 VM_OK));
    cr_assert(eq(int, rig_info.result, VM_OK));
    cr_assert(eq(u64, rig.ram->resident_count, 4));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(PAGE(8) - 100), in, sizeof in, &rig_info),
                 VM_OK));
    cr_assert(zero(int, memcmp(out, in, sizeof in)));
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
    memset(bytes, 7, sizeof bytes);
    cr_assert(eq(int,
                 vm_map_write(&rig.map, gpa_from_u64(PAGE(RIG_PAGES - 1)), bytes, sizeof bytes,
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
