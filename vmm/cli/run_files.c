/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files that a command line of `vkvm run` names, taken together.
 *
 * Names are compared by what they lead to, or themselves when there is nothing yet.  This finds
 * mistakes; it cannot keep away somebody who exchanges files meanwhile.
 */
#include "vmm/cli/run_files.h"

#include "vmm/device/disk.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

struct named_file {
    const char *use; /* as messages call it */
    const char *name;
    size_t size; /* of the name */
    bool written;
    bool mapped;
    bool missing; /* there is nothing yet; without device and inode */
    dev_t device; /* of a block device its own, with inode 0 */
    ino_t inode;
};

struct named_files {
    struct named_file list[9 + PC_START_MAX_MODULES + MACHINE_MAX_FILES + MACHINE_MAX_DISKS];
    unsigned count;
};

/* What a name leads to; false for what cannot be looked at and for what keeps nothing, like a pipe. */
static bool
identify(struct named_file *file)
{
    char path[PATH_MAX];
    struct stat st;

    if (file->size >= sizeof(path))
        return false;
    memcpy(path, file->name, file->size);
    path[file->size] = '\0';
    if (stat(path, &st) != 0) {
        file->missing = errno == ENOENT;
        return file->missing;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return false;
    file->device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    file->inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
    return true;
}

static void
add_file(struct named_files *files, const struct named_file *file)
{
    files->list[files->count] = *file;
    if (identify(&files->list[files->count]))
        files->count++;
}

static void
add_name(struct named_files *files, const char *use, const char *name, bool written)
{
    if (name != NULL)
        add_file(files, &(struct named_file){
                            .use = use, .name = name, .size = strlen(name), .written = written });
}

static void
add_module(struct named_files *files, const struct pc_module *module)
{
    add_file(files, &(struct named_file){
                        .use = "--module", .name = module->path, .size = module->path_size });
}

static void
add_map(struct named_files *files, const struct machine_file *file)
{
    add_file(files, &(struct named_file){ .use = "--map",
                                          .name = file->path,
                                          .size = file->path_size,
                                          .written = file->shared && !file->read_only,
                                          .mapped = true });
}

/* A server's disk is no file here. */
static void
add_disk(struct named_files *files, const struct machine_disk *disk)
{
    if (!disk_is_remote(disk->path))
        add_file(files, &(struct named_file){ .use = "--disk",
                                              .name = disk->path,
                                              .size = disk->path_size,
                                              .written = !disk->read_only });
}

/* Nobody else's: its object need not be the one of other mappings. */
static void
add_ram(struct named_files *files, const struct machine_file *file)
{
    add_file(files, &(struct named_file){ .use = "guest memory",
                                          .name = file->path,
                                          .size = file->path_size,
                                          .written = true });
}

static bool
is_same(const struct named_file *a, const struct named_file *b)
{
    if (a->missing || b->missing)
        return a->missing && b->missing && a->size == b->size &&
               memcmp(a->name, b->name, a->size) == 0;
    return a->device == b->device && a->inode == b->inode;
}

/* Mappings of a file get on with each other: they are of one object. */
static bool
get_on(const struct named_file *a, const struct named_file *b)
{
    return (a->mapped && b->mapped) || (!a->written && !b->written);
}

static int
compare(const struct named_file *a, const struct named_file *b, struct failure *failure)
{
    if (!is_same(a, b) || get_on(a, b))
        return CLI_OK;
    return failure_set(failure, CLI_USAGE,
                       "'%.*s' is named for %s and for %s, and would be overwritten: give "
                       "each its own file",
                       (int)(b->size < 512 ? b->size : 512), b->name, a->use, b->use);
}

int
run_files_check(const struct run_options *options, struct failure *failure)
{
    const struct vm_config *config = &options->config;
    struct named_files files = { .count = 0 };
    int status = CLI_OK;

    add_name(&files, "the image", options->image, false);
    add_name(&files, "--dtb", options->dtb, false);
    if (options->dump_dtb != NULL && strcmp(options->dump_dtb, "-") != 0)
        add_name(&files, "--dump-dtb", options->dump_dtb, true);
    add_name(&files, "--fdt", options->fdt, false);
    add_name(&files, "--fdt-overlay", options->fdt_overlay, false);
    add_name(&files, "--initrd", options->boot.initrd, false);
    for (unsigned i = 0; i < options->boot.nmodules; i++)
        add_module(&files, &options->boot.modules[i]);
    add_name(&files, "--swap", options->host.swap, true);
    add_name(&files, "--json", options->json_file, true);
    if (config->machine.ram_file.path != NULL)
        add_ram(&files, &config->machine.ram_file);
    for (unsigned i = 0; i < config->machine.nfiles; i++)
        add_map(&files, &config->machine.files[i]);
    for (unsigned i = 0; i < config->machine.ndisks; i++)
        add_disk(&files, &config->machine.disks[i]);
    for (unsigned i = 0; i < files.count; i++) {
        for (unsigned j = 0; j < i && status == CLI_OK; j++)
            status = compare(&files.list[j], &files.list[i], failure);
    }
    return status;
}
