/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks that are files or block devices.
 *
 * Calls of the host that wait for a device cannot be ended from outside; disk_stop is looked at
 * between them.
 */
#include "vmm/device/disk_file.h"

#include "vmm/base/file.h"
#include "vmm/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Zeros that are written where the host cannot make them, at a time. */
#define ZEROS_SIZE ((size_t)64 << 10)

struct disk_file {
    struct disk disk; /* first */
    int fd;           /* (c) owned */
    bool is_block;    /* (c) a block device */
};

static struct disk_file *
file_of(struct disk *disk)
{
    return (struct disk_file *)disk;
}

/* --- Moving bytes ----------------------------------------------------------- */

static int
file_read(struct disk *disk, void *to, size_t size, uint64_t offset)
{
    return file_read_at(file_of(disk)->fd, to, size, offset);
}

static int
file_write(struct disk *disk, const void *from, size_t size, uint64_t offset)
{
    const char *bytes = from;

    while (size != 0) {
        ssize_t n = pwrite(file_of(disk)->fd, bytes, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        bytes += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int
file_flush(struct disk *disk)
{
    return fdatasync(file_of(disk)->fd) == 0 ? 0 : -errno;
}

/* --- Discarding ------------------------------------------------------------- */

static int
host_allocate(struct disk *disk, int mode, uint64_t size, uint64_t offset)
{
    int result;

    do {
        result =
            fallocate(file_of(disk)->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    } while (result != 0 && errno == EINTR && !atomic_load(&disk->stopped));
    return result == 0 ? 0 : -errno;
}

static int
block_call(struct disk *disk, unsigned long call, uint64_t size, uint64_t offset)
{
    uint64_t range[2] = { offset, size };

    return ioctl(file_of(disk)->fd, call, range) == 0 ? 0 : -errno;
}

/* What the host cannot do is a hint that is lost. */
static int
file_discard(struct disk *disk, uint64_t size, uint64_t offset)
{
    int error = file_of(disk)->is_block ? block_call(disk, BLKDISCARD, size, offset)
                                        : host_allocate(disk, FALLOC_FL_PUNCH_HOLE, size, offset);

    return error == -EOPNOTSUPP ? 0 : error;
}

static int
write_zeros(struct disk *disk, uint64_t size, uint64_t offset)
{
    static const char zeros[ZEROS_SIZE];
    int error = 0;

    while (size != 0 && error == 0) {
        size_t part = size < ZEROS_SIZE ? (size_t)size : ZEROS_SIZE;

        error = atomic_load(&disk->stopped) ? -ECANCELED : file_write(disk, zeros, part, offset);
        offset += part;
        size -= part;
    }
    return error;
}

/* A hole reads as zeros, and a block device's too: fallocate(2). */
static int
file_zero(struct disk *disk, uint64_t size, uint64_t offset, bool unmap)
{
    int error = -EOPNOTSUPP;

    if (unmap)
        error = host_allocate(disk, FALLOC_FL_PUNCH_HOLE, size, offset);
    if (error == -EOPNOTSUPP && file_of(disk)->is_block)
        error = block_call(disk, BLKZEROOUT, size, offset);
    else if (error == -EOPNOTSUPP)
        error = host_allocate(disk, FALLOC_FL_ZERO_RANGE, size, offset);
    return error == -EOPNOTSUPP ? write_zeros(disk, size, offset) : error;
}

static void
file_close(struct disk *disk)
{
    close(file_of(disk)->fd);
    free(file_of(disk));
}

static const struct disk_ops file_ops = {
    .read = file_read,
    .write = file_write,
    .flush = file_flush,
    .discard = file_discard,
    .zero = file_zero,
    .close = file_close,
};

/* --- Opening ---------------------------------------------------------------- */

/*
 * Opening a FIFO must not wait for its other end.  O_EXCL is a block device's here: the host has it
 * mounted or the like, or it is ours alone from now on; files ignore it.
 */
static int
open_path(const struct disk_config *config, int *fdp, struct failure *failure)
{
    int flags = config->read_only ? O_RDONLY : O_RDWR | O_EXCL;
    int fd = open(config->name, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = fd < 0 ? -errno : 0;

    switch (error) {
    case 0:
        *fdp = fd;
        return 0;
    case -ENOENT:
    case -ENOTDIR:
        return failure_set(failure, -ENOENT,
                           "disk " FAILURE_NAME ": no such file: make one (truncate -s SIZE FILE)",
                           config->name);
    case -EISDIR:
        return failure_set(failure, -ENODEV,
                           "disk " FAILURE_NAME " is a directory: give a file or block device",
                           config->name);
    case -EBUSY:
        return failure_set(failure, error,
                           "disk " FAILURE_NAME " is in use by the host: unmount it, or add ,ro",
                           config->name);
    case -EACCES:
    case -EPERM:
    case -EROFS:
        return failure_set(failure, error, "disk " FAILURE_NAME " cannot be opened: %s%s",
                           config->name, strerror(-error),
                           config->read_only ? ""
                                             : ": give yourself the right to write, or add ,ro");
    default:
        return failure_set(failure, error, "disk " FAILURE_NAME " cannot be opened: %s",
                           config->name, limits_explain(error).text);
    }
}

/* Writers want a disk alone; readers share it with each other. */
static int
lock_file(int fd, const struct disk_config *config, struct failure *failure)
{
    int error;

    if (flock(fd, (config->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
        return 0;
    error = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (error == -EBUSY)
        return failure_set(failure, error,
                           "disk " FAILURE_NAME " is in use by another process, or given twice: "
                           "end that one, or let all have ,ro",
                           config->name);
    return failure_set(failure, error, "disk " FAILURE_NAME " cannot be locked: %s", config->name,
                       strerror(-error));
}

/* A part of a sector could never be read. */
static int
check_size(const struct disk_file *file, const struct disk_config *config, struct failure *failure)
{
    if (file->disk.size == 0)
        return failure_set(failure, -EINVAL,
                           "disk " FAILURE_NAME " is empty: make it larger (truncate -s SIZE FILE)",
                           config->name);
    if (file->disk.size % DISK_SECTOR != 0)
        return failure_set(failure, -EINVAL,
                           "disk " FAILURE_NAME " has %" PRIu64
                           " bytes, which are no whole sectors "
                           "of %u: fill it up (truncate -s %%%u FILE)",
                           config->name, file->disk.size, DISK_SECTOR, DISK_SECTOR);
    if (file->disk.block_size > DISK_BLOCK_MAX)
        return failure_set(failure, -EINVAL,
                           "disk " FAILURE_NAME " has blocks of %u bytes: the most is %u",
                           config->name, file->disk.block_size, DISK_BLOCK_MAX);
    return 0;
}

/* Fill in what the descriptor says. */
static int
measure(struct disk_file *file, const struct disk_config *config, struct failure *failure)
{
    struct stat st;
    off_t size;
    int block_size = DISK_SECTOR;

    if (fstat(file->fd, &st) != 0 || (size = lseek(file->fd, 0, SEEK_END)) < 0)
        return failure_set(failure, -errno, "disk " FAILURE_NAME " cannot be examined: %s",
                           config->name, strerror(errno));
    file->is_block = S_ISBLK(st.st_mode);
    if (!S_ISREG(st.st_mode) && !file->is_block)
        return failure_set(failure, -ENODEV,
                           "disk " FAILURE_NAME " is neither a file nor a block device: "
                           "give one of them",
                           config->name);
    if (file->is_block && ioctl(file->fd, BLKSSZGET, &block_size) != 0)
        return failure_set(failure, -errno, "disk " FAILURE_NAME " does not tell its blocks: %s",
                           config->name, strerror(errno));
    file->disk.size = (uint64_t)size;
    file->disk.block_size = (uint32_t)block_size;
    return check_size(file, config, failure);
}

int
disk_file_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
{
    struct disk_file *file = malloc(sizeof(*file));
    int error;

    if (file == NULL)
        return failure_set(failure, -ENOMEM, "no memory for a disk: %s",
                           limits_explain(ENOMEM).text);
    *file = (struct disk_file){
        .disk = { .ops = &file_ops,
                  .read_only = config->read_only,
                  .discards = config->discard && !config->read_only },
    };
    error = open_path(config, &file->fd, failure);
    if (error != 0) {
        free(file);
        return error;
    }
    error = measure(file, config, failure);
    if (error == 0)
        error = lock_file(file->fd, config, failure);
    if (error != 0)
        file_close(&file->disk);
    else
        *diskp = &file->disk;
    return error;
}
