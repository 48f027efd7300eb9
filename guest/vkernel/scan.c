/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page scanner.  It works on batches of neighbouring vptes, one INVAL per batch.
 */
#include "guest/vkernel/scan.h"

#include "guest/lib/ram.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/page.h"
#include "guest/vkernel/swap.h"

#include <stddef.h>

#define SCAN_BATCH 64
#define SCAN_EVICT 32 /* pages scan_reclaim is after */
#define SCAN_ROUNDS 8 /* enough to let the highest age fall to 0 by halves */

_Static_assert(PAGE_AGE_MAX >> (SCAN_ROUNDS - 1) == 0, "a page must become cold in time");

struct scan {
    struct space *space;
    struct scan_result *result; /* NULL: evict */
    uint64_t evicted;
    uint64_t start; /* pindex of the batch */
    uint64_t npages;
    void *entry;              /* of start */
    uint64_t old[SCAN_BATCH]; /* what the vptes were; 0 = left alone */
};

/* Only pages that eviction would free are worth looking at for it. */
static bool
scan_wants(const struct scan *scan, uint64_t vpte)
{
    if (!(vpte & VKVM_VPTE_V))
        return false;
    return scan->result != NULL || page_at(vpte_frame(vpte))->kind == PAGE_ANON;
}

/* Swap the batch's vptes out; how many of them had A set, so that vkvm may have them mapped. */
static unsigned
scan_take(struct scan *scan)
{
    struct vpte_table *table = &scan->space->table;
    void *entry = scan->entry;
    unsigned mapped = 0;

    for (uint64_t i = 0; i < scan->npages; i++) {
        uint64_t value = vpte_read(table, entry);

        scan->old[i] = scan_wants(scan, value) ? vpte_swap(table, entry, 0) : 0;
        mapped += (scan->old[i] & VKVM_VPTE_A) != 0;
        if (scan->result != NULL && swap_is_vpte(value))
            scan->result->swapped++;
        entry = vpte_next(table, entry);
    }
    return mapped;
}

/* What the bits tell about the page. */
static void
scan_harvest(struct scan *scan, uint64_t old)
{
    struct page *page = page_at(vpte_frame(old));

    kernel_counts.scanned++;
    page_harvest(vpte_frame(old), old);
    if (scan->result != NULL) {
        scan->result->present++;
        scan->result->hot += (old & VKVM_VPTE_A) != 0;
        scan->result->dirty += (old & VKVM_VPTE_M) != 0;
    }
    if (!(old & VKVM_VPTE_A))
        page->age = scan->result == NULL ? page->age / 2 : page->age - (page->age > 0);
}

/* Put the page into the swap area and the slot into its vpte, if there is a slot. */
static bool
scan_evict(struct scan *scan, void *entry, uint64_t gpa)
{
    uint64_t writes = kernel_counts.swap_writes;
    uint32_t slot = swap_out(gpa);

    if (slot == 0)
        return false;
    if (kernel_counts.swap_writes != writes)
        kernel_counts.evicted_dirty++;
    else
        kernel_counts.evicted_clean++;
    swap_ref(slot);
    vpte_write(&scan->space->table, entry, swap_vpte(slot));
    space_count(scan->space, gpa, -1);
    page_unref(gpa);
    scan->evicted++;
    return true;
}

/* Decide about one vpte that was taken out. */
static void
scan_put(struct scan *scan, void *entry, uint64_t old)
{
    uint64_t gpa = vpte_frame(old);

    scan_harvest(scan, old);
    if (scan->result == NULL && page_at(gpa)->age == 0 && scan_evict(scan, entry, gpa))
        return;
    vpte_write(&scan->space->table, entry, old & ~(uint64_t)(VKVM_VPTE_A | VKVM_VPTE_M));
}

static void
scan_batch(struct scan *scan)
{
    void *entry = scan->entry;

    if (scan_take(scan) > 0)
        space_inval(scan->space, scan->start, scan->npages);
    for (uint64_t i = 0; i < scan->npages; i++) {
        if (scan->old[i] != 0)
            scan_put(scan, entry, scan->old[i]);
        entry = vpte_next(&scan->space->table, entry);
    }
}

/* A batch from pindex on, not beyond `end` or the table page; returns where the next one starts. */
static uint64_t
scan_step(struct scan *scan, uint64_t pindex, uint64_t end)
{
    uint64_t run = vpte_run(&scan->space->table, pindex);

    if (run > end - pindex)
        run = end - pindex;
    scan->start = pindex;
    scan->npages = run < SCAN_BATCH ? run : SCAN_BATCH;
    scan->entry = vpte_entry(&scan->space->table, pindex);
    if (scan->entry == NULL)
        return pindex + run;
    scan_batch(scan);
    return pindex + scan->npages;
}

void
scan_range(struct space *space, uint64_t pindex, uint64_t npages, struct scan_result *result)
{
    struct scan scan = { .space = space, .result = result };
    uint64_t end = pindex + npages;

    while (pindex < end)
        pindex = scan_step(&scan, pindex, end);
}

bool
scan_reclaim(struct space *space)
{
    struct scan scan = { .space = space };
    unsigned rounds = 0;

    while (scan.evicted < SCAN_EVICT && rounds < SCAN_ROUNDS) {
        space->hand = scan_step(&scan, space->hand, USER_SIZE >> PAGE_SHIFT);
        if (space->hand == USER_SIZE >> PAGE_SHIFT) {
            space->hand = 0;
            rounds++;
        }
    }
    return scan.evicted > 0;
}
