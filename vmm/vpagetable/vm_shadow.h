/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow chains: links between objects, moving pages up, collapse and bypass.
 *
 *     entry -> object -> backing object -> its backing object -> zeros
 *
 * Internal to vm_object.c and vm_fault.c; vm_object.h has what others call.
 *
 * Two things keep chains short.  Both leave what every object shows as it was, and
 * its page indexes, so that they do no harm under a virtual page table:
 *  - collapse: an object that only its one shadow refers to gives that all its pages
 *    and swap space, and is gone;
 *  - bypass: an object whose backing object shows nothing through it any more lets go
 *    of it and takes the next one of the chain.
 * So every object of a chain but its first has an entry or at least two shadows of its
 * own (or a page that was in use when it was looked at last): a chain is never longer
 * than the number of entries that hang on it.
 *
 * What it costs: a collapse moves the pages of the object that goes, one by one, however
 * few the other one has; the other way round each page would still have to be told its new
 * object.  So it is as dear as the copies that made it possible, and is done where nobody
 * waits: by who dropped the reference, or by the fault that copied, after its waiter was
 * woken and M let go of.  With M held (vm_object_shadow) no more than a portion is done;
 * a look for what still shows through, where the backing object has swap, is not counted:
 * it asks the pager about each page of the object, some 7 ns each.
 *
 * Locks: S is sys->shadow_lock: whoever unlinks an object from its backing object
 * has it, so that with S both stay where they are without a reference.  Order: M, I, S, O.
 * Nobody sleeps for a page or I/O with S held: what is in use stays where it is.
 */
#ifndef VM_SHADOW_H
#define VM_SHADOW_H

#include "vmm/vpagetable/vm_object.h"
#include "vmm/vpagetable/vm_page.h"

/* Pages looked at without letting others to the objects. */
#define VM_SHADOW_BATCH 256

/* Batches without letting others to S. */
#define VM_SHADOW_STEPS 16

/* vm_object.showing: not known. */
#define VM_SHADOW_UNKNOWN UINT64_MAX

/*
 * Let `object`, which has no backing object, show the pages of `backing` from `offset`
 * on.  Owns: the caller's reference of backing becomes object's.
 * Locks: O of backing; of object too, unless nobody else knows it yet.
 */
void vm_shadow_attach(struct vm_object *object, struct vm_object *backing, vm_pindex_t offset)
    VM_REQUIRES(backing->lock);

/*
 * Unlink a dead object from its backing object.  Returns that, or NULL; its reference
 * is the caller's.  Locks: none held; takes S, O.
 */
struct vm_object *vm_shadow_detach(struct vm_object *object);

/*
 * Drop a reference that is not the last one.  *shadow: if only one shadow is left to
 * refer to the object, that, with a reference of the caller's, to be collapsed; else NULL.
 * Locks: none held; takes S, O.  Returns false, and nothing is done, if it is the last.
 */
bool vm_shadow_unref(struct vm_object *object, struct vm_object **shadow);

/*
 * Might the page that is about to be put at pindex of `object` make a collapse or
 * bypass of its backing object possible, at little cost?
 * Locks: O of both held.
 */
bool vm_shadow_is_ripe(const struct vm_object *object, const struct vm_object *backing,
                       vm_pindex_t pindex) VM_REQUIRES(object->lock, backing->lock);

/*
 * Move a busy page, valid, not wired and not held, with its mappings to (object, pindex), which must have
 * no page, resident or FREEING.  Its copy in swap is freed: the result is dirty.
 * Locks: O of both objects.
 * Returns the page's new struct, busy.
 */
struct vm_page *vm_shadow_move_page(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

#endif
