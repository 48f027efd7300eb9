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

/* What came out, in huge pages where the host has them. */
struct unpacked {
    uint8_t *bytes; /* NULL = nothing */
    uint64_t size;
};

/*
 * Unpack [offset, offset + size) of a file; unpacked_free takes the result.  The last four bytes
 * say how many come out, as those of a Linux kernel and of gzip do.
 * Returns 0; with *failure filled (one clause, without the file's name): -ENOTSUP: an unknown
 * method, or one that vkvm is built without; -ENOEXEC: damaged or too large; -ENOMEM or another
 * -errno: no room.
 */
int unpack(int fd, uint64_t offset, uint64_t size, struct unpacked *unpacked,
           struct failure *failure) __attribute__((warn_unused_result));

/* The same with what is in memory. */
int unpack_bytes(const uint8_t *bytes, size_t size, struct unpacked *unpacked,
                 struct failure *failure) __attribute__((warn_unused_result));

/* Free it; it is nothing then. */
void unpacked_free(struct unpacked *unpacked);

#endif
