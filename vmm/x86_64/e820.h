/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory map of a PC, as firmware reports it (ACPI 6.4, 15): a list built by adding RAM, then
 * taking out of it what is reserved.
 */
#ifndef E820_H
#define E820_H

#include <stdbool.h>
#include <stdint.h>

#define E820_RAM 1u
#define E820_RESERVED 2u

#define E820_MAX 64u

struct e820_range {
    uint64_t start;
    uint64_t size; /* bytes, not 0 */
    uint32_t type; /* E820_RAM or E820_RESERVED */
};

struct e820 {
    unsigned count;
    struct e820_range ranges[E820_MAX]; /* sorted, disjoint */
};

/* An empty map. */
void e820_init(struct e820 *map);

/*
 * Say what [start, start + size) is, whatever it was before; start + size <= 2^64 - 1, size 0
 * changes nothing.  Neighbours of one type become one range.
 * Returns false when the map is full; it is unchanged then.
 */
bool e820_add(struct e820 *map, uint64_t start, uint64_t size, uint32_t type)
    __attribute__((warn_unused_result));

/* End of the RAM that [start, start + 1) lies in; `start` when it is none. */
uint64_t e820_ram_end(const struct e820 *map, uint64_t start);

#endif
