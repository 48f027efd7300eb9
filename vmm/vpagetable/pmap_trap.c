/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See pmap_trap.h.  The table may be read while it is changed: a page that is missed so is mapped, and
 * loses its mapping when the traps are closed, which comes after the change.
 */
#include "vmm/vpagetable/pmap_trap.h"

void
pmap_trap_set(struct pmap *pmap, const uint64_t *pages, unsigned npages,
              void (*touched)(void *context, uint64_t page), void *context)
{
    assert(npages <= PMAP_TRAPS_MAX);
    atomic_store(&pmap->ntraps, 0);
    if (npages == 0)
        return;
    pmap->touched = touched;
    pmap->touched_context = context;
    for (unsigned i = 0; i < npages; i++)
        atomic_store(&pmap->traps[i], pages[i]);
    atomic_store(&pmap->ntraps, npages);
}

void
pmap_trap_close(struct pmap *pmap)
{
    unsigned n = atomic_load(&pmap->ntraps);

    for (unsigned i = 0; i < n; i++) {
        gpa_t start = gpa_from_u64(atomic_load(&pmap->traps[i]) << PAGE_SHIFT);

        pmap_remove(pmap, start, gpa_add(start, PAGE_SIZE));
    }
}

static bool
is_trapped(const struct pmap *pmap, uint64_t page)
{
    unsigned n = atomic_load(&pmap->ntraps);

    for (unsigned i = 0; i < n; i++) {
        if (atomic_load(&pmap->traps[i]) == page)
            return true;
    }
    return false;
}

bool
pmap_trap_spring(const struct pmap *pmap, uint64_t page, bool demanded)
{
    if (!is_trapped(pmap, page))
        return false;
    if (demanded)
        pmap->touched(pmap->touched_context, page);
    return !demanded;
}
