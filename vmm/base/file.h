/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Input files: opened without waiting, read whole.
 */
#ifndef FILE_H
#define FILE_H

#include "vmm/base/failure.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Open a regular file with open's flags O_RDONLY or O_RDWR.
 * Returns 0 with *fdp and *size in bytes; with *failure filled: -ENOENT when there is none,
 * -EISDIR, -EINVAL (a device, a socket, a FIFO), or what open or fstat said.
 */
int file_open(const char *path, int flags, int *fdp, uint64_t *size, struct failure *failure)
    __attribute__((warn_unused_result));

/* Read exactly size bytes at offset.  Returns 0 or -errno; -ENODATA when the file ends before. */
int file_read_at(int fd, void *to, size_t size, uint64_t offset)
    __attribute__((warn_unused_result));

#endif
