/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmspaces: a vmspace is nothing but an id that owns windows inside
 * [VKVM_WINDOW_BASE, VKVM_WINDOW_END): VPAGETABLE entries on the RAM object, and
 * regions, which are NORMAL entries on objects of their own.  Windows and files of the
 * command line belong to none.  Each window takes a KVM memslot.
 *
 * Locks: S (the doorbell's spaces_lock) is held by whoever calls a function whose name ends in
 * _locked; they take the engine's locks.
 */
#ifndef VMSPACE_H
#define VMSPACE_H

#include "vmm/vpagetable/vpte.h"

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

struct vm_map;
struct vm_object;

struct vmspace_window {
    RB_ENTRY(vmspace_window) by_start; /* S: in vmspaces.windows */
    LIST_ENTRY(vmspace_window) link;   /* S: in vmspace.windows; not of the command line's */
    gpa_t start;                       /* (c) */
    gpa_t end;                         /* (c) */
    bool region;                       /* (c) NORMAL: a region or a mapped file */
};

struct vmspace {
    LIST_ENTRY(vmspace) link;            /* S */
    uint16_t id;                         /* (c) */
    LIST_HEAD(, vmspace_window) windows; /* S: owned */
};

#define VMSPACE_BUCKETS 256u

RB_HEAD(vmspace_window_tree, vmspace_window);

/* All vmspaces of a VM, by id, and all windows. */
struct vmspaces {
    struct vm_map *map;                            /* (c) borrowed */
    struct vm_object *ram;                         /* (c) borrowed: what windows show */
    LIST_HEAD(, vmspace) buckets[VMSPACE_BUCKETS]; /* S: owned */
    struct vmspace_window_tree windows;            /* S: owned */
};

/* Whole pages, not empty, inside [VKVM_WINDOW_BASE, VKVM_WINDOW_END)? */
bool vmspace_range_is_valid(uint64_t start, uint64_t size);

/*
 * Is the range exactly one window, of whoever?  Is it a part of one, or all of it?
 * Return 0; -EINVAL (no valid range, not so), -ENOENT (no window starts there, or contains
 * the start).
 */
int vmspace_check_window_locked(struct vmspaces *spaces, uint64_t start, uint64_t size)
    __attribute__((warn_unused_result));
int vmspace_check_part_locked(struct vmspaces *spaces, uint64_t start, uint64_t size)
    __attribute__((warn_unused_result));

/* The vmspace, or NULL; its window with just this range, or NULL. */
struct vmspace *vmspace_find_locked(struct vmspaces *spaces, uint64_t id);
struct vmspace_window *vmspace_window_find_locked(struct vmspace *space, uint64_t start,
                                                  uint64_t size);

/* A vmspace without windows.  Returns 0, -EEXIST, -ENOMEM. */
int vmspace_create_locked(struct vmspaces *spaces, uint64_t id) __attribute__((warn_unused_result));

/*
 * Unmap all windows of a vmspace and forget it.
 * Returns 0, -ENOENT, or vm_map_remove's -errno: it stays, with the windows that are left.
 */
int vmspace_destroy_locked(struct vmspaces *spaces, uint64_t id)
    __attribute__((warn_unused_result));

/*
 * A window, a region of zeros, a region that copies another.  `argument` is the call's
 * (vkvm_abi.h); the range that becomes a window is valid, the source need not be.
 * Return 0; -ENOENT (no such vmspace; no window at the source), -EINVAL (the source is not
 * exactly one region), -ENOMEM, or the -errno of vm_map_insert, vm_object_create_default,
 * vm_map_copy.  On failure nothing changed.
 */
int vmspace_map_locked(struct vmspaces *spaces, const uint64_t *argument,
                       const struct vpte_format *format, vm_prot_t prot)
    __attribute__((warn_unused_result));
int vmspace_region_map_locked(struct vmspaces *spaces, const uint64_t *argument, vm_prot_t prot)
    __attribute__((warn_unused_result));
int vmspace_region_copy_locked(struct vmspaces *spaces, const uint64_t *argument)
    __attribute__((warn_unused_result));

/* Unmap a vmspace's window and free it.  Returns 0, or vm_map_remove's -errno: it stays. */
int vmspace_unmap_locked(struct vmspaces *spaces, struct vmspace_window *window)
    __attribute__((warn_unused_result));

/* Make a window or region known that belongs to no vmspace.  Returns 0 or -ENOMEM. */
int vmspaces_add_window(struct vmspaces *spaces, gpa_t start, gpa_t end, bool region)
    __attribute__((warn_unused_result));

/* Free the bookkeeping of all vmspaces and windows; their map entries stay. */
void vmspaces_free(struct vmspaces *spaces);

#endif
