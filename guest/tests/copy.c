/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions and their virtual copies: each side keeps its own bytes, however many
 * generations of copies there are, and nothing is left behind.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define SPACE 5
#define PAGES 8
#define SIZE (PAGES * PAGE_SIZE)
#define BASE (VKVM_WINDOW_BASE + (UINT64_C(16) << 20))
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)
#define GENERATIONS 100

/* Where generation n lies. */
static uint64_t
place(uint64_t n)
{
    return BASE + n * SIZE;
}

static void
put_word(uint64_t address, uint64_t value)
{
    struct access_fault fault;

    access_store(address, value, &fault);
    EXPECT(fault.count == 0, "address 0x%lx: vector %u error 0x%lx", address, fault.vector,
           fault.error);
}

static void
expect_word(uint64_t address, uint64_t value)
{
    struct access_fault fault;
    uint64_t is = access_load(address, &fault);

    EXPECT(fault.count == 0 && is == value, "address 0x%lx: %lu faults, 0x%lx, not 0x%lx", address,
           (uint64_t)fault.count, is, value);
}

static uint64_t
resident_pages(void)
{
    struct vkvm_statistics statistics = { 0 };

    doorbell_statistics(&statistics);
    return statistics.resident_pages;
}

static void
a_region_is_memory(void)
{
    struct access_fault fault;

    test_begin("a region is zero-filled memory until it is unmapped");
    EXPECT(doorbell_region_map(SPACE, place(0), SIZE, RW) == 0, "REGION_MAP");
    expect_word(place(0) + SIZE - 8, 0);
    put_word(place(0) + PAGE_SIZE, 17);
    expect_word(place(0) + PAGE_SIZE, 17);
    EXPECT(doorbell_vmspace_unmap(SPACE, place(0), SIZE) == 0, "UNMAP");
    access_load(place(0) + PAGE_SIZE, &fault);
    EXPECT(access_faulted_with(&fault, 0), "count %u error 0x%lx", fault.count, fault.error);
    test_end();
}

static void
both_sides_keep_their_bytes(void)
{
    test_begin("after COPY a write on one side is not seen on the other");
    EXPECT(doorbell_region_map(SPACE, place(0), SIZE, RW) == 0, "REGION_MAP");
    for (uint64_t page = 0; page < PAGES - 1; page++)
        put_word(place(0) + page * PAGE_SIZE, 100 + page);
    EXPECT(doorbell_copy(SPACE, place(0), place(1), SIZE) == 0, "COPY");
    put_word(place(0), 200);
    put_word(place(1) + PAGE_SIZE, 201);
    put_word(place(0) + (PAGES - 1) * PAGE_SIZE, 202);
    expect_word(place(0), 200);
    expect_word(place(1), 100);
    expect_word(place(0) + PAGE_SIZE, 101);
    expect_word(place(1) + PAGE_SIZE, 201);
    expect_word(place(0) + 2 * PAGE_SIZE, 102);
    expect_word(place(1) + 2 * PAGE_SIZE, 102);
    expect_word(place(1) + (PAGES - 1) * PAGE_SIZE, 0);
    EXPECT(doorbell_vmspace_unmap(SPACE, place(0), SIZE) == 0, "UNMAP of the source");
    expect_word(place(1), 100);
    EXPECT(doorbell_vmspace_unmap(SPACE, place(1), SIZE) == 0, "UNMAP of the copy");
    test_end();
}

static void
generations_leave_nothing_behind(void)
{
    uint64_t before = resident_pages();

    test_begin("generations of copies keep their bytes and leave nothing behind");
    EXPECT(doorbell_region_map(SPACE, place(0), SIZE, RW) == 0, "REGION_MAP");
    put_word(place(0), 1);
    for (uint64_t n = 1; n <= GENERATIONS; n++) {
        EXPECT(doorbell_copy(SPACE, place(n - 1), place(n), SIZE) == 0, "COPY %lu", n);
        put_word(place(n - 1) + PAGE_SIZE, 1000 + n);
        EXPECT(doorbell_vmspace_unmap(SPACE, place(n - 1), SIZE) == 0, "UNMAP %lu", n);
        put_word(place(n) + 2 * PAGE_SIZE, n);
        expect_word(place(n), 1);
        expect_word(place(n) + PAGE_SIZE, 0);
        expect_word(place(n) + 2 * PAGE_SIZE, n);
    }
    EXPECT(resident_pages() <= before + PAGES, "%lu pages more", resident_pages() - before);
    EXPECT(doorbell_vmspace_unmap(SPACE, place(GENERATIONS), SIZE) == 0, "UNMAP");
    EXPECT(resident_pages() <= before, "%lu pages more", resident_pages() - before);
    test_end();
}

static void
region_calls_are_checked(void)
{
    test_begin("REGION_MAP and COPY check everything");
    EXPECT(doorbell_region_map(SPACE + 1, place(0), SIZE, RW) == -VKVM_ENOENT, "unknown vmspace");
    EXPECT(doorbell_region_map(SPACE, 0, SIZE, RW) == -VKVM_EINVAL, "on RAM");
    EXPECT(doorbell_region_map(SPACE, place(0), 12, RW) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_region_map(SPACE, place(0), SIZE, 0x8000) == -VKVM_EINVAL, "flags");
    EXPECT(doorbell_copy(SPACE, place(0), place(1), SIZE) == -VKVM_ENOENT, "no source");
    EXPECT(doorbell_region_map(SPACE, place(0), SIZE, RW) == 0, "REGION_MAP");
    EXPECT(doorbell_region_map(SPACE, place(0), SIZE, RW) == -VKVM_EEXIST, "twice");
    EXPECT(doorbell_copy(SPACE, place(0), place(1), SIZE / 2) == -VKVM_EINVAL, "a part");
    EXPECT(doorbell_copy(SPACE, place(0), place(0) + PAGE_SIZE, SIZE) == -VKVM_EINVAL, "overlap");
    EXPECT(doorbell_copy(SPACE, place(0), 0, SIZE) == -VKVM_EINVAL, "to RAM");
    EXPECT(doorbell_copy(SPACE + 1, place(0), place(1), SIZE) == -VKVM_ENOENT, "unknown vmspace");
    EXPECT(doorbell_setmap(place(0), SIZE, 0) == -VKVM_EINVAL, "SETMAP of a region");
    EXPECT(doorbell_vmspace_map(SPACE, place(1), SIZE, 0, RW) == 0, "a window");
    EXPECT(doorbell_copy(SPACE, place(0), place(1), SIZE) == -VKVM_EEXIST, "onto a window");
    EXPECT(doorbell_copy(SPACE, place(1), place(2), SIZE) == -VKVM_EINVAL, "of a window");
    test_end();
}

int
guest_main(void)
{
    access_init();
    doorbell_vmspace_create(SPACE);
    a_region_is_memory();
    both_sides_keep_their_bytes();
    generations_leave_nothing_behind();
    region_calls_are_checked();
    test_begin("VMSPACE_DESTROY takes regions along");
    EXPECT(doorbell_vmspace_destroy(SPACE) == 0, "DESTROY");
    EXPECT(doorbell_inval(place(0), SIZE) == -VKVM_ENOENT, "still mapped");
    test_end();
    return test_summary();
}
