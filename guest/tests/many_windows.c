/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * More windows and regions than KVM has memslots for one by one, and more scattered pages in
 * them than the host has mappings for, if asked for: "n=32000" is beyond both.  Each shows
 * what it should, and what is between them is refused.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define SPACE 9
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)
#define PAGES 2 /* of a window, scattered; a region has one */
#define STRIDE (4 * PAGE_SIZE)

static uint64_t count;
static struct vpte_table table;
static uint64_t frame[PAGES];

/* Windows are the even ones. */
static uint64_t
start_of(uint64_t i)
{
    return VKVM_WINDOW_BASE + i * STRIDE;
}

static volatile uint64_t *
word(uint64_t i, uint64_t page)
{
    return (volatile uint64_t *)(start_of(i) + page * PAGE_SIZE) + i % 512;
}

static uint64_t
make_all(uint64_t unused)
{
    uint64_t failed = 0;

    (void)unused;
    for (uint64_t i = 0; i < count; i++) {
        int64_t error =
            i % 2 == 0 ? doorbell_vmspace_map(SPACE, start_of(i), PAGES * PAGE_SIZE, table.root, RW)
                       : doorbell_region_map(SPACE, start_of(i), PAGE_SIZE, RW);

        failed += error != 0;
        *word(i, 0) = i;
        if (i % 2 == 0)
            *word(i, 1) = ~i;
    }
    return failed;
}

/* How many do not show what was written: the windows all show two pages of RAM. */
static uint64_t
count_wrong(uint64_t unused)
{
    uint64_t wrong = 0;

    (void)unused;
    for (uint64_t i = 0; i < count; i++) {
        if (i % 2 == 0)
            wrong += *word(i, 0) != ram_word(frame[0])[i % 512] ||
                     *word(i, 1) != ram_word(frame[1])[i % 512];
        else
            wrong += *word(i, 0) != i;
    }
    return wrong;
}

int
guest_main(void)
{
    uint64_t result;

    access_init();
    count = fdt_argument_number("n", 9000);
    vpte_table_init(&table, &vpte64);
    for (uint64_t i = 0; i < PAGES; i++) {
        frame[i] = ram_alloc();
        (void)ram_alloc(); /* not behind each other */
        vpte_map(&table, i, frame[i], VPTE_RW);
    }
    EXPECT(doorbell_vmspace_create(SPACE) == 0, "VMSPACE_CREATE");

    test_begin("windows and regions can be made beyond the host's memslots and mappings");
    result = ring3_call(make_all, 0);
    EXPECT(result == 0, "%lu could not be made", result);
    result = ring3_call(count_wrong, 0);
    EXPECT(result == 0, "%lu are wrong", result);
    test_end();

    test_begin("what is between them is refused, whoever's memslot shows it");
    for (uint64_t i = 0; i < count; i += count / 16)
        expect_refused(start_of(i) + STRIDE - PAGE_SIZE);
    test_end();

    test_begin("what was among others is refused when it is gone");
    EXPECT(doorbell_vmspace_unmap(SPACE, start_of(count - 2), PAGES * PAGE_SIZE) == 0, "UNMAP");
    expect_refused(start_of(count - 2));
    EXPECT(doorbell_vmspace_destroy(SPACE) == 0, "VMSPACE_DESTROY");
    expect_refused(start_of(count - 3));
    test_end();
    return test_summary();
}
