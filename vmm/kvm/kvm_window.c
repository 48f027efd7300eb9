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

#include "vmm/base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* VMAs that a mapping of natural frames can make: its own, and what it cuts in two. */
#define HOME_VMAS 2u

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

/* --- failures ------------------------------------------------------------ */

/* A change failed, and the caller goes on as if it had not: the VM must end. */
static void
note_failure(struct kvm_pmap *kp, uint64_t page, int error) VM_REQUIRES(kp->foreign_lock)
{
    if (kp->failure != 0)
        return;
    kp->failure = error;
    kp->failed_page = page;
}

void
kvm_pmap_unlock(struct kvm_pmap *kp)
{
    char message[sizeof(struct limits_reason) + 80];
    uint64_t page = kp->failed_page;
    int error = kp->failure;

    kp->failure = 0;
    vm_mutex_unlock(&kp->foreign_lock);
    if (error == 0)
        return;
    snprintf(message, sizeof(message), "cannot change the mapping of guest address 0x%llx: %s",
             (unsigned long long)(page << PAGE_SHIFT), limits_explain(error).text);
    kp->fatal(kp->context, message);
}

/* --- VMAs ---------------------------------------------------------------- */

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

/* Would open_pages make all of the pages accessible? */
static bool
may_open_all(const struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    return !kp->aborted && next_failed(kp, page, page + npages) == page + npages;
}

/* Make pages accessible, failed ones excepted. */
static int
open_pages(struct kvm_pmap *kp, uint64_t page, uint64_t npages) VM_REQUIRES(kp->foreign_lock)
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

static uint32_t *
chunk_frame(struct foreign_chunk *fc, uint64_t page)
{
    assert(page - fc->first < fc->size);
    return &fc->frame[page - fc->first];
}

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
    uint32_t *old = chunk_frame(fc, page);
    unsigned npages = atomic_load_explicit(&fc->npages, memory_order_relaxed);

    if (*old == FOREIGN_NONE && frame != FOREIGN_NONE)
        chunk_set_npages(kp, fc, npages + 1);
    if (*old != FOREIGN_NONE && frame == FOREIGN_NONE)
        chunk_set_npages(kp, fc, npages - 1);
    *old = (uint32_t)frame;
}

/* An empty record of what the window has of the chunk around `page`; NULL without memory. */
static struct foreign_chunk *
chunk_alloc(struct kvm_window *kw, uint64_t page)
{
    uint64_t first = chunk_number(page) * PMAP_CHUNK_PAGES;
    uint64_t end = first + PMAP_CHUNK_PAGES;
    struct foreign_chunk *fc;

    if (first < kw->first)
        first = kw->first;
    if (end > kw->first + kw->npages)
        end = kw->first + kw->npages;
    fc = malloc(sizeof(*fc) + (end - first) * sizeof(fc->frame[0]));
    if (fc == NULL)
        return NULL;
    fc->window = kw;
    fc->first = first;
    fc->size = (unsigned)(end - first);
    atomic_init(&fc->npages, 0);
    for (unsigned i = 0; i < fc->size; i++)
        fc->frame[i] = FOREIGN_NONE;
    return fc;
}

/* The record of the chunk around `page`, made if need be; NULL without memory.  P and
 * `foreign` held. */
static struct foreign_chunk *
chunk_get(struct kvm_window *kw, uint64_t page)
{
    _Atomic(struct foreign_chunk *) *slot = chunk_slot(kw, page);
    struct foreign_chunk *fc = atomic_load_explicit(slot, memory_order_acquire);

    if (fc != NULL)
        return fc;
    fc = chunk_alloc(kw, page);
    if (fc == NULL)
        return NULL;
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
    vm_frame_t mapped = fc == NULL ? FOREIGN_NONE : *chunk_frame(fc, page);

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
map_placeholder(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    return map_file(kp, page, npages, PROT_NONE, kp->placeholder, page);
}

static int
map_home(const struct kvm_window *kw, uint64_t page, uint64_t npages, vm_frame_t natural)
{
    struct kvm_pmap *kp = kw->kpmap;

    if (natural == PMAP_NO_NATURAL)
        return map_placeholder(kp, page, npages);
    return map_file(kp, page, npages, PROT_NONE, kp->sys->memfd, natural + (page - kw->first));
}

static int
register_and_open(struct kvm_pmap *kp, uint64_t page, uint64_t npages) VM_REQUIRES(kp->foreign_lock)
{
    int error = uffd_register(&kp->uffd, kvm_window_address(kp, page), npages);

    return error == 0 ? open_pages(kp, page, npages) : error;
}

/* Make pages home; where that is may be another place than before. */
static int
send_home(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, uint64_t npages,
          vm_frame_t natural) VM_REQUIRES(kp->foreign_lock)
{
    int error = map_home(kw, page, npages, natural);

    if (error != 0)
        return error;
    note_home(kp, kw, page, npages);
    return register_and_open(kp, page, npages);
}

/* --- room ---------------------------------------------------------------- */

/* Drop the foreign pages of the chunk that has had some the longest, `spare` excepted. */
static bool
evict_oldest(struct kvm_pmap *kp, const struct foreign_chunk *spare) VM_REQUIRES(kp->foreign_lock)
{
    struct foreign_chunk *fc = TAILQ_FIRST(&kp->foreign);

    if (fc == spare && fc != NULL)
        fc = TAILQ_NEXT(fc, link);
    if (fc == NULL)
        return false;
    unsigned npages = atomic_load_explicit(&fc->npages, memory_order_relaxed);
    int error = send_home(kp, fc->window, fc->first, fc->size, fc->window->natural);
    if (error != 0)
        note_failure(kp, fc->first, error);
    kp->foreign_evictions += npages;
    return error == 0;
}

/*
 * Is a failed change worth another attempt?  Where the kernel has no room for VMAs,
 * as long as there is something to drop: others in the process may have used it up.
 */
static bool
found_room(struct kvm_pmap *kp, int error, const struct foreign_chunk *spare)
    VM_REQUIRES(kp->foreign_lock)
{
    return error == -ENOMEM && evict_oldest(kp, spare);
}

/* Drop old foreign pages until there is room for so many VMAs. */
static void
make_room(struct kvm_pmap *kp, const struct foreign_chunk *spare, uint64_t vmas)
    VM_REQUIRES(kp->foreign_lock)
{
    while (kp->vmas + vmas > kp->vma_limit)
        if (!evict_oldest(kp, spare))
            break;
}

static int
send_home_surely(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, uint64_t npages,
                 vm_frame_t natural) VM_REQUIRES(kp->foreign_lock)
{
    int error;

    do
        error = send_home(kp, kw, page, npages, natural);
    while (found_room(kp, error, NULL));
    return error;
}

void
kvm_window_send_home(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, uint64_t npages)
{
    int error = send_home_surely(kp, kw, page, npages, kw->natural);

    if (error != 0)
        note_failure(kp, page, error);
}

int
kvm_window_open(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    int error;

    do
        error = open_pages(kp, page, npages);
    while (found_room(kp, error, NULL));
    return error;
}

void
kvm_window_register(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    int error;

    do
        error = uffd_register(&kp->uffd, kvm_window_address(kp, page), npages);
    while (found_room(kp, error, NULL));
    if (error != 0)
        note_failure(kp, page, error);
}

int
kvm_window_detach(struct kvm_pmap *kp, const struct kvm_window *kw, uint64_t page, uint64_t npages)
{
    int error;

    do
        error = map_home(kw, page, npages, kw->natural);
    while (found_room(kp, error, NULL));
    return error;
}

void
kvm_window_open_surely(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    int error = kvm_window_open(kp, page, npages);

    if (error != 0)
        note_failure(kp, page, error);
}

bool
kvm_window_has_failed(const struct kvm_pmap *kp, uint64_t page, uint64_t npages)
{
    return !may_open_all(kp, page, npages);
}

int
kvm_window_shut(struct kvm_pmap *kp, uint64_t page)
{
    int error;

    do
        error = mprotect(kvm_window_address(kp, page), PAGE_SIZE, PROT_NONE) == 0 ? 0 : -errno;
    while (found_room(kp, error, NULL));
    return error;
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

/* Map a row of frames and record it. */
static int
map_row(struct kvm_pmap *kp, struct kvm_window *kw, struct foreign_chunk *fc, uint64_t page,
        unsigned npages, vm_frame_t frame, int prot) VM_REQUIRES(kp->foreign_lock)
{
    int error = map_file(kp, page, npages, prot, kp->sys->memfd, frame);

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

/* What may be done to a row from the moment it is mapped, until open_pages. */
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
        error = open_pages(kp, page, npages);
    return error;
}

int
kvm_window_remap(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, unsigned npages,
                 const struct pmap_frame *frames, unsigned how)
{
    struct foreign_chunk *fc = chunk_get(kw, page);

    if (fc == NULL)
        return -ENOMEM;
    make_room(kp, fc, 2 * (uint64_t)npages);
    int error;
    do
        error = remap_rows(kp, kw, fc, page, npages, frames, how);
    while (found_room(kp, error, fc));
    if (error == 0)
        return uffd_wake(&kp->uffd, kvm_window_address(kp, page), npages);
    kvm_window_send_home(kp, kw, page, npages);
    return error;
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

static void
window_free(struct kvm_window *kw)
{
    for (uint64_t i = 0; kw->chunks != NULL && i < kw->nchunks; i++)
        free(atomic_load_explicit(&kw->chunks[i], memory_order_relaxed));
    free((void *)(uintptr_t)kw->chunks);
    free(kw->promoted);
    free(kw);
}

/* A window whose home is the placeholder. */
static struct kvm_window *
window_alloc(struct kvm_pmap *kp, uint64_t first, uint64_t npages)
{
    struct kvm_window *kw = calloc(1, sizeof(*kw));

    if (kw == NULL)
        return NULL;
    kw->kpmap = kp;
    kw->first = first;
    kw->npages = npages;
    kw->natural = PMAP_NO_NATURAL;
    kw->nchunks = chunk_number(first + npages - 1) - chunk_number(first) + 1;
    kw->chunks = calloc(kw->nchunks, sizeof(kw->chunks[0]));
    kw->promoted = calloc((kw->nchunks + 63) / 64, sizeof(kw->promoted[0]));
    if (kw->chunks == NULL || kw->promoted == NULL) {
        window_free(kw);
        return NULL;
    }
    return kw;
}

/* Count the VMAs of the window's home mapping, which is another from now on. */
static void
set_home(struct kvm_pmap *kp, struct kvm_window *kw, vm_frame_t natural)
    VM_REQUIRES(kp->foreign_lock)
{
    uint64_t before = kw->natural != PMAP_NO_NATURAL ? HOME_VMAS : 0;
    uint64_t now = natural != PMAP_NO_NATURAL ? HOME_VMAS : 0;

    kp->home_vmas += now - before;
    kp->vmas += now - before;
    kw->natural = natural;
}

static bool
has_room_for_home(const struct kvm_pmap *kp, const struct kvm_window *kw)
    VM_REQUIRES(kp->foreign_lock)
{
    return kw->natural != PMAP_NO_NATURAL || kp->home_vmas + HOME_VMAS <= kp->vma_limit / 2;
}

/* Make all pages of the window home, at their natural frames if there is room for that. */
static void
window_settle(struct kvm_pmap *kp, struct kvm_window *kw, vm_frame_t natural)
    VM_REQUIRES(kp->foreign_lock)
{
    int error = -ENOMEM;

    if (natural != PMAP_NO_NATURAL && has_room_for_home(kp, kw)) {
        make_room(kp, NULL, HOME_VMAS);
        error = send_home_surely(kp, kw, kw->first, kw->npages, natural);
    }
    if (error != 0) {
        natural = PMAP_NO_NATURAL;
        error = send_home_surely(kp, kw, kw->first, kw->npages, natural);
    }
    if (error != 0)
        note_failure(kp, kw->first, error);
    set_home(kp, kw, natural);
}

int
kvm_window_create(struct kvm_pmap *kp, uint64_t first, uint64_t npages, vm_frame_t natural,
                  struct kvm_window **kwp)
{
    struct kvm_window *kw = window_alloc(kp, first, npages);

    if (kw == NULL)
        return -ENOMEM;
    vm_mutex_lock(&kp->foreign_lock);
    int error = list_insert(kp, kw);
    if (error == 0 && natural != PMAP_NO_NATURAL)
        window_settle(kp, kw, natural);
    kvm_pmap_unlock(kp);
    if (error != 0) {
        window_free(kw);
        return error;
    }
    *kwp = kw;
    return 0;
}

void
kvm_window_close(struct kvm_window *kw)
{
    struct kvm_pmap *kp = kw->kpmap;
    int error;

    vm_mutex_lock(&kp->foreign_lock);
    kw->closing = true;
    forget_failed(kp, kw);
    note_home(kp, kw, kw->first, kw->npages);
    do
        error = map_placeholder(kp, kw->first, kw->npages);
    while (found_room(kp, error, NULL));
    if (error != 0)
        note_failure(kp, kw->first, error);
    set_home(kp, kw, PMAP_NO_NATURAL);
    (void)uffd_wake(&kp->uffd, kvm_window_address(kp, kw->first), kw->npages);
    kvm_pmap_unlock(kp);
}

void
kvm_window_destroy(struct kvm_window *kw)
{
    struct kvm_pmap *kp = kw->kpmap;
    int error;

    vm_mutex_lock(&kp->foreign_lock);
    do
        error = register_and_open(kp, kw->first, kw->npages);
    while (found_room(kp, error, NULL));
    if (error != 0)
        note_failure(kp, kw->first, error);
    list_remove(kp, kw);
    kvm_pmap_unlock(kp);
    window_free(kw);
}

void
kvm_window_rebase(struct kvm_window *kw, vm_frame_t natural)
{
    struct kvm_pmap *kp = kw->kpmap;

    vm_mutex_lock(&kp->foreign_lock);
    window_settle(kp, kw, natural);
    kvm_pmap_unlock(kp);
}

int
kvm_space_init(struct kvm_pmap *kp)
{
    const uint64_t npages = KVM_PMAP_SPACE >> PAGE_SHIFT;

    vm_mutex_lock(&kp->foreign_lock);
    int error = map_placeholder(kp, 0, npages);
    if (error == 0)
        error = register_and_open(kp, 0, npages);
    vm_mutex_unlock(&kp->foreign_lock);
    return error;
}
