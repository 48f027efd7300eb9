/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bus: a sorted array of ranges for each space, found by bisection.
 */
#include "vmm/device/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUS_PORTS UINT64_C(0x10000)

void
bus_init(struct bus *bus, enum bus_absent absent)
{
    *bus = (struct bus){ .absent = absent };
}

void
bus_fini(struct bus *bus)
{
    for (unsigned space = 0; space < BUS_SPACES; space++) {
        struct bus_ranges *ranges = &bus->spaces[space];

        for (size_t i = 0; i < ranges->n; i++) {
            vm_mutex_fini(&ranges->ranges[i]->lock);
            free(ranges->ranges[i]);
        }
        free(ranges->ranges);
        *ranges = (struct bus_ranges){ .n = 0 };
    }
}

/* The index of the first range that ends after the address. */
static size_t
ranges_search(const struct bus_ranges *ranges, uint64_t address)
{
    size_t low = 0, high = ranges->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct bus_range *range = ranges->ranges[middle];

        if (address >= range->start && address - range->start >= range->size)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The range in which `size` bytes at the address lie, or NULL. */
static struct bus_range *
ranges_find(const struct bus_ranges *ranges, uint64_t address, uint64_t size)
{
    size_t i = ranges_search(ranges, address);
    struct bus_range *range;

    if (i == ranges->n)
        return NULL;
    range = ranges->ranges[i];
    if (address < range->start || size > range->size || address - range->start > range->size - size)
        return NULL;
    return range;
}

static bool
place_is_valid(enum bus_space space, uint64_t start, uint64_t size)
{
    uint64_t last = space == BUS_PORT ? BUS_PORTS - 1 : UINT64_MAX;

    return size != 0 && start <= last && size - 1 <= last - start;
}

/* Make room for one more range at index i.  Returns 0 or -ENOMEM. */
static int
ranges_insert(struct bus_ranges *ranges, size_t i, struct bus_range *range)
{
    struct bus_range **more;

    more = reallocarray(ranges->ranges, ranges->n + 1, sizeof(struct bus_range *));
    if (more == NULL)
        return -ENOMEM;
    memmove(more + i + 1, more + i, (ranges->n - i) * sizeof(struct bus_range *));
    more[i] = range;
    ranges->ranges = more;
    ranges->n++;
    return 0;
}

int
bus_add(struct bus *bus, enum bus_space space, uint64_t start, uint64_t size, unsigned flags,
        bus_access_fn *access, void *device)
{
    struct bus_ranges *ranges = &bus->spaces[space];
    struct bus_range *range;
    size_t i = ranges_search(ranges, start);
    int error;

    if (!place_is_valid(space, start, size))
        return -EINVAL;
    if (i < ranges->n &&
        (ranges->ranges[i]->start <= start || ranges->ranges[i]->start - start < size))
        return -EEXIST;
    range = malloc(sizeof(*range));
    if (range == NULL)
        return -ENOMEM;
    *range = (struct bus_range){
        .start = start, .size = size, .flags = flags, .access = access, .device = device
    };
    error = ranges_insert(ranges, i, range);
    if (error != 0) {
        free(range);
        return error;
    }
    vm_mutex_init(&range->lock);
    return 0;
}

static void
read_ones(const struct bus_access *access)
{
    if (!access->write)
        memset(access->data, 0xFF, (size_t)access->size * access->count);
}

int
bus_access(struct bus *bus, enum bus_space space, uint64_t address, struct bus_access *access)
{
    struct bus_range *range = ranges_find(&bus->spaces[space], address, access->size);
    int error;

    if (range == NULL)
        return -ENXIO;
    access->offset = address - range->start;
    atomic_fetch_add_explicit(&range->naccesses, 1, memory_order_relaxed);
    read_ones(access);
    if ((range->flags & BUS_UNLOCKED) != 0)
        return range->access(range->device, access);
    vm_mutex_lock(&range->lock);
    error = range->access(range->device, access);
    vm_mutex_unlock(&range->lock);
    return error;
}

bool
bus_access_absent(const struct bus *bus, enum bus_space space, const struct bus_access *access)
{
    if (space == BUS_MEMORY && bus->absent == BUS_ABSENT_FAULT)
        return false;
    read_ones(access);
    return true;
}

uint64_t
bus_count(const struct bus *bus, enum bus_space space, uint64_t address)
{
    const struct bus_range *range = ranges_find(&bus->spaces[space], address, 1);

    return range == NULL ? 0 : atomic_load_explicit(&range->naccesses, memory_order_relaxed);
}
