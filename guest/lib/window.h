/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A window with its own virtual page table, ready to be tested: one vmspace, one
 * VMSPACE_MAP at VKVM_WINDOW_BASE (inside the boot identity map).
 */
#ifndef GUEST_WINDOW_H
#define GUEST_WINDOW_H

#include "guest/lib/access.h"
#include "guest/lib/ram.h"
#include "guest/lib/vpte.h"

#define WINDOW_VMSPACE 1
#define VPTE_RW (VKVM_VPTE_V | VKVM_VPTE_R | VKVM_VPTE_W)
#define VPTE_AM (VKVM_VPTE_A | VKVM_VPTE_M)

struct window {
    struct vpte_table table;
    uint64_t start; /* GPA and, by the identity map, address */
    uint64_t size;  /* bytes */
};

/* Make the window (one at a time); it allows reads and writes.  A failure ends the test image. */
void window_init(struct window *window, const struct vpte_format *format, uint64_t npages);

/* The same at a GPA of the window region below its fourth GiB. */
void window_init_at(struct window *window, const struct vpte_format *format, uint64_t start,
                    uint64_t npages);

/* As window_init, with RAM behind each page; without neighbours, so that every page faults by itself. */
void window_init_mapped(struct window *window, const struct vpte_format *format, uint64_t npages);

/* Unmap it, destroy the vmspace, free the table. */
void window_fini(struct window *window);

/* The address of page pindex. */
static inline uint64_t
window_address(const struct window *window, uint64_t pindex)
{
    return window->start + pindex * PAGE_SIZE;
}

/* A fresh RAM page mapped at pindex with `bits`; returns its GPA. */
uint64_t window_map_new(struct window *window, uint64_t pindex, uint64_t bits);

/* Clear A and M of the entries of pindex at all levels and INVAL the window. */
void window_clear_am(struct window *window, uint64_t pindex);

/* The entry of pindex at a level, 1 .. format->levels. */
uint64_t window_entry(const struct window *window, uint64_t pindex, unsigned level);

/* 8 bytes of RAM, as ring 0 sees them. */
static inline volatile uint64_t *
ram_word(uint64_t gpa)
{
    return (volatile uint64_t *)gpa;
}

#endif
