/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of the registers of a guest's call. */
#include "vmm/doorbell/call.h"

#include "guest/include/vkvm_abi.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define BASE VKVM_WINDOW_BASE
#define END VKVM_WINDOW_END
#define PAGE PAGE_SIZE
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)

struct refused {
    call_unpack_fn *unpack;
    uint64_t argument[CALL_ARGUMENTS];
};

/* Every way in which each argument can be wrong by itself. */
static const struct refused refused[] = {
    { call_unpack_exit, { 256 } },
    { call_unpack_exit, { UINT64_MAX } },
    { call_unpack_statistics, { 0x1000, 0 } },
    { call_unpack_fault_delivery, { 2, 0x1000 } },
    { call_unpack_fault_delivery, { VKVM_DELIVER_VE, 0x1004 } },
    { call_unpack_fault_delivery, { UINT64_C(1) << 32, 0x1000 } },
    { call_unpack_range, { 0, 0 } },
    { call_unpack_range, { 1, PAGE } },
    { call_unpack_range, { 0, PAGE + 1 } },
    { call_unpack_range, { -PAGE, PAGE } },
    { call_unpack_range, { -PAGE, 2 * PAGE } },
    { call_unpack_range, { PAGE, -PAGE } },
    { call_unpack_advise, { 0, PAGE, 3 } },
    { call_unpack_advise, { 0, PAGE, UINT64_MAX } },
    { call_unpack_advise, { 0, 0, VKVM_ADVICE_RANDOM } },
    { call_unpack_setmap, { 0, PAGE, 0 } },
    { call_unpack_setmap, { BASE, 0, 0 } },
    { call_unpack_setmap, { BASE + 8, PAGE, 0 } },
    { call_unpack_setmap, { BASE, PAGE / 2, 0 } },
    { call_unpack_setmap, { BASE - PAGE, 2 * PAGE, 0 } },
    { call_unpack_setmap, { END - PAGE, 2 * PAGE, 0 } },
    { call_unpack_setmap, { END, PAGE, 0 } },
    { call_unpack_setmap, { BASE, -PAGE, 0 } },
    { call_unpack_protect, { BASE, PAGE, VKVM_MAP_WRITE } },
    { call_unpack_protect, { BASE, PAGE, VKVM_MAP_VPTE32 } },
    { call_unpack_protect, { BASE, PAGE, UINT64_C(1) << 32 } },
    { call_unpack_protect, { 0, PAGE, RW } },
    { call_unpack_vmspace_create, { 0 } },
    { call_unpack_vmspace_create, { 65536 } },
    { call_unpack_vmspace_map, { 1, 0, PAGE, 0, RW } },
    { call_unpack_vmspace_map, { 1, BASE, PAGE, 0, VKVM_MAP_WRITE } },
    { call_unpack_vmspace_map, { 1, BASE, PAGE, 0, RW | 0x20 } },
    { call_unpack_vmspace_unmap, { 1, 0, PAGE } },
    { call_unpack_region_map, { 1, BASE, PAGE, VKVM_MAP_VPTE32 } },
    { call_unpack_region_map, { 1, END, PAGE, RW } },
    { call_unpack_region_map, { 1, BASE, PAGE, RW | VKVM_MAP_STACK } },
    { call_unpack_region_map, { 1, BASE, 2 * PAGE, RW | VKVM_MAP_STACK | VKVM_MAP_GUARD } },
    { call_unpack_wait, { 2, 0, 0 } },
    { call_unpack_wait, { 4, UINT64_C(1) << 32, 0 } },
    { call_unpack_wake, { 4, 0 } },
    { call_unpack_wake, { 7, 1 } },
    { call_unpack_copy, { 1, 0, BASE, PAGE } },
    { call_unpack_copy, { 1, BASE, 0, PAGE } },
    { call_unpack_copy, { 1, BASE, BASE + PAGE, 0 } },
};

Test(call, arguments_that_make_no_sense_are_refused)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        union call call;

        cr_expect(eq(int, refused[i].unpack(refused[i].argument, &call), -EINVAL), "entry %zu", i);
    }
}

static bool
is_range(const struct call_range *range, uint64_t start, uint64_t size)
{
    return gpa_to_u64(range->start) == start && call_range_size(range) == size;
}

Test(call, arguments_arrive_in_the_fields_they_are_meant_for)
{
    union call call;

    cr_assert(zero(int, call_unpack_exit((uint64_t[5]){ 255 }, &call)));
    cr_expect(eq(int, call.exit.status, 255));
    cr_assert(zero(int, call_unpack_statistics((uint64_t[5]){ 3, UINT64_MAX }, &call)));
    cr_expect(call.statistics.to.value == 3 && call.statistics.size == UINT64_MAX);
    cr_assert(zero(int, call_unpack_fault_delivery((uint64_t[5]){ VKVM_DELIVER_VE, 16 }, &call)));
    cr_expect(call.fault_delivery.mode == VKVM_DELIVER_VE && call.fault_delivery.area.value == 16);
    cr_assert(zero(int, call_unpack_range((uint64_t[5]){ PAGE, -2 * PAGE }, &call)));
    cr_expect(is_range(&call.range, PAGE, -2 * PAGE));
    cr_assert(zero(int, call_unpack_advise((uint64_t[5]){ 0, PAGE, 2 }, &call)));
    cr_expect(is_range(&call.advise.range, 0, PAGE) && call.advise.advice == VM_ADVICE_SEQUENTIAL);
    cr_assert(zero(int, call_unpack_setmap((uint64_t[5]){ END - PAGE, PAGE, 7 }, &call)));
    cr_expect(is_range(&call.setmap.range, END - PAGE, PAGE) && call.setmap.root == 7);
    cr_assert(zero(int, call_unpack_protect((uint64_t[5]){ BASE, PAGE, 0 }, &call)));
    cr_expect(is_range(&call.protect.range, BASE, PAGE) && call.protect.prot == VM_PROT_NONE);
}

Test(call, arguments_of_vmspace_calls_arrive_in_the_fields_they_are_meant_for)
{
    union call call;

    cr_assert(zero(int, call_unpack_vmspace_create((uint64_t[5]){ 65535 }, &call)));
    cr_expect(eq(u64, call.vmspace.id, 65535));
    cr_assert(zero(int, call_unpack_vmspace_destroy((uint64_t[5]){ UINT64_MAX }, &call)));
    cr_expect(eq(u64, call.vmspace.id, UINT64_MAX));
    cr_assert(zero(int, call_unpack_vmspace_map((uint64_t[5]){ 9, BASE, PAGE, 5, RW }, &call)));
    cr_expect(is_range(&call.vmspace_map.range, BASE, PAGE) && call.vmspace_map.id == 9 &&
              call.vmspace_map.root == 5 && call.vmspace_map.format == &vpte64_format &&
              call.vmspace_map.prot == VM_PROT_RW);
    cr_assert(zero(int, call_unpack_vmspace_map((uint64_t[5]){ 9, BASE, PAGE, 5, VKVM_MAP_VPTE32 },
                                                &call)));
    cr_expect(call.vmspace_map.format == &vpte32_format && call.vmspace_map.prot == VM_PROT_NONE);
    cr_assert(zero(int, call_unpack_vmspace_unmap((uint64_t[5]){ 8, BASE, PAGE }, &call)));
    cr_expect(is_range(&call.vmspace_unmap.range, BASE, PAGE) && call.vmspace_unmap.id == 8);
    cr_assert(zero(int, call_unpack_region_map((uint64_t[5]){ 7, BASE, PAGE, 7 }, &call)));
    cr_expect(is_range(&call.region_map.range, BASE, PAGE) && call.region_map.id == 7 &&
              call.region_map.prot == VM_PROT_ALL && !call.region_map.guard &&
              !call.region_map.stack);
    cr_assert(
        zero(int, call_unpack_region_map((uint64_t[5]){ 7, BASE, PAGE, VKVM_MAP_GUARD }, &call)));
    cr_expect(call.region_map.guard && call.region_map.prot == VM_PROT_NONE);
    cr_assert(zero(int, call_unpack_region_map(
                            (uint64_t[5]){ 7, BASE, 2 * PAGE, RW | VKVM_MAP_STACK }, &call)));
    cr_expect(call.region_map.stack && is_range(&call.region_map.range, BASE, 2 * PAGE));
    cr_assert(zero(int, call_unpack_copy((uint64_t[5]){ 6, BASE, BASE + PAGE, PAGE }, &call)));
    cr_expect(is_range(&call.copy.from, BASE, PAGE) && is_range(&call.copy.to, BASE + PAGE, PAGE) &&
              call.copy.id == 6);
}

Test(call, arguments_of_waits_and_console_calls_arrive_in_the_fields_they_are_meant_for)
{
    union call call;

    cr_assert(zero(int, call_unpack_wait((uint64_t[5]){ 12, UINT32_MAX, 5 }, &call)));
    cr_expect(call.wait.word.value == 12 && call.wait.expected == UINT32_MAX &&
              call.wait.timeout_ns == 5);
    cr_assert(zero(int, call_unpack_wake((uint64_t[5]){ 8, UINT64_MAX }, &call)));
    cr_expect(call.wake.word.value == 8 && call.wake.count == UINT64_MAX);
    cr_assert(zero(int, call_unpack_console((uint64_t[5]){ 9, 10 }, &call)));
    cr_expect(call.console.buffer.value == 9 && call.console.size == 10);
    cr_assert(zero(int, call_unpack_console((uint64_t[5]){ 1, UINT64_MAX }, &call)));
    cr_expect(call.console.size == VKVM_CONSOLE_MAX);
    cr_assert(zero(int, call_unpack_console((uint64_t[5]){ UINT64_MAX, 0 }, &call)));
    cr_expect(eq(int, call_unpack_console((uint64_t[5]){ 2, UINT64_MAX }, &call), -EFAULT));
}
