/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The value of --disk: a name up to the first comma, then words in any order.
 */
#include "vmm/cli/disk_options.h"

#include <string.h>

/* The word at `text`, which ends at a comma or the end, is this one. */
static bool
is_word(const char *text, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(text, word, size) == 0;
}

static int
take_word(struct machine_disk *disk, const char *text, size_t size, struct failure *failure)
{
    if (is_word(text, size, "ro"))
        disk->read_only = true;
    else if (is_word(text, size, "discard"))
        disk->discard = true;
    else
        return failure_set(failure, CLI_USAGE,
                           "--disk '%.*s' is unknown: give FILE, FILE,ro or FILE,discard",
                           size < 512 ? (int)size : 512, text);
    return CLI_OK;
}

static int
take_words(struct machine_disk *disk, const char *value, struct failure *failure)
{
    const char *text = value + disk->path_size;
    size_t size;
    int status = CLI_OK;

    while (*text == ',' && status == CLI_OK) {
        text++;
        size = strcspn(text, ",");
        status = take_word(disk, text, size, failure);
        text += size;
    }
    return status;
}

int
disk_options_add(struct machine *machine, const char *value, struct failure *failure)
{
    struct machine_disk disk = { .path = value, .path_size = strcspn(value, ",") };
    int status;

    if (disk.path_size == 0)
        return failure_set(failure, CLI_USAGE,
                           "--disk=" FAILURE_NAME
                           " has no name: give a file, a block device or nbd://HOST/EXPORT",
                           value);
    if (machine->ndisks == MACHINE_MAX_DISKS)
        return failure_set(failure, CLI_USAGE, "too many --disk: give at most %d",
                           MACHINE_MAX_DISKS);
    status = take_words(&disk, value, failure);
    if (status != CLI_OK)
        return status;
    if (disk.read_only && disk.discard)
        return failure_set(failure, CLI_USAGE,
                           "--disk " FAILURE_NAME
                           ": from a disk that is only read nothing is discarded: give ro or "
                           "discard",
                           value);
    machine->disks[machine->ndisks++] = disk;
    return CLI_OK;
}
