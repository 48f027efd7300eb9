/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Superpages: chunks of a window that the machine fills and maps by itself.  Part of the pmap.
 *
 * A *promoted* chunk is a whole aligned one (PMAP_CHUNK_PAGES pages), all mapped writable at their natural
 * frames.  No touch of its pages is told, whether they are filled already or not: so the machine may make
 * one huge page of them, which costs one call instead of one for each page, and the guest one entry
 * of its tables.  Nothing is lost by that as long as the engine has nothing to see there: all the pages are
 * dirty (VM_PAGE_WRITEABLE), and none has VM_PAGE_ZERO.
 *
 * A chunk is *demoted* before anything changes in it: dropping a mapping, taking write permission, another
 * page in a page's place, a page that moves.  That drops all its mappings, which is always allowed; they
 * come back as they are touched.  Wiring and holding need no demotion, since they change no mapping.
 *
 * The pages of a promoted chunk are consecutive elements of the page array.
 */
#ifndef PMAP_SUPER_H
#define PMAP_SUPER_H

#include "vmm/vpagetable/pmap_window.h"

/*
 * Could the chunk that begins at a guest page be promoted with the frames from `frame` on: is it whole,
 * are these its natural frames, and aligned as it is?
 */
bool pmap_super_fits(const struct pmap_window *w, uint64_t page, vm_frame_t frame);

/* Is the chunk around a guest page, in the window or not, promoted?  The answer may be stale. */
bool pmap_super_is_promoted(const struct pmap_window *w, uint64_t page);

/*
 * Map m[0 .. PMAP_CHUNK_PAGES), busy, valid and dirty, in their own frames and mapped nowhere, at the chunk
 * that begins at a guest page, which pmap_super_fits; and wake the waiters.  Clears VM_PAGE_ZERO and sets
 * VM_PAGE_WRITEABLE.  `hole`: as pmap_ops.promote; without it the machine may refuse.
 * Locks: as pmap_enter.
 * Returns 0; -EBUSY when something else is, or was, mapped there, or a trap is set; -ENOMEM; -EOPNOTSUPP when
 * the machine makes no superpages (any more), or another -errno of its.  On failure nothing is changed.
 */
int pmap_super_enter(struct pmap *pmap, struct pmap_window *w, uint64_t page, struct vm_page *m,
                     bool hole) __attribute__((warn_unused_result));

/* Demote the chunk if it is promoted: none of its pages is mapped then.  Locks: P held, takes V. */
void pmap_chunk_demote(struct pmap_window *w, struct pmap_chunk *chunk) VM_REQUIRES(chunk->lock);

#endif
