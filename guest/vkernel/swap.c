/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap area.  Slot 0 is never used, so that 0 can mean "none".
 */
#include "guest/vkernel/swap.h"

#include "guest/lib/string.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/page.h"

#include <stddef.h>

struct swap_slot {
    uint32_t refs; /* vptes that name it */
    uint32_t next; /* of the free list */
    uint64_t page; /* page that belongs to it; 0 = none */
};

static struct swap_slot *swap_slots;
static uint64_t swap_area; /* GPA of slot 0 */
static uint32_t swap_free; /* first of the free list; 0 = empty */
static uint32_t swap_used;

static void *
swap_address(uint32_t slot)
{
    return (void *)(swap_area + ((uint64_t)slot << PAGE_SHIFT));
}

static void
swap_release(uint32_t slot)
{
    swap_slots[slot].next = swap_free;
    swap_free = slot;
    swap_used--;
}

void
swap_init(uint32_t nslots)
{
    uint64_t bytes = (nslots + 1) * sizeof(struct swap_slot);

    swap_slots = (struct swap_slot *)ram_alloc_run((bytes + PAGE_MASK) >> PAGE_SHIFT, PAGE_SIZE);
    swap_area = ram_alloc_run(nslots + 1, PAGE_SIZE);
    if (swap_slots == NULL || swap_area == 0)
        kernel_panic("no memory for the swap area");
    swap_used = nslots;
    for (uint32_t slot = nslots; slot > 0; slot--)
        swap_release(slot);
}

/* A slot for a page that has none. */
static uint32_t
swap_alloc(uint64_t gpa)
{
    uint32_t slot = swap_free;

    if (slot == 0)
        return 0;
    swap_free = swap_slots[slot].next;
    swap_used++;
    swap_slots[slot] = (struct swap_slot){ .page = gpa };
    page_at(gpa)->slot = slot;
    page_at(gpa)->dirty = true;
    return slot;
}

uint32_t
swap_out(uint64_t gpa)
{
    struct page *page = page_at(gpa);
    uint32_t slot = page->slot != 0 ? page->slot : swap_alloc(gpa);

    if (slot == 0)
        return 0;
    if (page->dirty) {
        memcpy(swap_address(slot), (const void *)gpa, PAGE_SIZE);
        page->dirty = false;
        kernel_counts.swap_writes++;
    }
    return slot;
}

uint64_t
swap_in(uint32_t slot)
{
    uint64_t gpa = swap_slots[slot].page;

    if (gpa != 0) {
        page_ref(gpa);
        return gpa;
    }
    gpa = page_alloc(PAGE_ANON);
    if (gpa == 0)
        return 0;
    memcpy((void *)gpa, swap_address(slot), PAGE_SIZE);
    page_at(gpa)->slot = slot;
    swap_slots[slot].page = gpa;
    kernel_counts.swap_reads++;
    return gpa;
}

void
swap_ref(uint32_t slot)
{
    swap_slots[slot].refs++;
}

void
swap_unref(uint32_t slot)
{
    if (swap_slots[slot].refs == 0)
        kernel_panic("a swap slot lost more references than it had");
    if (--swap_slots[slot].refs == 0 && swap_slots[slot].page == 0)
        swap_release(slot);
}

uint32_t
swap_refs(uint32_t slot)
{
    return swap_slots[slot].refs;
}

void
swap_forget_page(uint32_t slot)
{
    swap_slots[slot].page = 0;
    if (swap_slots[slot].refs == 0)
        swap_release(slot);
}

uint32_t
swap_in_use(void)
{
    return swap_used;
}
