/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions for tests: memory of its own behind addresses of the boot identity map, each at the
 * start of its own 2 MiB.  Whatever fails ends the test image.
 */
#ifndef GUEST_REGION_H
#define GUEST_REGION_H

#include "guest/lib/ram.h"

#define REGION_VMSPACE 2
#define REGION_RW (VKVM_MAP_READ | VKVM_MAP_WRITE)

/* npages pages with VKVM_MAP_* flags; returns their address. */
uint64_t region_make(uint64_t npages, unsigned flags);

/* A virtual copy of a region or file. */
uint64_t region_copy(uint64_t region, uint64_t npages);

void region_end(uint64_t region, uint64_t npages);

/* The address of a page of a region. */
static inline uint64_t
region_page(uint64_t region, uint64_t pindex)
{
    return region + pindex * PAGE_SIZE;
}

#endif
