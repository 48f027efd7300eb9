/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Placing and writing what a PC image is started with.
 *
 * Boot tables and information lie below 640 KiB, as low as there is room: above that many guests
 * take all memory up to its end for their own without looking.  A multiboot module lies behind the
 * image, where other loaders put it; an initial RAM disk as high as it may, out of the way of a
 * kernel that unpacks itself.
 */
#include "vmm/boot/pc_start.h"

#include "vmm/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)256 << 10)
#define LOW_START PAGE_SIZE /* page 0 is the interrupt vectors' */
#define BASE_MEMORY 0x413u  /* in the BIOS data area: KiB of memory from 0 on, 16 bits */
#define MIB ((uint64_t)1 << 20)

/* A placement: what lies where already. */
struct place_list {
    unsigned count;
    struct {
        uint64_t start;
        uint64_t end;
    } taken[IMAGE_MAX_SEGMENTS + PC_START_MAX_MODULES + 4];
};

static uint64_t
round_up(uint64_t value)
{
    return (value + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
}

static void
take(struct place_list *places, uint64_t start, uint64_t size)
{
    places->taken[places->count].start = start;
    places->taken[places->count].end = start + size;
    places->count++;
}

/* The first taken range that [start, end) touches, or NULL. */
static bool
find_taken(const struct place_list *places, uint64_t start, uint64_t end, uint64_t *from,
           uint64_t *to)
{
    for (unsigned i = 0; i < places->count; i++) {
        if (places->taken[i].start < end && start < places->taken[i].end) {
            *from = places->taken[i].start;
            *to = places->taken[i].end;
            return true;
        }
    }
    return false;
}

/* The lowest free page-aligned place in [low, high).  Each step goes up past a taken range. */
static bool
place_low(struct place_list *places, uint64_t low, uint64_t high, uint64_t size, uint64_t *place)
{
    uint64_t start = round_up(low), from, to;

    while (start < high && size <= high - start) {
        if (!find_taken(places, start, start + size, &from, &to)) {
            take(places, start, size);
            *place = start;
            return true;
        }
        start = round_up(to);
    }
    return false;
}

/* The highest one. */
static bool
place_high(struct place_list *places, uint64_t low, uint64_t high, uint64_t size, uint64_t *place)
{
    uint64_t end = high, start, from, to;

    while (end >= size && (start = (end - size) & ~(uint64_t)PAGE_MASK) >= low) {
        if (!find_taken(places, start, start + size, &from, &to)) {
            take(places, start, size);
            *place = start;
            return true;
        }
        end = from;
    }
    return false;
}

/* --- The command line -------------------------------------------------------- */

/* Multiboot's first word is the image's name; a blank in it would make two of it. */
static void
put_name(char *to, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;

    for (; *name != '\0'; name++)
        *to++ = *name == ' ' ? '_' : *name;
    *to = '\0';
}

static void
append_word(char *to, const char *word)
{
    if (*word == '\0')
        return;
    if (*to != '\0')
        strcat(to, " ");
    strcat(to, word);
}

static int
make_command_line(const struct pc_start_config *config, struct pc_start *pc,
                  struct failure *failure)
{
    size_t size = strlen(config->path) + 1 + strlen(config->append) + 1;

    for (size_t i = 0; i < config->narguments; i++)
        size += strlen(config->arguments[i]) + 1;
    pc->command_line = calloc(1, size);
    if (pc->command_line == NULL)
        return failure_set(failure, -ENOMEM, "out of memory: no room for the command line");
    if (config->image->protocol == ARCH_PROTOCOL_MULTIBOOT)
        put_name(pc->command_line, config->path);
    append_word(pc->command_line, config->append);
    for (size_t i = 0; i < config->narguments; i++)
        append_word(pc->command_line, config->arguments[i]);
    size = strlen(pc->command_line);
    if (config->image->command_line_max != 0 && size > config->image->command_line_max)
        return failure_set(failure, -ENOEXEC,
                           "the command line has %zu bytes, and this kernel takes %llu: shorten "
                           "--append",
                           size, (unsigned long long)config->image->command_line_max);
    return 0;
}

/* --- Modules ----------------------------------------------------------------- */

static int
open_module(struct pc_start *pc, const char *path, const char *arguments, struct failure *failure)
{
    struct start_module *module = &pc->modules[pc->nmodules];
    int error = file_open(path, O_RDONLY, &pc->fds[pc->nmodules], &module->size, failure);

    if (error != 0)
        return error == -ENOENT ? -ENOENT : -ENOEXEC;
    module->arguments = arguments;
    pc->nmodules++;
    if (module->size == 0)
        return failure_set(failure, -ENOEXEC, FAILURE_NAME " is empty: give a file with contents",
                           path);
    return 0;
}

static int
open_modules(const struct pc_start_config *config, struct pc_start *pc, struct failure *failure)
{
    int error = 0;

    if (config->initrd != NULL)
        error = open_module(pc, config->initrd, "", failure);
    for (unsigned i = 0; i < config->nmodules && error == 0; i++) {
        char *path = strndup(config->modules[i].path, config->modules[i].path_size);

        if (path == NULL)
            return failure_set(failure, -ENOMEM, "out of memory: no room for a module's name");
        error = open_module(pc, path, config->modules[i].arguments, failure);
        free(path);
    }
    return error;
}

/* What this way of starting has no words for. */
static int
check_wishes(const struct pc_start_config *config, struct failure *failure)
{
    enum arch_protocol protocol = config->image->protocol;

    if ((protocol == ARCH_PROTOCOL_LINUX32 || protocol == ARCH_PROTOCOL_LINUX64) &&
        config->nmodules != 0)
        return failure_set(failure, -ENOEXEC,
                           "a Linux kernel takes no --module: give its one file as --initrd");
    if (protocol != ARCH_PROTOCOL_FLAT16 && protocol != ARCH_PROTOCOL_FLAT32 &&
        protocol != ARCH_PROTOCOL_FLAT64)
        return 0;
    if (config->nmodules != 0 || config->initrd != NULL || *config->append != '\0' ||
        config->narguments != 0)
        return failure_set(failure, -ENOEXEC,
                           "a file without headers takes no arguments, --append, --initrd or "
                           "--module: leave them out");
    return 0;
}

/* --- Places ------------------------------------------------------------------ */

static uint64_t
image_end(const struct image *image)
{
    const struct image_segment *last = &image->segments[image->nsegments - 1];

    return gpa_to_u64(last->start) + last->size;
}

static int
place_module(const struct pc_start_config *config, struct place_list *places,
             struct start_module *module, struct failure *failure)
{
    const struct image *image = config->image;
    uint64_t end = machine_low_end(config->machine), place;
    bool placed;

    if (image->initrd_max != 0 && end > image->initrd_max + 1)
        end = image->initrd_max + 1;
    if (image->protocol == ARCH_PROTOCOL_MULTIBOOT)
        placed = place_low(places, image_end(image), end, module->size, &place) ||
                 place_low(places, MIB, end, module->size, &place);
    else
        placed = place_high(places, MIB, end, module->size, &place);
    if (!placed)
        return failure_set(failure, -ENOEXEC,
                           "there is no room for an initial RAM disk or module of %llu KiB beside "
                           "the image: give more --memory",
                           (unsigned long long)(module->size >> 10));
    module->place = gpa_from_u64(place);
    return 0;
}

static int
place_info(struct pc_start *pc, const struct start_info *info, struct place_list *places,
           struct failure *failure)
{
    uint64_t tables, place = 0;
    uint64_t tables_size = arch_start_tables_size(pc->start.protocol);

    pc->info_size = start_info_size(info);
    if (!place_low(places, LOW_START, IMAGE_FIRMWARE_START, tables_size, &tables) ||
        (pc->info_size != 0 &&
         !place_low(places, LOW_START, IMAGE_FIRMWARE_START, pc->info_size, &place)))
        return failure_set(failure, -ENOEXEC,
                           "there is no room below 640K for the %llu KiB that the image is told: "
                           "shorten --append, or link it higher",
                           (unsigned long long)((tables_size + pc->info_size) >> 10));
    pc->start.tables = gpa_from_u64(tables);
    pc->start.info = gpa_from_u64(place);
    return 0;
}

static int
place_all(const struct pc_start_config *config, struct pc_start *pc, const struct start_info *info,
          struct failure *failure)
{
    struct place_list places = { .count = 0 };
    const struct image *image = config->image;
    int error = 0;

    for (unsigned i = 0; i < image->nsegments; i++)
        take(&places, gpa_to_u64(image->segments[i].start), image->segments[i].size);
    for (unsigned i = 0; i < pc->nmodules && error == 0; i++)
        error = place_module(config, &places, &pc->modules[i], failure);
    if (error == 0)
        error = place_info(pc, info, &places, failure);
    return error;
}

/* --- What is told ------------------------------------------------------------ */

static int
make_map(const struct machine *machine, struct e820 *map, struct failure *failure)
{
    bool fits = true;

    e820_init(map);
    for (unsigned i = 0; i < machine->nram; i++)
        fits &= e820_add(map, gpa_to_u64(machine->ram[i].start), machine->ram[i].size, E820_RAM);
    fits &= e820_add(map, IMAGE_FIRMWARE_START, IMAGE_FIRMWARE_END - IMAGE_FIRMWARE_START,
                     E820_RESERVED);
    return fits ? 0 : failure_set(failure, -ENOEXEC, "too many ranges of memory: give fewer");
}

/*
 * All that a kernel of multiboot may look for in the BIOS data area: Xen takes its place for starting
 * processors below that, and without it none at all.
 */
static unsigned
base_memory(const struct image *image, const struct e820 *map)
{
    if (image->protocol != ARCH_PROTOCOL_MULTIBOOT ||
        image_overlaps(image, gpa_from_u64(BASE_MEMORY), sizeof(uint16_t)))
        return 0;
    return (unsigned)(e820_ram_end(map, 0) >> 10);
}

static int
make_info(const struct pc_start_config *config, struct pc_start *pc, struct failure *failure)
{
    struct e820 map;
    struct start_info info = {
        .image = config->image,
        .map = &map,
        .rsdp = config->rsdp,
        .command_line = pc->command_line,
        .nmodules = pc->nmodules,
        .modules = pc->modules,
    };
    int error = make_map(config->machine, &map, failure);

    if (error == 0)
        error = place_all(config, pc, &info, failure);
    if (error != 0 || pc->info_size == 0)
        return error;
    pc->base_kib = base_memory(config->image, &map);
    pc->info = malloc(pc->info_size);
    if (pc->info == NULL)
        return failure_set(failure, -ENOMEM, "out of memory: no room for what the image is told");
    info.place = pc->start.info;
    start_info_fill(&info, pc->info);
    return 0;
}

int
pc_start_open(const struct pc_start_config *config, struct pc_start *pc, struct failure *failure)
{
    int error;

    *pc = (struct pc_start){
        .start = {
            .protocol = config->image->protocol,
            .entry = config->image->entry,
            .vectors = !image_overlaps(config->image, gpa_from_u64(0), ARCH_VECTORS_END),
        },
    };
    error = check_wishes(config, failure);
    if (error == 0)
        error = make_command_line(config, pc, failure);
    if (error == 0)
        error = open_modules(config, pc, failure);
    if (error == 0)
        error = make_info(config, pc, failure);
    if (error != 0)
        pc_start_close(pc);
    return error;
}

/* --- Loading ----------------------------------------------------------------- */

static int
load_module(const struct pc_start *pc, unsigned i, void *buffer, const struct guest_memory *memory,
            struct failure *failure)
{
    const struct start_module *module = &pc->modules[i];

    for (uint64_t done = 0; done < module->size; done += COPY_SIZE) {
        uint64_t left = module->size - done;
        size_t size = left < COPY_SIZE ? (size_t)left : COPY_SIZE;
        int error = file_read_at(pc->fds[i], buffer, size, done);

        if (error != 0)
            return failure_set(failure, -ENOEXEC,
                               "cannot read the initial RAM disk or module at 0x%llx: %s",
                               (unsigned long long)done,
                               error == -ENODATA ? "it became shorter" : strerror(-error));
        error = guest_memory_write(memory, gpa_add(module->place, done), buffer, size, "a module",
                                   failure);
        if (error != 0)
            return error;
    }
    return 0;
}

static int
load_base_memory(const struct pc_start *pc, const struct guest_memory *memory,
                 struct failure *failure)
{
    const uint8_t bytes[] = { (uint8_t)pc->base_kib, (uint8_t)(pc->base_kib >> 8) };

    if (pc->base_kib == 0)
        return 0;
    return guest_memory_write(memory, gpa_from_u64(BASE_MEMORY), bytes, sizeof(bytes),
                              "the size of base memory", failure);
}

int
pc_start_load(const struct pc_start *pc, const struct guest_memory *memory, struct failure *failure)
{
    void *buffer = malloc(COPY_SIZE);
    int error = 0;

    if (buffer == NULL)
        return failure_set(failure, -ENOMEM, "out of memory: no room to read a module");
    for (unsigned i = 0; i < pc->nmodules && error == 0; i++)
        error = load_module(pc, i, buffer, memory, failure);
    free(buffer);
    if (error == 0 && pc->info_size != 0)
        error = guest_memory_write(memory, pc->start.info, pc->info, pc->info_size,
                                   "what the image is told", failure);
    if (error == 0)
        error = load_base_memory(pc, memory, failure);
    return error;
}

void
pc_start_close(struct pc_start *pc)
{
    for (unsigned i = 0; i < pc->nmodules; i++)
        close(pc->fds[i]);
    free(pc->info);
    free(pc->command_line);
    *pc = (struct pc_start){ .nmodules = 0 };
}
