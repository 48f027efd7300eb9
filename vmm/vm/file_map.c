/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files in a VM's address space.
 */
#include "vmm/vm/file_map.h"

#include "vmm/base/limits.h"
#include "vmm/pager/file_pager.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

static gpa_t
file_end(const struct machine_file *config)
{
    return gpa_add(config->start, config->size);
}

static uint64_t
file_pages(const struct machine_file *config)
{
    return config->size >> PAGE_SHIFT;
}

static int
open_file(struct vm_system *sys, const struct machine_file *config, struct vm_object **objectp)
{
    unsigned flags =
        (config->shared ? FILE_PAGER_SHARED : 0u) | (config->read_only ? FILE_PAGER_READ_ONLY : 0u);
    char path[PATH_MAX];

    if (config->path_size >= sizeof(path))
        return -ENAMETOOLONG;
    memcpy(path, config->path, config->path_size);
    path[config->path_size] = '\0';
    return file_pager_open(sys, path, 0, file_pages(config), flags, objectp);
}

/* The object to map, with one reference. */
static int
make_object(struct vm_system *sys, const struct machine_file *config, struct vm_object **objectp)
{
    vm_pindex_t offset = 0;
    int error;

    error = open_file(sys, config, objectp);
    if (error != 0 || config->shared || config->read_only)
        return error;
    error = vm_object_shadow(objectp, &offset, file_pages(config));
    if (error != 0)
        vm_object_unref(*objectp);
    return error;
}

/* Map an object; on failure the reference stays the caller's. */
static int
insert_object(struct vm_map *map, const struct machine_file *config, struct vm_object *object)
{
    const struct vm_map_insert args = {
        .start = config->start,
        .end = file_end(config),
        .object = object,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = config->read_only ? VM_PROT_READ | VM_PROT_EXECUTE : VM_PROT_ALL,
        .max_protection = config->read_only ? VM_PROT_READ | VM_PROT_EXECUTE : VM_PROT_ALL,
    };

    return vm_map_insert(map, &args);
}

static int
map_file(struct vm_map *map, const struct machine_file *config, struct file_map *file)
{
    bool written_back = config->shared && !config->read_only;
    struct vm_object *object;
    int error;

    error = make_object(map->sys, config, &object);
    if (error != 0)
        return error;
    if (written_back)
        vm_object_ref(object);
    error = insert_object(map, config, object);
    if (error != 0) {
        if (written_back)
            vm_object_unref(object);
        vm_object_unref(object);
        return error;
    }
    *file = (struct file_map){ .config = config, .object = written_back ? object : NULL };
    return 0;
}

static int
file_error_set(const struct machine_file *config, int error, struct failure *to)
{
    const struct limits_reason reason = limits_explain(error);
    const char *why = error == -ENODEV ? "not a regular file" : reason.text;

    if (error == -EEXIST)
        why = "something else is mapped there";
    if (error == -EFBIG)
        why = "less of it is mapped already, and the file is no longer than that";
    return failure_set(to, error,
                       "cannot map file %.*s at guest address 0x%" PRIx64
                       ": %s: give --map another",
                       (int)(config->path_size > 128 ? 128 : config->path_size), config->path,
                       gpa_to_u64(config->start), why);
}

/* The largest of the files that are not mapped yet. */
static unsigned
largest_left(const struct machine_file *configs, unsigned nconfigs, const bool *mapped)
{
    unsigned largest = nconfigs;

    for (unsigned i = 0; i < nconfigs; i++) {
        if (!mapped[i] && (largest == nconfigs || configs[i].size > configs[largest].size))
            largest = i;
    }
    return largest;
}

/* From the largest on: who maps a file first decides how large the object is that all share. */
int
file_maps_init(struct file_maps *maps, struct vm_map *map, const struct machine_file *configs,
               unsigned nconfigs, struct failure *failure)
{
    bool mapped[MACHINE_MAX_FILES] = { false };
    unsigned next;

    maps->count = 0;
    while ((next = largest_left(configs, nconfigs, mapped)) != nconfigs) {
        int error = map_file(map, &configs[next], &maps->maps[maps->count]);

        if (error != 0)
            return file_error_set(&configs[next], error, failure);
        mapped[next] = true;
        maps->count++;
    }
    return 0;
}

/* The file mapped at gpa, or NULL. */
static const struct file_map *
file_at(const struct file_maps *maps, gpa_t gpa)
{
    for (unsigned i = 0; i < maps->count; i++) {
        const struct machine_file *config = maps->maps[i].config;

        if (gpa.value >= config->start.value && gpa.value - config->start.value < config->size)
            return &maps->maps[i];
    }
    return NULL;
}

int
file_maps_sync(struct file_maps *maps, gpa_t start, gpa_t end, const _Atomic bool *stop)
{
    const struct file_map *file = file_at(maps, start);
    uint64_t first;

    if (file == NULL)
        return -ENOENT;
    if (end.value <= start.value || end.value > file_end(file->config).value)
        return -EINVAL;
    if (file->object == NULL)
        return 0;
    first = start.value - file->config->start.value;
    return vm_object_flush(file->object, first >> PAGE_SHIFT,
                           (first + (end.value - start.value)) >> PAGE_SHIFT, VM_FLUSH_FORCE, stop);
}

int
file_maps_sync_all(struct file_maps *maps, const struct machine_file **failed)
{
    int error = 0;

    for (unsigned i = 0; i < maps->count; i++) {
        struct vm_object *object = maps->maps[i].object;

        if (object == NULL || vm_object_page_clean(object) == 0 || error != 0)
            continue;
        error = file_pager_error(object);
        error = error != 0 ? error : -EIO;
        *failed = maps->maps[i].config;
    }
    return error;
}

void
file_maps_fini(struct file_maps *maps)
{
    for (unsigned i = 0; i < maps->count; i++) {
        if (maps->maps[i].object != NULL)
            vm_object_unref(maps->maps[i].object);
    }
    maps->count = 0;
}
