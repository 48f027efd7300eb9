/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vm_object: a container of pages with a pager and, perhaps, a backing object
 * whose pages show through where it has none.
 *
 * Invariants:
 *  1. Bit p of `resident` is set exactly when page p is resident.
 *  2. ref_count counts map entries, shadows, faults in flight and pages that are held
 *     for a caller (vm_page_hold_object); the object is destroyed when it reaches 0.
 *  3. shadow_count is the number of objects whose backing_object this is; they are
 *     on the list `shadows`.
 *  4. While paging_in_progress != 0 the object keeps its size and its pages'
 *     identity.
 *  5. freeing_count is the number of its slots whose page was freed while it was
 *     held (VM_PAGE_FREEING); such a page is not resident any more.
 *
 * Locks: O is object->lock.  It protects the object and the state of its pages.
 * Two objects: the shadowing one first, then its backing object.  S (vm_shadow.h)
 * comes before O.
 */
#ifndef VM_OBJECT_H
#define VM_OBJECT_H

#include "vmm/vpagetable/vm_system.h"

struct vm_pager_ops;
LIST_HEAD(vm_object_list, vm_object);

enum vm_object_type {
    OBJT_DEFAULT, /* zero-fill, no backing store */
    OBJT_SWAP,    /* zero-fill, has or may get swap */
    OBJT_FILE     /* a file; the seed's vnode type */
};

#define OBJ_DEAD 0x1      /* being destroyed: faults on it fail */
#define OBJ_WRITEBACK 0x2 /* the pager's copy outlives the object: dirty pages are written first */

struct vm_object {
    struct vm_system *sys;       /* (c) borrowed */
    struct vm_mutex lock;        /* O */
    struct vm_cond busy;         /* O: broadcast when a wanted page is no longer busy, held or being
                              freed, and when paging_in_progress drops to 0 */
    enum vm_object_type type;    /* O: DEFAULT becomes SWAP with the first page-out */
    uint64_t size;               /* O: pages */
    uint64_t extent;             /* (c) first slot */
    uint64_t number;             /* (c) from 1, never given twice */
    unsigned ref_count;          /* O */
    unsigned shadow_count;       /* O */
    unsigned paging_in_progress; /* O */
    unsigned flags;              /* O: OBJ_* */
    struct vm_object *backing_object;  /* O, S to unlink: counted */
    vm_pindex_t backing_object_offset; /* O: pages */
    vm_pindex_t showing;               /* O: a page that last showed the backing object's */
    struct vm_object_list shadows;     /* O, S to unlink: objects whose backing object this is */
    LIST_ENTRY(vm_object) shadow_link; /* the backing object's O: of its shadows */
    uint64_t resident_count;           /* O: pages */
    uint64_t freeing_count;            /* O: pages */
    uint64_t *resident;                /* O: owned bitmap of size bits */
    const struct vm_pager_ops *pager;  /* O: borrowed; never changes once it did I/O */
    void *swap;                        /* O: SWAP: owned, what the swap pager knows */
    unsigned scan_pins;                /* Q: page-out threads that are about to take O */
    void *handle; /* (c) the pager's; owned by it.  NULL: nobody else can look this object up */
};

/*
 * Make an object of npages pages with one reference.
 * Owns: on success the object owns `handle` and passes it to pager->dealloc.
 * Returns 0 and *objectp; -EINVAL for 0 pages, -ENOSPC or -ENOMEM from the frame store.
 */
int vm_object_create(struct vm_system *sys, enum vm_object_type type, uint64_t npages,
                     const struct vm_pager_ops *pager, void *handle, struct vm_object **objectp)
    __attribute__((warn_unused_result));

/* A zero-fill object: vm_object_create with the default pager. */
int vm_object_create_default(struct vm_system *sys, uint64_t npages, struct vm_object **objectp)
    __attribute__((warn_unused_result));

/* Count one more reference.  Locks: takes O. */
void vm_object_ref(struct vm_object *object);

/*
 * Drop a reference; with the last one write dirty pages back if the object is
 * OBJ_WRITEBACK (call vm_object_page_clean before if failures matter), free all
 * pages (unmapping them first), the pager's handle, the extent and the object,
 * then drop the backing object's reference.  A backing object that only one shadow
 * refers to afterwards is collapsed into that.
 * Locks: none held; takes S, O; sleeps until paging_in_progress is 0 and no page is
 * busy or held.
 *
 * _until: the same, until *stop is set.  Returns NULL when all that is done; else the object that
 * has still to be unreferenced instead: this one, dead, or one behind it.
 */
void vm_object_unref(struct vm_object *object);
struct vm_object *vm_object_unref_until(struct vm_object *object, const _Atomic bool *stop)
    __attribute__((warn_unused_result));

/*
 * Put a new zero-fill object of npages pages in front of *objectp: its page i shows
 * page *offset + i of the old one until it has its own.
 * The old object's own chain is collapsed first.
 * Owns: the caller's reference of the old object becomes the new one's.
 * Locks: takes S, O; M may be held.
 * Returns 0 with *objectp the new object and *offset 0; -EINVAL, -ENOSPC or -ENOMEM as
 * vm_object_create, nothing changed.
 */
int vm_object_shadow(struct vm_object **objectp, vm_pindex_t *offset, uint64_t npages)
    __attribute__((warn_unused_result));

/*
 * Make the chain behind the object shorter where that is possible without waiting:
 * take over a backing object that nobody else refers to, leave out one of which
 * nothing shows.  What the object shows stays the same.  Neither happens to an object
 * that is a file's, or while paging is in progress, nor over a busy, held or wired page.
 * Happens by itself when a reference of a backing object is dropped, before the
 * object is shadowed (a portion of it, vm_shadow.h), and after copies on write.
 * Locks: none held; takes S, O, in portions, none any more once *stop is set.  The caller has a
 * reference.
 */
void vm_object_collapse(struct vm_object *object, const _Atomic bool *stop);

/* Unwire pages [start, end), all resident and wired; they go to the active queue.  Locks: takes O. */
void vm_object_unwire(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);

/* Free an object without pages and links.  Locks: none held.  (vm_shadow.c) */
void vm_object_destroy(struct vm_object *object);

/*
 * Write dirty pages of [start, end), clipped to the object, to the pager, in runs, if
 * the object is OBJ_WRITEBACK; other objects have nothing to write.  No mapping of a
 * page allows writes any more when its write begins.
 * `flags`: VM_FLUSH_FORCE: VM_PAGE_NOSYNC pages too.
 * Locks: none held, and no page held by the caller; takes O; sleeps for busy and held
 * pages and for I/O.  _locked: O held, dropped meanwhile.
 * Returns 0; -EIO when the pager failed for at least one page: it stays dirty, and is
 * counted in v_pageout_failed.  All others were written.  -ECANCELED when *stop is set: some
 * may not have been looked at.
 * Source: DragonFly vm_object_page_clean.
 */
#define VM_FLUSH_FORCE 0x1u
int vm_object_flush(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned flags,
                    const _Atomic bool *stop) __attribute__((warn_unused_result));
int vm_object_flush_locked(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                           unsigned flags, const _Atomic bool *stop) VM_REQUIRES(object->lock)
    __attribute__((warn_unused_result));

/* vm_object_flush of all of it, forced. */
int vm_object_page_clean(struct vm_object *object) __attribute__((warn_unused_result));

/* Bracket I/O and faults.  Locks: O held. */
void vm_object_pip_add(struct vm_object *object) VM_REQUIRES(object->lock);
void vm_object_pip_wakeup(struct vm_object *object) VM_REQUIRES(object->lock);

/*
 * Let go of an object that was pinned with Q held (scan_pins): its end does not wait any more.
 * Locks: takes Q.
 */
void vm_object_scan_unpin(struct vm_object *object);

/* First resident page index at or after pindex, or object->size.  Locks: O held. */
vm_pindex_t vm_object_next_resident(const struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/* How many pages directly before pindex are resident, at most max.  Locks: O held. */
unsigned vm_object_resident_run_behind(const struct vm_object *object, vm_pindex_t pindex,
                                       unsigned max) VM_REQUIRES(object->lock);

#endif
