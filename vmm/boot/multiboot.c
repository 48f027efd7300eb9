/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The multiboot header: found in ELF files (elf.c), and, with addresses of its own, in files of any
 * other format.
 *
 * Source: Multiboot Specification 0.6.96, 3.1.
 */
#include "vmm/boot/image_format.h"

#define MAGIC 0x1BADB002u
#define MAGIC2 0xE85250D6u /* of Multiboot 2 */

/* Flags.  A loader refuses an image that sets one of the lower 16 and that it does not know. */
#define FLAG_ALIGN 0x1u  /* modules on page borders: they always are */
#define FLAG_MEMORY 0x2u /* sizes of memory: always told */
#define FLAG_VIDEO 0x4u  /* a video mode */
#define FLAGS_MUST 0xFFFFu
#define FLAG_ADDRESSES 0x10000u

#define HEADER_SIZE 12u
#define HEADER_SIZE_ADDRESSES 32u

/* Offsets of the addresses in the header. */
#define HEADER_ADDR 12u
#define LOAD_ADDR 16u
#define LOAD_END_ADDR 20u
#define BSS_END_ADDR 24u
#define ENTRY_ADDR 28u

bool
multiboot_find(const struct image_check *check, size_t *at)
{
    for (size_t i = 0; i + HEADER_SIZE <= check->head_size; i += 4) {
        if (image_u32(check, i) == MAGIC &&
            image_u32(check, i) + image_u32(check, i + 4) + image_u32(check, i + 8) == 0) {
            *at = i;
            return true;
        }
    }
    return false;
}

int
multiboot_check(const struct image_check *check, size_t at, bool *has_addresses)
{
    uint32_t flags = image_u32(check, at + 4);

    if ((flags & FLAG_VIDEO) != 0)
        return IMAGE_REFUSE_PLAIN(check, "wants a video mode from its multiboot loader, and there "
                                         "is no screen: build it for a serial console");
    if ((flags & FLAGS_MUST & ~(FLAG_ALIGN | FLAG_MEMORY)) != 0)
        return IMAGE_REFUSE(check,
                            "wants more of its multiboot loader (flags 0x%x) than there is: build "
                            "it with flags 0x0 to 0x3",
                            flags);
    *has_addresses = (flags & FLAG_ADDRESSES) != 0;
    if (*has_addresses && at + HEADER_SIZE_ADDRESSES > check->head_size)
        return IMAGE_REFUSE_PLAIN(check, "ends within its multiboot header: copy it again");
    return 0;
}

/* The one segment that the addresses describe. */
static int
describe_segment(const struct image_check *check, size_t at, struct image_segment *segment)
{
    uint64_t header = image_u32(check, at + HEADER_ADDR), load = image_u32(check, at + LOAD_ADDR);
    uint64_t load_end = image_u32(check, at + LOAD_END_ADDR);
    uint64_t bss_end = image_u32(check, at + BSS_END_ADDR);

    if (load > header || header - load > at)
        return IMAGE_REFUSE(check,
                            "has a multiboot header at 0x%zx in the file that says it is at 0x%llx "
                            "in memory, loaded from 0x%llx on: link it again",
                            at, (ull)header, (ull)load);
    segment->offset = at - (header - load);
    if (load_end == 0)
        load_end = load + (check->file_size - segment->offset);
    if (load_end <= load || (bss_end != 0 && bss_end < load_end))
        return IMAGE_REFUSE(check,
                            "has a multiboot header whose load_addr 0x%llx, load_end_addr 0x%llx "
                            "and bss_end_addr 0x%llx are out of order: link it again",
                            (ull)load, (ull)load_end, (ull)bss_end);
    segment->start = gpa_from_u64(load);
    segment->file_size = load_end - load;
    segment->size = (bss_end != 0 ? bss_end : load_end) - load;
    return 0;
}

int
multiboot_take_addresses(const struct image_check *check, size_t at)
{
    struct image_segment segment;
    int error = describe_segment(check, at, &segment);

    if (error == 0)
        error = image_add_segment(check, &segment);
    if (error == 0)
        error = image_set_entry(check, image_u32(check, at + ENTRY_ADDR));
    return error;
}

static bool
find_multiboot2(const struct image_check *check)
{
    for (size_t i = 0; i + 16 <= check->head_size; i += 8) {
        if (image_u32(check, i) == MAGIC2 && image_u32(check, i) + image_u32(check, i + 4) +
                                                     image_u32(check, i + 8) +
                                                     image_u32(check, i + 12) ==
                                                 0)
            return true;
    }
    return false;
}

static bool
probe(const struct image_check *check)
{
    size_t at;

    return multiboot_find(check, &at) || find_multiboot2(check);
}

static int
open_multiboot(struct image_check *check)
{
    bool has_addresses = false;
    size_t at;
    int error;

    if (!multiboot_find(check, &at))
        return IMAGE_REFUSE_PLAIN(check, "has a header of multiboot 2 only: build it with one of "
                                         "multiboot 1, or as ELF with a PVH note");
    error = multiboot_check(check, at, &has_addresses);
    if (error != 0)
        return error;
    if (!has_addresses)
        return IMAGE_REFUSE_PLAIN(check, "has a multiboot header without addresses (flag 16) and "
                                         "is not an ELF file: link it as ELF, or give the header "
                                         "its addresses");
    check->image->protocol = ARCH_PROTOCOL_MULTIBOOT;
    return multiboot_take_addresses(check, at);
}

const struct image_format multiboot_format = {
    .name = "multiboot",
    .probe = probe,
    .open = open_multiboot,
};
