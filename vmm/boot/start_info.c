/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest is told at its start.
 *
 * The bytes are: the protocol's structure, its list of modules, its memory map, then strings.
 */
#include "vmm/boot/start_info.h"

#include <string.h>

/* Linux: zero-page.rst and boot.rst, offsets in boot_params. */
#define LINUX_SIZE 4096u
#define LINUX_RSDP 0x070u
#define LINUX_E820_COUNT 0x1e8u
#define LINUX_BOOT_FLAG 0x1feu
#define LINUX_MAGIC 0x202u
#define LINUX_VERSION 0x206u
#define LINUX_LOADER 0x210u
#define LINUX_LOADFLAGS 0x211u
#define LINUX_CODE32 0x214u
#define LINUX_RAMDISK 0x218u
#define LINUX_RAMDISK_SIZE 0x21cu
#define LINUX_COMMAND_LINE 0x228u
#define LINUX_ALIGNMENT 0x230u
#define LINUX_E820 0x2d0u
#define LINUX_E820_SIZE 20u
#define LINUX_LOADER_OTHER 0xffu
#define LINUX_LOADED_HIGH 0x01u
/* What a kernel without a boot header of its own (an ELF file) is told instead. */
#define LINUX_VERSION_TOLD 0x020cu
#define LINUX_ALIGNMENT_TOLD 0x1000000u

/* PVH: offsets in hvm_start_info, version 1. */
#define PVH_SIZE 56u
#define PVH_MAGIC 0x336ec578u
#define PVH_NMODULES 12u
#define PVH_MODULES 16u
#define PVH_COMMAND_LINE 24u
#define PVH_RSDP 32u
#define PVH_MAP 40u
#define PVH_MAP_COUNT 48u
#define PVH_MODULE_SIZE 32u

/* Multiboot: offsets in the information structure. */
#define MULTIBOOT_SIZE 120u
#define MULTIBOOT_LOWER 4u
#define MULTIBOOT_UPPER 8u
#define MULTIBOOT_COMMAND_LINE 16u
#define MULTIBOOT_NMODULES 20u
#define MULTIBOOT_MODULES 24u
#define MULTIBOOT_MAP_SIZE 44u
#define MULTIBOOT_MAP 48u
#define MULTIBOOT_LOADER 64u
#define MULTIBOOT_MODULE_SIZE 16u
/* Flags: memory sizes, command line, modules, memory map, the loader's name. */
#define MULTIBOOT_FLAGS (0x1u | 0x4u | 0x8u | 0x40u | 0x200u)
#define LOADER_NAME "vkvm"

/* Both lists of ranges: PVH's has the size behind, multiboot's in front. */
#define MAP_ENTRY_SIZE 24u

#define MIB ((uint64_t)1 << 20)

struct format {
    size_t size; /* of the structure */
    size_t module_size;
    size_t map_entry_size;
    void (*fill)(const struct start_info *info, uint8_t *bytes);
};

/* A place in the bytes, and where the guest sees it. */
struct cursor {
    const struct start_info *info;
    uint8_t *bytes;
    size_t at;
};

static void
put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void
put32(uint8_t *at, uint64_t value)
{
    put(at, value, sizeof(uint32_t));
}

static void
put64(uint8_t *at, uint64_t value)
{
    put(at, value, sizeof(uint64_t));
}

/* Where the guest sees what comes next. */
static uint64_t
here(const struct cursor *cursor)
{
    return gpa_to_u64(cursor->info->place) + cursor->at;
}

/* Room for the next `size` bytes. */
static uint8_t *
take(struct cursor *cursor, size_t size)
{
    uint8_t *at = cursor->bytes + cursor->at;

    cursor->at += size;
    return at;
}

/* Append a string; returns its address. */
static uint64_t
put_string(struct cursor *cursor, const char *string)
{
    uint64_t address = here(cursor);
    size_t size = strlen(string) + 1;

    memcpy(take(cursor, size), string, size);
    return address;
}

/* --- Linux ------------------------------------------------------------------- */

static void
fill_linux_header(const struct start_info *info, uint8_t *bytes)
{
    bool has_header;

    memcpy(bytes + IMAGE_LINUX_HEADER, info->image->linux_header,
           sizeof(info->image->linux_header));
    has_header = memcmp(bytes + LINUX_MAGIC, "HdrS", 4) == 0;
    if (!has_header) {
        memcpy(bytes + LINUX_MAGIC, "HdrS", 4);
        put(bytes + LINUX_BOOT_FLAG, 0xAA55, 2);
        put(bytes + LINUX_VERSION, LINUX_VERSION_TOLD, 2);
        put32(bytes + LINUX_ALIGNMENT, LINUX_ALIGNMENT_TOLD);
    }
    bytes[LINUX_LOADER] = LINUX_LOADER_OTHER;
    bytes[LINUX_LOADFLAGS] |= LINUX_LOADED_HIGH;
    put32(bytes + LINUX_CODE32, gpa_to_u64(info->image->segments[0].start));
}

static void
fill_linux(const struct start_info *info, uint8_t *bytes)
{
    struct cursor cursor = { info, bytes, LINUX_SIZE };

    fill_linux_header(info, bytes);
    put64(bytes + LINUX_RSDP, info->rsdp);
    if (info->nmodules != 0) {
        put32(bytes + LINUX_RAMDISK, gpa_to_u64(info->modules[0].place));
        put32(bytes + LINUX_RAMDISK_SIZE, info->modules[0].size);
    }
    bytes[LINUX_E820_COUNT] = (uint8_t)info->map->count;
    for (unsigned i = 0; i < info->map->count; i++) {
        const struct e820_range *range = &info->map->ranges[i];
        uint8_t *at = bytes + LINUX_E820 + i * LINUX_E820_SIZE;

        put64(at, range->start);
        put64(at + 8, range->size);
        put32(at + 16, range->type);
    }
    put32(bytes + LINUX_COMMAND_LINE, put_string(&cursor, info->command_line));
}

_Static_assert(LINUX_E820 + E820_MAX * LINUX_E820_SIZE <= LINUX_SIZE, "the map fits");

/* --- PVH --------------------------------------------------------------------- */

static void
fill_pvh(const struct start_info *info, uint8_t *bytes)
{
    struct cursor lists = { info, bytes, PVH_SIZE };
    struct cursor strings = {
        info, bytes, PVH_SIZE + info->nmodules * PVH_MODULE_SIZE + info->map->count * MAP_ENTRY_SIZE
    };

    put32(bytes, PVH_MAGIC);
    put32(bytes + 4, 1);
    put32(bytes + PVH_NMODULES, info->nmodules);
    put64(bytes + PVH_MODULES, info->nmodules == 0 ? 0 : here(&lists));
    for (unsigned i = 0; i < info->nmodules; i++) {
        const struct start_module *module = &info->modules[i];
        uint8_t *at = take(&lists, PVH_MODULE_SIZE);

        put64(at, gpa_to_u64(module->place));
        put64(at + 8, module->size);
        put64(at + 16, *module->arguments == '\0' ? 0 : put_string(&strings, module->arguments));
    }
    put64(bytes + PVH_RSDP, info->rsdp);
    put64(bytes + PVH_MAP, here(&lists));
    put32(bytes + PVH_MAP_COUNT, info->map->count);
    for (unsigned i = 0; i < info->map->count; i++) {
        uint8_t *at = take(&lists, MAP_ENTRY_SIZE);

        put64(at, info->map->ranges[i].start);
        put64(at + 8, info->map->ranges[i].size);
        put32(at + 16, info->map->ranges[i].type);
    }
    put64(bytes + PVH_COMMAND_LINE, put_string(&strings, info->command_line));
}

/* --- Multiboot --------------------------------------------------------------- */

static void
fill_multiboot_memory(const struct start_info *info, uint8_t *bytes, struct cursor *lists)
{
    uint64_t upper = e820_ram_end(info->map, MIB) - MIB;

    put32(bytes + MULTIBOOT_LOWER, e820_ram_end(info->map, 0) >> 10);
    put32(bytes + MULTIBOOT_UPPER, upper >> 10);
    put32(bytes + MULTIBOOT_MAP_SIZE, info->map->count * MAP_ENTRY_SIZE);
    put32(bytes + MULTIBOOT_MAP, here(lists));
    for (unsigned i = 0; i < info->map->count; i++) {
        uint8_t *at = take(lists, MAP_ENTRY_SIZE);

        put32(at, MAP_ENTRY_SIZE - sizeof(uint32_t));
        put64(at + 4, info->map->ranges[i].start);
        put64(at + 12, info->map->ranges[i].size);
        put32(at + 20, info->map->ranges[i].type);
    }
}

static void
fill_multiboot(const struct start_info *info, uint8_t *bytes)
{
    struct cursor lists = { info, bytes, MULTIBOOT_SIZE };
    struct cursor strings = { info, bytes,
                              MULTIBOOT_SIZE + info->nmodules * MULTIBOOT_MODULE_SIZE +
                                  info->map->count * MAP_ENTRY_SIZE };

    put32(bytes, MULTIBOOT_FLAGS);
    put32(bytes + MULTIBOOT_NMODULES, info->nmodules);
    put32(bytes + MULTIBOOT_MODULES, here(&lists));
    for (unsigned i = 0; i < info->nmodules; i++) {
        const struct start_module *module = &info->modules[i];
        uint8_t *at = take(&lists, MULTIBOOT_MODULE_SIZE);

        put32(at, gpa_to_u64(module->place));
        put32(at + 4, gpa_to_u64(module->place) + module->size);
        put32(at + 8, put_string(&strings, module->arguments));
    }
    fill_multiboot_memory(info, bytes, &lists);
    put32(bytes + MULTIBOOT_COMMAND_LINE, put_string(&strings, info->command_line));
    put32(bytes + MULTIBOOT_LOADER, put_string(&strings, LOADER_NAME));
}

/* --- All --------------------------------------------------------------------- */

static const struct format *
format_of(const struct start_info *info)
{
    static const struct format linux_format = { LINUX_SIZE, 0, 0, fill_linux };
    static const struct format pvh_format = { PVH_SIZE, PVH_MODULE_SIZE, MAP_ENTRY_SIZE, fill_pvh };
    static const struct format multiboot_format = { MULTIBOOT_SIZE, MULTIBOOT_MODULE_SIZE,
                                                    MAP_ENTRY_SIZE, fill_multiboot };

    switch (info->image->protocol) {
    case ARCH_PROTOCOL_LINUX64:
    case ARCH_PROTOCOL_LINUX32:
        return &linux_format;
    case ARCH_PROTOCOL_PVH:
        return &pvh_format;
    case ARCH_PROTOCOL_MULTIBOOT:
        return &multiboot_format;
    case ARCH_PROTOCOL_VKVM:
    case ARCH_PROTOCOL_FLAT16:
    case ARCH_PROTOCOL_FLAT32:
    case ARCH_PROTOCOL_FLAT64:
        break;
    }
    return NULL;
}

size_t
start_info_size(const struct start_info *info)
{
    const struct format *format = format_of(info);
    size_t size;

    if (format == NULL)
        return 0;
    size = format->size + info->nmodules * format->module_size +
           info->map->count * format->map_entry_size + strlen(info->command_line) + 1 +
           sizeof(LOADER_NAME);
    for (unsigned i = 0; i < info->nmodules; i++)
        size += strlen(info->modules[i].arguments) + 1;
    return size;
}

void
start_info_fill(const struct start_info *info, uint8_t *bytes)
{
    const struct format *format = format_of(info);

    memset(bytes, 0, start_info_size(info));
    if (format != NULL)
        format->fill(info, bytes);
}
