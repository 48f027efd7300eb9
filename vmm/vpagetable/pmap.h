/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical map, machine-independent half: which page is mapped at which
 * GPA, and for each page the reverse: every (pmap, GPA) that maps it.
 *
 * The machine half is a `struct pmap_ops`; vmm/kvm implements it with memslots,
 * mmap and userfaultfd, the unit tests with an array.  A mapping is a cache: it
 * may be dropped at any time, and the next touch faults again.
 *
 * A *window* is a range of guest-physical space that has host address space and
 * a memslot.  It carries a forward table in *chunks*: what it has of an aligned
 * range of PMAP_CHUNK_PAGES guest pages, allocated on first use.  A chunk's lock
 * (P) is held across the machine operation, so that table and machine agree: the
 * machine never maps what the table does not have.  (It may lose a mapping on its
 * own; the next touch faults and pmap_enter refreshes it.)
 *
 * Invariants:
 *  1. A page in a forward table has exactly one reverse link for that place, and
 *     the other way round.  Both change under P (and the link under V).
 *  2. A chunk's table changes only while the windows lock is held at least shared.
 *  3. Only pages that are busy get new mappings; mappings go away at any time.
 *  4. No object has a slot of an extent that a window owns.
 *
 * Order: M, I, O, L (pmaps_lock), W (windows_lock), P, V.  None of the last four is held
 * when the engine's M, I or O is taken.
 */
#ifndef PMAP_H
#define PMAP_H

#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_ranges.h"

#define PMAP_CHUNK_PAGES 512

/* GPAs a pmap can map are below this (a reverse link has 48 bits for the page). */
#define PMAP_GPA_END ((uint64_t)1 << 60)

/* One page to be entered, as the machine half sees it. */
struct pmap_frame {
    vm_frame_t frame;
    vm_prot_t prot;      /* VM_PROT_READ, perhaps | VM_PROT_WRITE */
    bool fill;           /* the frame is a hole: entering makes it a page of zeros ... */
    const void *content; /* ... or of these bytes, which nobody writes to; NULL = zeros */
    bool same;    /* this frame is already mapped here; prot grows or the mapping is refreshed.
                        Clear: nothing is mapped here (another frame was removed before) */
    bool foreign; /* what is mapped here now, or was last, is not the natural frame */
};

struct pmap_window;

struct pmap_ops {
    /*
     * Reserve host space for w and expose it to the guest.  Returns 0 or -errno.
     * Locks: none held, here and in window_destroy: changing memslots waits for
     * vCPUs that are inside a fault, and these wait for the engine.
     */
    int (*window_create)(void *md, struct pmap_window *w);

    /* Undo window_create.  No page of w is mapped. */
    void (*window_destroy)(void *md, struct pmap_window *w);

    /*
     * w->natural changed: pages entered from now on have their natural frame at
     * w->natural + index, and `foreign` starts over as clear.  No page of w is mapped.
     * Returns 0, or -errno and nothing changed.
     */
    int (*window_rebase)(void *md, struct pmap_window *w);

    /*
     * Map npages from page index `first` of w and wake whoever waits for them.
     * It must be called for `same` pages too, even when prot does not grow: the
     * machine may have lost the mapping (host reclaim, eviction of foreign
     * mappings) without the table knowing; only `wake` for a page that a fault
     * was reported for would repeat that fault for ever.
     * All in one chunk.  *entered says how many, from the first on, are mapped on
     * return.  Returns 0 when all are, else -errno of the first that is not; that
     * one and those after it have what they had before.
     * Must not let a write to a page whose prot lacks WRITE go unseen.
     */
    int (*enter)(void *md, struct pmap_window *w, uint64_t first, unsigned npages,
                 const struct pmap_frame *frames, unsigned *entered);

    /*
     * Unmap npages from `first`, all in one chunk; when it returns no guest access
     * reaches the old frames.  Some of the pages may not be mapped.
     */
    void (*remove)(void *md, struct pmap_window *w, uint64_t first, uint64_t npages);

    /* Make mapped pages, all in one chunk, read-only; later writes fault. */
    void (*protect)(void *md, struct pmap_window *w, uint64_t first, uint64_t npages);

    /*
     * Map the PMAP_CHUNK_PAGES pages from `first`, an aligned chunk of which nothing is mapped, writable at
     * their natural frames, holes or not, and wake whoever waits for them.  A touch of one that is a hole
     * makes it a page of zeros; none of them is reported until `demote`, which comes before any
     * other operation on the chunk but `wake`.
     * `hole`: the page behind the chunk is one of the window's, and nothing is mapped there until this returns.
     * Returns 0; -EOPNOTSUPP when that is of no use here, now and later, or another -errno: nothing changed.
     */
    int (*promote)(void *md, struct pmap_window *w, uint64_t first, bool hole);

    /* Undo it: none of the pages is mapped, and touches are reported again. */
    void (*demote)(void *md, struct pmap_window *w, uint64_t first);

    /* Wake whoever waits for the pages; nothing changed. */
    void (*wake)(void *md, struct pmap_window *w, uint64_t first, uint64_t npages);
};

struct pmap_chunk; /* pmap.c */

struct pmap_window {
    struct pmap *pmap;                    /* (c) borrowed */
    gpa_t start;                          /* (c) */
    uint64_t npages;                      /* (c) */
    vm_frame_t natural;                   /* W: frame of page 0, or PMAP_NO_NATURAL */
    bool own;                             /* W: that is the first slot of an extent of its own */
    bool live;                            /* W: created, not being destroyed */
    _Atomic(struct pmap_chunk *) *chunks; /* (a) owned; NULL = nothing mapped there */
    uint64_t nchunks;                     /* (c) */
    bool costly;                          /* (c) window_create had no room for natural frames */
    void *md;                             /* the machine half's */
};

#define PMAP_NO_NATURAL UINT64_MAX

/* For pmap_window_add: an extent of the window's own, if there is room for one. */
#define PMAP_OWN_NATURAL (UINT64_MAX - 1)

/*
 * For pmap_enter, beside a page's protection: nobody holds the page, it is not wired, and whose
 * it is does not mind if its frame becomes another one.
 */
#define PMAP_MAY_MOVE ((vm_prot_t)0x80)

/* A page moves to a window's own frame so often at most, until it is freed. */
#define PMAP_PLACES_MAX 4u

/* All windows together own at most this part of the frame store. */
#define PMAP_OWN_PART 8u

/* Guest pages at most whose touch is told: pmap_trap.h. */
#define PMAP_TRAPS_MAX 16u

/* Mapped pages, counted in parts as a meter is: each has what its threads entered less what they dropped. */
struct pmap_mapped {
    struct {
        _Atomic uint64_t pages; /* (a) */
        uint8_t gap[VM_PART_GAP];
    } part[VM_PARTS];
};

struct pmap {
    struct vm_system *sys;                         /* (c) borrowed */
    const struct pmap_ops *ops;                    /* (c) borrowed */
    void *md;                                      /* (c) borrowed: passed to ops */
    unsigned id;                                   /* (c) 1..VM_MAX_PMAPS, in reverse links */
    struct vm_rwlock windows_lock;                 /* W; innermost but for P and V */
    struct vm_ranges windows;                      /* W: struct pmap_window, owned; disjoint */
    struct pmap_mapped mapped;                     /* (a) */
    void (*touched)(void *context, uint64_t page); /* (c) once there are traps */
    void *touched_context;                         /* (c) once there are traps; borrowed */
    _Atomic unsigned ntraps;                       /* (a) */
    _Atomic uint64_t traps[PMAP_TRAPS_MAX];        /* (a) guest pages */
};

/* Make an empty pmap.  Returns 0; -ENOSPC when the system has VM_MAX_PMAPS of them. */
int pmap_init(struct pmap *pmap, struct vm_system *sys, const struct pmap_ops *ops, void *md)
    __attribute__((warn_unused_result));

/* How many pages are mapped.  Exact while nobody enters or drops one. */
static inline uint64_t
pmap_mapped_pages(const struct pmap *pmap)
{
    return vm_meter_get(&pmap->mapped, pages);
}

/* Drop every mapping and window.  Nobody else uses the pmap any more. */
void pmap_fini(struct pmap *pmap);

/*
 * Give [start, start + npages pages) a window whose natural frames begin at
 * `natural` (or PMAP_NO_NATURAL: every page is foreign; PMAP_OWN_NATURAL: see pmap_enter).
 * Locks: none of M, O held (see window_create).
 * Returns 0; -EINVAL (alignment, empty, beyond PMAP_GPA_END), -EEXIST when it overlaps a
 * window, one that is being removed included, -ENOMEM, or the machine's -errno.
 */
int pmap_window_add(struct pmap *pmap, gpa_t start, uint64_t npages, vm_frame_t natural)
    __attribute__((warn_unused_result));

/*
 * Drop the window that starts at `start`, with its mappings.
 * Locks: none of M, O held (see window_create).  Returns 0, or -ENOENT.
 */
int pmap_window_remove(struct pmap *pmap, gpa_t start);

/* The first window that ends after gpa; false = none.  Locks: as for pmap_window_remove. */
bool pmap_window_next(struct pmap *pmap, gpa_t gpa, gpa_t *start, gpa_t *end);

/* How many pages of the window around gpa are mapped; 0 if there is none.  Adds up chunks. */
uint64_t pmap_window_mapped(struct pmap *pmap, gpa_t gpa);

/* What a pmap_enter did. */
struct pmap_entered {
    unsigned npages; /* mapped by this call, the demanded one always among them on success */
    /*
     * Which mapping the demanded page has now: another one than before where it was dropped,
     * replaced or write-protected in between, or its protection grew.  So who finds the number
     * again at the same address was given what was there all the time.  (It has eight bits.)
     */
    unsigned generation;
    unsigned moved; /* pages that were copied to the window's own frames */
};

/*
 * The window around a guest page, or NULL: found once, for any number of questions about pages
 * in it and for pmap_enter.  It stays while M is held and an entry of the map lies in
 * it, and so do its natural frames.
 */
struct pmap_window *pmap_window_look(struct pmap *pmap, uint64_t page);

/* Is the guest page one of the window's?  No page is one of NULL's. */
bool pmap_window_has(const struct pmap_window *w, uint64_t page);

/* Is this the natural frame at a guest page: can pmap_enter fill it in place? */
bool pmap_window_is_natural(const struct pmap_window *w, uint64_t page, vm_frame_t frame);

/*
 * Let a new busy page, which has VM_PAGE_ZERO, have the window's own frame at a guest page where
 * it is going to be mapped, if the window has one to give.
 */
void pmap_window_place(const struct pmap_window *w, uint64_t page, struct vm_page *m);

/*
 * How a guest page of the window is mapped; VM_PROT_NONE = not at all.  The answer may be stale
 * unless the page that is mapped there is busy or the range interlocked.
 */
vm_prot_t pmap_window_prot(const struct pmap_window *w, uint64_t page);

/* How many pages directly before a guest page of the window are mapped, at most max. */
unsigned pmap_window_run_behind(const struct pmap_window *w, uint64_t page, unsigned max);

/*
 * Drop the mappings of the window around gpa and give it other natural frames.
 * Returns 0; -ENOENT, or the machine's -errno: the natural frames are the old ones then.
 */
int pmap_window_rebase(struct pmap *pmap, gpa_t gpa, vm_frame_t natural)
    __attribute__((warn_unused_result));

/*
 * Map busy, valid pages, all different, at consecutive addresses from gpa and wake
 * the waiters.  m[i] is mapped with prot[i] (READ or READ | WRITE, perhaps | PMAP_MAY_MOVE); m[i] may be
 * NULL: that address is skipped.  A different page mapped there before loses that mapping first; it
 * need not be busy.  Where m[i] itself is mapped already, its protection only
 * grows, and only if it is the demanded one: others are left as they are.  The
 * demanded page is entered again even if it seems to be mapped well enough,
 * because only the machine can tell whether it still is.
 * Clears VM_PAGE_ZERO of what it fills, sets VM_PAGE_WRITEABLE where prot has WRITE.
 * A page that may move, is mapped nowhere and was not moved PMAP_PLACES_MAX times yet gets the frame that
 * is natural here, if the window owns that and no other page has it: entering copies the bytes.
 * All of the range lies in windows; runs are cut at chunk and window borders inside.
 * `w`, if not NULL, is one of them, from pmap_window_look: it is not looked for again.
 * Locks: takes windows_lock, P, V; O need not be held.
 * Returns 0 when page m[demand] is mapped, whatever became of the others; else
 * -errno: -ENOMEM, -ENOENT (no window), or the machine's.  After a failure in a
 * chunk only the demanded page is still tried there.
 * *entered, if not NULL, is filled, on failure but for the generation.
 */
int pmap_enter(struct pmap *pmap, struct pmap_window *w, gpa_t gpa, struct vm_page *const *m,
               const vm_prot_t *prot, unsigned npages, unsigned demand,
               struct pmap_entered *entered) __attribute__((warn_unused_result));

/* Drop all mappings in [start, end); both page-aligned.  Data stays. */
void pmap_remove(struct pmap *pmap, gpa_t start, gpa_t end);

/* Take write permission from all mappings in [start, end). */
void pmap_write_protect(struct pmap *pmap, gpa_t start, gpa_t end);

/*
 * The same, until *stop is set (vm_stop.h).  Return 0, or -ECANCELED: some of the range is left
 * as it was.
 */
int pmap_remove_until(struct pmap *pmap, gpa_t start, gpa_t end, const _Atomic bool *stop)
    __attribute__((warn_unused_result));
int pmap_write_protect_until(struct pmap *pmap, gpa_t start, gpa_t end, const _Atomic bool *stop)
    __attribute__((warn_unused_result));

/*
 * All mappings of a busy page, wherever they are: VM_PROT_NONE drops them,
 * VM_PROT_READ makes them read-only.  Clears VM_PAGE_WRITEABLE, which may have
 * outlived the last writable mapping.
 * Locks: takes pmaps_lock, windows_lock, P, V; O need not be held.
 */
void pmap_page_protect(struct vm_page *m, vm_prot_t prot);

/*
 * pmap_page_protect with VM_PROT_NONE for several busy pages.  Those that follow each other in `m`
 * and in a chunk of a window go by one operation, which costs the machine hardly more than for one
 * page: so `m` is best ascending by page index.
 * Locks: as pmap_page_protect.
 */
void pmap_pages_unmap(struct vm_page *const *m, unsigned npages);

/* Is the page mapped anywhere? */
bool pmap_page_is_mapped(struct vm_page *m);

/*
 * What is mapped at gpa: its protection (VM_PROT_NONE = nothing) and, if mp is
 * not NULL, the page.  The answer may be stale unless the page is busy or the
 * range interlocked.
 */
vm_prot_t pmap_extract(struct pmap *pmap, gpa_t gpa, struct vm_page **mp);

/* Wake whoever waits for the page at gpa. */
void pmap_wake(struct pmap *pmap, gpa_t gpa);

/*
 * The page's mappings moved with it: tables and reverse links that name `from` name
 * `to` afterwards; the machine keeps what it maps.  Both are busy, `to` has no
 * mappings, `from` still has its object.  Locks: O of both may be held.
 */
void pmap_page_moved(struct vm_page *from, struct vm_page *to);

/*
 * The same for one mapping: that of `from` at gpa, if there is one, becomes one of `to`, which
 * is about to get the frame of `from`.  Both are busy, `to` has no mappings.
 */
void pmap_mapping_moved(struct pmap *pmap, gpa_t gpa, struct vm_page *from, struct vm_page *to);

/* Abort unless forward tables and reverse links of the whole system agree (tests). */
void pmap_audit(struct pmap *pmap);

#endif
