/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Promotion and demotion of chunks; see pmap_super.h.
 */
#include "vmm/vpagetable/pmap_super.h"

#include "vmm/vpagetable/pv.h"

#include <errno.h>

bool
pmap_super_fits(const struct pmap_window *w, uint64_t page, vm_frame_t frame)
{
    return page % PMAP_CHUNK_PAGES == 0 && frame % PMAP_CHUNK_PAGES == 0 &&
           pmap_window_has(w, page + PMAP_CHUNK_PAGES - 1) &&
           pmap_window_is_natural(w, page, frame);
}

bool
pmap_super_is_promoted(const struct pmap_window *w, uint64_t page)
{
    const struct pmap_chunk *chunk = pmap_window_has(w, page) ? pmap_chunk_find(w, page) : NULL;

    return chunk != NULL && atomic_load_explicit(&chunk->super, memory_order_relaxed);
}

/* Is nothing mapped in the chunk, and was nothing foreign the last that was? */
static bool
super_chunk_is_clear(const struct pmap_chunk *chunk)
{
    for (unsigned slot = 0; slot < PMAP_CHUNK_PAGES; slot++) {
        if (pte_load(chunk, slot) != 0)
            return false;
    }
    return true;
}

/* Take the links of the chunk's first n pages away. */
static void
super_unlink(struct pmap *pmap, const struct pmap_chunk *chunk, struct vm_page *m, unsigned n)
{
    struct pv_part *held = NULL;

    for (unsigned i = 0; i < n; i++) {
        held = pv_hold(pmap->sys, held, &m[i]);
        pv_unlink(held, &m[i], pv_where(pmap, chunk->page + i));
    }
    pv_let_go(held);
}

/* Before the machine, as for pmap_enter: it can fail. */
static int
super_link(struct pmap *pmap, const struct pmap_chunk *chunk, struct vm_page *m)
{
    struct pv_part *held = NULL;
    unsigned linked = 0;

    for (; linked < PMAP_CHUNK_PAGES; linked++) {
        held = pv_hold(pmap->sys, held, &m[linked]);
        if (!pv_link(held, &m[linked], pv_where(pmap, chunk->page + linked)))
            break;
    }
    pv_let_go(held);
    if (linked == PMAP_CHUNK_PAGES)
        return 0;
    super_unlink(pmap, chunk, m, linked);
    return -ENOMEM;
}

/* The machine maps them all: write it down. */
static void
super_commit(struct pmap *pmap, struct pmap_chunk *chunk, struct vm_page *m)
    VM_REQUIRES(chunk->lock)
{
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES; i++) {
        assert(vm_page_flag_test(&m[i], VM_PAGE_BUSY) && m[i].frame_delta == 0);
        vm_page_flag_clear(&m[i], VM_PAGE_ZERO);
        vm_page_flag_set(&m[i], VM_PAGE_WRITEABLE);
        chunk->generation[i]++;
        pte_store(chunk, i, pte_make(pmap->sys, &m[i], VM_PROT_RW, false));
    }
    chunk->super = true;
    chunk->nmapped = PMAP_CHUNK_PAGES;
    vm_meter_add(&pmap->mapped, pages, PMAP_CHUNK_PAGES);
}

/* A trap is sprung with P held, by pmap_enter: here there must be none. */
static int
super_enter_locked(struct pmap *pmap, struct pmap_window *w, struct pmap_chunk *chunk,
                   struct vm_page *m, bool hole) VM_REQUIRES(chunk->lock)
{
    int error;

    if (atomic_load_explicit(&pmap->ntraps, memory_order_acquire) != 0 ||
        !super_chunk_is_clear(chunk))
        return -EBUSY;
    error = super_link(pmap, chunk, m);
    if (error != 0)
        return error;
    error = pmap->ops->promote(pmap->md, w, pmap_chunk_index(w, chunk, 0), hole);
    if (error == 0)
        super_commit(pmap, chunk, m);
    else
        super_unlink(pmap, chunk, m, PMAP_CHUNK_PAGES);
    return error;
}

int
pmap_super_enter(struct pmap *pmap, struct pmap_window *w, uint64_t page, struct vm_page *m,
                 bool hole)
{
    struct pmap_chunk *chunk;
    int error = -ENOMEM;

    vm_rwlock_read_lock(&pmap->windows_lock);
    chunk = pmap_chunk_get(w, page);
    if (chunk != NULL) {
        vm_mutex_lock(&chunk->lock);
        error = super_enter_locked(pmap, w, chunk, m, hole);
        vm_mutex_unlock(&chunk->lock);
    }
    vm_rwlock_read_unlock(&pmap->windows_lock);
    return error;
}

void
pmap_chunk_demote(struct pmap_window *w, struct pmap_chunk *chunk)
{
    struct pmap *pmap = w->pmap;

    if (!chunk->super)
        return;
    pmap->ops->demote(pmap->md, w, pmap_chunk_index(w, chunk, 0));
    chunk->super = false;
    pmap_chunk_forget(w, chunk, 0, PMAP_CHUNK_PAGES);
    vm_meter_add(&pmap->sys->meter, v_super_demoted, 1);
}
