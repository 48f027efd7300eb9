/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mechanism of windows; the picture and the invariants are in the header.
 *
 * A new mapping, foreign or home, goes through these steps (facts 2, 3):
 *   mmap -> register -> [install, write-protected where asked] -> open -> wake.
 * Before it is opened it may be touched as far as nothing can go wrong unseen:
 *   home, or frames that are holes       not at all: a touch would fill a hole
 *   filled frames, to be write-protected for reading: a write would not be noticed
 *   filled frames, to be written         as it will be
 * A vCPU that does more gets EFAULT from KVM_RUN and runs again.  Frames stay filled
 * meanwhile, their pages are busy.  Allowing reads is not only faster: KVM, when it reads a
 * guest's page tables itself, takes what it cannot read for an entry that is not present
 * and tells nobody but the guest.  Allowing writes saves the mprotect, which leaves page
 * table entries without write permission until they are next written: KVM prefetches
 * only writable ones.
 */
#include "vmm/kvm/kvm_window.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint64_t
chunk_number(uint64_t page)
{
    return page / PMAP_CHUNK_PAGES;
}

static _Atomic(struct foreign_chunk *) *
chunk_slot(const struct kvm_window *kw, uint64_t page)
{
    return &kw->chunks[chunk_number(page) - chunk_number(kw->first)];
}

/* --- VMAs ---------------------------------------------------------------- */

static int
make_inaccessible(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    void *at = kvm_window_address(kp, page);

    return mprotect(at, npages << PAGE_SHIFT, PROT_NONE) == 0 ? 0 : -errno;
}

/* Put the reservation back: nothing there, nothing allowed. */
static int
reserve(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    void *at = mmap(kvm_window_address(kp, page), npages << PAGE_SHIFT, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

    return at == MAP_FAILED ? -errno : 0;
}

static int
map_file(struct kvm_pmap *kp, uint64_t page, uint64_t npages, int prot, int fd, uint64_t fd_page)
{
    void *at = mmap(kvm_window_address(kp, page), npages << PAGE_SHIFT, prot,
                    MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, (off_t)(fd_page << PAGE_SHIFT));

    return at == MAP_FAILED ? -errno : 0;
}

/* First failed page in [page, end), or end. */
static uint64_t
next_failed(const struct kvm_pmap *kp, uint64_t page, uint64_t end)
{
    for (unsigned i = 0; i < kp->nfailed; i++)
        if (kp->failed[i].page >= page && kp->failed[i].page < end)
            end = kp->failed[i].page;
    return end;
}

/* Would kvm_window_open make all of the pages accessible? */
static bool
may_open_all(const struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    return !kp->aborted && next_failed(kp, page, page + npages) == page + npages;
}

int
kvm_window_open(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    uint64_t end = page + npages;

    if (kp->aborted)
        return 0;
    while (page < end) {
        uint64_t stop = next_failed(kp, page, end);
        if (stop > page && mprotect(kvm_window_address(kp, page), (stop - page) << PAGE_SHIFT,
                                    PROT_READ | PROT_WRITE) != 0)
            return -errno;
        page = stop + 1;
    }
    return 0;
}

/* --- foreign pages ------------------------------------------------------- */

/* VMAs a chunk's foreign pages can have made: each is one, and cuts what was there in two. */
static uint64_t
chunk_vmas(unsigned npages)
{
    return npages < PMAP_CHUNK_PAGES / 2 ? 2 * (uint64_t)npages : PMAP_CHUNK_PAGES;
}

static void
chunk_set_npages(struct kvm_pmap *kp, struct foreign_chunk *fc, unsigned npages)
    VM_REQUIRES(kp->foreign_lock)
{
    unsigned before = atomic_load_explicit(&fc->npages, memory_order_relaxed);

    kp->vmas += chunk_vmas(npages) - chunk_vmas(before);
    if (before == 0 && npages != 0)
        TAILQ_INSERT_TAIL(&kp->foreign, fc, link);
    if (before != 0 && npages == 0)
        TAILQ_REMOVE(&kp->foreign, fc, link);
    atomic_store_explicit(&fc->npages, npages, memory_order_release);
}

/* Record what the VMA at `page` maps: a frame, or FOREIGN_NONE. */
static void
chunk_note(struct kvm_pmap *kp, struct foreign_chunk *fc, uint64_t page, vm_frame_t frame)
    VM_REQUIRES(kp->foreign_lock)
{
    uint32_t *old = &fc->frame[page % PMAP_CHUNK_PAGES];
    unsigned npages = atomic_load_explicit(&fc->npages, memory_order_relaxed);

    if (*old == FOREIGN_NONE && frame != FOREIGN_NONE)
        chunk_set_npages(kp, fc, npages + 1);
    if (*old != FOREIGN_NONE && frame == FOREIGN_NONE)
        chunk_set_npages(kp, fc, npages - 1);
    *old = (uint32_t)frame;
}

/* The record of the chunk around `page`, made if need be; NULL without memory.  P and F held. */
static struct foreign_chunk *
chunk_get(struct kvm_window *kw, uint64_t page)
{
    _Atomic(struct foreign_chunk *) *slot = chunk_slot(kw, page);
    struct foreign_chunk *fc = atomic_load_explicit(slot, memory_order_acquire);

    if (fc != NULL)
        return fc;
    fc = malloc(sizeof(*fc));
    if (fc == NULL)
        return NULL;
    fc->window = kw;
    fc->first = chunk_number(page) * PMAP_CHUNK_PAGES;
    atomic_init(&fc->npages, 0);
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES; i++)
        fc->frame[i] = FOREIGN_NONE;
    atomic_store_explicit(slot, fc, memory_order_release);
    return fc;
}

bool
kvm_window_has_foreign(const struct kvm_window *kw, uint64_t page)
{
    struct foreign_chunk *fc = atomic_load_explicit(chunk_slot(kw, page), memory_order_acquire);

    return fc != NULL && atomic_load_explicit(&fc->npages, memory_order_acquire) != 0;
}

static bool
is_natural(const struct kvm_window *kw, uint64_t page, vm_frame_t frame)
{
    return kw->natural != PMAP_NO_NATURAL && frame == kw->natural + (page - kw->first);
}

bool
kvm_window_maps(const struct kvm_window *kw, uint64_t page, vm_frame_t frame)
{
    struct foreign_chunk *fc = atomic_load_explicit(chunk_slot(kw, page), memory_order_acquire);
    vm_frame_t mapped = fc == NULL ? FOREIGN_NONE : fc->frame[page % PMAP_CHUNK_PAGES];

    if (mapped != FOREIGN_NONE)
        return mapped == frame;
    return is_natural(kw, page, frame);
}

/* Forget the foreign pages in a range that has just become home. */
static void
note_home(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, uint64_t npages)
    VM_REQUIRES(kp->foreign_lock)
{
    uint64_t end = page + npages;

    while (page < end) {
        struct foreign_chunk *fc = atomic_load_explicit(chunk_slot(kw, page), memory_order_acquire);
        uint64_t stop = (chunk_number(page) + 1) * PMAP_CHUNK_PAGES;
        if (stop > end)
            stop = end;
        if (fc == NULL || atomic_load_explicit(&fc->npages, memory_order_relaxed) == 0)
            page = stop;
        for (; page < stop; page++)
            chunk_note(kp, fc, page, FOREIGN_NONE);
    }
}

/* --- home ---------------------------------------------------------------- */

static int
map_home(struct kvm_window *kw, uint64_t page, uint64_t npages, vm_frame_t natural)
{
    struct kvm_pmap *kp = kw->kpmap;
    uint64_t index = page - kw->first;

    if (natural == PMAP_NO_NATURAL)
        return map_file(kp, page, npages, PROT_NONE, kp->placeholder, index);
    return map_file(kp, page, npages, PROT_NONE, kp->sys->memfd, natural + index);
}

static int
send_home(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, uint64_t npages,
          vm_frame_t natural) VM_REQUIRES(kp->foreign_lock)
{
    int error = map_home(kw, page, npages, natural);

    if (error != 0)
        return error;
    note_home(kp, kw, page, npages);
    error = uffd_register(&kp->uffd, kvm_window_address(kp, page), npages);
    if (error != 0)
        return error;
    return kvm_window_open(kp, page, npages);
}

int
kvm_window_send_home(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, uint64_t npages)
{
    return send_home(kp, kw, page, npages, kw->natural);
}

/* Drop the foreign pages of the chunk that has had some the longest, `spare` excepted. */
static bool
evict_oldest(struct kvm_pmap *kp, const struct foreign_chunk *spare) VM_REQUIRES(kp->foreign_lock)
{
    struct foreign_chunk *fc = TAILQ_FIRST(&kp->foreign);

    if (fc == spare && fc != NULL)
        fc = TAILQ_NEXT(fc, link);
    if (fc == NULL)
        return false;
    struct kvm_window *kw = fc->window;
    uint64_t first = fc->first > kw->first ? fc->first : kw->first;
    uint64_t end = fc->first + PMAP_CHUNK_PAGES;
    if (end > kw->first + kw->npages)
        end = kw->first + kw->npages;
    unsigned npages = atomic_load_explicit(&fc->npages, memory_order_relaxed);
    if (send_home(kp, kw, first, end - first, kw->natural) != 0)
        return false;
    kp->foreign_evictions += npages;
    return true;
}

static void
make_room(struct kvm_pmap *kp, const struct foreign_chunk *fc, unsigned npages)
    VM_REQUIRES(kp->foreign_lock)
{
    while (kp->vmas + 2 * (uint64_t)npages > kp->vma_limit)
        if (!evict_oldest(kp, fc))
            break;
}

/* --- remap --------------------------------------------------------------- */

/* How many of the frames are contiguous, from the first on. */
static unsigned
frames_in_a_row(const struct pmap_frame *frames, unsigned npages)
{
    unsigned n = 1;

    while (n < npages && frames[n].frame == frames[0].frame + n)
        n++;
    return n;
}

/* Map a row of frames and record it.  Other users of the process may
 * have used up the VMAs: then make room as long as there is something to drop. */
static int
map_row(struct kvm_pmap *kp, struct kvm_window *kw, struct foreign_chunk *fc, uint64_t page,
        unsigned npages, vm_frame_t frame, int prot) VM_REQUIRES(kp->foreign_lock)
{
    int error;

    do
        error = map_file(kp, page, npages, prot, kp->sys->memfd, frame);
    while (error == -ENOMEM && evict_oldest(kp, fc));
    for (unsigned i = 0; i < npages && error == 0; i++) {
        bool natural = is_natural(kw, page + i, frame + i);
        chunk_note(kp, fc, page + i, natural ? FOREIGN_NONE : frame + i);
    }
    return error;
}

/* Install a row that is mapped and registered.  Read-only ones are not writable yet: nothing
 * can be written between installing a page and protecting it. */
static int
install_row(struct kvm_pmap *kp, uint64_t page, unsigned npages, unsigned how)
{
    bool late = (how & UFFD_WRITE) == 0 && !kp->uffd.continue_wp;
    void *at = kvm_window_address(kp, page);
    unsigned done;
    int error =
        uffd_enter(&kp->uffd, at, npages, how | UFFD_QUIET | (late ? UFFD_WRITE : 0), &done);

    if (error == 0 && late)
        error = uffd_protect(&kp->uffd, at, npages);
    return error;
}

/* What may be done to a row from the moment it is mapped, until kvm_window_open. */
static int
prot_until_open(const struct kvm_pmap *kp, uint64_t page, unsigned npages, unsigned how)
{
    if ((how & UFFD_FILL) != 0 || !may_open_all(kp, page, npages))
        return PROT_NONE;
    return (how & UFFD_WRITE) != 0 ? PROT_READ | PROT_WRITE : PROT_READ;
}

static int
remap_rows(struct kvm_pmap *kp, struct kvm_window *kw, struct foreign_chunk *fc, uint64_t page,
           unsigned npages, const struct pmap_frame *frames, unsigned how)
    VM_REQUIRES(kp->foreign_lock)
{
    int prot = prot_until_open(kp, page, npages, how);
    int error = 0;
    unsigned n;

    for (unsigned i = 0; i < npages && error == 0; i += n) {
        n = frames_in_a_row(frames + i, npages - i);
        error = map_row(kp, kw, fc, page + i, n, frames[i].frame, prot);
    }
    if (error == 0)
        error = uffd_register(&kp->uffd, kvm_window_address(kp, page), npages);
    for (unsigned i = 0; i < npages && error == 0; i += n) {
        n = frames_in_a_row(frames + i, npages - i);
        error = install_row(kp, page + i, n, how);
    }
    if (error == 0 && prot != (PROT_READ | PROT_WRITE))
        error = kvm_window_open(kp, page, npages);
    return error;
}

int
kvm_window_remap(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, unsigned npages,
                 const struct pmap_frame *frames, unsigned how)
{
    struct foreign_chunk *fc = chunk_get(kw, page);

    if (fc == NULL)
        return -ENOMEM;
    make_room(kp, fc, npages);
    int error = remap_rows(kp, kw, fc, page, npages, frames, how);
    if (error == 0)
        return uffd_wake(&kp->uffd, kvm_window_address(kp, page), npages);
    int undo = send_home(kp, kw, page, npages, kw->natural);
    return undo != 0 ? undo : error;
}

/* --- windows ------------------------------------------------------------- */

struct kvm_window *
kvm_window_find(struct kvm_pmap *kp, uint64_t page)
{
    struct kvm_window *kw = vm_ranges_after(&kp->windows, page);

    return kw != NULL && kw->first <= page ? kw : NULL;
}

static int
list_insert(struct kvm_pmap *kp, struct kvm_window *kw) VM_REQUIRES(kp->foreign_lock)
{
    int error = vm_ranges_reserve(&kp->windows);

    if (error == 0)
        vm_ranges_insert(&kp->windows, vm_ranges_search(&kp->windows, kw->first),
                         kw->first + kw->npages, kw);
    return error;
}

static void
list_remove(struct kvm_pmap *kp, const struct kvm_window *kw) VM_REQUIRES(kp->foreign_lock)
{
    assert(kvm_window_find(kp, kw->first) == kw);
    vm_ranges_remove(&kp->windows, vm_ranges_search(&kp->windows, kw->first));
}

static void
forget_failed(struct kvm_pmap *kp, const struct kvm_window *kw) VM_REQUIRES(kp->foreign_lock)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < kp->nfailed; i++)
        if (kp->failed[i].page - kw->first >= kw->npages)
            kp->failed[kept++] = kp->failed[i];
    kp->nfailed = kept;
}

static struct kvm_window *
window_alloc(struct kvm_pmap *kp, uint64_t first, uint64_t npages, vm_frame_t natural)
{
    struct kvm_window *kw = calloc(1, sizeof(*kw));

    if (kw == NULL)
        return NULL;
    kw->kpmap = kp;
    kw->first = first;
    kw->npages = npages;
    kw->natural = natural;
    kw->nchunks = chunk_number(first + npages - 1) - chunk_number(first) + 1;
    kw->chunks = calloc(kw->nchunks, sizeof(kw->chunks[0]));
    if (kw->chunks == NULL) {
        free(kw);
        return NULL;
    }
    return kw;
}

int
kvm_window_create(struct kvm_pmap *kp, uint64_t first, uint64_t npages, vm_frame_t natural,
                  struct kvm_window **kwp)
{
    struct kvm_window *kw = window_alloc(kp, first, npages, natural);

    if (kw == NULL)
        return -ENOMEM;
    vm_mutex_lock(&kp->foreign_lock);
    int error = send_home(kp, kw, first, npages, natural);
    if (error == 0)
        error = list_insert(kp, kw);
    if (error != 0)
        (void)reserve(kp, first, npages); /* what stays mapped is in no memslot */
    vm_mutex_unlock(&kp->foreign_lock);
    if (error != 0) {
        kvm_window_destroy(kw);
        return error;
    }
    *kwp = kw;
    return 0;
}

void
kvm_window_close(struct kvm_window *kw)
{
    struct kvm_pmap *kp = kw->kpmap;

    vm_mutex_lock(&kp->foreign_lock);
    list_remove(kp, kw);
    forget_failed(kp, kw);
    note_home(kp, kw, kw->first, kw->npages);
    int error = reserve(kp, kw->first, kw->npages);
    if (error != 0)
        error = make_inaccessible(kp, kw->first, kw->npages);
    assert(error == 0); /* neither needs a VMA more than there are */
    (void)uffd_wake(&kp->uffd, kvm_window_address(kp, kw->first), kw->npages);
    vm_mutex_unlock(&kp->foreign_lock);
}

void
kvm_window_destroy(struct kvm_window *kw)
{
    for (uint64_t i = 0; i < kw->nchunks; i++)
        free(atomic_load_explicit(&kw->chunks[i], memory_order_relaxed));
    free((void *)(uintptr_t)kw->chunks);
    free(kw);
}

int
kvm_window_rebase(struct kvm_window *kw, vm_frame_t natural)
{
    struct kvm_pmap *kp = kw->kpmap;

    vm_mutex_lock(&kp->foreign_lock);
    int error = send_home(kp, kw, kw->first, kw->npages, natural);
    if (error == 0)
        kw->natural = natural;
    else if (send_home(kp, kw, kw->first, kw->npages, kw->natural) != 0)
        (void)make_inaccessible(kp, kw->first, kw->npages);
    vm_mutex_unlock(&kp->foreign_lock);
    return error;
}
