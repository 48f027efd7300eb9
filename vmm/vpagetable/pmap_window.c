/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows and their forward tables: what comes, goes and is dropped by range.
 *
 * A window is in `windows` from before the machine makes its host space until
 * after that is gone, but only `live` in between: nothing else finds it, and no
 * lock is held while the machine works.
 */
#include "vmm/vpagetable/pmap_window.h"

#include "vmm/vpagetable/pmap_super.h"
#include "vmm/vpagetable/pv.h"

#include <errno.h>
#include <stdlib.h>

/* --- Chunks -------------------------------------------------------------- */

/* An empty chunk around a guest page of w, no larger than w; NULL = no memory. */
static struct pmap_chunk *
chunk_alloc(const struct pmap_window *w, uint64_t page)
{
    uint64_t w_first = pmap_window_first_page(w);
    uint64_t first = page - page % PMAP_CHUNK_PAGES;
    uint64_t end = first + PMAP_CHUNK_PAGES;
    struct pmap_chunk *chunk;
    size_t size;

    if (first < w_first)
        first = w_first;
    if (end > w_first + w->npages)
        end = w_first + w->npages;
    size = sizeof(*chunk) + (end - first) * sizeof(chunk->pte[0]);
    chunk = calloc(1, size + (end - first) * sizeof(chunk->generation[0]));
    if (chunk == NULL)
        return NULL;
    vm_mutex_init(&chunk->lock);
    chunk->page = first;
    chunk->npages = (unsigned)(end - first);
    chunk->generation = (uint8_t *)chunk + size;
    return chunk;
}

struct pmap_chunk *
pmap_chunk_get(struct pmap_window *w, uint64_t page)
{
    struct pmap_chunk *chunk = pmap_chunk_find(w, page);
    struct pmap_chunk *other = NULL;

    if (chunk != NULL)
        return chunk;
    chunk = chunk_alloc(w, page);
    if (chunk == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(pmap_window_chunk(w, page), &other, chunk))
        return chunk;
    vm_mutex_fini(&chunk->lock);
    free(chunk);
    return other;
}

/* How many slots from `slot` on, at most n, have a writable page. */
static unsigned
chunk_writable_run(const struct pmap_chunk *chunk, unsigned slot, unsigned n)
{
    unsigned run = 0;

    while (run < n && pte_prot(pte_load(chunk, slot + run)) == VM_PROT_RW)
        run++;
    return run;
}

void
pmap_chunk_forget(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
{
    struct pmap *pmap = w->pmap;
    struct vm_system *sys = pmap->sys;
    struct pv_part *held = NULL;
    unsigned dropped = 0;

    for (unsigned i = slot; i < slot + n; i++) {
        pmap_pte_t pte = pte_load(chunk, i);
        struct vm_page *m = pte_page(sys, pte);

        if (m == NULL)
            continue;
        held = pv_hold(sys, held, m);
        pv_unlink(held, m, pv_where(pmap, chunk->page + i));
        pte_store(chunk, i, pte & PTE_FOREIGN);
        dropped++;
    }
    pv_let_go(held);
    chunk->nmapped -= dropped;
    vm_meter_add(&pmap->mapped, pages, -(uint64_t)dropped);
}

/* One operation for the range: cheaper than one for each run of mapped pages in it. */
void
pmap_chunk_drop(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
{
    pmap_chunk_demote(w, chunk);
    while (n > 0 && pte_prot(pte_load(chunk, slot)) == VM_PROT_NONE)
        slot++, n--;
    while (n > 0 && pte_prot(pte_load(chunk, slot + n - 1)) == VM_PROT_NONE)
        n--;
    if (n == 0)
        return;
    w->pmap->ops->remove(w->pmap->md, w, pmap_chunk_index(w, chunk, slot), n);
    pmap_chunk_forget(w, chunk, slot, n);
}

void
pmap_chunk_protect(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
{
    unsigned run;

    pmap_chunk_demote(w, chunk);
    for (unsigned i = slot; i < slot + n; i += run) {
        run = chunk_writable_run(chunk, i, slot + n - i);
        if (run == 0) {
            run = 1;
            continue;
        }
        w->pmap->ops->protect(w->pmap->md, w, pmap_chunk_index(w, chunk, i), run);
        for (unsigned j = i; j < i + run; j++)
            pte_store(chunk, j, pte_load(chunk, j) & ~PTE_WRITE);
    }
}

/* --- Windows ------------------------------------------------------------- */

struct pmap_window *
pmap_window_find(const struct pmap *pmap, uint64_t page)
{
    struct pmap_window *w = pmap_window_after(pmap, page);

    return w != NULL && w->live && pmap_window_first_page(w) <= page ? w : NULL;
}

/* What is done to n slots of a chunk; takes P. */
typedef void chunk_operation(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot,
                             unsigned n);

static void
chunk_operation_drop(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
{
    vm_mutex_lock(&chunk->lock);
    if (chunk->nmapped != 0)
        pmap_chunk_drop(w, chunk, slot, n);
    vm_mutex_unlock(&chunk->lock);
}

static void
chunk_operation_protect(struct pmap_window *w, struct pmap_chunk *chunk, unsigned slot, unsigned n)
{
    vm_mutex_lock(&chunk->lock);
    if (chunk->nmapped != 0)
        pmap_chunk_protect(w, chunk, slot, n);
    vm_mutex_unlock(&chunk->lock);
}

/*
 * Do the operation to guest pages [page, end) of w, where there are chunks.  Returns false when
 * *stop was set before the last of them.
 */
static bool
window_operate(const struct pmap *pmap, struct pmap_window *w, uint64_t page, uint64_t end,
               chunk_operation *operation, const _Atomic bool *stop)
    VM_REQUIRES_SHARED(pmap->windows_lock)
{
    uint64_t next;

    assert(w->pmap == pmap);
    for (; page < end; page = next) {
        struct pmap_chunk *chunk = pmap_chunk_find(w, page);

        next = page - page % PMAP_CHUNK_PAGES + PMAP_CHUNK_PAGES;
        if (next > end)
            next = end;
        if (chunk == NULL)
            continue;
        if (vm_stopped(stop))
            return false;
        operation(w, chunk, pmap_chunk_slot(chunk, page), (unsigned)(next - page));
    }
    return true;
}

static int
windows_operate(struct pmap *pmap, gpa_t start, gpa_t end, chunk_operation *operation,
                const _Atomic bool *stop)
{
    uint64_t first = start.value >> PAGE_SHIFT;
    uint64_t last = end.value >> PAGE_SHIFT;
    bool done = true;

    vm_rwlock_read_lock(&pmap->windows_lock);
    for (unsigned i = vm_ranges_search(&pmap->windows, first); i < pmap->windows.n && done; i++) {
        struct pmap_window *w = pmap_window_at(pmap, i);
        uint64_t w_first = pmap_window_first_page(w);
        uint64_t w_last = w_first + w->npages;

        if (w_first >= last)
            break;
        if (w->live)
            done = window_operate(pmap, w, vm_max(first, w_first), vm_min(last, w_last), operation,
                                  stop);
    }
    vm_rwlock_read_unlock(&pmap->windows_lock);
    return done ? 0 : -ECANCELED;
}

void
pmap_remove(struct pmap *pmap, gpa_t start, gpa_t end)
{
    (void)windows_operate(pmap, start, end, chunk_operation_drop, NULL);
}

void
pmap_write_protect(struct pmap *pmap, gpa_t start, gpa_t end)
{
    (void)windows_operate(pmap, start, end, chunk_operation_protect, NULL);
}

int
pmap_remove_until(struct pmap *pmap, gpa_t start, gpa_t end, const _Atomic bool *stop)
{
    return windows_operate(pmap, start, end, chunk_operation_drop, stop);
}

int
pmap_write_protect_until(struct pmap *pmap, gpa_t start, gpa_t end, const _Atomic bool *stop)
{
    return windows_operate(pmap, start, end, chunk_operation_protect, stop);
}

/* Drop all mappings of a window. */
static void
window_drop(const struct pmap *pmap, struct pmap_window *w) VM_REQUIRES_SHARED(pmap->windows_lock)
{
    (void)window_operate(pmap, w, pmap_window_first_page(w), pmap_window_first_page(w) + w->npages,
                         chunk_operation_drop, NULL);
}

static struct pmap_window *
window_alloc(struct pmap *pmap, gpa_t start, uint64_t npages, vm_frame_t natural)
{
    struct pmap_window *w = calloc(1, sizeof(*w));
    uint64_t first = start.value >> PAGE_SHIFT;

    if (w == NULL)
        return NULL;
    w->pmap = pmap;
    w->start = start;
    w->npages = npages;
    w->natural = natural == PMAP_OWN_NATURAL ? PMAP_NO_NATURAL : natural;
    w->nchunks = (first + npages - 1) / PMAP_CHUNK_PAGES - first / PMAP_CHUNK_PAGES + 1;
    w->chunks = calloc(w->nchunks, sizeof(*w->chunks));
    if (w->chunks == NULL) {
        free(w);
        return NULL;
    }
    return w;
}

/*
 * Let the window have an extent of its own, unless windows have their part of the store already.
 * Without one it is only slower.
 */
static void
window_own(struct pmap_window *w)
{
    struct vm_system *sys = w->pmap->sys;
    uint64_t before = atomic_fetch_add(&sys->window_slots, w->npages);

    if (before + w->npages <= sys->store_pages / PMAP_OWN_PART &&
        vm_extent_alloc(sys, w->npages, &w->natural) == 0)
        w->own = true;
    else
        atomic_fetch_sub(&sys->window_slots, w->npages);
}

/* Frames that pages have in the extent stay theirs: these are slots like others (vm_page.h, 7). */
static void
window_disown(struct pmap_window *w)
{
    struct vm_system *sys = w->pmap->sys;

    if (!w->own)
        return;
    vm_extent_free(sys, w->natural, w->npages);
    atomic_fetch_sub(&sys->window_slots, w->npages);
    w->own = false;
}

static void
window_free(struct pmap_window *w)
{
    window_disown(w);
    for (uint64_t i = 0; i < w->nchunks; i++) {
        struct pmap_chunk *chunk = w->chunks[i];

        if (chunk == NULL)
            continue;
        vm_mutex_fini(&chunk->lock);
        free(chunk);
    }
    free(w->chunks);
    free(w);
}

/* Put w into `windows`, not live yet: its range is taken from now on. */
static int
windows_reserve(struct pmap *pmap, struct pmap_window *w) VM_REQUIRES(pmap->windows_lock)
{
    uint64_t first = pmap_window_first_page(w);
    uint64_t end = first + w->npages;
    unsigned i = vm_ranges_search(&pmap->windows, first);
    int error;

    if (i < pmap->windows.n && pmap_window_first_page(pmap_window_at(pmap, i)) < end)
        return -EEXIST;
    error = vm_ranges_reserve(&pmap->windows);
    if (error == 0)
        vm_ranges_insert(&pmap->windows, i, end, w);
    return error;
}

static void
windows_release(struct pmap *pmap, struct pmap_window *w)
{
    unsigned i;

    vm_rwlock_write_lock(&pmap->windows_lock);
    i = vm_ranges_search(&pmap->windows, pmap_window_first_page(w));
    assert(i < pmap->windows.n && pmap_window_at(pmap, i) == w);
    vm_ranges_remove(&pmap->windows, i);
    vm_rwlock_write_unlock(&pmap->windows_lock);
    window_free(w);
}

/* Take a window out of use and drop its mappings; its range stays taken. */
static struct pmap_window *
window_retire(struct pmap *pmap, gpa_t start)
{
    struct pmap_window *w;

    vm_rwlock_write_lock(&pmap->windows_lock);
    w = pmap_window_find(pmap, start.value >> PAGE_SHIFT);
    if (w != NULL && w->start.value == start.value) {
        w->live = false;
        window_drop(pmap, w);
    } else {
        w = NULL;
    }
    vm_rwlock_write_unlock(&pmap->windows_lock);
    return w;
}

static bool
window_range_valid(gpa_t start, uint64_t npages)
{
    uint64_t first = start.value >> PAGE_SHIFT;
    uint64_t limit = PMAP_GPA_END >> PAGE_SHIFT;

    return (start.value & PAGE_MASK) == 0 && npages != 0 && npages <= limit &&
           first <= limit - npages;
}

int
pmap_window_add(struct pmap *pmap, gpa_t start, uint64_t npages, vm_frame_t natural)
{
    struct pmap_window *w;
    int error;

    if (!window_range_valid(start, npages))
        return -EINVAL;
    w = window_alloc(pmap, start, npages, natural);
    if (w == NULL)
        return -ENOMEM;
    vm_rwlock_write_lock(&pmap->windows_lock);
    error = windows_reserve(pmap, w);
    vm_rwlock_write_unlock(&pmap->windows_lock);
    if (error != 0) {
        window_free(w);
        return error;
    }
    if (natural == PMAP_OWN_NATURAL)
        window_own(w);
    error = pmap->ops->window_create(pmap->md, w);
    if (error != 0) {
        windows_release(pmap, w);
        return error;
    }
    if (w->costly && w->own) {
        window_disown(w);
        w->natural = PMAP_NO_NATURAL;
    }
    vm_rwlock_write_lock(&pmap->windows_lock);
    w->live = true;
    vm_rwlock_write_unlock(&pmap->windows_lock);
    return 0;
}

int
pmap_window_remove(struct pmap *pmap, gpa_t start)
{
    struct pmap_window *w = window_retire(pmap, start);

    if (w == NULL)
        return -ENOENT;
    pmap->ops->window_destroy(pmap->md, w);
    windows_release(pmap, w);
    return 0;
}

bool
pmap_window_next(struct pmap *pmap, gpa_t gpa, gpa_t *start, gpa_t *end)
{
    const struct pmap_window *w;

    vm_rwlock_read_lock(&pmap->windows_lock);
    w = pmap_window_after(pmap, gpa.value >> PAGE_SHIFT);
    if (w != NULL) {
        *start = w->start;
        *end = gpa_add(*start, w->npages << PAGE_SHIFT);
    }
    vm_rwlock_read_unlock(&pmap->windows_lock);
    return w != NULL;
}

static uint64_t
window_mapped(const struct pmap_window *w)
{
    uint64_t mapped = 0;

    for (uint64_t i = 0; i < w->nchunks; i++) {
        struct pmap_chunk *chunk = atomic_load_explicit(&w->chunks[i], memory_order_acquire);

        if (chunk == NULL)
            continue;
        vm_mutex_lock(&chunk->lock);
        mapped += chunk->nmapped;
        vm_mutex_unlock(&chunk->lock);
    }
    return mapped;
}

uint64_t
pmap_window_mapped(struct pmap *pmap, gpa_t gpa)
{
    const struct pmap_window *w;
    uint64_t mapped;

    vm_rwlock_read_lock(&pmap->windows_lock);
    w = pmap_window_find(pmap, gpa.value >> PAGE_SHIFT);
    mapped = w != NULL ? window_mapped(w) : 0;
    vm_rwlock_read_unlock(&pmap->windows_lock);
    return mapped;
}

/* --- Questions about a window that stays --------------------------------- */

struct pmap_window *
pmap_window_look(struct pmap *pmap, uint64_t page)
{
    struct pmap_window *w;

    vm_rwlock_read_lock(&pmap->windows_lock);
    w = pmap_window_find(pmap, page);
    vm_rwlock_read_unlock(&pmap->windows_lock);
    return w;
}

bool
pmap_window_has(const struct pmap_window *w, uint64_t page)
{
    return w != NULL && page - pmap_window_first_page(w) < w->npages;
}

bool
pmap_window_is_natural(const struct pmap_window *w, uint64_t page, vm_frame_t frame)
{
    return pmap_window_has(w, page) && w->natural != PMAP_NO_NATURAL &&
           w->natural + (page - pmap_window_first_page(w)) == frame;
}

void
pmap_window_place(const struct pmap_window *w, uint64_t page, struct vm_page *m)
{
    assert(vm_page_flag_test(m, VM_PAGE_ZERO));
    if (pmap_window_has(w, page) && w->own)
        (void)vm_page_place(m, w->natural + (page - pmap_window_first_page(w)));
}

vm_prot_t
pmap_window_prot(const struct pmap_window *w, uint64_t page)
{
    const struct pmap_chunk *chunk = pmap_window_has(w, page) ? pmap_chunk_find(w, page) : NULL;

    return chunk != NULL ? pte_prot(pte_load(chunk, pmap_chunk_slot(chunk, page))) : VM_PROT_NONE;
}

/* How many slots directly before `slot` have a page, at most max. */
static unsigned
chunk_run_behind(const struct pmap_chunk *chunk, unsigned slot, unsigned max)
{
    unsigned run = 0;

    while (run < max && run < slot && pte_prot(pte_load(chunk, slot - run - 1)) != VM_PROT_NONE)
        run++;
    return run;
}

unsigned
pmap_window_run_behind(const struct pmap_window *w, uint64_t page, unsigned max)
{
    unsigned total = 0;

    while (total < max && pmap_window_has(w, page - 1)) {
        const struct pmap_chunk *chunk = pmap_chunk_find(w, page - 1);
        unsigned slot, run;

        if (chunk == NULL)
            break;
        slot = pmap_chunk_slot(chunk, page - 1) + 1;
        run = chunk_run_behind(chunk, slot, max - total);
        total += run;
        page -= run;
        if (run < slot)
            break;
    }
    return total;
}

/* A window's frames changed: nothing is foreign any more. */
static void
window_clear_foreign(const struct pmap *pmap, struct pmap_window *w) VM_REQUIRES(pmap->windows_lock)
{
    assert(w->pmap == pmap);
    for (uint64_t i = 0; i < w->nchunks; i++) {
        struct pmap_chunk *chunk = w->chunks[i];

        if (chunk == NULL)
            continue;
        vm_mutex_lock(&chunk->lock);
        for (unsigned slot = 0; slot < chunk->npages; slot++)
            pte_store(chunk, slot, 0);
        vm_mutex_unlock(&chunk->lock);
    }
}

int
pmap_window_rebase(struct pmap *pmap, gpa_t gpa, vm_frame_t natural)
{
    struct pmap_window *w;
    struct pmap_window before;
    int error = -ENOENT;

    vm_rwlock_write_lock(&pmap->windows_lock);
    w = pmap_window_find(pmap, gpa.value >> PAGE_SHIFT);
    if (w != NULL) {
        window_drop(pmap, w);
        before = *w;
        w->natural = natural;
        w->own = false;
        error = pmap->ops->window_rebase(pmap->md, w);
        if (error == 0) {
            window_clear_foreign(pmap, w);
            window_disown(&before);
        } else {
            w->natural = before.natural;
            w->own = before.own;
        }
    }
    vm_rwlock_write_unlock(&pmap->windows_lock);
    return error;
}
