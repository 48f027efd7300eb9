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
#include <sys/stat.h>

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
copy_path(const struct machine_file *config, char path[PATH_MAX])
{
    if (config->path_size >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, config->path, config->path_size);
    path[config->path_size] = '\0';
    return 0;
}

/* The object over npages pages of the file from byte `start` on. */
static int
open_file(struct vm_system *sys, const struct machine_file *config, uint64_t start, uint64_t npages,
          struct vm_object **objectp)
{
    unsigned flags =
        (config->shared ? FILE_PAGER_SHARED : 0u) | (config->read_only ? FILE_PAGER_READ_ONLY : 0u);
    char path[PATH_MAX];
    int error = copy_path(config, path);

    return error != 0 ? error : file_pager_open(sys, path, start, npages, flags, objectp);
}

/* The object to map from page *offset on, with one reference.  All mappings of a file are of the
 * object from its beginning on, so that they see each other's writes. */
static int
make_object(struct vm_system *sys, const struct machine_file *config, struct vm_object **objectp,
            vm_pindex_t *offset)
{
    int error;

    *offset = config->offset >> PAGE_SHIFT;
    error = open_file(sys, config, 0, *offset + file_pages(config), objectp);
    if (error != 0 || config->shared || config->read_only)
        return error;
    error = vm_object_shadow(objectp, offset, file_pages(config));
    if (error != 0)
        vm_object_unref(*objectp);
    return error;
}

/* Map an object; on failure the reference stays the caller's. */
static int
insert_object(struct vm_map *map, const struct machine_file *config, struct vm_object *object,
              vm_pindex_t offset)
{
    const struct vm_map_insert args = {
        .start = config->start,
        .end = file_end(config),
        .object = object,
        .offset = offset,
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
    vm_pindex_t offset;
    int error;

    error = make_object(map->sys, config, &object, &offset);
    if (error != 0)
        return error;
    if (written_back)
        vm_object_ref(object);
    error = insert_object(map, config, object, offset);
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
    if (error == -E2BIG)
        why = "it is longer than the memory";
    if (error == -EFBIG)
        why = "less of it is mapped already, and the file is no longer than that";
    return failure_set(to, error,
                       "cannot map file %.*s at guest address 0x%" PRIx64 ": %s: give another",
                       (int)(config->path_size > 128 ? 128 : config->path_size), config->path,
                       gpa_to_u64(config->start), why);
}

/* --- RAM's ------------------------------------------------------------------- */

/* A file that is not as long as it has to be; what cannot be looked at is told by the pager. */
static int
check_length(const struct machine_file *file, struct failure *failure)
{
    uint64_t wanted = file->offset + file->size;
    char path[PATH_MAX];
    struct stat st;

    if (copy_path(file, path) != 0 || stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size == wanted)
        return 0;
    return failure_set(failure, -EINVAL,
                       "file %.*s is to be guest memory and has %" PRIu64 " bytes: give it %" PRIu64
                       ", as truncate -s does",
                       (int)(file->path_size > 128 ? 128 : file->path_size), file->path,
                       (uint64_t)st.st_size, wanted);
}

static int
make_ram_object(struct vm_system *sys, const struct machine_file *file, struct vm_object **objectp)
{
    vm_pindex_t offset = 0;
    int error = open_file(sys, file, file->offset, file_pages(file), objectp);

    if (error != 0)
        return error;
    if (!file->shared)
        error = vm_object_shadow(objectp, &offset, file_pages(file));
    else if ((*objectp)->size != file_pages(file)) /* it has grown since it was looked at */
        error = -E2BIG;
    if (error != 0)
        vm_object_unref(*objectp);
    return error;
}

int
file_maps_make_ram(struct file_maps *maps, struct vm_system *sys, const struct machine *machine,
                   struct vm_object **objectp, struct failure *failure)
{
    int error;

    maps->ram = machine->ram_file;
    maps->ram.start = gpa_from_u64(0);
    maps->ram.size = machine_ram_pages(machine) << PAGE_SHIFT;
    error = check_length(&maps->ram, failure);
    if (error != 0)
        return error;
    error = make_ram_object(sys, &maps->ram, objectp);
    if (error != 0)
        return file_error_set(&maps->ram, error, failure);
    if (maps->ram.shared) {
        vm_object_ref(*objectp);
        maps->maps[maps->count++] = (struct file_map){ .config = &maps->ram, .object = *objectp };
    }
    return 0;
}

/* --- the others' ------------------------------------------------------------- */

static uint64_t
last_page(const struct machine_file *config)
{
    return (config->offset + config->size) >> PAGE_SHIFT;
}

/* The one of those that are not mapped yet that reaches furthest into its file. */
static unsigned
largest_left(const struct machine_file *configs, unsigned nconfigs, const bool *mapped)
{
    unsigned largest = nconfigs;

    for (unsigned i = 0; i < nconfigs; i++) {
        if (!mapped[i] &&
            (largest == nconfigs || last_page(&configs[i]) > last_page(&configs[largest])))
            largest = i;
    }
    return largest;
}

/* From the longest on: who maps a file first decides how large the object is that all share. */
int
file_maps_init(struct file_maps *maps, struct vm_map *map, const struct machine_file *configs,
               unsigned nconfigs, struct failure *failure)
{
    bool mapped[MACHINE_MAX_FILES] = { false };
    unsigned next;

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

/* Of the mapping in its object, whose first page is that of the file, but for RAM's. */
static uint64_t
mapped_offset(const struct file_maps *maps, const struct file_map *file)
{
    return file->config == &maps->ram ? 0 : file->config->offset;
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
    first = start.value - file->config->start.value + mapped_offset(maps, file);
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
