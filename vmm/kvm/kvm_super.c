/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Promoted chunks on Linux: 2 MiB of a window that userfaultfd knows nothing of, and MADV_COLLAPSE makes a
 * huge page of what they map.
 *
 *     map afresh, inaccessible, chunk and page behind -> fill one page -> collapse
 *                                  -> register the page behind -> open both -> wake
 *
 * Who waits for a page of the chunk sleeps on until the end (fact 1); who touches one meanwhile gets EFAULT
 * from KVM_RUN and runs again.  From then on the kernel serves the touches: with the frame as it is, or a page of
 * zeros where that is a hole, which is what the engine says of the chunk.  So nothing is to be undone
 * when the kernel makes no huge page (no memory in one piece): small ones do.  Fact 11:
 *  - of nothing but holes no huge page is made, hence one page first, through the direct map; and the call goes
 *    there, since it wants a page table at its address;
 *  - nor while a mapping reports missing pages of the range or of the page behind it (the kernel's
 *    comparison has an end too many).  So that page leaves userfaultfd for the moment, inaccessible: it counts
 *    as failed, so that nobody opens it.  It is a hole, since KVM takes page table entries that it cannot read for
 *    zeros (fact 2); so are those of the chunk.
 *
 * Demotion registers the range and drops its mappings, in this order: from then on every touch is
 * reported, and until then all of them are allowed.
 *
 * VMAs: a row of promoted chunks is one; the rows are counted like home mappings.
 *
 * Source: Linux mm/khugepaged.c (collapse_file), madvise(2).
 */
#include "vmm/kvm/kvm_window.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SUPER_SIZE ((uint64_t)PMAP_CHUNK_PAGES << PAGE_SHIFT)

/* VMAs of a row of promoted chunks: itself, and what it cuts in two. */
#define ROW_VMAS 2u

/* The kernel refused so many in a row: it will go on so. */
#define REFUSALS_MAX 4u

/* --- VMAs, with `foreign` held ------------------------------------------- */

static bool
is_promoted(const struct kvm_window *kw, uint64_t chunk)
{
    return chunk < kw->nchunks && (kw->promoted[chunk / 64] >> chunk % 64 & 1) != 0;
}

/* How many rows more there are with the chunk promoted than without: 1, 0 or -1. */
static int
rows_by(const struct kvm_window *kw, uint64_t chunk)
{
    return 1 - is_promoted(kw, chunk + 1) - (chunk != 0 && is_promoted(kw, chunk - 1));
}

/* Note that the chunk is promoted from now on, or is not any more. */
static void
set_promoted(struct kvm_window *kw, uint64_t chunk, bool promoted)
{
    struct kvm_pmap *kp = kw->kpmap;
    int64_t vmas = (int64_t)ROW_VMAS * rows_by(kw, chunk);

    kp->vmas += (uint64_t)(promoted ? vmas : -vmas);
    kp->home_vmas += (uint64_t)(promoted ? vmas : -vmas);
    kw->promoted[chunk / 64] ^= (uint64_t)1 << chunk % 64;
}

/* Natural mappings stay at half of the VMAs, one more row and the page behind it included. */
static bool
has_room(const struct kvm_pmap *kp) VM_REQUIRES(kp->foreign_lock)
{
    return kp->home_vmas + 2 * ROW_VMAS <= kp->vma_limit / 2;
}

static uint64_t
chunk_index(const struct kvm_window *kw, uint64_t page)
{
    return page / PMAP_CHUNK_PAGES - kw->first / PMAP_CHUNK_PAGES;
}

/* --- promotion ----------------------------------------------------------- */

/* May the chunk leave userfaultfd just now?  What is behind it must not be in the way. */
static int
may_leave(const struct kvm_pmap *kp, const struct kvm_window *kw, uint64_t page, bool hole)
    VM_REQUIRES(kp->foreign_lock)
{
    if (!has_room(kp))
        return -ENOSPC;
    if (kvm_window_has_failed(kp, page, PMAP_CHUNK_PAGES + hole))
        return -EBUSY;
    if (!hole && page + PMAP_CHUNK_PAGES - kw->first < kw->npages &&
        !is_promoted(kw, chunk_index(kw, page) + 1))
        return -EBUSY;
    return 0;
}

/* The page behind the chunk is as it was. */
static void
open_behind(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page) VM_REQUIRES(kp->foreign_lock)
{
    kvm_window_register(kp, page, 1);
    if (kvm_pmap_drop_failed(kp, page) != 0)
        kvm_window_send_home(kp, kw, page, 1);
}

/*
 * Let the chunk leave userfaultfd, with the page behind it if that is a hole; they are inaccessible.  On failure
 * nothing is changed.
 */
static int
leave_userfaultfd(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, bool hole)
    VM_REQUIRES(kp->foreign_lock)
{
    int error = may_leave(kp, kw, page, hole);

    if (error == 0 && hole)
        error = kvm_pmap_add_failed(kp, page + PMAP_CHUNK_PAGES);
    if (error != 0)
        return error;
    error = kvm_window_detach(kp, kw, page, PMAP_CHUNK_PAGES + hole);
    if (error == 0) {
        set_promoted(kw, chunk_index(kw, page), true);
        return 0;
    }
    kvm_window_send_home(kp, kw, page, PMAP_CHUNK_PAGES + hole);
    if (hole)
        open_behind(kp, kw, page + PMAP_CHUNK_PAGES);
    return error;
}

/* Ask for the huge page. */
static void
collapse(struct kvm_pmap *kp, vm_frame_t frame)
{
    uint8_t *at = vm_frame_address(kp->sys, frame);

    (void)__atomic_fetch_or(at, 0, __ATOMIC_RELAXED);
    if (madvise(at, SUPER_SIZE, MADV_COLLAPSE) == 0) {
        atomic_fetch_add_explicit(&kp->superpages, 1, memory_order_relaxed);
        atomic_store_explicit(&kp->superpages_failing, 0, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&kp->superpages_refused, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&kp->superpages_failing, 1, memory_order_relaxed);
    }
}

/* Open the chunk, which may fail where the pages behind a failed one need a VMA: the VM ends then. */
static void
open_chunk(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, bool hole)
    VM_REQUIRES(kp->foreign_lock)
{
    if (hole)
        open_behind(kp, kw, page + PMAP_CHUNK_PAGES);
    kvm_window_open_surely(kp, page, PMAP_CHUNK_PAGES);
    (void)uffd_wake(&kp->uffd, kvm_window_address(kp, page), PMAP_CHUNK_PAGES + hole);
}

int
kvm_super_promote(void *md, struct pmap_window *w, uint64_t first, bool hole)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;
    uint64_t page = kw->first + first;

    if (atomic_load_explicit(&kp->superpages_failing, memory_order_relaxed) >= REFUSALS_MAX)
        return -EOPNOTSUPP;
    if (kw->natural == PMAP_NO_NATURAL || kvm_window_has_foreign(kw, page))
        return -EBUSY;
    vm_mutex_lock(&kp->foreign_lock);
    int error = leave_userfaultfd(kp, kw, page, hole);
    kvm_pmap_unlock(kp);
    if (error != 0)
        return error;
    collapse(kp, kw->natural + first);
    kvm_pmap_announce_wakeup(kp, page);
    kvm_pmap_announce_wakeup(kp, page + PMAP_CHUNK_PAGES);
    vm_mutex_lock(&kp->foreign_lock);
    open_chunk(kp, kw, page, hole);
    kvm_pmap_unlock(kp);
    return 0;
}

/* --- demotion ------------------------------------------------------------ */

void
kvm_super_demote(void *md, struct pmap_window *w, uint64_t first)
{
    struct kvm_pmap *kp = md;
    struct kvm_window *kw = w->md;
    uint64_t page = kw->first + first;

    vm_mutex_lock(&kp->foreign_lock);
    set_promoted(kw, chunk_index(kw, page), false);
    kvm_window_register(kp, page, PMAP_CHUNK_PAGES);
    kvm_pmap_unlock(kp);
    kvm_pmap_ops.remove(kp, w, first, PMAP_CHUNK_PAGES);
}
