/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Places are never used again: they last for some 1,500 regions.
 */
#include "guest/lib/region.h"

#include "guest/lib/console.h"
#include "guest/lib/doorbell.h"

#define REGION_BASE (VKVM_WINDOW_BASE + (UINT64_C(1) << 30)) /* behind the window of window.h */
#define REGION_ALIGN (UINT64_C(2) << 20)

static uint64_t region_next;

static void
must(int64_t result, const char *what)
{
    if (result == 0)
        return;
    console_printf("region: %s failed: %d\n", what, (int)result);
    console_flush();
    doorbell_exit(1);
}

/* Where npages pages go. */
static uint64_t
place(uint64_t npages)
{
    uint64_t start = region_next;

    if (start == 0) {
        start = REGION_BASE;
        must(doorbell_vmspace_create(REGION_VMSPACE), "VMSPACE_CREATE");
    }
    region_next = (region_page(start, npages) + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1);
    return start;
}

uint64_t
region_make(uint64_t npages, unsigned flags)
{
    uint64_t start = place(npages);

    must(doorbell_region_map(REGION_VMSPACE, start, npages * PAGE_SIZE, flags), "REGION_MAP");
    return start;
}

uint64_t
region_copy(uint64_t region, uint64_t npages)
{
    uint64_t start = place(npages);

    must(doorbell_copy(REGION_VMSPACE, region, start, npages * PAGE_SIZE), "COPY");
    return start;
}

void
region_end(uint64_t region, uint64_t npages)
{
    must(doorbell_vmspace_unmap(REGION_VMSPACE, region, npages * PAGE_SIZE), "VMSPACE_UNMAP");
}
