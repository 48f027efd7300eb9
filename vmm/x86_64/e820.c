/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory map of a PC.
 *
 * A map is built anew from the old one at each change: the parts of every old range that lie
 * outside the new one, with the new one in its place.
 */
#include "vmm/x86_64/e820.h"

#include <stddef.h>

void
e820_init(struct e820 *map)
{
    map->count = 0;
}

/* Put a range behind all others; touching the last of its type it becomes part of it. */
static bool
append(struct e820 *map, uint64_t start, uint64_t end, uint32_t type)
{
    struct e820_range *last = map->count == 0 ? NULL : &map->ranges[map->count - 1];

    if (start >= end)
        return true;
    if (last != NULL && last->type == type && last->start + last->size == start) {
        last->size += end - start;
        return true;
    }
    if (map->count == E820_MAX)
        return false;
    map->ranges[map->count++] = (struct e820_range){ start, end - start, type };
    return true;
}

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

bool
e820_add(struct e820 *map, uint64_t start, uint64_t size, uint32_t type)
{
    uint64_t end = start + size;
    struct e820 made = { .count = 0 };
    bool fits = true;

    for (unsigned i = 0; i < map->count; i++) {
        const struct e820_range *old = &map->ranges[i];

        fits &= append(&made, old->start, least(old->start + old->size, start), old->type);
    }
    fits &= append(&made, start, end, type);
    for (unsigned i = 0; i < map->count; i++) {
        const struct e820_range *old = &map->ranges[i];

        fits &= append(&made, most(old->start, end), old->start + old->size, old->type);
    }
    if (fits)
        *map = made;
    return fits;
}

uint64_t
e820_ram_end(const struct e820 *map, uint64_t start)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct e820_range *range = &map->ranges[i];

        if (range->type == E820_RAM && start >= range->start && start - range->start < range->size)
            return range->start + range->size;
    }
    return start;
}
