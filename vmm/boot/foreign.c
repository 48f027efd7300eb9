/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What people give that cannot be started: named for what it is, with what to do.
 */
#include "vmm/base/file.h"
#include "vmm/boot/image_format.h"

/* A BIOS image ends where the processor starts: with a jump, 16 bytes before its end. */
#define RESET_FROM_END 16u
#define ROM_SIZE 0x10000u /* a multiple of this */

static const struct {
    size_t at;
    const char *bytes;
    size_t size;
    const char *is;
} signatures[] = {
    { 0x38, "ARM\x64", 4, "is a Linux kernel for 64-bit ARM: give one for x86-64" },
    { 0x38, "RSC\x05", 4, "is a Linux kernel for RISC-V: give one for x86-64" },
    { 0, "\x27\x05\x19\x56", 4, "is an image of U-Boot: give the kernel that is in it" },
    { 0, "QFI\xfb", 4, "is a disk in qcow2 format: give a kernel; disks are no images" },
    { 0, "KDMV", 4, "is a disk in VMDK format: give a kernel; disks are no images" },
    { 0, "\x55\xaa", 2, "is an option ROM, which needs a BIOS: give a kernel" },
    { 0, "070701", 6, "is a cpio archive: give a kernel, and this as --initrd" },
    { 0, "!<arch>\n", 8, "is an archive or a Debian package: give the kernel that is in it" },
    { 0, "\xd0\x0d\xfe\xed", 4, "is a device tree: give a kernel, and this as --fdt" },
    { 0, "#!", 2, "is a script: give a kernel" },
    { 0, "MZ", 2,
      "is a program for UEFI, and there is no such firmware: give a kernel (bzImage or ELF)" },
    { 0x1fe, "\x55\xaa", 2,
      "is a disk or a boot sector: give a kernel, or start the boot sector with "
      "--load 0x7c00 --entry 0x7c00,real" },
};

/* Is the last jump one that a BIOS starts with: far (0xEA) or near (0xE9)? */
static bool
is_bios(const struct image_check *check)
{
    uint8_t opcode;

    if (check->file_size < ROM_SIZE || check->file_size % ROM_SIZE != 0)
        return false;
    if (file_read_at(check->image->fd, &opcode, 1, check->file_size - RESET_FROM_END) != 0)
        return false;
    return opcode == 0xEA || opcode == 0xE9;
}

static const char *
what_it_is(const struct image_check *check)
{
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        if (image_head_is(check, signatures[i].at, signatures[i].bytes, signatures[i].size))
            return signatures[i].is;
    }
    if (is_bios(check))
        return "is a BIOS: vkvm starts kernels without one: give a kernel";
    return NULL;
}

static bool
probe(const struct image_check *check)
{
    return what_it_is(check) != NULL;
}

static int
open_foreign(struct image_check *check)
{
    return IMAGE_REFUSE_PLAIN(check, what_it_is(check));
}

const struct image_format foreign_format = {
    .name = "foreign",
    .probe = probe,
    .open = open_foreign,
};
