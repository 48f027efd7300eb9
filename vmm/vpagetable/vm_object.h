/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vm_object: a container of pages with a pager and, perhaps, a backing object
 * whose pages show through where it has none.
 *
 * Invariants:
 *  1. Bit p of `resident` is set exactly when page p is resident.
 *  2. ref_count counts map entries, shadows and faults in flight; the object is
 *     destroyed when it reaches 0.
 *  3. shadow_count is the number of objects whose backing_object this is.
 *  4. While paging_in_progress != 0 the object keeps its size and its pages'
 *     identity.
 *  5. freeing_count is the number of its slots whose page was freed while it was
 *     held (VM_PAGE_FREEING); such a page is not resident any more.
 *
 * Locks: O is object->lock.  It protects the object and the state of its pages.
 * Two objects: the shadowing one first, then its backing object.
 */
#ifndef VM_OBJECT_H
#define VM_OBJECT_H

#include "vmm/vpagetable/vm_system.h"

struct vm_pager_ops;

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
    enum vm_object_type type;    /* (c) */
    uint64_t size;               /* O: pages */
    uint64_t extent;             /* (c) first slot */
    unsigned ref_count;          /* O */
    unsigned shadow_count;       /* O */
    unsigned paging_in_progress; /* O */
    unsigned flags;              /* O: OBJ_* */
    struct vm_object *backing_object;  /* O: counted */
    vm_pindex_t backing_object_offset; /* O: pages */
    uint64_t resident_count;           /* O: pages */
    uint64_t freeing_count;            /* O: pages */
    uint64_t *resident;                /* O: owned bitmap of size bits */
    const struct vm_pager_ops *pager;  /* (c) borrowed */
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
 * then drop the backing object's reference.
 * Locks: none held; takes O; sleeps until paging_in_progress is 0 and no page is
 * busy or held.
 */
void vm_object_unref(struct vm_object *object);

/*
 * Write all dirty pages of an OBJ_WRITEBACK object to the pager, in runs; no
 * mapping of a page allows writes any more when its write begins.  Other objects
 * have nothing to write.
 * Locks: none held; takes O; sleeps for busy and held pages and for I/O.
 * Returns 0; -EIO when the pager failed for at least one page, which stays dirty.
 */
int vm_object_page_clean(struct vm_object *object) __attribute__((warn_unused_result));

/* Bracket I/O and faults.  Locks: O held. */
void vm_object_pip_add(struct vm_object *object) VM_REQUIRES(object->lock);
void vm_object_pip_wakeup(struct vm_object *object) VM_REQUIRES(object->lock);

/* First resident page index at or after pindex, or object->size.  Locks: O held. */
vm_pindex_t vm_object_next_resident(const struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/* How many pages directly before pindex are resident, at most max.  Locks: O held. */
unsigned vm_object_resident_run_behind(const struct vm_object *object, vm_pindex_t pindex,
                                       unsigned max) VM_REQUIRES(object->lock);

#endif
