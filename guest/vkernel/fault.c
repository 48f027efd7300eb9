/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filling vptes.
 *
 * A and M of what is filled are left to vkvm, which sets them when the process tries
 * again.  The exception: neighbours filled along with a page of zeros that is being
 * written get M at once.  Such a page has no copy anywhere, so M says nothing new about it,
 * and vkvm may then map it writable ahead of time.
 */
#include "guest/vkernel/fault.h"

#include "guest/lib/string.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/page.h"
#include "guest/vkernel/scan.h"
#include "guest/vkernel/swap.h"

#include <stddef.h>

extern char user_image[]; /* guest.ld: where the programs are loaded, page 0 of every space */

#define BITS_READ (VKVM_VPTE_V | VKVM_VPTE_R | VKVM_VPTE_X)
#define BITS_WRITE (BITS_READ | VKVM_VPTE_W)

/* One page that faults. */
struct fault {
    struct space *space;
    const struct region *region;
    uint64_t pindex;
    bool write;
    void *entry;
};

/* Put frame | bits into an entry that is not valid; the reference to the frame is the entry's. */
static bool
fault_fill(const struct fault *fault, uint64_t gpa, uint64_t bits)
{
    if (gpa == 0)
        return false;
    vpte_write(&fault->space->table, fault->entry, gpa | bits);
    space_count(fault->space, gpa, 1);
    kernel_counts.filled++;
    return true;
}

/* A page of its own with the contents of another. */
static uint64_t
fault_copy_page(uint64_t from)
{
    uint64_t gpa = page_alloc(PAGE_ANON);

    if (gpa != 0) {
        memcpy((void *)gpa, (const void *)from, PAGE_SIZE);
        kernel_counts.cow_copies++;
    }
    return gpa;
}

/* The page is somebody else's as well: map it for reading, or copy it for writing. */
static bool
fault_fill_common(const struct fault *fault, uint64_t gpa)
{
    if (gpa == 0)
        return false;
    if (fault->write)
        return fault_fill(fault, fault_copy_page(gpa), BITS_WRITE);
    page_ref(gpa);
    return fault_fill(fault, gpa, BITS_READ);
}

static bool
fault_fill_image(const struct fault *fault)
{
    kernel_counts.image++;
    return fault_fill_common(fault, (uint64_t)user_image + (fault->pindex << PAGE_SHIFT));
}

static bool
fault_fill_zero(const struct fault *fault, uint64_t more_bits)
{
    kernel_counts.zero++;
    kernel_counts.preset_m += more_bits != 0;
    return fault_fill(fault, page_alloc(PAGE_ANON), BITS_WRITE | more_bits);
}

static bool
fault_fill_shared(const struct fault *fault)
{
    uint64_t gpa = shm_page(fault->region->shm, fault->pindex - fault->region->start);

    if (gpa == 0)
        return false;
    kernel_counts.shm++;
    page_ref(gpa);
    return fault_fill(fault, gpa, BITS_WRITE);
}

static bool
fault_fill_private(const struct fault *fault)
{
    kernel_counts.shm++;
    return fault_fill_common(fault,
                             shm_page(fault->region->shm, fault->pindex - fault->region->start));
}

/* From the swap area; a slot with other users is copied only when somebody writes. */
static bool
fault_fill_swapped(const struct fault *fault, uint32_t slot)
{
    uint64_t gpa = swap_in(slot);

    if (gpa == 0)
        return false;
    swap_unref(slot);
    return fault_fill(fault, gpa, page_is_exclusive(page_at(gpa)) ? BITS_WRITE : BITS_READ);
}

/* Fill an entry that is not valid. */
static bool
fault_fill_any(const struct fault *fault, uint64_t more_bits)
{
    uint64_t value = vpte_read(&fault->space->table, fault->entry);

    if (swap_is_vpte(value))
        return fault_fill_swapped(fault, swap_slot(value));
    switch (fault->region->kind) {
    case REGION_TEXT:
    case REGION_DATA:
        return fault_fill_image(fault);
    case REGION_ZERO:
        return fault_fill_zero(fault, more_bits);
    case REGION_SHARED:
        return fault_fill_shared(fault);
    case REGION_PRIVATE:
        return fault_fill_private(fault);
    }
    return false;
}

/*
 * A write to a page mapped without W.  Adding W is enough when nobody shares the page.  To
 * change the frame: swap the entry out, INVAL unless A is clear and vkvm has nothing
 * mapped, and only then give up the old page.
 */
static bool
fault_break_sharing(const struct fault *fault, uint64_t value)
{
    struct space *space = fault->space;
    uint64_t old = vpte_frame(value);
    uint64_t gpa;

    if (page_is_exclusive(page_at(old))) {
        vpte_set_bits(&space->table, fault->entry, VKVM_VPTE_W);
        kernel_counts.cow_kept++;
        return true;
    }
    gpa = fault_copy_page(old);
    if (gpa == 0)
        return false;
    if (vpte_swap(&space->table, fault->entry, 0) & VKVM_VPTE_A)
        space_inval(space, fault->pindex, 1);
    space_count(space, old, -1);
    page_unref(old);
    return fault_fill(fault, gpa, BITS_WRITE);
}

/* Pages behind the one that faulted, in the same table page, as far as the quota allows. */
static void
fault_fill_cluster(const struct fault *first)
{
    struct fault next = *first;
    struct space *space = first->space;
    uint64_t npages = vpte_run(&space->table, first->pindex);
    uint64_t more_bits = first->write ? VKVM_VPTE_M : 0;

    if (npages > kernel_options.cluster)
        npages = kernel_options.cluster;
    next.write = false;
    for (uint64_t i = 1; i < npages && space->resident < space->quota; i++) {
        next.pindex++;
        next.entry = vpte_next(&space->table, next.entry);
        if (next.pindex == next.region->end ||
            (vpte_read(&space->table, next.entry) & VKVM_VPTE_V) ||
            !fault_fill_any(&next, more_bits))
            break;
    }
}

/* Resolve with what memory there is. */
static bool
fault_try(const struct fault *fault)
{
    uint64_t value = vpte_read(&fault->space->table, fault->entry);

    if (!(value & VKVM_VPTE_V)) {
        if (!fault_fill_any(fault, 0))
            return false;
        fault_fill_cluster(fault);
        value = vpte_read(&fault->space->table, fault->entry);
    } else if (!fault->write || (value & VKVM_VPTE_W)) {
        kernel_counts.spurious++;
    }
    if (fault->write && !(value & VKVM_VPTE_W))
        return fault_break_sharing(fault, value);
    return true;
}

bool
fault_resolve(struct space *space, uint64_t pindex, bool write)
{
    struct fault fault = { .space = space, .pindex = pindex, .write = write };

    fault.region = space_region(space, pindex);
    if (fault.region == NULL || (write && fault.region->kind == REGION_TEXT))
        return false;
    fault.entry = vpte_entry_make(&space->table, pindex);
    if (fault.entry == NULL)
        return false;
    if (space->resident >= space->quota && !scan_reclaim(space))
        return false;
    return fault_try(&fault) || (scan_reclaim(space) && fault_try(&fault));
}
