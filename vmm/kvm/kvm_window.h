/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows: the host address space behind guest-physical memory, and what is
 * mapped into it.  Internal to the machine half of the pmap.
 *
 * One reservation of KVM_PMAP_SPACE bytes holds them all: guest address G is
 * host address space + G.  It is one mapping of the placeholder file, which is always empty, so
 * that every touch faults.  Every page of a window is, at any time, either
 *   home:     part of the window's one large mapping of its natural frames, or for
 *             a window without such a mapping, of the placeholder;
 *   foreign:  mapped on its own to some frame; foreign_chunk.frame says which.
 * Outside windows there is the placeholder.  So a window without natural frames costs no VMA,
 * and one that has them can do without their mapping: its pages are then entered as foreign
 * ones, which can be given up.
 *
 * VMAs: the process may have vm.max_map_count.  At most half of what windows may use goes to
 * mappings of natural frames; windows that come later do without.  Where foreign ones need room,
 * or whenever the kernel says that there is none, the oldest foreign ones go home.
 *
 * Invariants:
 *  1. A page that a vCPU can touch is registered with userfaultfd, unless its chunk is promoted
 *     (kvm_super.c): a new mapping is inaccessible until it is (fact 2).  Only a filled frame that is being
 *     entered may be touched before, and written only if it is entered writable.
 *  2. foreign_chunk.frame[i] is what the VMA at that page maps.
 *  3. A failed page stays inaccessible until its count drops to 0; a closing window does until
 *     it is gone.
 *
 * A change of VMAs that fails where the caller cannot be told (the field `failure`) ends the VM,
 * when `foreign` has been let go of.
 *
 * Locks: `foreign` (foreign_lock) is held around everything that changes VMAs.  P comes before it,
 * nothing inside it.  A chunk's `npages` grows only under P and `foreign`, and shrinks under
 * `foreign`: who holds P and reads 0 needs no `foreign` to rely on it.
 */
#ifndef KVM_WINDOW_H
#define KVM_WINDOW_H

#include "vmm/kvm/kvm_pmap.h"
#include "vmm/kvm/memslot.h"
#include "vmm/kvm/uffd.h"

#include <stdatomic.h>

#define FOREIGN_NONE UINT32_MAX /* the page is home */

_Static_assert(VM_STORE_PAGES_MAX <= FOREIGN_NONE, "a frame fits foreign_chunk.frame");

#define WAKEUP_COUNTERS 1024

struct kvm_window;

/* Foreign pages of what a window has of one aligned range of PMAP_CHUNK_PAGES guest pages. */
struct foreign_chunk {
    TAILQ_ENTRY(foreign_chunk) link; /* foreign: on kvm_pmap.foreign while npages != 0 */
    struct kvm_window *window;       /* (c) borrowed */
    uint64_t first;                  /* (c) guest page number of frame[0] */
    unsigned size;                   /* (c) pages it has */
    _Atomic unsigned npages;         /* (a) foreign to write: foreign pages */
    uint32_t frame[];                /* foreign: a vm_frame_t, or FOREIGN_NONE */
};
TAILQ_HEAD(foreign_queue, foreign_chunk);

struct kvm_window {
    struct kvm_pmap *kpmap; /* (c) borrowed */
    uint64_t first;         /* (c) guest page number */
    uint64_t npages;        /* (c) */
    vm_frame_t natural; /* foreign, and no mapping of the window in use to write: its home mapping's
                           first frame, or PMAP_NO_NATURAL: home is the placeholder */
    bool closing;       /* foreign: inaccessible for good */
    uint64_t nchunks;   /* (c) */
    _Atomic(struct foreign_chunk *) *chunks; /* (a) owned; P and foreign to write */
    uint64_t *promoted;                      /* foreign: owned; bit per chunk (kvm_super.c) */
};

struct failed_page {
    uint64_t page; /* guest page number */
    unsigned count;
};

struct kvm_pmap {
    struct vm_system *sys; /* (c) borrowed */
    struct uffd uffd;      /* (c) */
    struct memslots slots;
    uint8_t *space;               /* (c) owned: KVM_PMAP_SPACE bytes */
    int placeholder;              /* (c) owned: a file without content */
    struct vm_mutex foreign_lock; /* foreign */
    struct vm_ranges windows;     /* foreign: struct kvm_window, owned by the pmap's */
    struct foreign_queue foreign; /* foreign: oldest first */
    uint64_t vmas;                /* foreign: most VMAs that windows can have made ... */
    uint64_t home_vmas;           /* foreign: ... and home mappings of these */
    uint64_t vma_limit;           /* foreign */
    int failure;                  /* foreign: a failure to tell, or 0 ... */
    uint64_t failed_page;         /* foreign: ... and where */
    struct failed_page *failed;   /* foreign: owned */
    unsigned nfailed;             /* foreign */
    bool aborted;                 /* foreign */
    void (*fatal)(void *context, const char *message); /* (c) */
    void *context;                                     /* (c) borrowed */
    _Atomic uint64_t wakeups[WAKEUP_COUNTERS];         /* (a) by chunk, hashed */
    _Atomic uint64_t enter_calls;                      /* (a) */
    _Atomic uint64_t natural_pages;                    /* (a) */
    _Atomic uint64_t foreign_pages;                    /* (a) */
    _Atomic uint64_t continued_pages;                  /* (a) */
    uint64_t foreign_evictions;                        /* foreign */
    _Atomic uint64_t superpages;                       /* (a) huge pages the kernel made */
    _Atomic uint64_t superpages_refused;               /* (a) ... and did not */
    _Atomic unsigned superpages_failing;               /* (a) of the latest, in a row */
};

static inline void *
kvm_window_address(const struct kvm_pmap *kp, uint64_t page)
{
    return kp->space + (page << PAGE_SHIFT);
}

/* The window around a guest page, or NULL.  Locks: `foreign` held. */
struct kvm_window *kvm_window_find(struct kvm_pmap *kp, uint64_t page)
    VM_REQUIRES(kp->foreign_lock);

/* Let go of `foreign`, and tell of a failure that nobody was told of yet. */
void kvm_pmap_unlock(struct kvm_pmap *kp) VM_RELEASES(kp->foreign_lock);

/* Make a window of unmapped pages, without memslot.  Locks: takes `foreign`.  Returns 0 or
 * -ENOMEM. */
int kvm_window_create(struct kvm_pmap *kp, uint64_t first, uint64_t npages, vm_frame_t natural,
                      struct kvm_window **kwp) __attribute__((warn_unused_result));

/* Make its range inaccessible and wake its waiters.  Locks: takes `foreign`. */
void kvm_window_close(struct kvm_window *kw);

/* Free a closed window; its range, which no memslot shows for its sake any more, is the
 * placeholder's again.  Locks: takes `foreign`. */
void kvm_window_destroy(struct kvm_window *kw);

/* Give the window other natural frames; all its pages become home and unmapped.
 * Locks: takes `foreign`. */
void kvm_window_rebase(struct kvm_window *kw, vm_frame_t natural);

/* Might pages of the chunk around `page` be foreign?  Locks: P held. */
bool kvm_window_has_foreign(const struct kvm_window *kw, uint64_t page);

/* Does the VMA at `page` map `frame`?  Locks: `foreign` held, or P and !kvm_window_has_foreign. */
bool kvm_window_maps(const struct kvm_window *kw, uint64_t page, vm_frame_t frame);

/*
 * Map frames[0 .. npages) over the pages from `page`, install them as `how`
 * says (UFFD_*) and wake.  One chunk; losslessly (facts 2, 3).
 * Returns 0; on -errno all of them are home and unmapped.
 */
int kvm_window_remap(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page, unsigned npages,
                     const struct pmap_frame *frames, unsigned how) VM_REQUIRES(kp->foreign_lock)
    __attribute__((warn_unused_result));

/* Make pages home and unmapped.  A failure ends the VM. */
void kvm_window_send_home(struct kvm_pmap *kp, struct kvm_window *kw, uint64_t page,
                          uint64_t npages) VM_REQUIRES(kp->foreign_lock);

/* Make pages accessible, failed ones excepted.  Returns 0 or -errno. */
int kvm_window_open(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
    VM_REQUIRES(kp->foreign_lock) __attribute__((warn_unused_result));

/* Make one page inaccessible.  Returns 0 or -errno. */
int kvm_window_shut(struct kvm_pmap *kp, uint64_t page) VM_REQUIRES(kp->foreign_lock)
    __attribute__((warn_unused_result));

/* Count the page as failed and make it inaccessible; or undo that once.  Return 0 or -errno. */
int kvm_pmap_add_failed(struct kvm_pmap *kp, uint64_t page) VM_REQUIRES(kp->foreign_lock)
    __attribute__((warn_unused_result));
int kvm_pmap_drop_failed(struct kvm_pmap *kp, uint64_t page) VM_REQUIRES(kp->foreign_lock)
    __attribute__((warn_unused_result));

/* Is a page of the range failed, or has the VM ended? */
bool kvm_window_has_failed(const struct kvm_pmap *kp, uint64_t page, uint64_t npages)
    VM_REQUIRES(kp->foreign_lock);

/* Somebody who waits in the page's chunk is about to be woken. */
void kvm_pmap_announce_wakeup(struct kvm_pmap *kp, uint64_t page);

/* Map natural frames afresh, inaccessible and not registered.  Returns 0 or -errno: send them home. */
int kvm_window_detach(struct kvm_pmap *kp, const struct kvm_window *kw, uint64_t page,
                      uint64_t npages) VM_REQUIRES(kp->foreign_lock)
    __attribute__((warn_unused_result));

/* kvm_window_open; a failure ends the VM. */
void kvm_window_open_surely(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
    VM_REQUIRES(kp->foreign_lock);

/* Register pages again, as they were; a failure ends the VM. */
void kvm_window_register(struct kvm_pmap *kp, uint64_t page, uint64_t npages)
    VM_REQUIRES(kp->foreign_lock);

/* pmap_ops.promote and .demote (kvm_super.c). */
int kvm_super_promote(void *md, struct pmap_window *w, uint64_t first, bool hole);
void kvm_super_demote(void *md, struct pmap_window *w, uint64_t first);

/* Make the whole space the placeholder's, registered and accessible.  Returns 0 or -errno. */
int kvm_space_init(struct kvm_pmap *kp) __attribute__((warn_unused_result));

#endif
