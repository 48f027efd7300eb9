/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows and their forward tables.  Part of the pmap: its other half is pmap.c.
 *
 *     pmap -- windows (sorted) -- chunks[] -- pte[]
 *                                                |  ^
 *                                          page  v  |  (pmap id, guest page): pv.h
 *                                              vm_page.pv
 *
 * A pte is the page's slot in the frame store above three flags.  It is written under P
 * and may be read without a lock.  `page` is a guest page number, `slot` an index in a
 * chunk.  Beside each pte there is the generation of its mapping (struct pmap_entered).
 */
#ifndef PMAP_WINDOW_H
#define PMAP_WINDOW_H

#include "vmm/vpagetable/pmap.h"

typedef uint32_t pmap_pte_t;

#define PTE_VALID 0x1u /* something is mapped */
#define PTE_WRITE 0x2u
#define PTE_FOREIGN 0x4u /* what is mapped, or was last, is not the natural frame */
#define PTE_SLOT_SHIFT 3

_Static_assert(VM_STORE_PAGES_MAX - 1 <= UINT32_MAX >> PTE_SLOT_SHIFT, "a slot fits a pte");

/* The forward table of what a window has of one aligned range of guest pages. */
struct pmap_chunk {
    struct vm_mutex lock;     /* P */
    uint64_t page;            /* (c) guest page number of pte[0] */
    unsigned npages;          /* (c) */
    unsigned nmapped;         /* P */
    _Atomic bool super;       /* P to write, (a) to read: promoted (pmap_super.h) */
    uint8_t *generation;      /* P: by slot; behind pte[] */
    _Atomic pmap_pte_t pte[]; /* P to write, (a) to read */
};

/* The page, or NULL when nothing is mapped. */
static inline struct vm_page *
pte_page(const struct vm_system *system, pmap_pte_t pte)
{
    return (pte & PTE_VALID) != 0 ? &system->pages[pte >> PTE_SLOT_SHIFT] : NULL;
}

static inline vm_prot_t
pte_prot(pmap_pte_t pte)
{
    if ((pte & PTE_VALID) == 0)
        return VM_PROT_NONE;
    return (pte & PTE_WRITE) != 0 ? VM_PROT_RW : VM_PROT_READ;
}

static inline pmap_pte_t
pte_make(const struct vm_system *system, const struct vm_page *m, vm_prot_t prot, bool foreign)
{
    pmap_pte_t pte = (pmap_pte_t)(m - system->pages) << PTE_SLOT_SHIFT | PTE_VALID;

    if ((prot & VM_PROT_WRITE) != 0)
        pte |= PTE_WRITE;
    if (foreign)
        pte |= PTE_FOREIGN;
    return pte;
}

static inline pmap_pte_t
pte_load(const struct pmap_chunk *chunk, unsigned slot)
{
    return atomic_load_explicit(&chunk->pte[slot], memory_order_acquire);
}

static inline void
pte_store(struct pmap_chunk *chunk, unsigned slot, pmap_pte_t pte) VM_REQUIRES(chunk->lock)
{
    atomic_store_explicit(&chunk->pte[slot], pte, memory_order_release);
}

static inline uint64_t
pmap_window_first_page(const struct pmap_window *w)
{
    return w->start.value >> PAGE_SHIFT;
}

/* The chunk's element in w->chunks for a guest page inside w. */
static inline _Atomic(struct pmap_chunk *) *
pmap_window_chunk(const struct pmap_window *w, uint64_t page)
{
    return &w->chunks[page / PMAP_CHUNK_PAGES - pmap_window_first_page(w) / PMAP_CHUNK_PAGES];
}

/* The chunk of a guest page inside w, or NULL. */
static inline struct pmap_chunk *
pmap_chunk_find(const struct pmap_window *w, uint64_t page)
{
    return atomic_load_explicit(pmap_window_chunk(w, page), memory_order_acquire);
}

/* The index in the chunk of one of its guest pages. */
static inline unsigned
pmap_chunk_slot(const struct pmap_chunk *chunk, uint64_t page)
{
    assert(page - chunk->page < chunk->npages);
    return (unsigned)(page - chunk->page);
}

/* The page index in the window of a slot of the chunk. */
static inline uint64_t
pmap_chunk_index(const struct pmap_window *w, const struct pmap_chunk *chunk, unsigned slot)
{
    return chunk->page + slot - pmap_window_first_page(w);
}

/* The chunk of a guest page inside w, made if there is none yet; NULL = no memory. */
struct pmap_chunk *pmap_chunk_get(struct pmap_window *w, uint64_t page);

/* Take the links and ptes of n slots away; the machine has dropped them.  Locks: P held, takes V. */
void pmap_chunk_forget(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
    VM_REQUIRES(chunk->lock);

/*
 * Drop the mappings of n slots: one machine operation from the first mapped one
 * to the last.  A promoted chunk loses all.  Locks: P held, takes V.
 */
void pmap_chunk_drop(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
    VM_REQUIRES(chunk->lock);

/* Take write permission from n slots, a run of writable pages at a time; a promoted chunk loses all
 * mappings.  Locks: P held, takes V. */
void pmap_chunk_protect(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
    VM_REQUIRES(chunk->lock);

/* The first window that ends after the guest page, live or not; NULL = none. */
static inline struct pmap_window *
pmap_window_after(const struct pmap *p, uint64_t page) VM_REQUIRES_SHARED(p->windows_lock)
{
    return vm_ranges_after(&p->windows, page);
}

/* The i-th window, by address. */
static inline struct pmap_window *
pmap_window_at(const struct pmap *p, unsigned i)
{
    return p->windows.ranges[i].owner;
}

/* The live window around the guest page, or NULL. */
struct pmap_window *pmap_window_find(const struct pmap *pmap, uint64_t page)
    VM_REQUIRES_SHARED(pmap->windows_lock);

#endif
