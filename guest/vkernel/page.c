/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reference counts of RAM pages.
 */
#include "guest/vkernel/page.h"

#include "guest/lib/fdt.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/swap.h"

#include <stddef.h>

static struct page *page_array; /* by GPA >> PAGE_SHIFT */
static uint64_t page_used;

void
page_init(uint64_t image_start, uint64_t image_end)
{
    uint64_t npages = fdt_machine()->memory_size >> PAGE_SHIFT;
    uint64_t bytes = npages * sizeof(struct page);

    page_array = (struct page *)ram_alloc_run((bytes + PAGE_MASK) >> PAGE_SHIFT, PAGE_SIZE);
    if (page_array == NULL)
        kernel_panic("no memory for the page array");
    for (uint64_t gpa = image_start; gpa < image_end; gpa += PAGE_SIZE)
        page_array[gpa >> PAGE_SHIFT] = (struct page){ .refs = 1, .kind = PAGE_IMAGE };
}

struct page *
page_at(uint64_t gpa)
{
    return &page_array[gpa >> PAGE_SHIFT];
}

uint64_t
page_alloc(enum page_kind kind)
{
    uint64_t gpa = ram_alloc();

    if (gpa == 0)
        return 0;
    *page_at(gpa) = (struct page){ .refs = 1, .kind = (uint8_t)kind, .age = PAGE_AGE_START };
    page_used++;
    return gpa;
}

void
page_ref(uint64_t gpa)
{
    page_at(gpa)->refs++;
}

void
page_unref(uint64_t gpa)
{
    struct page *page = page_at(gpa);

    if (page->refs == 0)
        kernel_panic("a page lost more references than it had");
    if (--page->refs > 0)
        return;
    if (page->slot != 0)
        swap_forget_page(page->slot);
    *page = (struct page){ .kind = PAGE_NONE };
    page_used--;
    ram_free(gpa);
}

void
page_harvest(uint64_t gpa, uint64_t vpte)
{
    struct page *page = page_at(gpa);

    if (vpte & VKVM_VPTE_M) {
        page->dirty = true;
        kernel_counts.found_m++;
    }
    if (vpte & VKVM_VPTE_A) {
        page->age =
            page->age < PAGE_AGE_MAX - PAGE_AGE_GAIN ? page->age + PAGE_AGE_GAIN : PAGE_AGE_MAX;
        kernel_counts.found_a++;
    }
}

bool
page_is_exclusive(const struct page *page)
{
    return page->kind == PAGE_ANON && page->refs == 1 &&
           (page->slot == 0 || swap_refs(page->slot) == 0);
}

uint64_t
page_in_use(void)
{
    return page_used;
}
