/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the formats of images share: one file of this folder each, known to the table in image.c.
 *
 * Every number that a format reads comes from the image, so it is checked before it is used.  The
 * file is read with pread, never mapped, so that a file that shrinks meanwhile is an error and not
 * a signal.
 */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

#include "vmm/boot/image.h"

#include <errno.h>
#include <string.h>

/* Where a multiboot header may lie, the farthest that any format is recognised by. */
#define IMAGE_HEAD_SIZE 8192u

/* An image while it is checked. */
struct image_check {
    const struct image_request *request;
    uint64_t file_size;
    size_t head_size; /* min(file_size, IMAGE_HEAD_SIZE) */
    struct image *image;
    struct failure *failure;
    uint8_t head[IMAGE_HEAD_SIZE]; /* the file's first bytes, zeros behind its end */
};

struct image_format {
    const char *name;
    /* Is it one?  Looks at the head only. */
    bool (*probe)(const struct image_check *check);
    /* Fill check->image, or return -ENOEXEC with *failure filled. */
    int (*open)(struct image_check *check);
};

extern const struct image_format elf_format;       /* vkvm's own, PVH, multiboot, Linux */
extern const struct image_format bzimage_format;   /* Linux, compressed */
extern const struct image_format multiboot_format; /* without ELF */
extern const struct image_format gzip_format;      /* any of these, compressed */
extern const struct image_format foreign_format;   /* what cannot be started, by its name */

/* What the user says is a file without headers; no probe. */
int flat_open(struct image_check *check) __attribute__((warn_unused_result));

/* "'path' CAUSE: REMEDY" with numbers in the cause. */
#define IMAGE_REFUSE(check, format, ...)                                                     \
    failure_set((check)->failure, -ENOEXEC, FAILURE_NAME " " format, (check)->request->path, \
                __VA_ARGS__)
#define IMAGE_REFUSE_PLAIN(check, text) IMAGE_REFUSE(check, "%s", text)

typedef unsigned long long ull;

/* Numbers of the file's head, little endian. */
static inline uint16_t
image_u16(const struct image_check *check, size_t at)
{
    return (uint16_t)(check->head[at] | check->head[at + 1] << 8);
}

static inline uint32_t
image_u32(const struct image_check *check, size_t at)
{
    return image_u16(check, at) | (uint32_t)image_u16(check, at + 2) << 16;
}

static inline uint64_t
image_u64(const struct image_check *check, size_t at)
{
    return image_u32(check, at) | (uint64_t)image_u32(check, at + 4) << 32;
}

static inline bool
image_head_is(const struct image_check *check, size_t at, const char *bytes, size_t size)
{
    return at + size <= check->head_size && memcmp(check->head + at, bytes, size) == 0;
}

/*
 * Take the rest of the opening from check->image->fd, a file that is another than before: its
 * size and head are read again.
 * Returns 0; -ENOEXEC with *failure filled.
 */
int image_check_file(struct image_check *check, uint64_t size) __attribute__((warn_unused_result));

/*
 * Open as the format that the head shows, of those that are not compressed.
 * Returns as image_open.
 */
int image_check_plain(struct image_check *check) __attribute__((warn_unused_result));

/*
 * Add a segment for the protocol that image->protocol says, in its order.
 * Returns 0; -ENOEXEC with *failure filled: not in the file, not in memory, overlapping another.
 */
int image_add_segment(const struct image_check *check, const struct image_segment *segment)
    __attribute__((warn_unused_result));

/* The guest starts with physical addresses: the entry must lie in a segment, and below 4 GiB. */
int image_set_entry(const struct image_check *check, uint64_t entry)
    __attribute__((warn_unused_result));

/* The multiboot header in the head; false = none.  *at is where it is. */
bool multiboot_find(const struct image_check *check, size_t *at);

/*
 * May it be started?  *has_addresses: it says itself what is loaded where.
 * Returns 0; -ENOEXEC with *failure filled: it wants what is not there.
 */
int multiboot_check(const struct image_check *check, size_t at, bool *has_addresses)
    __attribute__((warn_unused_result));

/* Take segments and entry from the header at `at`.  Returns 0; -ENOEXEC with *failure filled. */
int multiboot_take_addresses(const struct image_check *check, size_t at)
    __attribute__((warn_unused_result));

#endif
