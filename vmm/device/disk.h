/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk: bytes at offsets, behind a table of functions, so that who uses one does not know whether
 * it is a file, a block device, or at the other end of a network.
 *
 * One thread at a time uses a disk, but for disk_stop, and every call may take as long as it
 * takes.  Ranges lie within the disk's size.  What was written is safe after a flush.
 *
 * Letters beside fields: (c) constant, (a) atomic.
 */
#ifndef DISK_H
#define DISK_H

#include "vmm/base/failure.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

/* Each returns 0 or a negative errno; -ECANCELED: disk_stop came. */
struct disk_ops {
    int (*read)(struct disk *disk, void *to, size_t size, uint64_t offset);
    int (*write)(struct disk *disk, const void *from, size_t size, uint64_t offset);
    int (*flush)(struct disk *disk);
    /* The range's contents are not needed any more: a hint. */
    int (*discard)(struct disk *disk, uint64_t size, uint64_t offset);
    /* The range reads as zeros; `unmap`: and may give its place back. */
    int (*zero)(struct disk *disk, uint64_t size, uint64_t offset, bool unmap);
    void (*close)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops; /* (c) */
    uint64_t size;              /* (c) bytes, a multiple of DISK_SECTOR, not 0 */
    uint32_t block_size;        /* (c) what a write should be a multiple of */
    bool read_only;             /* (c) it is only read */
    bool discards;              /* (c) discard is wanted, and of use */
    _Atomic bool stopped;       /* (a) */
};

#define DISK_SECTOR 512u
#define DISK_BLOCK_MAX 4096u

struct disk_config {
    const char *name; /* borrowed: a file or block device, or nbd://... or nbd+unix://... */
    bool read_only;
    bool discard;
};

/*
 * Open a disk.  Owns: the caller closes it.  A block device is opened exclusively and a file locked,
 * both for others that write to it, unless read_only.
 * Returns 0 and *diskp; -errno with *failure filled: -EBUSY somebody else uses it, -ENODEV neither
 * file nor block device, -EINVAL no whole sectors, or too large blocks, -ENOTSUP built without
 * what it needs; what opening it said.
 */
int disk_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
    __attribute__((warn_unused_result));

/* Is this the name of a disk on a server? */
bool disk_is_remote(const char *name);

/*
 * The calls under way and all that come may end with -ECANCELED: those that wait for a network do,
 * at once.  Any thread.
 */
static inline void
disk_stop(struct disk *disk)
{
    atomic_store(&disk->stopped, true);
}

static inline void
disk_close(struct disk *disk)
{
    disk->ops->close(disk);
}

#endif
