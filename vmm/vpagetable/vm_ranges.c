/* SPDX-License-Identifier: BSD-2-Clause */
/* Sorted ranges: search from a hint, change, room. */
#include "vmm/vpagetable/vm_ranges.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Pages that share a hint: neighbours are found a few steps from it. */
#define HINT_PAGES 16

#define CAPACITY_MIN 16

static _Atomic unsigned *
ranges_hint(const struct vm_ranges *r, uint64_t page)
{
    return &r->hints[(page / HINT_PAGES * 0x9e3779b97f4a7c15u) >> r->shift];
}

/* Is the range at i one of those that end after the page? */
static bool
range_after(const struct vm_ranges *r, unsigned i, uint64_t page)
{
    return r->ranges[i].end > page;
}

/* The answer is in [low, high]. */
static unsigned
search_between(const struct vm_ranges *r, unsigned low, unsigned high, uint64_t page)
{
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (range_after(r, middle, page))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The answer is i, which ends after the page, or before it: in steps that double. */
static unsigned
search_down(const struct vm_ranges *r, unsigned i, uint64_t page)
{
    unsigned step = 1;

    while (step <= i && range_after(r, i - step, page)) {
        i -= step;
        step *= 2;
    }
    return search_between(r, step <= i ? i - step + 1 : 0, i, page);
}

/* The answer is after i, which does not end after the page. */
static unsigned
search_up(const struct vm_ranges *r, unsigned i, uint64_t page)
{
    unsigned step = 1;

    while (step < r->n - i && !range_after(r, i + step, page)) {
        i += step;
        step *= 2;
    }
    return search_between(r, i + 1, step < r->n - i ? i + step : r->n, page);
}

unsigned
vm_ranges_search(const struct vm_ranges *r, uint64_t page)
{
    _Atomic unsigned *hint;
    unsigned guess, found;

    if (r->n == 0)
        return 0;
    hint = ranges_hint(r, page);
    guess = atomic_load_explicit(hint, memory_order_relaxed);
    found = guess < r->n ? guess : r->n - 1;
    found = range_after(r, found, page) ? search_down(r, found, page) : search_up(r, found, page);
    if (found != guess)
        atomic_store_explicit(hint, found, memory_order_relaxed);
    return found;
}

/* Twice the room.  New hints are as good as old ones after a few searches. */
static int
ranges_grow(struct vm_ranges *r)
{
    unsigned capacity = r->capacity != 0 ? 2 * r->capacity : CAPACITY_MIN;
    _Atomic unsigned *hints = calloc(capacity, sizeof(*hints));
    struct vm_range *ranges;

    if (hints == NULL)
        return -ENOMEM;
    ranges = reallocarray(r->ranges, capacity, sizeof(*ranges));
    if (ranges == NULL) {
        free((void *)(uintptr_t)hints);
        return -ENOMEM;
    }
    free((void *)(uintptr_t)r->hints);
    r->hints = hints;
    r->ranges = ranges;
    r->capacity = capacity;
    r->shift = 64 - (unsigned)__builtin_ctz(capacity);
    return 0;
}

int
vm_ranges_reserve(struct vm_ranges *r)
{
    if (r->n + r->reserved == r->capacity) {
        int error = ranges_grow(r);

        if (error != 0)
            return error;
    }
    r->reserved++;
    return 0;
}

void
vm_ranges_unreserve(struct vm_ranges *r)
{
    assert(r->reserved > 0);
    r->reserved--;
}

void
vm_ranges_insert(struct vm_ranges *r, unsigned i, uint64_t end, void *owner)
{
    vm_ranges_unreserve(r);
    memmove(&r->ranges[i + 1], &r->ranges[i], (r->n - i) * sizeof(*r->ranges));
    r->ranges[i] = (struct vm_range){ end, owner };
    r->n++;
}

void
vm_ranges_remove(struct vm_ranges *r, unsigned i)
{
    r->n--;
    memmove(&r->ranges[i], &r->ranges[i + 1], (r->n - i) * sizeof(*r->ranges));
}

void
vm_ranges_fini(struct vm_ranges *r)
{
    assert(r->n == 0 && r->reserved == 0);
    free((void *)(uintptr_t)r->hints);
    free(r->ranges);
}
