/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest is told at its start, for each protocol that tells it anything: boot_params of
 * Linux, hvm_start_info of PVH, the information structure of multiboot.  With all that it points
 * to, but for the modules themselves, it is one run of bytes.
 *
 * Sources: Linux Documentation/x86/boot.rst and zero-page.rst; Xen public/arch-x86/hvm/start_info.h;
 * Multiboot 0.6.96, 3.3.
 */
#ifndef START_INFO_H
#define START_INFO_H

#include "vmm/boot/image.h"
#include "vmm/x86_64/e820.h"

#include <stddef.h>

/* A file in memory: an initial RAM disk, a multiboot module. */
struct start_module {
    gpa_t place;
    uint64_t size;
    const char *arguments; /* borrowed; "" = none */
};

struct start_info {
    gpa_t place;               /* of the bytes, below 4 GiB */
    const struct image *image; /* borrowed, as all here */
    const struct e820 *map;
    uint64_t rsdp; /* of the ACPI tables; 0 = there are none */
    const char *command_line;
    unsigned
        nmodules; /* ARCH_PROTOCOL_LINUX*: the first is the initial RAM disk, others are not told */
    const struct start_module *modules;
};

/* Bytes; the place does not matter.  0 for a protocol that tells nothing. */
size_t start_info_size(const struct start_info *info);

/* Fill start_info_size bytes. */
void start_info_fill(const struct start_info *info, uint8_t *bytes);

#endif
