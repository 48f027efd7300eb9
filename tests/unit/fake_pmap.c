/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine half of the pmap over plain arrays; see fake_pmap.h. */
#include "tests/unit/fake_pmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_page {
    vm_frame_t frame; /* if prot != NONE */
    vm_prot_t prot;
    bool foreign; /* what is mapped, or was last, is not the natural frame */
    bool super;   /* of a promoted chunk */
};

struct fake_window {
    struct fake_window *next;
    struct pmap_window *w;
    struct fake_page *pages;
};

#define FAKE_CHECK(condition)                                                                  \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "fake_pmap: %s:%d: broken: %s\n", __func__, __LINE__, #condition); \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

static bool
fake_window_contains(const struct fake_window *fw, gpa_t gpa)
{
    return gpa.value >= fw->w->start.value &&
           (gpa.value - fw->w->start.value) >> PAGE_SHIFT < fw->w->npages;
}

static struct fake_page *
fake_find_locked(struct fake_pmap *fake, gpa_t gpa, struct fake_window **fwp)
    VM_REQUIRES(fake->lock)
{
    for (struct fake_window *fw = fake->windows; fw != NULL; fw = fw->next) {
        if (fake_window_contains(fw, gpa)) {
            *fwp = fw;
            return &fw->pages[(gpa.value - fw->w->start.value) >> PAGE_SHIFT];
        }
    }
    return NULL;
}

bool
fake_frame_is_hole(const struct vm_system *sys, vm_frame_t frame)
{
    off_t offset = (off_t)(frame << PAGE_SHIFT);

    return lseek(sys->memfd, offset, SEEK_DATA) != offset;
}

void
fake_pmap_init(struct fake_pmap *fake)
{
    *fake = (struct fake_pmap){ 0 };
    vm_mutex_init(&fake->lock);
}

void
fake_pmap_fini(struct fake_pmap *fake)
{
    FAKE_CHECK(fake->windows == NULL);
    vm_mutex_fini(&fake->lock);
}

void
fake_pmap_fail_next_enter(struct fake_pmap *fake, int error, unsigned entered)
{
    vm_mutex_lock(&fake->lock);
    fake->fail_enter = 1;
    fake->fail_repeat = 0;
    fake->fail_errno = error;
    fake->fail_entered = entered;
    vm_mutex_unlock(&fake->lock);
}

/* Does a hook of the test make the operation fail? */
static int
fake_refuses(const struct fake_pmap *fake, enum fake_operation operation, unsigned npages,
             unsigned *entered)
{
    return fake->refuse != NULL ? fake->refuse(operation, npages, entered) : 0;
}

static int
fake_window_create(void *md, struct pmap_window *w)
{
    struct fake_pmap *fake = md;
    struct fake_window *fw;
    int error = fake->fail_window_create;

    fake->fail_window_create = 0;
    if (error == 0)
        error = fake_refuses(fake, FAKE_WINDOW_CREATE, 0, NULL);
    if (error != 0)
        return error;
    fw = calloc(1, sizeof(*fw));
    if (fw == NULL)
        return -ENOMEM;
    fw->pages = calloc(w->npages, sizeof(*fw->pages));
    if (fw->pages == NULL) {
        free(fw);
        return -ENOMEM;
    }
    fw->w = w;
    w->md = fw;
    vm_mutex_lock(&fake->lock);
    fw->next = fake->windows;
    fake->windows = fw;
    fake->windows_created++;
    vm_mutex_unlock(&fake->lock);
    return 0;
}

static void
fake_window_destroy(void *md, struct pmap_window *w)
{
    struct fake_pmap *fake = md;
    struct fake_window *fw = w->md;
    struct fake_window **link = &fake->windows;

    vm_mutex_lock(&fake->lock);
    while (*link != fw) {
        FAKE_CHECK(*link != NULL);
        link = &(*link)->next;
    }
    *link = fw->next;
    fake->windows_destroyed++;
    vm_mutex_unlock(&fake->lock);
    for (uint64_t i = 0; i < w->npages; i++)
        FAKE_CHECK(fw->pages[i].prot == VM_PROT_NONE);
    free(fw->pages);
    free(fw);
}

static int
fake_window_rebase(void *md, struct pmap_window *w)
{
    struct fake_pmap *fake = md;
    struct fake_window *fw = w->md;
    int error = fake->fail_window_rebase;

    fake->fail_window_rebase = 0;
    if (error == 0)
        error = fake_refuses(fake, FAKE_WINDOW_REBASE, 0, NULL);
    if (error != 0)
        return error;
    vm_mutex_lock(&fake->lock);
    fake->rebases++;
    for (uint64_t i = 0; i < w->npages; i++) {
        FAKE_CHECK(fw->pages[i].prot == VM_PROT_NONE);
        fw->pages[i].foreign = false;
    }
    vm_mutex_unlock(&fake->lock);
    return 0;
}

static void
fake_enter_page(struct fake_pmap *fake, struct pmap_window *w, uint64_t index,
                const struct pmap_frame *f) VM_REQUIRES(fake->lock)
{
    struct vm_system *sys = w->pmap->sys;
    struct fake_page *page = &((struct fake_window *)w->md)->pages[index];
    bool mapped = page->prot != VM_PROT_NONE;
    bool refreshed = mapped && (f->prot & ~page->prot) == 0;
    bool hole = fake_frame_is_hole(sys, f->frame);

    FAKE_CHECK(!page->super);
    FAKE_CHECK(f->prot == VM_PROT_READ || f->prot == VM_PROT_RW);
    FAKE_CHECK(f->frame < sys->store_pages);
    FAKE_CHECK(f->foreign == page->foreign);
    FAKE_CHECK(f->same == mapped); /* another frame's mapping was removed before */
    FAKE_CHECK(!f->same || page->frame == f->frame);
    FAKE_CHECK(!hole || f->fill);
    FAKE_CHECK(f->content == NULL || (hole && f->fill));
    if (f->content != NULL) {
        memcpy(vm_frame_address(sys, f->frame), f->content, PAGE_SIZE);
        fake->copied_pages++;
    } else if (hole) {
        *(volatile uint8_t *)vm_frame_address(sys, f->frame) = 0;
        fake->filled_pages++;
    }
    *(refreshed ? &fake->refreshed_pages : &fake->entered_pages) += 1;
    page->frame = f->frame;
    page->prot |= f->prot;
    page->foreign = w->natural == PMAP_NO_NATURAL || f->frame != w->natural + index;
    fake->foreign_pages += page->foreign && !refreshed;
}

/* Inside the window and inside one chunk. */
static void
fake_check_range(const struct pmap_window *w, uint64_t first, uint64_t npages)
{
    uint64_t page = (w->start.value >> PAGE_SHIFT) + first;

    FAKE_CHECK(npages > 0 && npages <= w->npages && first <= w->npages - npages);
    FAKE_CHECK(page / PMAP_CHUNK_PAGES == (page + npages - 1) / PMAP_CHUNK_PAGES);
}

/* Is this the enter that was ordered to fail? */
static bool
fake_enter_fails(struct fake_pmap *fake) VM_REQUIRES(fake->lock)
{
    if (fake->fail_enter == 0 || --fake->fail_enter != 0)
        return false;
    if (fake->fail_repeat != 0) {
        fake->fail_repeat--;
        fake->fail_enter = 1;
    }
    return true;
}

static int
fake_enter(void *md, struct pmap_window *w, uint64_t first, unsigned npages,
           const struct pmap_frame *frames, unsigned *entered)
{
    struct fake_pmap *fake = md;
    unsigned count = 0;
    int error = fake_refuses(fake, FAKE_ENTER, npages, &count);

    fake_check_range(w, first, npages);
    if (error == 0)
        count = npages;
    if (fake->before_enter != NULL)
        fake->before_enter(fake->before_enter_context, gpa_add(w->start, first << PAGE_SHIFT),
                           npages);
    vm_mutex_lock(&fake->lock);
    fake->enters++;
    if (fake_enter_fails(fake)) {
        FAKE_CHECK(fake->fail_entered < npages);
        count = fake->fail_entered;
        error = fake->fail_errno;
    }
    for (unsigned i = 0; i < count; i++)
        fake_enter_page(fake, w, first + i, &frames[i]);
    vm_mutex_unlock(&fake->lock);
    *entered = count;
    return error;
}

static void
fake_remove(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    struct fake_pmap *fake = md;
    struct fake_page *pages = ((struct fake_window *)w->md)->pages;

    fake_check_range(w, first, npages);
    if (fake->before_remove != NULL)
        fake->before_remove(fake, gpa_add(w->start, first << PAGE_SHIFT));
    vm_mutex_lock(&fake->lock);
    fake->removes++;
    for (uint64_t i = first; i < first + npages; i++) {
        FAKE_CHECK(!pages[i].super);
        fake->removed_pages += pages[i].prot != VM_PROT_NONE;
        pages[i].prot = VM_PROT_NONE;
    }
    vm_mutex_unlock(&fake->lock);
}

static void
fake_protect(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    struct fake_pmap *fake = md;
    struct fake_page *pages = ((struct fake_window *)w->md)->pages;

    fake_check_range(w, first, npages);
    if (fake->before_protect != NULL)
        fake->before_protect(fake, gpa_add(w->start, first << PAGE_SHIFT));
    vm_mutex_lock(&fake->lock);
    fake->protects++;
    for (uint64_t i = first; i < first + npages; i++) {
        FAKE_CHECK(pages[i].prot != VM_PROT_NONE && !pages[i].super);
        fake->protected_pages += (pages[i].prot & VM_PROT_WRITE) != 0;
        pages[i].prot = VM_PROT_READ;
    }
    vm_mutex_unlock(&fake->lock);
}

/* The pages of a chunk, which is whole and aligned. */
static struct fake_page *
fake_chunk(const struct pmap_window *w, uint64_t first)
{
    FAKE_CHECK(((w->start.value >> PAGE_SHIFT) + first) % PMAP_CHUNK_PAGES == 0);
    fake_check_range(w, first, PMAP_CHUNK_PAGES);
    return &((struct fake_window *)w->md)->pages[first];
}

static int
fake_promote(void *md, struct pmap_window *w, uint64_t first, bool hole)
{
    struct fake_pmap *fake = md;
    struct fake_page *pages = fake_chunk(w, first);
    struct vm_system *sys = w->pmap->sys;
    int error = fake->fail_promote;

    fake->fail_promote = 0;
    if (error == 0)
        error = fake_refuses(fake, FAKE_PROMOTE, PMAP_CHUNK_PAGES, NULL);
    if (error != 0)
        return error;
    vm_mutex_lock(&fake->lock);
    FAKE_CHECK(w->natural != PMAP_NO_NATURAL && (w->natural + first) % PMAP_CHUNK_PAGES == 0);
    FAKE_CHECK(!hole || (first + PMAP_CHUNK_PAGES < w->npages &&
                         pages[PMAP_CHUNK_PAGES].prot == VM_PROT_NONE));
    fake->promotes++;
    fake->promoted_holes += hole;
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES; i++) {
        FAKE_CHECK(pages[i].prot == VM_PROT_NONE && !pages[i].foreign);
        pages[i] = (struct fake_page){ w->natural + first + i, VM_PROT_RW, false, true };
        if (fake_frame_is_hole(sys, pages[i].frame))
            *(volatile uint8_t *)vm_frame_address(sys, pages[i].frame) = 0;
    }
    vm_mutex_unlock(&fake->lock);
    return 0;
}

static void
fake_demote(void *md, struct pmap_window *w, uint64_t first)
{
    struct fake_pmap *fake = md;
    struct fake_page *pages = fake_chunk(w, first);

    if (fake->before_demote != NULL)
        fake->before_demote(fake, gpa_add(w->start, first << PAGE_SHIFT));
    vm_mutex_lock(&fake->lock);
    fake->demotes++;
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES; i++) {
        FAKE_CHECK(pages[i].super && pages[i].prot == VM_PROT_RW);
        pages[i].super = false;
        pages[i].prot = VM_PROT_NONE;
    }
    vm_mutex_unlock(&fake->lock);
}

static void
fake_wake(void *md, struct pmap_window *w, uint64_t first, uint64_t npages)
{
    struct fake_pmap *fake = md;

    fake_check_range(w, first, npages);
    vm_mutex_lock(&fake->lock);
    fake->wakes++;
    fake->last_wake = gpa_add(w->start, first << PAGE_SHIFT);
    vm_mutex_unlock(&fake->lock);
}

const struct pmap_ops fake_pmap_ops = {
    .window_create = fake_window_create,
    .window_destroy = fake_window_destroy,
    .window_rebase = fake_window_rebase,
    .enter = fake_enter,
    .remove = fake_remove,
    .protect = fake_protect,
    .promote = fake_promote,
    .demote = fake_demote,
    .wake = fake_wake,
};

bool
fake_pmap_lookup(struct fake_pmap *fake, gpa_t gpa, vm_frame_t *frame, vm_prot_t *prot)
{
    struct fake_window *fw;
    struct fake_page *page;
    bool mapped;

    vm_mutex_lock(&fake->lock);
    page = fake_find_locked(fake, gpa, &fw);
    mapped = page != NULL && page->prot != VM_PROT_NONE;
    if (mapped && frame != NULL)
        *frame = page->frame;
    if (mapped && prot != NULL)
        *prot = page->prot;
    vm_mutex_unlock(&fake->lock);
    return mapped;
}

uint64_t
fake_pmap_mapped(struct fake_pmap *fake)
{
    uint64_t mapped = 0;

    vm_mutex_lock(&fake->lock);
    for (struct fake_window *fw = fake->windows; fw != NULL; fw = fw->next)
        for (uint64_t i = 0; i < fw->w->npages; i++)
            mapped += fw->pages[i].prot != VM_PROT_NONE;
    vm_mutex_unlock(&fake->lock);
    return mapped;
}

/* The word behind gpa if the access would go through, else NULL. */
static uint64_t *
fake_guest_word_locked(struct fake_pmap *fake, gpa_t gpa, vm_prot_t access) VM_REQUIRES(fake->lock)
{
    struct fake_window *fw;
    struct fake_page *page = fake_find_locked(fake, gpa, &fw);
    vm_prot_t need = (access & VM_PROT_WRITE) != 0 ? VM_PROT_RW : VM_PROT_READ;

    if (page == NULL || (page->prot & need) != need)
        return NULL;
    return (uint64_t *)vm_frame_address(fw->w->pmap->sys, page->frame) +
           (gpa.value & PAGE_MASK) / sizeof(uint64_t);
}

bool
fake_guest_access(struct fake_pmap *fake, gpa_t gpa, vm_prot_t access)
{
    bool through;

    vm_mutex_lock(&fake->lock);
    through = fake_guest_word_locked(fake, gpa, access) != NULL;
    vm_mutex_unlock(&fake->lock);
    return through;
}

bool
fake_guest_load(struct fake_pmap *fake, gpa_t gpa, uint64_t *value)
{
    uint64_t *word;

    vm_mutex_lock(&fake->lock);
    word = fake_guest_word_locked(fake, gpa, VM_PROT_READ);
    if (word != NULL)
        *value = __atomic_load_n(word, __ATOMIC_RELAXED);
    vm_mutex_unlock(&fake->lock);
    return word != NULL;
}

bool
fake_guest_store(struct fake_pmap *fake, gpa_t gpa, uint64_t value)
{
    uint64_t *word;

    vm_mutex_lock(&fake->lock);
    word = fake_guest_word_locked(fake, gpa, VM_PROT_WRITE);
    if (word != NULL)
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
    vm_mutex_unlock(&fake->lock);
    return word != NULL;
}

static void
fake_window_audit(const struct fake_window *fw)
{
    struct vm_system *sys = fw->w->pmap->sys;

    for (uint64_t i = 0; i < fw->w->npages; i++) {
        const struct fake_page *page = &fw->pages[i];
        struct vm_page *m = NULL;
        gpa_t gpa = gpa_add(fw->w->start, i << PAGE_SHIFT);

        FAKE_CHECK(pmap_extract(fw->w->pmap, gpa, &m) == page->prot);
        if (page->prot == VM_PROT_NONE)
            continue;
        FAKE_CHECK(m != NULL && vm_page_frame(m) == page->frame);
        FAKE_CHECK(!fake_frame_is_hole(sys, page->frame));
    }
}

void
fake_pmap_audit(struct fake_pmap *fake)
{
    for (struct fake_window *fw = fake->windows; fw != NULL; fw = fw->next)
        fake_window_audit(fw);
}
