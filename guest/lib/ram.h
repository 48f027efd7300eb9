/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of RAM: an allocator over what the device tree calls memory, without the
 * image, vkvm's start-up tables and the tree itself.
 *
 * RAM a guest never touched reads as zeros, so pages come zeroed and only recycled ones are
 * cleared.  Addresses are GPAs and, below 4 GiB by the boot identity map, pointers too;
 * RAM above 4 GiB is not handed out.
 *
 * Any vCPU; the caller locks when more than one allocates.
 */
#ifndef GUEST_RAM_H
#define GUEST_RAM_H

#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE ((uint64_t)1 << PAGE_SHIFT)
#define PAGE_MASK (PAGE_SIZE - 1)

/* A zeroed page, or 0 when none is left. */
uint64_t ram_alloc(void);

/* npages zeroed pages in a row, aligned to `align` bytes (a power of two, a page or more), or 0. */
uint64_t ram_alloc_run(uint64_t npages, uint64_t align);

/* Give one page back (of a run, too). */
void ram_free(uint64_t gpa);

#endif
