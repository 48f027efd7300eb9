/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ADVISE of RAM, windows and regions, and of parts of them: the bytes stay, the other calls go on
 * taking the whole, and no guest can cut the address space into too many pieces.
 * The test of that limit makes tens of thousands of calls: "limit=1" asks for it.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define SPACE 5
#define PAGES 16
#define SIZE (PAGES * PAGE_SIZE)
#define REGION (VKVM_WINDOW_BASE + (UINT64_C(16) << 20))
#define COPY (REGION + SIZE)
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)

/* Entries that there may be: a region of so many pages could be cut into as many. */
#define LIMIT UINT64_C(65536)
#define LARGE (VKVM_WINDOW_BASE + (UINT64_C(1) << 30))
#define LARGE_SIZE ((LIMIT + 16) * PAGE_SIZE)

static void
put_words(uint64_t start, uint64_t value)
{
    struct access_fault fault;

    for (uint64_t page = 0; page < PAGES; page++) {
        access_store(start + page * PAGE_SIZE, value + page, &fault);
        EXPECT(fault.count == 0, "page %lu: error 0x%lx", page, fault.error);
    }
}

static void
expect_words(uint64_t start, uint64_t value)
{
    struct access_fault fault;

    for (uint64_t page = 0; page < PAGES; page++) {
        uint64_t is = access_load(start + page * PAGE_SIZE, &fault);

        EXPECT(fault.count == 0 && is == value + page, "page %lu: %u faults, 0x%lx", page,
               fault.count, is);
    }
}

/* Each page of [start, start + SIZE) has another advice than its neighbours. */
static void
advise_each_page(uint64_t start)
{
    for (uint64_t page = 0; page < PAGES; page++)
        EXPECT(doorbell_advise(start + page * PAGE_SIZE, PAGE_SIZE, (unsigned)(page % 3)) == 0,
               "page %lu", page);
}

static void
parts_of_ram(void)
{
    uint64_t start = ram_alloc_run(PAGES, PAGE_SIZE);

    test_begin("parts of RAM can have advice of their own");
    put_words(start, 100);
    advise_each_page(start);
    expect_words(start, 100);
    EXPECT(doorbell_wire(start, SIZE) == 0, "WIRE");
    EXPECT(doorbell_unwire(start, SIZE) == 0, "UNWIRE");
    EXPECT(doorbell_advise(0, fdt_machine()->memory_size, VKVM_ADVICE_NORMAL) == 0, "all of RAM");
    put_words(start, 200);
    expect_words(start, 200);
    test_end();
}

static void
parts_of_a_window(void)
{
    struct window window;

    test_begin("a window cut by ADVISE is still one window");
    window_init(&window, &vpte64, PAGES);
    for (uint64_t page = 0; page < PAGES; page++)
        window_map_new(&window, page, VPTE_RW);
    put_words(window.start, 300);
    advise_each_page(window.start);
    expect_words(window.start, 300);
    EXPECT(doorbell_setmap(window.start, window.size, window.table.root) == 0, "SETMAP");
    EXPECT(doorbell_protect(window.start, window.size, VKVM_MAP_READ) == 0, "PROTECT");
    expect_words(window.start, 300);
    EXPECT(doorbell_protect(window.start, window.size, RW) == 0, "PROTECT");
    put_words(window.start, 400);
    for (uint64_t page = 0; page < PAGES; page++)
        EXPECT(*ram_word(vpte_frame(vpte_get(&window.table, page))) == 400 + page, "page %lu",
               page);
    EXPECT(doorbell_advise(window.start, window.size, VKVM_ADVICE_SEQUENTIAL) == 0, "the whole");
    window_fini(&window);
    test_end();
}

static void
parts_of_a_region(void)
{
    test_begin("a region cut by ADVISE is still one region, and so is its copy");
    EXPECT(doorbell_region_map(SPACE, REGION, SIZE, RW) == 0, "REGION_MAP");
    put_words(REGION, 500);
    advise_each_page(REGION);
    EXPECT(doorbell_copy(SPACE, REGION, COPY, SIZE) == 0, "COPY");
    put_words(REGION, 600);
    expect_words(COPY, 500);
    put_words(COPY, 700);
    expect_words(REGION, 600);
    EXPECT(doorbell_vmspace_unmap(SPACE, REGION, SIZE) == 0, "UNMAP");
    expect_words(COPY, 700);
    EXPECT(doorbell_vmspace_unmap(SPACE, COPY, SIZE) == 0, "UNMAP of the copy");
    EXPECT(doorbell_inval(COPY, PAGE_SIZE) == -VKVM_ENOENT, "something is left");
    test_end();
}

static void
advice_is_checked(void)
{
    uint64_t memory_size = fdt_machine()->memory_size;

    test_begin("ADVISE checks everything");
    EXPECT(doorbell_region_map(SPACE, REGION, SIZE, RW) == 0, "REGION_MAP");
    EXPECT(doorbell_region_map(SPACE, COPY, SIZE, RW) == 0, "REGION_MAP of a neighbour");
    EXPECT(doorbell_advise(REGION, SIZE, 3) == -VKVM_EINVAL, "unknown advice");
    EXPECT(doorbell_advise(REGION, 0, 0) == -VKVM_EINVAL, "empty");
    EXPECT(doorbell_advise(REGION + 8, PAGE_SIZE, 0) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_advise(REGION, SIZE + PAGE_SIZE, 0) == -VKVM_EINVAL, "more than the region");
    EXPECT(doorbell_advise(REGION + PAGE_SIZE, SIZE, 0) == -VKVM_EINVAL, "across two regions");
    EXPECT(doorbell_advise(COPY, UINT64_MAX & ~PAGE_MASK, 0) == -VKVM_EINVAL, "wraps");
    EXPECT(doorbell_advise(REGION - PAGE_SIZE, PAGE_SIZE, 0) == -VKVM_ENOENT, "before");
    EXPECT(doorbell_advise(COPY + SIZE, PAGE_SIZE, 0) == -VKVM_ENOENT, "behind");
    EXPECT(doorbell_advise(memory_size - PAGE_SIZE, 2 * PAGE_SIZE, 0) == -VKVM_EINVAL,
           "beyond RAM");
    EXPECT(doorbell_advise(memory_size, PAGE_SIZE, 0) == -VKVM_EINVAL, "behind RAM");
    EXPECT(doorbell_vmspace_unmap(SPACE, REGION, SIZE) == 0, "UNMAP");
    EXPECT(doorbell_vmspace_unmap(SPACE, COPY, SIZE) == 0, "UNMAP");
    test_end();
}

/* Ring 3.  Cut every other page out of the large region; returns how many there could be. */
static uint64_t
cut_until_refused(uint64_t unused)
{
    uint64_t page = 1;

    (void)unused;
    while (page < LARGE_SIZE / PAGE_SIZE &&
           doorbell_advise(LARGE + page * PAGE_SIZE, PAGE_SIZE, VKVM_ADVICE_RANDOM) == 0)
        page += 2;
    return page / 2;
}

static void
the_number_of_pieces_is_limited(void)
{
    uint64_t cut;

    test_begin("ADVISE cuts no more when the limit of entries is reached");
    if (fdt_argument_number("limit", 0) == 0) {
        test_skip("not asked for");
        test_end();
        return;
    }
    EXPECT(doorbell_region_map(SPACE, LARGE, LARGE_SIZE, RW) == 0, "REGION_MAP");
    cut = ring3_call(cut_until_refused, 0);
    EXPECT(cut > LIMIT / 2 - 16 && cut <= LIMIT / 2, "%lu cuts", cut);
    EXPECT(doorbell_advise(LARGE + PAGE_SIZE, PAGE_SIZE, 0) == -VKVM_ENOSPC, "a part");
    EXPECT(doorbell_wire(PAGE_SIZE, PAGE_SIZE) == -VKVM_ENOSPC, "WIRE");
    EXPECT(doorbell_region_map(SPACE, LARGE + LARGE_SIZE, SIZE, RW) == -VKVM_ENOSPC, "REGION_MAP");
    EXPECT(doorbell_vmspace_map(SPACE, LARGE + LARGE_SIZE, SIZE, 0, RW) == -VKVM_ENOSPC,
           "VMSPACE_MAP");
    EXPECT(doorbell_copy(SPACE, LARGE, LARGE + LARGE_SIZE, LARGE_SIZE) == -VKVM_ENOSPC, "COPY");
    EXPECT(doorbell_advise(LARGE, LARGE_SIZE, VKVM_ADVICE_NORMAL) == 0, "the whole");
    EXPECT(doorbell_advise(LARGE + PAGE_SIZE, PAGE_SIZE, VKVM_ADVICE_RANDOM) == 0,
           "a part, when the pieces are one again");
    EXPECT(doorbell_copy(SPACE, LARGE, LARGE + LARGE_SIZE, LARGE_SIZE) == 0, "COPY, then");
    test_note("%lu cuts", cut);
    test_end();
}

int
guest_main(void)
{
    access_init();
    doorbell_vmspace_create(SPACE);
    parts_of_ram();
    parts_of_a_window();
    parts_of_a_region();
    advice_is_checked();
    the_number_of_pieces_is_limited();
    return test_summary();
}
