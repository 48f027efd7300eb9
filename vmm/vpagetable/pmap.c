/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine-independent half of the pmap: entering pages, reaching all mappings
 * of a page, questions, the audit.  Windows and tables are in pmap_window.c,
 * reverse links in pv.c.
 *
 * The numbers in comments are the invariants of pmap.h.
 */
#include "vmm/vpagetable/pmap.h"

#include "vmm/vpagetable/pmap_super.h"
#include "vmm/vpagetable/pmap_trap.h"
#include "vmm/vpagetable/pmap_window.h"
#include "vmm/vpagetable/pv.h"
#include "vmm/vpagetable/vm_object.h" /* an object knows its vm_system */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- The pmap ------------------------------------------------------------ */

int
pmap_init(struct pmap *pmap, struct vm_system *sys, const struct pmap_ops *ops, void *md)
{
    unsigned i = 0;

    vm_rwlock_write_lock(&sys->pmaps_lock);
    while (i < VM_MAX_PMAPS && sys->pmaps[i] != NULL)
        i++;
    if (i < VM_MAX_PMAPS) {
        *pmap = (struct pmap){ .sys = sys, .ops = ops, .md = md, .id = i + 1 };
        vm_rwlock_init(&pmap->windows_lock);
        sys->pmaps[i] = pmap;
    }
    vm_rwlock_write_unlock(&sys->pmaps_lock);
    return i < VM_MAX_PMAPS ? 0 : -ENOSPC;
}

/* Nobody else uses the pmap, but a page_protect may still hold one of its links. */
void
pmap_fini(struct pmap *pmap)
{
    struct vm_system *sys = pmap->sys;

    while (pmap->windows.n != 0)
        (void)pmap_window_remove(pmap, pmap_window_at(pmap, 0)->start);
    vm_rwlock_write_lock(&sys->pmaps_lock);
    sys->pmaps[pmap->id - 1] = NULL;
    vm_rwlock_write_unlock(&sys->pmaps_lock);
    vm_ranges_fini(&pmap->windows);
    vm_rwlock_fini(&pmap->windows_lock);
}

/* --- Enter --------------------------------------------------------------- */

/*
 * The part of a pmap_enter inside one chunk of one window.
 *
 *     choose -> drop replaced -> link (V) -> machine -> commit
 *                                               `-> abandon (V)
 *
 * frames[i].prot is VM_PROT_NONE for a page that is not, or no longer, to be entered.
 */
struct enter_part {
    struct pmap *pmap;
    struct pmap_window *w;
    struct pmap_chunk *chunk;
    uint64_t page; /* guest page number of m[0] */
    unsigned slot; /* ... and its slot in the chunk */
    unsigned npages;
    unsigned demand; /* index of the demanded page; npages or more = it is in another part */
    struct vm_page *const *m;
    const vm_prot_t *prot;
    unsigned nmoved;     /* pages with a new frame, whether they are entered in the end or not */
    int error;           /* why the demanded page was not entered */
    unsigned generation; /* of the demanded page's mapping */
    struct pmap_frame frames[PMAP_CHUNK_PAGES];
};

/* A trap is sprung with P held: who closes it either finds the page mapped, or was before. */
static bool
avoid_trap(const struct enter_part *part, unsigned i)
{
    return atomic_load_explicit(&part->pmap->ntraps, memory_order_acquire) != 0 &&
           pmap_trap_spring(part->pmap, part->page + i, i == part->demand);
}

/*
 * Give the page the window's own frame here, if it may have that.  Returns the bytes that entering
 * is to copy; NULL = none.
 */
static const void *
enter_move(struct enter_part *part, unsigned i) VM_REQUIRES(part->chunk->lock)
{
    uint64_t natural = part->w->natural + pmap_chunk_index(part->w, part->chunk, part->slot + i);
    struct vm_page *m = part->m[i];
    const void *content = vm_page_address(m);

    if ((part->prot[i] & PMAP_MAY_MOVE) == 0 || !part->w->own || vm_page_frame(m) == natural ||
        vm_page_flag_test(m, VM_PAGE_ZERO) || m->places >= PMAP_PLACES_MAX ||
        pmap_page_is_mapped(m) || !vm_page_place(m, natural))
        return NULL;
    part->nmoved++;
    return content;
}

/* Decide for each page whether and how it is entered. */
static void
enter_choose(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    for (unsigned i = 0; i < part->npages; i++) {
        struct pmap_frame *f = &part->frames[i];
        pmap_pte_t pte = pte_load(part->chunk, part->slot + i);

        f->prot = VM_PROT_NONE;
        f->content = NULL;
        if (part->m[i] == NULL || avoid_trap(part, i))
            continue;
        assert(vm_page_flag_test(part->m[i], VM_PAGE_BUSY)); /* 3 */
        f->same = pte_page(part->pmap->sys, pte) == part->m[i];
        if (f->same && i != part->demand)
            continue;
        if (!f->same)
            f->content = enter_move(part, i);
        f->frame = vm_page_frame(part->m[i]);
        f->foreign = (pte & PTE_FOREIGN) != 0;
        f->fill = f->content != NULL || vm_page_flag_test(part->m[i], VM_PAGE_ZERO);
        f->prot = part->prot[i] & VM_PROT_RW;
        if (f->same)
            f->prot |= pte_prot(pte);
    }
}

/* Drop the mappings of other pages where a page will be entered. */
static void
enter_drop_replaced(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    unsigned run;

    for (unsigned i = 0; i < part->npages; i += run + 1) {
        run = 0;
        while (i + run < part->npages && part->frames[i + run].prot != VM_PROT_NONE &&
               !part->frames[i + run].same)
            run++;
        pmap_chunk_drop(part->w, part->chunk, part->slot + i, run);
    }
}

/* Make the reverse links before the mappings, because this can fail. */
static void
enter_link(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    struct pv_part *held = NULL;

    for (unsigned i = 0; i < part->npages; i++) {
        struct pmap_frame *f = &part->frames[i];

        if (f->prot == VM_PROT_NONE || f->same)
            continue;
        held = pv_hold(part->pmap->sys, held, part->m[i]);
        if (!pv_link(held, part->m[i], pv_where(part->pmap, part->page + i))) {
            f->prot = VM_PROT_NONE;
            if (i == part->demand)
                part->error = -ENOMEM;
        }
    }
    pv_let_go(held);
}

/* The machine failed: give up on all pages from `from` on but for `keep`. */
static void
enter_abandon(struct enter_part *part, unsigned from, unsigned keep) VM_REQUIRES(part->chunk->lock)
{
    struct pv_part *held = NULL;

    for (unsigned i = from; i < part->npages; i++) {
        struct pmap_frame *f = &part->frames[i];

        if (f->prot == VM_PROT_NONE || i == keep)
            continue;
        if (!f->same) {
            held = pv_hold(part->pmap->sys, held, part->m[i]);
            pv_unlink(held, part->m[i], pv_where(part->pmap, part->page + i));
        }
        f->prot = VM_PROT_NONE;
    }
    pv_let_go(held);
}

/* The machine maps these: write it down. */
static void
enter_commit(struct enter_part *part, unsigned first, unsigned n) VM_REQUIRES(part->chunk->lock)
{
    vm_frame_t natural = part->w->natural;
    uint64_t index = pmap_chunk_index(part->w, part->chunk, part->slot);
    unsigned added = 0;

    for (unsigned i = first; i < first + n; i++) {
        const struct pmap_frame *f = &part->frames[i];
        bool foreign = natural == PMAP_NO_NATURAL || f->frame != natural + index + i;

        if (f->fill)
            vm_page_flag_clear(part->m[i], VM_PAGE_ZERO);
        if ((f->prot & VM_PROT_WRITE) != 0)
            vm_page_flag_set(part->m[i], VM_PAGE_WRITEABLE);
        if (!f->same || pte_prot(pte_load(part->chunk, part->slot + i)) != f->prot)
            part->chunk->generation[part->slot + i]++;
        pte_store(part->chunk, part->slot + i,
                  pte_make(part->pmap->sys, part->m[i], f->prot, foreign));
        added += !f->same;
    }
    part->chunk->nmapped += added;
    vm_meter_add(&part->pmap->mapped, pages, added);
}

/* One machine operation per run of pages; after a failure only for the demanded page. */
static void
enter_runs(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    struct pmap *pmap = part->pmap;
    unsigned run;

    for (unsigned i = 0; i < part->npages; i += run + 1) {
        uint64_t index = pmap_chunk_index(part->w, part->chunk, part->slot + i);
        unsigned entered = 0;
        int error;

        run = 0;
        while (i + run < part->npages && part->frames[i + run].prot != VM_PROT_NONE)
            run++;
        if (run == 0)
            continue;
        error = pmap->ops->enter(pmap->md, part->w, index, run, &part->frames[i], &entered);
        assert(error == 0 ? entered == run : entered < run);
        enter_commit(part, i, entered);
        if (error == 0)
            continue;
        if (i + entered == part->demand)
            part->error = error;
        run = entered;
        enter_abandon(part, i + entered, part->demand > i + entered ? part->demand : part->npages);
    }
}

/* The frame that a moved page had. */
static vm_frame_t
old_frame(const struct vm_system *sys, const struct pmap_frame *f)
{
    return (vm_frame_t)((const uint8_t *)f->content - sys->direct_map) >> PAGE_SHIFT;
}

/*
 * The bytes of moved pages are where they belong: the frames that they had are left, to become
 * holes.  A page that was not entered gets its frame back.
 */
static unsigned
enter_settle_moved(const struct enter_part *part)
{
    struct vm_system *sys = part->pmap->sys;
    unsigned moved = 0;
    unsigned run;

    for (unsigned i = 0; i < part->npages; i += run) {
        const struct pmap_frame *f = &part->frames[i];

        run = 1;
        if (f->content == NULL)
            continue;
        if (f->prot == VM_PROT_NONE) {
            vm_page_unplace(part->m[i]);
            continue;
        }
        while (i + run < part->npages && f[run].content != NULL && f[run].prot != VM_PROT_NONE &&
               old_frame(sys, &f[run]) == old_frame(sys, f) + run)
            run++;
        vm_frames_leave(sys, old_frame(sys, f), run);
        moved += run;
    }
    return moved;
}

/*
 * The chunk is promoted: are all the pages just those that are mapped there?  Then a fault was
 * reported before it was, and its waiters need only be woken.
 */
static bool
enter_is_promoted(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    const struct vm_system *sys = part->pmap->sys;

    for (unsigned i = 0; i < part->npages; i++) {
        if (part->m[i] != NULL &&
            pte_page(sys, pte_load(part->chunk, part->slot + i)) != part->m[i])
            return false;
    }
    return true;
}

static void
enter_promoted(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    struct pmap *pmap = part->pmap;

    for (unsigned i = 0; i < part->npages; i++)
        part->frames[i].prot = i == part->demand ? VM_PROT_RW : VM_PROT_NONE;
    pmap->ops->wake(pmap->md, part->w, pmap_chunk_index(part->w, part->chunk, part->slot),
                    part->npages);
}

/* Enter the pages into the chunk. */
static void
enter_chunk(struct enter_part *part) VM_REQUIRES(part->chunk->lock)
{
    if (part->chunk->super && enter_is_promoted(part)) {
        enter_promoted(part);
        return;
    }
    pmap_chunk_demote(part->w, part->chunk);
    enter_choose(part);
    enter_drop_replaced(part);
    enter_link(part);
    enter_runs(part);
}

static int
enter_locked(struct enter_part *part) VM_REQUIRES_SHARED(part->pmap->windows_lock)
{
    uint64_t left;

    if (!pmap_window_has(part->w, part->page))
        part->w = pmap_window_find(part->pmap, part->page);
    if (part->w == NULL)
        return -ENOENT;
    left = pmap_window_first_page(part->w) + part->w->npages - part->page;
    if (part->npages > left)
        part->npages = (unsigned)left;
    part->chunk = pmap_chunk_get(part->w, part->page);
    if (part->chunk == NULL)
        return -ENOMEM;
    part->slot = pmap_chunk_slot(part->chunk, part->page);
    vm_mutex_lock(&part->chunk->lock);
    enter_chunk(part);
    if (part->demand < part->npages)
        part->generation = part->chunk->generation[part->slot + part->demand];
    vm_mutex_unlock(&part->chunk->lock);
    return 0;
}

/* Enter one part; adds to *done how many pages were. */
static int
enter_part(struct enter_part *part, struct pmap_entered *done)
{
    int error;

    vm_rwlock_read_lock(&part->pmap->windows_lock);
    error = enter_locked(part);
    vm_rwlock_read_unlock(&part->pmap->windows_lock);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < part->npages; i++)
        done->npages += part->frames[i].prot != VM_PROT_NONE;
    if (part->nmoved != 0)
        done->moved += enter_settle_moved(part);
    return part->error;
}

int
pmap_enter(struct pmap *pmap, struct pmap_window *w, gpa_t gpa, struct vm_page *const *m,
           const vm_prot_t *prot, unsigned npages, unsigned demand, struct pmap_entered *entered)
{
    struct enter_part part; /* frames[] is written before it is read; no need to clear it */
    uint64_t page = gpa.value >> PAGE_SHIFT;
    struct pmap_entered done = { 0 };
    int result = 0;
    int error;

    assert((gpa.value & PAGE_MASK) == 0 && demand < npages && m[demand] != NULL);
    for (unsigned i = 0; i < npages; i += part.npages) {
        part.pmap = pmap;
        part.w = w;
        part.page = page + i;
        part.npages = PMAP_CHUNK_PAGES - (unsigned)(part.page % PMAP_CHUNK_PAGES);
        if (part.npages > npages - i)
            part.npages = npages - i;
        part.demand = demand >= i ? demand - i : PMAP_CHUNK_PAGES;
        part.m = &m[i];
        part.prot = &prot[i];
        part.nmoved = 0;
        part.error = 0;
        part.generation = 0;
        error = enter_part(&part, &done);
        if (part.demand < part.npages) {
            result = error;
            done.generation = part.generation;
        }
    }
    if (entered != NULL)
        *entered = done;
    return result;
}

/* --- All mappings of a page ---------------------------------------------- */

/* The chunk a link names, or NULL when its window is gone. */
static struct pmap_chunk *
where_chunk(struct pmap *pmap, uint64_t page, struct pmap_window **wp)
    VM_REQUIRES_SHARED(pmap->windows_lock)
{
    *wp = pmap_window_find(pmap, page);
    return *wp != NULL ? pmap_chunk_find(*wp, page) : NULL;
}

/* What becomes of a page's mappings. */
struct where_change {
    struct vm_page *to; /* they become this page's; NULL: ... */
    vm_prot_t prot;     /* ... they are dropped (VM_PROT_NONE) or write-protected */
};

/* How many of the pages, from the first on, are mapped one behind the other from the slot on. */
static unsigned
slot_run(const struct vm_system *sys, struct pmap_chunk *chunk, unsigned slot,
         struct vm_page *const *m, unsigned npages) VM_REQUIRES(chunk->lock)
{
    unsigned run = 0;

    while (run < npages && slot + run < chunk->npages &&
           pte_page(sys, pte_load(chunk, slot + run)) == m[run])
        run++;
    return run;
}

/*
 * Change the mapping of m[0] in the chunk's slot.  If it is dropped, those of its followers
 * right behind it are too.
 */
static void
slot_change(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot,
            struct vm_page *const *m, unsigned npages, uint64_t where,
            const struct where_change *change) VM_REQUIRES(chunk->lock)
{
    struct vm_system *sys = w->pmap->sys;
    pmap_pte_t pte = pte_load(chunk, slot);

    if (change->to != NULL) {
        pv_move(sys, m[0], change->to, where);
        pte_store(chunk, slot, pte_make(sys, change->to, pte_prot(pte), (pte & PTE_FOREIGN) != 0));
    } else if (change->prot == VM_PROT_NONE) {
        pmap_chunk_drop(w, chunk, slot, slot_run(sys, chunk, slot, m, npages));
    } else {
        pmap_chunk_protect(w, chunk, slot, 1);
    }
}

/* Change the mapping of m[0] at the place a link names, if it is still there. */
static void
where_change(struct vm_system *sys, struct vm_page *const *m, unsigned npages, uint64_t where,
             const struct where_change *change) VM_REQUIRES_SHARED(sys->pmaps_lock)
{
    struct pmap *pmap = pv_where_pmap(sys, where);
    uint64_t page = pv_where_page(where);
    struct pmap_window *w;
    struct pmap_chunk *chunk;
    unsigned slot;

    vm_rwlock_read_lock(&pmap->windows_lock);
    chunk = where_chunk(pmap, page, &w);
    if (chunk != NULL) {
        slot = pmap_chunk_slot(chunk, page);
        vm_mutex_lock(&chunk->lock);
        pmap_chunk_demote(w, chunk);
        if (pte_page(sys, pte_load(chunk, slot)) == m[0])
            slot_change(w, chunk, slot, m, npages, where, change);
        vm_mutex_unlock(&chunk->lock);
    }
    vm_rwlock_read_unlock(&pmap->windows_lock);
}

/*
 * All mappings of m[0], and where it is unmapped those of its followers right behind it.
 *
 * P comes before V, so a link is read under V, then its chunk is locked and asked
 * whether the link still holds.  Going by order of place visits every link once:
 * the page is busy and gets no new ones (3).
 */
static void
page_change(struct vm_page *const *m, unsigned npages, vm_prot_t prot)
{
    const struct where_change change = { .prot = prot };
    struct vm_system *sys = m[0]->object->sys;
    uint64_t where;

    vm_rwlock_read_lock(&sys->pmaps_lock);
    for (where = pv_next(sys, m[0], 0); where != 0; where = pv_next(sys, m[0], where))
        where_change(sys, m, npages, where, &change);
    vm_rwlock_read_unlock(&sys->pmaps_lock);
    vm_page_flag_clear(m[0], VM_PAGE_WRITEABLE);
}

void
pmap_page_protect(struct vm_page *m, vm_prot_t prot)
{
    assert(prot == VM_PROT_NONE || prot == VM_PROT_READ);
    page_change(&m, 1, prot);
}

void
pmap_pages_unmap(struct vm_page *const *m, unsigned npages)
{
    for (unsigned i = 0; i < npages; i++)
        page_change(&m[i], npages - i, VM_PROT_NONE);
}

void
pmap_page_moved(struct vm_page *from, struct vm_page *to)
{
    struct vm_system *sys = from->object->sys;
    uint64_t where;

    assert(pv_none(to));
    vm_rwlock_read_lock(&sys->pmaps_lock);
    for (where = pv_next(sys, from, 0); where != 0; where = pv_next(sys, from, where))
        where_change(sys, &from, 1, where, &(struct where_change){ .to = to });
    vm_rwlock_read_unlock(&sys->pmaps_lock);
}

void
pmap_mapping_moved(struct pmap *pmap, gpa_t gpa, struct vm_page *from, struct vm_page *to)
{
    struct vm_system *sys = pmap->sys;

    assert(pv_none(to));
    vm_rwlock_read_lock(&sys->pmaps_lock);
    where_change(sys, &from, 1, pv_where(pmap, gpa.value >> PAGE_SHIFT),
                 &(struct where_change){ .to = to });
    vm_rwlock_read_unlock(&sys->pmaps_lock);
}

/* --- Questions ----------------------------------------------------------- */

bool
pmap_page_is_mapped(struct vm_page *m)
{
    return pv_next(m->object->sys, m, 0) != 0;
}

vm_prot_t
pmap_extract(struct pmap *pmap, gpa_t gpa, struct vm_page **mp)
{
    uint64_t page = gpa.value >> PAGE_SHIFT;
    struct pmap_window *w;
    struct pmap_chunk *chunk;
    pmap_pte_t pte = 0;

    vm_rwlock_read_lock(&pmap->windows_lock);
    w = pmap_window_find(pmap, page);
    chunk = w != NULL ? pmap_chunk_find(w, page) : NULL;
    if (chunk != NULL)
        pte = pte_load(chunk, pmap_chunk_slot(chunk, page));
    vm_rwlock_read_unlock(&pmap->windows_lock);
    if (mp != NULL)
        *mp = pte_page(pmap->sys, pte);
    return pte_prot(pte);
}

void
pmap_wake(struct pmap *pmap, gpa_t gpa)
{
    uint64_t page = gpa.value >> PAGE_SHIFT;
    struct pmap_window *w;

    vm_rwlock_read_lock(&pmap->windows_lock);
    w = pmap_window_find(pmap, page);
    if (w != NULL)
        pmap->ops->wake(pmap->md, w, page - pmap_window_first_page(w), 1);
    vm_rwlock_read_unlock(&pmap->windows_lock);
}

/* --- Audit --------------------------------------------------------------- */

#define AUDIT(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "pmap audit: %s: not true: %s\n", __func__, #condition); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

static unsigned
chunk_audit(const struct pmap_window *w, struct pmap_chunk *chunk)
{
    struct pmap *pmap = w->pmap;
    unsigned mapped = 0;

    vm_mutex_lock(&chunk->lock);
    for (unsigned slot = 0; slot < chunk->npages; slot++) {
        pmap_pte_t pte = pte_load(chunk, slot);
        const struct vm_page *m = pte_page(pmap->sys, pte);

        if (m == NULL)
            continue;
        AUDIT(pmap_chunk_index(w, chunk, slot) < w->npages);
        AUDIT(m->object != NULL && m->object->sys == pmap->sys);
        AUDIT(!vm_page_flag_test(m, VM_PAGE_ZERO));
        AUDIT((pte & PTE_WRITE) == 0 || vm_page_flag_test(m, VM_PAGE_WRITEABLE));
        AUDIT(pv_has(pmap->sys, m, pv_where(pmap, chunk->page + slot)));
        AUDIT(!chunk->super || (pte & (PTE_WRITE | PTE_FOREIGN)) == PTE_WRITE);
        mapped++;
    }
    AUDIT(mapped == chunk->nmapped);
    AUDIT(!chunk->super || mapped == PMAP_CHUNK_PAGES);
    vm_mutex_unlock(&chunk->lock);
    return mapped;
}

/* Returns how many pages the pmap's forward tables have. */
static uint64_t
pmap_audit_one(struct pmap *pmap)
{
    uint64_t mapped = 0;
    uint64_t end = 0;

    vm_rwlock_read_lock(&pmap->windows_lock);
    for (unsigned i = 0; i < pmap->windows.n; i++) {
        const struct pmap_window *w = pmap_window_at(pmap, i);

        AUDIT(w->live && w->pmap == pmap);
        AUDIT(pmap_window_first_page(w) >= end);
        end = pmap_window_first_page(w) + w->npages;
        AUDIT(pmap->windows.ranges[i].end == end);
        for (uint64_t j = 0; j < w->nchunks; j++) {
            if (w->chunks[j] != NULL)
                mapped += chunk_audit(w, w->chunks[j]);
        }
    }
    AUDIT(mapped == pmap_mapped_pages(pmap));
    vm_rwlock_read_unlock(&pmap->windows_lock);
    return mapped;
}

/*
 * Every pte has its own link, and there are as many links as ptes: so every link
 * has its pte too.
 */
void
pmap_audit(struct pmap *pmap)
{
    struct vm_system *sys = pmap->sys;
    uint64_t mapped = 0;

    vm_rwlock_read_lock(&sys->pmaps_lock);
    AUDIT(sys->pmaps[pmap->id - 1] == pmap);
    for (unsigned i = 0; i < VM_MAX_PMAPS; i++) {
        if (sys->pmaps[i] != NULL)
            mapped += pmap_audit_one(sys->pmaps[i]);
    }
    vm_rwlock_read_unlock(&sys->pmaps_lock);
    AUDIT(mapped == pv_count(sys));
}
