/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries of a map and the windows under them: what the files of vm_map share.
 * Internal to vm_map*.c and vm_fault_wire.c; callers use vm_map.h.
 *
 * An edit has one shape:
 *
 *     vm_map_edit_begin       E, M exclusively
 *     check; clip             the range ends at entries' ends now
 *     change                  cannot fail
 *     vm_map_edit_end         merge what is alike, let go of M and E
 *
 * Clipping and merging never show: an entry is as good as its pieces.
 */
#ifndef VM_MAP_ENTRY_H
#define VM_MAP_ENTRY_H

#include "vmm/vpagetable/vm_map.h"

/* Whole pages, not empty, within what can be mapped? */
bool vm_map_range_valid(gpa_t start, gpa_t end);

static inline uint64_t
vm_map_range_pages(gpa_t start, gpa_t end)
{
    return (end.value - start.value) >> PAGE_SHIFT;
}

static inline uint64_t
vm_map_entry_pages(const struct vm_map_entry *entry)
{
    return vm_map_range_pages(entry->start, entry->end);
}

/* Where the space that the entry has or may grow into begins. */
static inline gpa_t
vm_map_entry_lowest(const struct vm_map_entry *entry)
{
    return gpa_from_u64(entry->start.value - (entry->growth << PAGE_SHIFT));
}

/* --- Finding.  Locks: M held, or nobody else uses the map ---------------- */

/* The first entry that ends after gpa: the one around it, or the next, or NULL. */
struct vm_map_entry *vm_map_entry_search(const struct vm_map *map, gpa_t gpa);

/* The entry after this one if it begins before end, else NULL. */
struct vm_map_entry *vm_map_entry_next(struct vm_map_entry *entry, gpa_t end);

/* The first entry that overlaps [start, end), or NULL. */
struct vm_map_entry *vm_map_entry_first(const struct vm_map *map, gpa_t start, gpa_t end);

/* Do entries cover [start, end) without a gap?  They may stick out. */
bool vm_map_entries_cover(const struct vm_map *map, gpa_t start, gpa_t end);

/* Is there neither an entry in [start, end) nor space that one may grow into? */
bool vm_map_range_free(const struct vm_map *map, gpa_t start, gpa_t end);

/* --- Changing.  Locks: M exclusively ------------------------------------- */

/* See that one vm_map_entry_link more cannot fail.  Returns 0 or -ENOMEM. */
int vm_map_entry_reserve(struct vm_map *map) VM_REQUIRES(map->lock)
    __attribute__((warn_unused_result));

/* The link will not come. */
void vm_map_entry_unreserve(struct vm_map *map) VM_REQUIRES(map->lock);

/* Put an entry into the map, for which there is a reservation. */
void vm_map_entry_link(struct vm_map *map, struct vm_map_entry *entry) VM_REQUIRES(map->lock);
void vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry) VM_REQUIRES(map->lock);

/*
 * Split the entries that stick out of [start, end).  A VPAGETABLE entry that needs a copy
 * is shadowed before: its parts show the same memory.
 * Returns 0; -ENOMEM, -ENOSPC (no room for the new object): one may have been split in vain.
 */
int vm_map_clip(struct vm_map *map, gpa_t start, gpa_t end) VM_REQUIRES(map->lock)
    __attribute__((warn_unused_result));

/*
 * Give a NEEDS_COPY entry an object of its own: a shadow of the one it has, or that
 * one, when nobody else refers to it.  A VPAGETABLE entry's covers all of the old
 * object, because the walk may lead anywhere in it.
 * When the entry is alone in its window, and little of that is mapped, the natural
 * frames become those of the new object.
 * Returns 0; -ENOMEM, -ENOSPC and nothing changed.
 */
int vm_map_entry_shadow(struct vm_map *map, struct vm_map_entry *entry) VM_REQUIRES(map->lock)
    __attribute__((warn_unused_result));

/*
 * Let an entry grow down to gpa, which is inside its growth and not the last page.
 * What a wired entry gains is an entry of its own.  Returns 0 or -ENOMEM.
 */
int vm_map_entry_grow(struct vm_map *map, struct vm_map_entry *entry, gpa_t gpa)
    VM_REQUIRES(map->lock) __attribute__((warn_unused_result));

/* --- Edits --------------------------------------------------------------- */

void vm_map_edit_begin(struct vm_map *map) VM_ACQUIRES(map->edit_lock, map->lock);

/*
 * End an edit of [start, end) that had `error`, which it returns.
 */
int vm_map_edit_end(struct vm_map *map, gpa_t start, gpa_t end, int error)
    VM_RELEASES(map->edit_lock, map->lock);

/*
 * Unwire the entry's pages before entry->wired_end, the last ones first, which moves that; false
 * when *stop was set before entry->start was reached.  Locks: E held, or the entry is in no map
 * any more; takes O.
 */
bool vm_map_entry_unwire(struct vm_map_entry *entry, const _Atomic bool *stop);

/*
 * Drop what the picked entries refer to, and them.  They are in no map, not wired and not mapped,
 * unless the map is stopped: then they are abandoned, as they are.  Locks: none held.
 */
void vm_map_entries_destroy(struct vm_map *map, struct vm_map_picked *picked);

/* --- Windows.  Locks: E held, M not -------------------------------------- */

/*
 * Add windows where [start, end) has none; `natural` is the frame of `start`, or
 * PMAP_NO_NATURAL.  Returns 0, or pmap_window_add's -errno and nothing changed.
 */
int vm_map_windows_add(struct vm_map *map, gpa_t start, gpa_t end, vm_frame_t natural)
    VM_REQUIRES(map->edit_lock) __attribute__((warn_unused_result));

/* Remove the windows that overlap [start, end) and hold no entry. */
void vm_map_windows_trim(struct vm_map *map, gpa_t start, gpa_t end) VM_REQUIRES(map->edit_lock);

#endif
