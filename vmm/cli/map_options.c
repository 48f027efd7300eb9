/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What --window and --map put into the guest's physical address space.  Both take a list
 * of pieces KEY=VALUE, which may come in any order.
 */
#include "vmm/cli/map_options.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/cli/value.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool
places_overlap(gpa_t a, uint64_t a_size, gpa_t b, uint64_t b_size)
{
    return gpa_to_u64(a) < gpa_to_u64(b) + b_size && gpa_to_u64(b) < gpa_to_u64(a) + a_size;
}

/* The value of gpa=. */
static int
place_gpa(const char *option, const char *value, gpa_t *start, struct failure *failure)
{
    uint64_t gpa;

    if (value_size(value, &gpa) != 0 || (gpa & PAGE_MASK) != 0 || gpa < VKVM_WINDOW_BASE ||
        gpa >= VKVM_WINDOW_END)
        return failure_set(failure, CLI_USAGE,
                           "%s gpa=" FAILURE_NAME
                           " is not possible: give a page's address from 0x%llx to below 0x%llx",
                           option, value, (unsigned long long)VKVM_WINDOW_BASE,
                           (unsigned long long)VKVM_WINDOW_END);
    *start = gpa_from_u64(gpa);
    return CLI_OK;
}

/* A window while its pieces are read: what was given. */
struct window_pieces {
    const char *text; /* the option's value, for messages */
    struct machine_window window;
    unsigned seen; /* bit i: window_keys[i] was given */
};

static int
window_set_gpa(struct window_pieces *pieces, const char *value, struct failure *failure)
{
    return place_gpa("--window", value, &pieces->window.start, failure);
}

static int
window_set_size(struct window_pieces *pieces, const char *value, struct failure *failure)
{
    return value_pages("--window size", value, PAGE_SIZE, VKVM_WINDOW_END - VKVM_WINDOW_BASE,
                       &pieces->window.size, failure);
}

static int
window_set_format(struct window_pieces *pieces, const char *value, struct failure *failure)
{
    const struct vpte_format *format = vpte_format_find(value);

    if (format == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--window format=" FAILURE_NAME " is unknown: give vpte64 or vpte32",
                           value);
    pieces->window.format = format;
    return CLI_OK;
}

static int
window_set_root(struct window_pieces *pieces, const char *value, struct failure *failure)
{
    if (value_number(value, &pieces->window.root) != 0)
        return failure_set(failure, CLI_USAGE,
                           "--window root=" FAILURE_NAME
                           " is not an entry: give a number like 0x5003",
                           value);
    return CLI_OK;
}

static int
window_set_prot(struct window_pieces *pieces, const char *value, struct failure *failure)
{
    if (machine_protection_find(value, &pieces->window.protection) == 0)
        return CLI_OK;
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "--window prot= is empty: give letters of rwx");
    return failure_set(failure, CLI_USAGE,
                       "--window prot=" FAILURE_NAME " is not a protection: give letters of rwx",
                       value);
}

#define WINDOW_GPA 0
#define WINDOW_SIZE 1

static const struct {
    const char *name;
    int (*set)(struct window_pieces *pieces, const char *value, struct failure *failure);
} window_keys[] = {
    [WINDOW_GPA] = { "gpa", window_set_gpa },
    [WINDOW_SIZE] = { "size", window_set_size },
    { "format", window_set_format },
    { "root", window_set_root },
    { "prot", window_set_prot },
};

/* One KEY=VALUE of a window. */
static int
window_set_piece(struct window_pieces *pieces, char *piece, struct failure *failure)
{
    char *value = strchr(piece, '=');

    if (value == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--window " FAILURE_NAME " has no '=': give KEY=VALUE,...", piece);
    *value++ = '\0';
    for (size_t i = 0; i < COUNT(window_keys); i++) {
        if (strcmp(piece, window_keys[i].name) != 0)
            continue;
        if ((pieces->seen & 1u << i) != 0)
            return failure_set(failure, CLI_USAGE, "--window has two %s=: give one", piece);
        pieces->seen |= 1u << i;
        return window_keys[i].set(pieces, value, failure);
    }
    return failure_set(failure, CLI_USAGE,
                       "--window " FAILURE_NAME
                       "= is unknown: give gpa, size, format, root or prot",
                       piece);
}

/* What can only be said when all pieces are known. */
static int
window_check(const struct window_pieces *pieces, const struct vm_config *config,
             struct failure *failure)
{
    const struct machine_window *window = &pieces->window;
    char name[600];

    if ((pieces->seen & 1u << WINDOW_GPA) == 0 || (pieces->seen & 1u << WINDOW_SIZE) == 0)
        return failure_set(failure, CLI_USAGE,
                           "--window " FAILURE_NAME " is incomplete: give gpa and size",
                           pieces->text);
    snprintf(name, sizeof(name), "--window " FAILURE_NAME, pieces->text);
    if (machine_check_window(window, name, failure) != 0)
        return CLI_USAGE;
    for (unsigned i = 0; i < config->machine.nwindows; i++) {
        const struct machine_window *other = &config->machine.windows[i];

        if (places_overlap(window->start, window->size, other->start, other->size))
            return failure_set(failure, CLI_USAGE,
                               "--window " FAILURE_NAME " overlaps another: move one of them",
                               pieces->text);
    }
    return CLI_OK;
}

int
map_options_window(struct vm_config *config, const char *value, struct failure *failure)
{
    struct window_pieces pieces = {
        .text = value,
        .window = { .format = &vpte64_format, .protection = VM_PROT_ALL },
    };
    char *copy, *rest, *piece;
    int status = CLI_OK;

    if (config->machine.nwindows == MACHINE_MAX_WINDOWS)
        return failure_set(failure, CLI_USAGE, "too many --window: give at most %d",
                           MACHINE_MAX_WINDOWS);
    copy = rest = strdup(value);
    if (copy == NULL)
        return failure_set(failure, CLI_FAILED, "out of memory");
    while (status == CLI_OK && (piece = strsep(&rest, ",")) != NULL)
        status = window_set_piece(&pieces, piece, failure);
    free(copy);
    if (status == CLI_OK)
        status = window_check(&pieces, config, failure);
    if (status == CLI_OK)
        config->machine.windows[config->machine.nwindows++] = pieces.window;
    return status;
}

/* A file to map while its pieces are read. */
struct map_pieces {
    const char *text; /* the option's value, for messages and the file's name */
    const char *copy; /* of it, which the pieces are cut from */
    struct machine_file file;
    bool is_private;
    unsigned seen; /* bit i: map_keys[i] was given */
};

static int
map_set_gpa(struct map_pieces *pieces, const char *value, struct failure *failure)
{
    return place_gpa("--map", value, &pieces->file.start, failure);
}

static int
map_set_size(struct map_pieces *pieces, const char *value, struct failure *failure)
{
    return value_pages("--map size", value, PAGE_SIZE, VKVM_WINDOW_END - VKVM_WINDOW_BASE,
                       &pieces->file.size, failure);
}

static int
map_set_file(struct map_pieces *pieces, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "--map file= has no name: give a file");
    pieces->file.path = pieces->text + (value - pieces->copy);
    pieces->file.path_size = strlen(value);
    return CLI_OK;
}

static const struct {
    const char *name;
    int (*set)(struct map_pieces *pieces, const char *value, struct failure *failure);
} map_keys[] = {
    { "gpa", map_set_gpa },
    { "size", map_set_size },
    { "file", map_set_file },
};

#define MAP_KEYS_SEEN ((1u << COUNT(map_keys)) - 1)

/* A piece without a value. */
static bool
map_set_word(struct map_pieces *pieces, const char *piece)
{
    if (strcmp(piece, "shared") == 0)
        pieces->file.shared = true;
    else if (strcmp(piece, "private") == 0)
        pieces->is_private = true;
    else if (strcmp(piece, "ro") == 0)
        pieces->file.read_only = true;
    else
        return false;
    return true;
}

static int
map_set_piece(struct map_pieces *pieces, char *piece, struct failure *failure)
{
    char *value = strchr(piece, '=');

    if (value == NULL && map_set_word(pieces, piece))
        return CLI_OK;
    if (value != NULL)
        *value++ = '\0';
    for (size_t i = 0; value != NULL && i < COUNT(map_keys); i++) {
        if (strcmp(piece, map_keys[i].name) != 0)
            continue;
        if ((pieces->seen & 1u << i) != 0)
            return failure_set(failure, CLI_USAGE, "--map has two %s=: give one", piece);
        pieces->seen |= 1u << i;
        return map_keys[i].set(pieces, value, failure);
    }
    return failure_set(failure, CLI_USAGE,
                       "--map " FAILURE_NAME
                       " is unknown: give gpa=, size=, file=, private or shared, ro",
                       piece);
}

/* What can only be said when all pieces are known. */
static int
map_check(const struct map_pieces *pieces, struct failure *failure)
{
    const struct machine_file *file = &pieces->file;

    if (pieces->seen != MAP_KEYS_SEEN)
        return failure_set(failure, CLI_USAGE,
                           "--map " FAILURE_NAME " is incomplete: give gpa, size and file",
                           pieces->text);
    if (file->shared == pieces->is_private)
        return failure_set(failure, CLI_USAGE,
                           "--map " FAILURE_NAME " must be private or shared: give one of them",
                           pieces->text);
    if (file->size > VKVM_WINDOW_END - gpa_to_u64(file->start))
        return failure_set(failure, CLI_USAGE,
                           "--map " FAILURE_NAME " ends above 0x%llx: make it smaller",
                           pieces->text, (unsigned long long)VKVM_WINDOW_END);
    return CLI_OK;
}

int
map_options_file(struct vm_config *config, const char *value, struct failure *failure)
{
    struct map_pieces pieces = { .text = value };
    char *copy, *rest, *piece;
    int status = CLI_OK;

    if (config->machine.nfiles == MACHINE_MAX_FILES)
        return failure_set(failure, CLI_USAGE, "too many --map: give at most %d",
                           MACHINE_MAX_FILES);
    copy = rest = strdup(value);
    if (copy == NULL)
        return failure_set(failure, CLI_FAILED, "out of memory");
    pieces.copy = copy;
    while (status == CLI_OK && (piece = strsep(&rest, ",")) != NULL)
        status = map_set_piece(&pieces, piece, failure);
    free(copy);
    if (status == CLI_OK)
        status = map_check(&pieces, failure);
    if (status == CLI_OK)
        config->machine.files[config->machine.nfiles++] = pieces.file;
    return status;
}

int
map_options_check(const struct vm_config *config, struct failure *failure)
{
    for (unsigned i = 0; i < config->machine.nfiles; i++) {
        const struct machine_file *file = &config->machine.files[i];
        bool overlaps = false;

        for (unsigned j = 0; j < i; j++)
            overlaps |= places_overlap(file->start, file->size, config->machine.files[j].start,
                                       config->machine.files[j].size);
        for (unsigned j = 0; j < config->machine.nwindows; j++)
            overlaps |= places_overlap(file->start, file->size, config->machine.windows[j].start,
                                       config->machine.windows[j].size);
        if (overlaps)
            return failure_set(
                failure, CLI_USAGE,
                "--map gpa=0x%llx overlaps a window or another --map: move one of them",
                (unsigned long long)gpa_to_u64(file->start));
    }
    return CLI_OK;
}
