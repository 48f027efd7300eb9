/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loading, changing and placing the device tree.
 *
 * libfdt works in a buffer of fixed size and says FDT_ERR_NOSPACE when it is too
 * small.  Every step here therefore runs on a fresh buffer, is repeated with
 * twice the size while space is what it lacks, and replaces the tree only when
 * it succeeded (a failed overlay leaves libfdt's buffer damaged).
 *
 * Source: Devicetree Specification 0.4, chapters 2, 3 and 5.
 */
#include "vmm/boot/fdt.h"

#include "vmm/base/file.h"
#include "vmm/boot/fdt_step.h"
#include "vmm/x86_64/arch.h"

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_SIZE ((size_t)16 << 10)

int
fdt_step_run(struct vm_fdt *fdt, int (*step)(void *buffer, size_t size, const void *argument),
             const void *argument)
{
    size_t size = FIRST_SIZE;
    void *buffer;
    int error;

    while (size < fdt->size)
        size *= 2;
    do {
        buffer = calloc(1, size);
        if (buffer == NULL)
            return FDT_STEP_NO_MEMORY;
        error = step(buffer, size, argument);
        if (error == 0)
            error = fdt_pack(buffer);
        if (error == 0)
            break;
        free(buffer);
        size *= 2;
    } while (error == -FDT_ERR_NOSPACE && size <= VM_FDT_MAX_SIZE);
    if (error != 0)
        return error;
    free(fdt->data);
    *fdt = (struct vm_fdt){ .data = buffer, .size = fdt_totalsize(buffer) };
    return 0;
}

int
fdt_step_fail(struct failure *failure, int fdt_error, const char *what)
{
    if (fdt_error == -FDT_ERR_NOSPACE)
        return failure_set(failure, -ENOEXEC,
                           "%s makes the device tree larger than 4M: make it smaller", what);
    if (fdt_error == FDT_STEP_NO_MEMORY)
        return failure_set(failure, -ENOMEM, "out of memory: no room for the device tree");
    return failure_set(failure, -ENOEXEC, "%s cannot be put into the device tree: %s", what,
                       fdt_strerror(fdt_error));
}

struct arguments_step {
    const struct vm_fdt *fdt;
    char *const *arguments;
    size_t narguments;
};

/* All arguments with `separator` between them and NUL at the end; the caller frees it. */
static char *
join_arguments(const struct arguments_step *step, char separator, size_t *sizep)
{
    size_t size = 0, n = 0;
    char *joined;

    for (size_t i = 0; i < step->narguments; i++)
        size += strlen(step->arguments[i]) + 1;
    joined = calloc(1, size);
    if (joined == NULL)
        return NULL;
    for (size_t i = 0; i < step->narguments; i++) {
        size_t length = strlen(step->arguments[i]);

        if (i != 0)
            joined[n++] = separator;
        memcpy(joined + n, step->arguments[i], length);
        n += length;
    }
    *sizep = size;
    return joined;
}

static int
put_joined(void *buffer, int chosen, const char *name, const struct arguments_step *step,
           char separator)
{
    size_t size;
    char *joined = join_arguments(step, separator, &size);
    int error = -FDT_ERR_NOSPACE;

    if (joined == NULL)
        return FDT_STEP_NO_MEMORY;
    if (size <= VM_FDT_MAX_SIZE)
        error = fdt_setprop(buffer, chosen, name, joined, (int)size);
    free(joined);
    return error;
}

static int
write_arguments(void *buffer, size_t size, const void *argument)
{
    const struct arguments_step *step = argument;
    int error = fdt_open_into(step->fdt->data, buffer, (int)size);
    int chosen;

    if (error != 0)
        return error;
    chosen = fdt_path_offset(buffer, "/chosen");
    if (chosen == -FDT_ERR_NOTFOUND)
        chosen = fdt_add_subnode(buffer, 0, "chosen");
    if (chosen < 0)
        return chosen;
    error = put_joined(buffer, chosen, "bootargs", step, ' ');
    if (error == 0)
        error = put_joined(buffer, chosen, "vkvm,args", step, '\0');
    return error;
}

int
vm_fdt_set_arguments(struct vm_fdt *fdt, char *const *arguments, size_t narguments,
                     struct failure *failure)
{
    const struct arguments_step step = {
        .fdt = fdt,
        .arguments = arguments,
        .narguments = narguments,
    };
    int result;

    if (narguments == 0)
        return 0;
    result = fdt_step_run(fdt, write_arguments, &step);
    return result == 0 ? 0 : fdt_step_fail(failure, result, "the guest's arguments");
}

/* The bytes of a device tree file, not yet checked. */
static int
read_file(int fd, const char *path, uint64_t size, struct vm_fdt *fdt, struct failure *failure)
{
    void *data;
    int result;

    if (size > VM_FDT_MAX_SIZE)
        return failure_set(failure, -ENOEXEC,
                           FAILURE_NAME " is larger than 4M: give a device tree blob", path);
    data = malloc(size != 0 ? size : 1);
    if (data == NULL)
        return failure_set(failure, -ENOMEM, "out of memory: no room to read " FAILURE_NAME, path);
    result = file_read_at(fd, data, size, 0);
    if (result == 0 && fdt_check_full(data, size) == 0) {
        *fdt = (struct vm_fdt){ .data = data, .size = fdt_totalsize(data) };
        return 0;
    }
    free(data);
    if (result != 0)
        return failure_set(failure, -ENOEXEC, "cannot read " FAILURE_NAME ": %s", path,
                           strerror(-result));
    return failure_set(failure, -ENOEXEC,
                       FAILURE_NAME " is not a device tree blob: compile it with dtc", path);
}

int
vm_fdt_load(const char *path, struct vm_fdt *fdt, struct failure *failure)
{
    uint64_t size;
    int fd, status;

    *fdt = (struct vm_fdt){ .data = NULL };
    status = file_open(path, O_RDONLY, &fd, &size, failure);
    if (status != 0)
        return -ENOEXEC; /* -ENOENT is the image's alone */
    status = read_file(fd, path, size, fdt, failure);
    close(fd);
    return status;
}

struct overlay_step {
    const struct vm_fdt *base;
    const struct vm_fdt *overlay;
};

static int
apply_overlay(void *buffer, size_t size, const void *argument)
{
    const struct overlay_step *step = argument;
    void *overlay;
    int error = fdt_open_into(step->base->data, buffer, (int)size);

    if (error != 0)
        return error;
    /* libfdt renumbers the overlay's phandles in place: each attempt needs its own copy. */
    overlay = malloc(step->overlay->size);
    if (overlay == NULL)
        return FDT_STEP_NO_MEMORY;
    memcpy(overlay, step->overlay->data, step->overlay->size);
    error = fdt_overlay_apply(buffer, overlay);
    free(overlay);
    return error;
}

int
vm_fdt_apply_overlay(struct vm_fdt *fdt, const char *path, struct failure *failure)
{
    struct vm_fdt overlay;
    const struct overlay_step step = { .base = fdt, .overlay = &overlay };
    int result, status = vm_fdt_load(path, &overlay, failure);

    if (overlay.data == NULL)
        return status;
    result = fdt_step_run(fdt, apply_overlay, &step);
    vm_fdt_fini(&overlay);
    if (result == -FDT_ERR_NOSPACE || result == FDT_STEP_NO_MEMORY)
        return fdt_step_fail(failure, result, "the overlay");
    if (result != 0)
        return failure_set(failure, -ENOEXEC,
                           "overlay " FAILURE_NAME " does not fit the device tree (%s): "
                           "check its targets and symbols",
                           path, fdt_strerror(result));
    return 0;
}

int
vm_fdt_place(const struct vm_fdt *fdt, gpa_t low, uint64_t memory_size, const struct image *image,
             gpa_t *gpa, struct failure *failure)
{
    uint64_t top = memory_size < ARCH_BOOT_MAP_END ? memory_size : ARCH_BOOT_MAP_END;
    uint64_t size = (fdt->size + PAGE_MASK) & ~PAGE_MASK;
    unsigned i = image->nsegments;

    while (top >= size && top - size >= gpa_to_u64(low)) {
        *gpa = gpa_from_u64(top - size);
        if (!image_overlaps(image, *gpa, size))
            return 0;
        /* Segments are sorted, so the tree can only lie below the next one down.  There is
         * one: what is in the way starts below top, those already passed do not. */
        do
            i--;
        while (gpa_to_u64(image->segments[i].start) >= top);
        top = gpa_to_u64(gpa_trunc_page(image->segments[i].start));
    }
    return failure_set(
        failure, -ENOEXEC,
        "no room for the device tree of %zu bytes beside the image: give more --memory", fdt->size);
}

void
vm_fdt_fini(struct vm_fdt *fdt)
{
    free(fdt->data);
    *fdt = (struct vm_fdt){ .data = NULL };
}
