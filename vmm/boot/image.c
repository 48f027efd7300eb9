/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of formats, and what they share.
 */
#include "vmm/boot/image.h"

#include "vmm/base/file.h"
#include "vmm/base/size_text.h"
#include "vmm/boot/image_format.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)256 << 10)

/* --- Segments ---------------------------------------------------------------- */

static const struct image_limits *
limits_of(const struct image_check *check)
{
    return image_wants_pc(check->image) ? &check->request->pc : &check->request->vkernel;
}

/* A segment's place in the file. */
static int
check_file_range(const struct image_check *check, const struct image_segment *segment)
{
    if (segment->file_size > segment->size)
        return IMAGE_REFUSE(check,
                            "has a segment with 0x%llx bytes in the file but 0x%llx in memory: "
                            "link it again",
                            (ull)segment->file_size, (ull)segment->size);
    if (segment->file_size == 0)
        return 0; /* whatever its offset: nothing is read */
    if (segment->file_size > check->file_size ||
        segment->offset > check->file_size - segment->file_size)
        return IMAGE_REFUSE(check,
                            "is truncated: a segment's 0x%llx bytes at 0x%llx lie beyond the "
                            "file's end at 0x%llx: copy or link it again",
                            (ull)segment->file_size, (ull)segment->offset, (ull)check->file_size);
    return 0;
}

/* The smallest power of two that holds [0, end) and, above it, a device tree. */
static uint64_t
enough_memory(uint64_t end, uint64_t max)
{
    uint64_t size = (uint64_t)4 << 20;

    while (size < end + ((uint64_t)1 << 20) && size < max)
        size *= 2;
    return size < max ? size : max;
}

/* A segment's place in memory. */
static int
check_memory_range(const struct image_check *check, const struct image_segment *segment)
{
    const struct image_limits *limits = limits_of(check);
    uint64_t start = gpa_to_u64(segment->start), size = segment->size;
    char text[SIZE_TEXT_MAX];

    if (size > limits->memory_size_max || start > limits->memory_size_max - size)
        return IMAGE_REFUSE(check,
                            "has a segment of 0x%llx bytes at 0x%llx, beyond the largest "
                            "%s of %s: link it lower",
                            (ull)size, (ull)start, limits->memory,
                            size_text(limits->memory_size_max, text));
    if (start < gpa_to_u64(limits->low))
        return IMAGE_REFUSE(check,
                            "has a segment at 0x%llx, below 0x%llx where start-up data lies: "
                            "link it higher",
                            (ull)start, (ull)gpa_to_u64(limits->low));
    if (start + size > limits->memory_size)
        return IMAGE_REFUSE(check, "needs memory up to 0x%llx: give --memory %s",
                            (ull)(start + size),
                            size_text(enough_memory(start + size, limits->memory_size_max), text));
    if (image_wants_pc(check->image) && start < IMAGE_FIRMWARE_END &&
        start + size > IMAGE_FIRMWARE_START)
        return IMAGE_REFUSE(check,
                            "has a segment of 0x%llx bytes at 0x%llx, which touches 0x%x to 0x%x "
                            "where a PC's firmware lies: link it elsewhere",
                            (ull)size, (ull)start, IMAGE_FIRMWARE_START, IMAGE_FIRMWARE_END - 1);
    return 0;
}

/* Put a checked segment where the order by start wants it. */
static int
insert_segment(const struct image_check *check, const struct image_segment *segment)
{
    struct image *image = check->image;
    struct image_segment *segments = image->segments;
    uint64_t start = gpa_to_u64(segment->start);
    unsigned i = image->nsegments;

    if (image->nsegments == IMAGE_MAX_SEGMENTS)
        return IMAGE_REFUSE(check, "has more than %d segments: link it with fewer",
                            IMAGE_MAX_SEGMENTS);
    if (image_overlaps(image, segment->start, segment->size))
        return IMAGE_REFUSE(check, "has overlapping segments at 0x%llx: link them apart",
                            (ull)start);
    for (; i > 0 && gpa_to_u64(segments[i - 1].start) > start; i--)
        segments[i] = segments[i - 1];
    segments[i] = *segment;
    image->nsegments++;
    return 0;
}

int
image_add_segment(const struct image_check *check, const struct image_segment *segment)
{
    int error = check_file_range(check, segment);

    if (error == 0)
        error = check_memory_range(check, segment);
    if (error == 0)
        error = insert_segment(check, segment);
    return error;
}

int
image_set_entry(const struct image_check *check, uint64_t entry)
{
    if (!image_overlaps(check->image, gpa_from_u64(entry), 1))
        return IMAGE_REFUSE(check,
                            "has its entry point 0x%llx outside every segment: link it again",
                            (ull)entry);
    if (entry >= ARCH_BOOT_MAP_END)
        return IMAGE_REFUSE(check,
                            "has its entry point at 0x%llx, above 4G where the start-up page "
                            "tables end: link it lower",
                            (ull)entry);
    check->image->entry = gpa_from_u64(entry);
    return 0;
}

/* --- Opening ----------------------------------------------------------------- */

/* In this order: the first that knows it has it. */
static const struct image_format *const formats[] = {
    &elf_format, &bzimage_format, &multiboot_format, &gzip_format, &foreign_format,
};

#define NFORMATS (sizeof(formats) / sizeof(formats[0]))

static int
open_unknown(const struct image_check *check)
{
    return IMAGE_REFUSE_PLAIN(check, "is not an ELF file, a Linux kernel (bzImage) or a multiboot "
                                     "image: give one of these, or say with --load where a file "
                                     "without headers belongs");
}

static int
open_known(struct image_check *check, const struct image_format *but)
{
    for (size_t i = 0; i < NFORMATS; i++) {
        if (formats[i] == but || !formats[i]->probe(check))
            continue;
        check->image->format = formats[i]->name;
        return formats[i]->open(check);
    }
    return open_unknown(check);
}

int
image_check_plain(struct image_check *check)
{
    return open_known(check, &gzip_format);
}

/* From the file, or from what came out of it.  As file_read_at. */
static int
read_image(const struct image *image, void *to, size_t size, uint64_t offset)
{
    if (image->unpacked.bytes == NULL)
        return file_read_at(image->fd, to, size, offset);
    memcpy(to, image->unpacked.bytes + offset, size);
    return 0;
}

int
image_check_file(struct image_check *check, uint64_t size)
{
    size_t head_size = size < IMAGE_HEAD_SIZE ? (size_t)size : IMAGE_HEAD_SIZE;
    int error;

    check->file_size = size;
    check->head_size = head_size;
    memset(check->head + head_size, 0, IMAGE_HEAD_SIZE - head_size);
    error = read_image(check->image, check->head, head_size, 0);
    if (error != 0)
        return IMAGE_REFUSE(check, "cannot be read: %s: copy it again",
                            error == -ENODATA ? "it became shorter" : strerror(-error));
    return 0;
}

int
image_open(const struct image_request *request, struct image *image, struct failure *failure)
{
    struct image_check check;
    uint64_t size;
    int error;

    check.request = request;
    check.image = image;
    check.failure = failure;
    *image = (struct image){ .fd = -1 };
    error = file_open(request->path, O_RDONLY, &image->fd, &size, failure);
    if (error != 0)
        return error == -ENOENT ? -ENOENT : -ENOEXEC;
    error = image_check_file(&check, size);
    if (error == 0)
        error = request->flat.given ? flat_open(&check) : open_known(&check, NULL);
    if (error != 0)
        image_close(image);
    return error;
}

bool
image_wants_pc(const struct image *image)
{
    return image->protocol != ARCH_PROTOCOL_VKVM;
}

void
image_close(struct image *image)
{
    if (image->fd >= 0)
        close(image->fd);
    image->fd = -1;
    unpacked_free(&image->unpacked);
}

bool
image_overlaps(const struct image *image, gpa_t start, uint64_t size)
{
    uint64_t first = gpa_to_u64(start), other;

    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct image_segment *segment = &image->segments[i];

        other = gpa_to_u64(segment->start);
        if (first < other ? other - first < size : first - other < segment->size)
            return true;
    }
    return false;
}

/* --- Loading ----------------------------------------------------------------- */

static int
load_unpacked(const struct image *image, const struct image_segment *segment,
              const struct guest_memory *memory, struct failure *failure)
{
    return guest_memory_write(memory, segment->start, image->unpacked.bytes + segment->offset,
                              segment->file_size, "the image", failure);
}

static int
load_from_file(const struct image *image, const struct image_segment *segment, void *buffer,
               const struct guest_memory *memory, struct failure *failure)
{
    uint64_t done = 0;

    while (done < segment->file_size) {
        uint64_t left = segment->file_size - done;
        size_t size = left < COPY_SIZE ? (size_t)left : COPY_SIZE;
        int result = file_read_at(image->fd, buffer, size, segment->offset + done);

        if (result != 0)
            return failure_set(failure, -ENOEXEC, "cannot read the image at 0x%llx: %s",
                               (ull)(segment->offset + done),
                               result == -ENODATA ? "it became shorter" : strerror(-result));
        result = guest_memory_write(memory, gpa_add(segment->start, done), buffer, size,
                                    "the image", failure);
        if (result != 0)
            return result;
        done += size;
    }
    return 0;
}

int
image_load(const struct image *image, const struct guest_memory *memory, struct failure *failure)
{
    void *buffer = malloc(COPY_SIZE);
    int status = 0;

    if (buffer == NULL)
        return failure_set(failure, -ENOMEM, "out of memory: no room to read the image");
    for (unsigned i = 0; i < image->nsegments && status == 0; i++) {
        if (image->unpacked.bytes != NULL)
            status = load_unpacked(image, &image->segments[i], memory, failure);
        else
            status = load_from_file(image, &image->segments[i], buffer, memory, failure);
    }
    free(buffer);
    return status;
}
