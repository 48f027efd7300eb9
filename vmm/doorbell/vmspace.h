/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmspaces: a vmspace is nothing but an id that owns windows inside
 * [VKVM_WINDOW_BASE, VKVM_WINDOW_END): VPAGETABLE entries on the RAM object, and
 * regions, which are NORMAL entries on objects of their own.  Windows and files of the
 * command line belong to none.  Each window takes a KVM memslot.
 *
 * These are the books of what the guest may name; the map has the entries.  A guest that could
 * cut entries into pages without limit would fill the host with them: SETMAP and PROTECT act on
 * exactly one window and COPY on one region; ADVISE and WIRE may cut, up to VMSPACE_ENTRIES_MAX
 * entries.  UNWIRE stops at twice as many, so that what was wired can be unwired, and COPY, which
 * copies the cuts, at half as many.
 *
 * Locks: `books` guards the books and is never held across a call of the map, which may sleep for
 * pages, for I/O or for another edit.  Meanwhile `users` keeps what the call works on: a vmspace
 * is not forgotten and a window not unmapped before they are gone.  The books say less than
 * the map, never more: a window is entered when it is mapped, and taken out before it is unmapped.
 * `cut` makes calls that may add entries beyond any limit go one by one; they would wait for each
 * other in the map anyway.  Both come before every lock of the engine, and are not held together.
 *
 * The functions take `books`, and `cut` where they say so, and sleep; none is held by the caller.
 */
#ifndef VMSPACE_H
#define VMSPACE_H

#include "vmm/doorbell/call.h"
#include "vmm/vm/machine.h"
#include "vmm/vpagetable/vm_lock.h"

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#define VMSPACE_ENTRIES_MAX 65536u

struct vmspace; /* vmspace.c */
struct vmspace_window;

#define VMSPACE_BUCKETS 256u

RB_HEAD(vmspace_window_tree, vmspace_window);
LIST_HEAD(vmspace_list, vmspace);

/* All vmspaces of a VM, by id, and all windows. */
struct vmspaces {
    struct vm_map *map;            /* (c) borrowed */
    struct vm_object *ram;         /* (c) borrowed: what windows show */
    const struct machine *machine; /* (c) borrowed: where RAM is */
    struct vm_mutex cut_lock;      /* cut */
    struct vm_mutex lock;          /* books */
    struct vm_cond unused;         /* books: a vmspace or a window has no user more */
    struct vmspace_list buckets[VMSPACE_BUCKETS]; /* books: owned */
    struct vmspace_window_tree windows;           /* books: owned */
};

/* None yet. */
void vmspaces_init(struct vmspaces *spaces, struct vm_map *map, struct vm_object *ram,
                   const struct machine *machine);

/* Free the books; the map keeps its entries.  No call is under way. */
void vmspaces_fini(struct vmspaces *spaces);

/* Make a window or region known that is mapped and belongs to no vmspace.  Returns 0 or -ENOMEM. */
int vmspaces_add_window(struct vmspaces *spaces, gpa_t start, gpa_t end, bool region)
    __attribute__((warn_unused_result));

/*
 * The calls of those names (docs/guest-abi.md), which may fail by one of: -ENOENT (no such
 * vmspace; no window or region starts there), -EINVAL (it is another range, or of another kind),
 * -EEXIST, -ENOSPC (the limit of entries), -ENOMEM, or by what the map's function returns
 * (vm_map_setmap, vm_map_protect, vm_map_advise, vm_map_insert, vm_map_remove, vm_map_copy,
 * vm_map_wire, vm_map_unwire).  On failure nothing changed, but that a vmspace that cannot be
 * destroyed keeps only the windows that are left.  ADVISE of a part, COPY, WIRE and UNWIRE
 * take `cut`.
 */
int vmspace_setmap(struct vmspaces *spaces, const struct call_setmap *call)
    __attribute__((warn_unused_result));
int vmspace_protect(struct vmspaces *spaces, const struct call_protect *call)
    __attribute__((warn_unused_result));
int vmspace_advise(struct vmspaces *spaces, const struct call_advise *call)
    __attribute__((warn_unused_result));
int vmspace_create(struct vmspaces *spaces, const struct call_vmspace *call)
    __attribute__((warn_unused_result));
int vmspace_destroy(struct vmspaces *spaces, const struct call_vmspace *call)
    __attribute__((warn_unused_result));
int vmspace_map(struct vmspaces *spaces, const struct call_vmspace_map *call)
    __attribute__((warn_unused_result));
int vmspace_unmap(struct vmspaces *spaces, const struct call_vmspace_unmap *call)
    __attribute__((warn_unused_result));
int vmspace_region_map(struct vmspaces *spaces, const struct call_region_map *call)
    __attribute__((warn_unused_result));
int vmspace_copy(struct vmspaces *spaces, const struct call_copy *call)
    __attribute__((warn_unused_result));
int vmspace_wire(struct vmspaces *spaces, const struct call_range *range)
    __attribute__((warn_unused_result));
int vmspace_unwire(struct vmspaces *spaces, const struct call_range *range)
    __attribute__((warn_unused_result));

#endif
