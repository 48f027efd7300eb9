/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files in a VM's address space (--map): NORMAL entries over file pager objects; and the file that
 * RAM's own object may be over.
 *
 * A shared file's object is the entry's own, and what the guest writes is written back:
 * when memory gets short, by file_maps_sync, and at the end.  A private file lies
 * behind a zero-fill object, so that what the guest wrote can go to swap.  All mappings of one
 * file have the same object at their end (file_pager.h).
 *
 * Nothing removes these entries while the VM lives.
 */
#ifndef FILE_MAP_H
#define FILE_MAP_H

#include "vmm/base/failure.h"
#include "vmm/vm/vm.h"

struct file_map {
    const struct machine_file *config; /* borrowed */
    struct vm_object *object;          /* counted: shared and writable; else NULL */
};

struct file_maps {
    unsigned count;                              /* (c) */
    struct file_map maps[MACHINE_MAX_FILES + 1]; /* (c) */
    struct machine_file ram;                     /* (c) the first, where RAM is over a file */
};

/*
 * Make the object of RAM over the machine's ram_file, which must be as long as the memory that lies
 * in it: less would be memory that cannot be read, and more the guest could reach as well.
 * Returns 0 and *objectp, a reference of which is the caller's; -errno with *failure filled, and
 * nothing is held.
 */
int file_maps_make_ram(struct file_maps *maps, struct vm_system *sys, const struct machine *machine,
                       struct vm_object **objectp, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Map the files, besides RAM's; `configs` stay as long as *maps.
 * Returns 0; -errno with *failure filled, and what is mapped goes with the map and
 * file_maps_fini.
 */
int file_maps_init(struct file_maps *maps, struct vm_map *map, const struct machine_file *configs,
                   unsigned nconfigs, struct failure *failure) __attribute__((warn_unused_result));

/*
 * Write modified pages of [start, end) to their file.
 * Returns 0, also where nothing is written back; -ENOENT (no file is mapped at start),
 * -EINVAL (the range sticks out of that file's), -EIO (some pages could not be written and stay
 * modified), -ECANCELED (*stop is set: vm_stop.h).  Locks: none held; takes O, sleeps.
 */
int file_maps_sync(struct file_maps *maps, gpa_t start, gpa_t end, const _Atomic bool *stop)
    __attribute__((warn_unused_result));

/*
 * Write all back.  Returns 0, or -errno of a failed write with *failed the file it was in.
 */
int file_maps_sync_all(struct file_maps *maps, const struct machine_file **failed)
    __attribute__((warn_unused_result));

/* Drop the references; the map has its own.  Zeroed maps: nothing to do. */
void file_maps_fini(struct file_maps *maps);

#endif
