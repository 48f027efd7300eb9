/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest images: statically linked x86-64 ELF executables.
 *
 * Two steps.  image_open reads and checks everything and changes nothing, so
 * that a bad image is refused before a VM exists; image_load copies the segments
 * to their physical addresses.  What a segment has beyond its bytes in the file
 * is not written: fresh guest memory is zero.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include "vmm/base/failure.h"
#include "vmm/vm/guest_memory.h"

#define IMAGE_MAX_SEGMENTS 64

/* Bytes [start, start + size) of guest-physical memory. */
struct image_segment {
    gpa_t start;
    uint64_t size;      /* in memory, not 0 */
    uint64_t file_size; /* of these, from the file; <= size */
    uint64_t offset;    /* in the file */
};

struct image {
    int fd; /* owned */
    gpa_t entry;
    unsigned nsegments;
    struct image_segment segments[IMAGE_MAX_SEGMENTS]; /* sorted by start, disjoint */
};

/* Where an image may lie. */
struct image_limits {
    gpa_t low;                /* first address that start-up does not use */
    uint64_t memory_size;     /* end of guest memory */
    uint64_t memory_size_max; /* ... as --memory could make it */
};

/*
 * Open and check an image; image_close it.
 * Returns 0; -ENOENT or -ENOEXEC with *failure filled, nothing is held then:
 *   - no file, no regular file, forbidden;
 *   - not ELF, 32-bit, big-endian, another machine, not an executable, position-independent,
 *     dynamically linked, a program for Linux;
 *   - headers outside the file, no or too many segments, segment larger in the file than in
 *     memory, bytes outside the file (truncated), addresses that overflow;
 *   - segments below limits->low, beyond memory, or overlapping;
 *   - an entry point outside every segment or above what the boot page tables map.
 */
int image_open(const char *path, const struct image_limits *limits, struct image *image,
               struct failure *failure) __attribute__((warn_unused_result));

/*
 * Copy the segments.  Returns 0; -ENOEXEC when the file cannot be read or shrank
 * since it was checked, or what guest_memory_write returns when memory cannot be written; *failure is filled and
 * some segments may have been written.
 */
int image_load(const struct image *image, const struct guest_memory *memory,
               struct failure *failure) __attribute__((warn_unused_result));

void image_close(struct image *image);

/* Does any segment touch [start, start + size)? */
bool image_overlaps(const struct image *image, gpa_t start, uint64_t size);

#endif
