/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux kernels as they are installed (bzImage), and what is built like one: memtest86+, iPXE.
 *
 * The file is a part for real mode, of which only the header is used, and a part for protected
 * mode.  Of that, a Linux kernel's is a small program that unpacks the kernel proper, the payload,
 * in memory.  The payload is an ELF file with a PVH entry in most distributions: unpacked here, on
 * the host, it starts at once.  Where that cannot be, the program does it, and the image says why.
 *
 * Source: Linux Documentation/x86/boot.rst.
 */
#include "vmm/boot/image_format.h"
#include "vmm/boot/unpack.h"

#include <stdio.h>
#include <unistd.h>

/* Fields of the header: where they are in the file. */
#define SETUP_SECTS 0x1f1u
#define SYSSIZE 0x1f4u
#define BOOT_FLAG 0x1feu
#define JUMP_OFFSET 0x201u /* counted from here on, the header's length */
#define HEADER 0x202u
#define VERSION 0x206u
#define LOADFLAGS 0x211u
#define CODE32_START 0x214u
#define INITRD_ADDR_MAX 0x22cu
#define KERNEL_ALIGNMENT 0x230u
#define RELOCATABLE 0x234u
#define XLOADFLAGS 0x236u
#define CMDLINE_SIZE 0x238u
#define PAYLOAD_OFFSET 0x248u
#define PAYLOAD_LENGTH 0x24cu
#define PREF_ADDRESS 0x258u
#define INIT_SIZE 0x260u

#define SECTOR 512u
#define SETUP_SECTS_DEFAULT 4u
#define SETUP_SECTS_MAX 64u
#define LOADED_HIGH 0x01u
#define XLF_KERNEL_64 0x0001u
#define ENTRY64 0x200u

/* Where a kernel without pref_address is loaded, and what its command line may have. */
#define LOAD_DEFAULT 0x100000u
#define CMDLINE_DEFAULT 255u
#define INITRD_MAX_DEFAULT 0x37FFFFFFu

/* The protocol of Linux 2.6.22, the first with all that is needed here. */
#define VERSION_MIN 0x0206u

/* The header, read once. */
struct bzimage {
    unsigned version;
    uint64_t kernel; /* where the part for protected mode is in the file */
    uint64_t kernel_size;
    uint64_t payload; /* in the file; payload_size 0 = not known */
    uint64_t payload_size;
    uint64_t load;
    uint64_t init_size; /* what it needs in memory from there on */
    bool has_entry64;
};

static bool
probe(const struct image_check *check)
{
    return image_head_is(check, HEADER, "HdrS", 4);
}

static int
check_protocol(const struct image_check *check, struct bzimage *bz)
{
    bz->version = image_u16(check, VERSION);
    if (check->head_size < IMAGE_LINUX_HEADER_END)
        return IMAGE_REFUSE_PLAIN(check, "ends within its Linux boot header: copy it again");
    if (image_u16(check, BOOT_FLAG) != 0xAA55)
        return IMAGE_REFUSE_PLAIN(check, "has a damaged Linux boot header: copy it again");
    if ((check->head[LOADFLAGS] & LOADED_HIGH) == 0)
        return IMAGE_REFUSE_PLAIN(check, "is a zImage, which starts in 16-bit mode only and needs "
                                         "a BIOS: build a bzImage");
    if (bz->version < VERSION_MIN || image_u32(check, CODE32_START) == 0)
        return IMAGE_REFUSE(check,
                            "starts in 16-bit mode only and needs a BIOS (boot protocol %u.%02u, "
                            "code32_start 0x%x): give a kernel with a 32-bit or 64-bit entry",
                            bz->version >> 8, bz->version & 0xff, image_u32(check, CODE32_START));
    return 0;
}

/* The two parts of the file. */
static int
check_parts(const struct image_check *check, struct bzimage *bz)
{
    unsigned sectors = check->head[SETUP_SECTS];
    uint64_t stated = (uint64_t)image_u32(check, SYSSIZE) * 16;

    if (sectors == 0)
        sectors = SETUP_SECTS_DEFAULT;
    bz->kernel = (sectors + 1) * SECTOR;
    if (sectors > SETUP_SECTS_MAX || bz->kernel >= check->file_size)
        return IMAGE_REFUSE(check,
                            "has a Linux boot header with setup_sects %u, but 0x%llx bytes in all: "
                            "copy it again",
                            sectors, (ull)check->file_size);
    bz->kernel_size = check->file_size - bz->kernel;
    /* Counted in 16 bytes, of which the last may not be there. */
    if (stated > bz->kernel_size + 15)
        return IMAGE_REFUSE(check,
                            "is truncated: its Linux boot header says 0x%llx bytes of kernel, and "
                            "0x%llx are there: copy it again",
                            (ull)stated, (ull)bz->kernel_size);
    return 0;
}

static int
check_place(const struct image_check *check, struct bzimage *bz)
{
    uint32_t alignment = image_u32(check, KERNEL_ALIGNMENT);
    bool relocatable = check->head[RELOCATABLE] != 0;

    bz->load = LOAD_DEFAULT;
    bz->init_size = bz->kernel_size;
    if (bz->version < 0x020a)
        return 0;
    if (image_u64(check, PREF_ADDRESS) != 0)
        bz->load = image_u64(check, PREF_ADDRESS);
    if (image_u32(check, INIT_SIZE) > bz->init_size)
        bz->init_size = image_u32(check, INIT_SIZE);
    if (relocatable &&
        ((alignment & (alignment - 1)) != 0 || alignment == 0 || (bz->load & (alignment - 1)) != 0))
        return IMAGE_REFUSE(check,
                            "has a Linux boot header with kernel_alignment 0x%x and pref_address "
                            "0x%llx, which do not go together: copy it again",
                            alignment, (ull)bz->load);
    return 0;
}

static int
check_entry(const struct image_check *check, struct bzimage *bz)
{
    bz->has_entry64 = bz->version >= 0x020c && (image_u16(check, XLOADFLAGS) & XLF_KERNEL_64) != 0;
    if (bz->has_entry64 && bz->kernel_size <= ENTRY64)
        return IMAGE_REFUSE(check,
                            "has a 64-bit entry 0x%x bytes into its kernel, which has 0x%llx: copy "
                            "it again",
                            ENTRY64, (ull)bz->kernel_size);
    return 0;
}

/* Where the payload is, if the header says so and it is one. */
static void
find_payload(const struct image_check *check, struct bzimage *bz)
{
    uint64_t offset = image_u32(check, PAYLOAD_OFFSET), size = image_u32(check, PAYLOAD_LENGTH);

    if (bz->version < 0x0208 || size == 0 || size > bz->kernel_size ||
        offset > bz->kernel_size - size)
        return;
    bz->payload = bz->kernel + offset;
    bz->payload_size = size;
}

/* What the kernel is told of its own header, and the limits that are in it. */
static void
take_header(const struct image_check *check, const struct bzimage *bz)
{
    struct image *image = check->image;
    size_t end = HEADER + check->head[JUMP_OFFSET];

    if (end > IMAGE_LINUX_HEADER_END)
        end = IMAGE_LINUX_HEADER_END;
    memcpy(image->linux_header, check->head + IMAGE_LINUX_HEADER, end - IMAGE_LINUX_HEADER);
    image->command_line_max = image_u32(check, CMDLINE_SIZE);
    if (image->command_line_max == 0)
        image->command_line_max = CMDLINE_DEFAULT;
    image->initrd_max = image_u32(check, INITRD_ADDR_MAX);
    if (image->initrd_max == 0)
        image->initrd_max = INITRD_MAX_DEFAULT;
    image->linux_kernel = bz->payload_size != 0;
}

/* The way every one can: it is loaded as it is. */
static int
open_classic(struct image_check *check, const struct bzimage *bz)
{
    const struct image_segment segment = {
        .start = gpa_from_u64(bz->load),
        .size = bz->init_size,
        .file_size = bz->kernel_size,
        .offset = bz->kernel,
    };
    int error;

    check->image->protocol = bz->has_entry64 ? ARCH_PROTOCOL_LINUX64 : ARCH_PROTOCOL_LINUX32;
    error = image_add_segment(check, &segment);
    if (error == 0)
        error = image_set_entry(check, bz->load + (bz->has_entry64 ? ENTRY64 : 0));
    return error;
}

static int
unpack_payload(const struct image *from, const struct bzimage *bz, struct unpacked *to,
               struct failure *failure)
{
    if (from->unpacked.bytes != NULL)
        return unpack_bytes(from->unpacked.bytes + bz->payload, bz->payload_size, to, failure);
    return unpack(from->fd, bz->payload, bz->payload_size, to, failure);
}

/* The payload, as an image of its own in `inner`; its bytes are in memory. */
static int
open_payload(const struct image_check *outer, const struct bzimage *bz, struct image_check *inner)
{
    struct image *image = inner->image;
    int error = unpack_payload(outer->image, bz, &image->unpacked, inner->failure);

    if (error != 0)
        return error;
    error = image_check_file(inner, image->unpacked.size);
    if (error == 0 && !elf_format.probe(inner))
        error = failure_set(inner->failure, -ENOEXEC,
                            "what comes out is not an ELF file: copy it "
                            "again");
    if (error == 0)
        error = elf_format.open(inner);
    if (error == 0 && image->protocol != ARCH_PROTOCOL_PVH)
        error = failure_set(inner->failure, -ENOEXEC,
                            "what comes out has no PVH entry: build the "
                            "kernel with CONFIG_PVH");
    if (error != 0)
        image_close(image);
    return error;
}

/* Open the payload instead.  Fails with a remark, for a person; nothing has changed then. */
static int
open_unpacked(struct image_check *check, const struct bzimage *bz)
{
    struct image image = { .fd = -1 };
    struct failure failure;
    struct image_check inner = {
        .request = check->request,
        .image = &image,
        .failure = &failure,
    };
    int error = open_payload(check, bz, &inner);

    if (error != 0) {
        snprintf(check->image->remark, sizeof(check->image->remark),
                 "the kernel unpacks itself, which takes longer, since vkvm cannot: %.400s",
                 failure.message);
        return error;
    }
    unpacked_free(&check->image->unpacked);
    image.fd = check->image->fd;
    image.format = check->image->format;
    image.command_line_max = check->image->command_line_max;
    image.linux_kernel = true;
    *check->image = image;
    return 0;
}

static int
open_bzimage(struct image_check *check)
{
    struct bzimage bz = { 0 };
    int error = check_protocol(check, &bz);

    if (error == 0)
        error = check_parts(check, &bz);
    if (error == 0)
        error = check_place(check, &bz);
    if (error == 0)
        error = check_entry(check, &bz);
    if (error != 0)
        return error;
    find_payload(check, &bz);
    take_header(check, &bz);
    if (bz.payload_size != 0 && !check->request->no_unpack && open_unpacked(check, &bz) == 0)
        return 0;
    return open_classic(check, &bz);
}

const struct image_format bzimage_format = {
    .name = "bzImage",
    .probe = probe,
    .open = open_bzimage,
};
