/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guard has no memory: it refuses every access as a missing permission does, and is no part of what
 * lies beside it.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/region.h"

#define SPACE 9
#define BASE (VKVM_WINDOW_BASE + (UINT64_C(1) << 20))

int
guest_main(void)
{
    struct vkvm_statistics since;

    access_init();
    test_begin("a guard refuses every access");
    EXPECT(doorbell_vmspace_create(SPACE) == 0, "VMSPACE_CREATE");
    EXPECT(doorbell_region_map(SPACE, BASE, PAGE_SIZE, REGION_RW) == 0, "below");
    EXPECT(doorbell_region_map(SPACE, BASE + PAGE_SIZE, PAGE_SIZE, REGION_RW | VKVM_MAP_GUARD) == 0,
           "the guard");
    EXPECT(doorbell_region_map(SPACE, BASE + 2 * PAGE_SIZE, PAGE_SIZE, REGION_RW) == 0, "above");
    since = counters_now();
    expect_store(BASE + PAGE_SIZE - 8, 1);
    expect_store(BASE + 2 * PAGE_SIZE, 2);
    expect_load_refused(BASE + PAGE_SIZE, VKVM_PF_PRESENT);
    expect_store_refused(BASE + 2 * PAGE_SIZE - 8, VKVM_PF_PRESENT);
    EXPECT_COUNT(since, delivered, == 2);
    EXPECT_COUNT(since, zero_pages, == 2);
    EXPECT(doorbell_wire(BASE + PAGE_SIZE, PAGE_SIZE) == -VKVM_ENOENT, "WIRE");
    test_end();

    test_begin("a guard goes as any region");
    EXPECT(doorbell_vmspace_unmap(SPACE, BASE + PAGE_SIZE, PAGE_SIZE) == 0, "VMSPACE_UNMAP");
    expect_load_refused(BASE + PAGE_SIZE, 0);
    EXPECT(doorbell_vmspace_destroy(SPACE) == 0, "VMSPACE_DESTROY");
    test_end();
    return test_summary();
}
