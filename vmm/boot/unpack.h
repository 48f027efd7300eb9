/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unpacking on the host what is compressed in an image.
 *
 * Each method needs a library, which may be left out when vkvm is built.
 */
#ifndef UNPACK_H
#define UNPACK_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most that is unpacked: what is in a file says how much memory that takes. */
#define UNPACK_MAX ((uint64_t)512 << 20)

/* Bytes that tell the method. */
#define UNPACK_MAGIC_SIZE 8u

/* The method's name by its first bytes, or NULL: not compressed in any known way. */
const char *unpack_method(const uint8_t magic[UNPACK_MAGIC_SIZE]);

/*
 * Unpack [offset, offset + size) of a file into a memfd, which the caller closes.  The last four
 * bytes say how many come out, as those of a Linux kernel and of gzip do.
 * Returns 0 with *memfd and *unpacked; -ENOTSUP with *failure filled (one clause, without the
 * file's name): an unknown method, or one that vkvm is built without; -ENOEXEC: damaged or too
 * large; -ENOMEM or another -errno: no room.
 */
int unpack(int fd, uint64_t offset, uint64_t size, int *memfd, uint64_t *unpacked,
           struct failure *failure) __attribute__((warn_unused_result));

#endif
