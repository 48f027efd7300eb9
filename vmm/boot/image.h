/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest images: recognised by content, checked, loaded.
 *
 * Two steps.  image_open reads and checks everything and changes nothing, so
 * that a bad image is refused before a VM exists; image_load copies the segments
 * to their physical addresses.  What a segment has beyond its bytes in the file
 * is not written: fresh guest memory is zero.
 *
 * image.c has the table of formats; each is a file of its own (image_format.h).
 */
#ifndef IMAGE_H
#define IMAGE_H

#include "vmm/base/failure.h"
#include "vmm/boot/unpack.h"
#include "vmm/vm/guest_memory.h"
#include "vmm/x86_64/arch.h"

#define IMAGE_MAX_SEGMENTS 64
#define IMAGE_REMARK_SIZE 512

/*
 * The boot header of a Linux kernel, as it stands in the file and in what the kernel is told at
 * its start (Linux Documentation/x86/boot.rst and zero-page.rst).
 */
#define IMAGE_LINUX_HEADER 0x1f1u
#define IMAGE_LINUX_HEADER_END 0x290u

/* Firmware and its tables: memory of a PC in which no image may lie. */
#define IMAGE_FIRMWARE_START 0xA0000u
#define IMAGE_FIRMWARE_END 0x100000u

/* Most bytes of a build id that are told: SHA-1 has 20. */
#define IMAGE_BUILD_ID_MAX 32u

/* Bytes [start, start + size) of guest-physical memory. */
struct image_segment {
    gpa_t start;
    uint64_t size;      /* in memory, not 0 */
    uint64_t file_size; /* of these, from the file; <= size */
    uint64_t offset;    /* in the file */
};

struct image {
    int fd;                   /* owned: the file */
    struct unpacked unpacked; /* owned: what came out of it, and is the image then */
    const char *format;
    enum arch_protocol protocol;
    gpa_t entry;
    bool linux_kernel; /* an operating system that expects a whole processor */
    unsigned nsegments;
    struct image_segment segments[IMAGE_MAX_SEGMENTS]; /* sorted by start, disjoint */
    uint8_t build_id[IMAGE_BUILD_ID_MAX];              /* an ELF file's, by its linker */
    size_t build_id_size;                              /* bytes; 0 = it has none */
    uint64_t command_line_max;                         /* bytes; 0 = no limit of the image's */
    uint64_t initrd_max;                               /* highest address it may reach; 0 = any */
    /* ARCH_PROTOCOL_LINUX*: from IMAGE_LINUX_HEADER on, zeros behind what the image has. */
    uint8_t linux_header[IMAGE_LINUX_HEADER_END - IMAGE_LINUX_HEADER];
    /* Why it is started another way than it could be, with what to do; empty = nothing to say. */
    char remark[IMAGE_REMARK_SIZE];
};

/* Where an image may lie. */
struct image_limits {
    const char *memory;       /* what memory_size_max is the largest of, for messages */
    gpa_t low;                /* first address that start-up does not use */
    uint64_t memory_size;     /* end of guest memory */
    uint64_t memory_size_max; /* ... as --memory could make it */
};

/* A file without headers: what the user says about it. */
struct image_flat {
    bool given; /* the file is one */
    uint64_t load;
    uint64_t entry;
    enum arch_protocol protocol; /* ARCH_PROTOCOL_FLAT* */
};

struct image_request {
    const char *path;            /* borrowed */
    struct image_limits vkernel; /* for ARCH_PROTOCOL_VKVM */
    struct image_limits pc;      /* for all others */
    struct image_flat flat;
    bool no_unpack; /* a compressed kernel unpacks itself */
};

/*
 * Open and check an image; image_close it.
 * Returns 0; -ENOENT or -ENOEXEC with *failure filled, nothing is held then:
 *   - no file, no regular file, forbidden;
 *   - of no known format, or of one that cannot be started: 16-bit only, firmware, a disk, a
 *     program for Linux, another machine, big-endian, position-independent, dynamically linked;
 *   - headers outside the file, fields that contradict each other, no or too many segments, segment
 *     larger in the file than in memory, bytes outside the file (truncated), addresses that
 *     overflow;
 *   - segments below the limits' low, beyond memory, overlapping, or of a PC in
 *     [IMAGE_FIRMWARE_START, IMAGE_FIRMWARE_END);
 *   - an entry point outside every segment or above what the boot page tables map.
 */
int image_open(const struct image_request *request, struct image *image, struct failure *failure)
    __attribute__((warn_unused_result));

/* Does the image want a PC, with its devices, instead of the machine of vkvm_abi.h? */
bool image_wants_pc(const struct image *image);

/*
 * Copy the segments.  Returns 0; -ENOEXEC when the file cannot be read or shrank
 * since it was checked, or what guest_memory_write returns when memory cannot be written; *failure
 * is filled and some segments may have been written.
 */
int image_load(const struct image *image, const struct guest_memory *memory,
               struct failure *failure) __attribute__((warn_unused_result));

void image_close(struct image *image);

/* Does any segment touch [start, start + size)? */
bool image_overlaps(const struct image *image, gpa_t start, uint64_t size);

#endif
