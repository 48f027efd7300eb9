/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of RAM that processes see: reference counts, age, and the copy in swap.
 *
 * A page is named by its GPA.  A reference is a valid vpte that maps it, or the
 * entry of a shared memory object that holds it.
 *
 * A page and a swap slot may belong together (page->slot, slot->page): the slot has the
 * page's contents, unless page->dirty is set or M is in a vpte of it.
 *
 * Like everything in vkernel: the kernel lock is held.
 */
#ifndef VKERNEL_PAGE_H
#define VKERNEL_PAGE_H

#include "guest/lib/ram.h"

#include <stdbool.h>
#include <stdint.h>

enum page_kind {
    PAGE_NONE,  /* not a process's */
    PAGE_IMAGE, /* text and initial data of the programs, in the kernel image: for ever */
    PAGE_ANON,  /* private to a process, or shared copy-on-write after a fork */
    PAGE_SHM    /* of a shared memory object */
};

struct page {
    uint32_t refs;
    uint32_t slot; /* swap slot that belongs to it; 0 = none */
    uint8_t kind;  /* enum page_kind */
    uint8_t age;   /* PAGE_AGE_*: 0 = cold */
    bool dirty;    /* written since it was last equal to its slot, as far as the kernel knows */
};

/* The classic act_count: start, gain per reference seen, ceiling. */
#define PAGE_AGE_START 5
#define PAGE_AGE_GAIN 3
#define PAGE_AGE_MAX 64

/* Set up for RAM as the device tree has it; [start, end) holds the programs' image. */
void page_init(uint64_t image_start, uint64_t image_end);

/* The page at gpa. */
struct page *page_at(uint64_t gpa);

/* A zeroed page with one reference, or 0. */
uint64_t page_alloc(enum page_kind kind);

/* One reference more, one less; without references the page is freed. */
void page_ref(uint64_t gpa);
void page_unref(uint64_t gpa);

/* Take note of A and M of a vpte that mapped the page and is gone or about to be without them. */
void page_harvest(uint64_t gpa, uint64_t vpte);

/* Is this reference the only way to the page's contents, its swap slot included? */
bool page_is_exclusive(const struct page *page);

/* Pages of kinds ANON and SHM. */
uint64_t page_in_use(void);

#endif
