/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building, loading, changing and placing the device tree.
 *
 * libfdt works in a buffer of fixed size and says FDT_ERR_NOSPACE when it is too
 * small.  Every step here therefore runs on a fresh buffer, is repeated with
 * twice the size while space is what it lacks, and replaces the tree only when
 * it succeeded (a failed overlay leaves libfdt's buffer damaged).
 *
 * Source: Devicetree Specification 0.4, chapters 2, 3 and 5.
 */
#include "vmm/boot/fdt.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/file.h"
#include "vmm/x86_64/arch.h"

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_SIZE ((size_t)16 << 10)
#define ERROR_NO_MEMORY (-(FDT_ERR_MAX + 1)) /* beside libfdt's own errors */
#define IO_CONSOLE_PATH "/io/console@e9"
_Static_assert(VKVM_PORT_CONSOLE == 0xe9 && VKVM_PORT_DOORBELL == 0x510,
               "node names hold the ports");

/* A tree under construction.  After the first error nothing more happens. */
struct tree {
    void *buffer;
    int error; /* 0 or -FDT_ERR_* */
};

static void
begin_node(struct tree *tree, const char *name)
{
    if (tree->error == 0)
        tree->error = fdt_begin_node(tree->buffer, name);
}

static void
end_node(struct tree *tree)
{
    if (tree->error == 0)
        tree->error = fdt_end_node(tree->buffer);
}

static void
put_string(struct tree *tree, const char *name, const char *value)
{
    if (tree->error == 0)
        tree->error = fdt_property_string(tree->buffer, name, value);
}

static void
put_u32(struct tree *tree, const char *name, uint32_t value)
{
    if (tree->error == 0)
        tree->error = fdt_property_u32(tree->buffer, name, value);
}

static void
put_u64(struct tree *tree, const char *name, uint64_t value)
{
    if (tree->error == 0)
        tree->error = fdt_property_u64(tree->buffer, name, value);
}

/* reg = <a b>, each of one cell or each of two. */
static void
put_reg32(struct tree *tree, uint32_t a, uint32_t b)
{
    fdt32_t cells[2] = { cpu_to_fdt32(a), cpu_to_fdt32(b) };

    if (tree->error == 0)
        tree->error = fdt_property(tree->buffer, "reg", cells, sizeof(cells));
}

static void
put_reg64(struct tree *tree, uint64_t a, uint64_t b)
{
    fdt64_t cells[2] = { cpu_to_fdt64(a), cpu_to_fdt64(b) };

    if (tree->error == 0)
        tree->error = fdt_property(tree->buffer, "reg", cells, sizeof(cells));
}

static void
put_cells(struct tree *tree, uint32_t address, uint32_t size)
{
    put_u32(tree, "#address-cells", address);
    put_u32(tree, "#size-cells", size);
}

static void
put_chosen(struct tree *tree)
{
    begin_node(tree, "chosen");
    put_string(tree, "stdout-path", IO_CONSOLE_PATH);
    put_string(tree, "stdin-path", IO_CONSOLE_PATH);
    end_node(tree);
}

static void
put_memory(struct tree *tree, const struct machine *machine)
{
    fdt64_t reg[2 * MACHINE_MAX_RAM];
    char name[32];

    for (unsigned i = 0; i < machine->nram; i++) {
        reg[2 * i] = cpu_to_fdt64(gpa_to_u64(machine->ram[i].start));
        reg[2 * i + 1] = cpu_to_fdt64(machine->ram[i].size);
    }
    snprintf(name, sizeof(name), "memory@%llx",
             (unsigned long long)gpa_to_u64(machine->ram[0].start));
    begin_node(tree, name);
    put_string(tree, "device_type", "memory");
    if (tree->error == 0)
        tree->error =
            fdt_property(tree->buffer, "reg", reg, (int)(2 * machine->nram * sizeof(reg[0])));
    end_node(tree);
}

static void
put_cpus(struct tree *tree, unsigned nvcpus)
{
    char name[24];

    begin_node(tree, "cpus");
    put_cells(tree, 1, 0);
    for (unsigned i = 0; i < nvcpus; i++) {
        snprintf(name, sizeof(name), "cpu@%x", i);
        begin_node(tree, name);
        put_string(tree, "device_type", "cpu");
        put_string(tree, "compatible", "x86_64");
        put_u32(tree, "reg", i);
        end_node(tree);
    }
    end_node(tree);
}

static void
put_io(struct tree *tree)
{
    begin_node(tree, "io");
    put_string(tree, "compatible", "vkvm,io");
    put_cells(tree, 1, 1);
    begin_node(tree, "doorbell@510");
    put_string(tree, "compatible", "vkvm,doorbell-1");
    put_reg32(tree, VKVM_PORT_DOORBELL, 4);
    end_node(tree);
    begin_node(tree, "console@e9");
    put_string(tree, "compatible", "vkvm,console-1");
    put_reg32(tree, VKVM_PORT_CONSOLE, 1);
    end_node(tree);
    end_node(tree);
}

static void
put_window(struct tree *tree, const struct machine_window *window)
{
    uint64_t start = gpa_to_u64(window->start);
    char name[32], protection[4];
    unsigned n = 0;

    snprintf(name, sizeof(name), "window@%llx", (unsigned long long)start);
    for (unsigned i = 0; i < 3; i++) {
        if ((window->protection & 1u << i) != 0)
            protection[n++] = "rwx"[i];
    }
    protection[n] = '\0';
    begin_node(tree, name);
    put_string(tree, "compatible", "vkvm,window-1");
    put_reg64(tree, start, window->size);
    put_string(tree, "vkvm,format", window->format->name);
    put_u64(tree, "vkvm,root", window->root);
    put_string(tree, "vkvm,protection", protection);
    end_node(tree);
}

static void
put_windows(struct tree *tree, const struct machine *machine)
{
    begin_node(tree, "windows");
    put_string(tree, "compatible", "vkvm,windows-1");
    put_cells(tree, 2, 2);
    put_reg64(tree, VKVM_WINDOW_BASE, VKVM_WINDOW_END - VKVM_WINDOW_BASE);
    for (unsigned i = 0; i < machine->nwindows; i++)
        put_window(tree, &machine->windows[i]);
    end_node(tree);
}

static void
put_file(struct tree *tree, const struct machine_file *file)
{
    uint64_t start = gpa_to_u64(file->start);
    char name[32];

    snprintf(name, sizeof(name), "file@%llx", (unsigned long long)start);
    begin_node(tree, name);
    put_string(tree, "compatible", "vkvm,file-1");
    put_reg64(tree, start, file->size);
    put_string(tree, "vkvm,sharing", file->shared ? "shared" : "private");
    put_string(tree, "vkvm,protection", file->read_only ? "rx" : "rwx");
    end_node(tree);
}

static void
put_files(struct tree *tree, const struct machine *machine)
{
    if (machine->nfiles == 0)
        return;
    begin_node(tree, "files");
    put_string(tree, "compatible", "vkvm,files-1");
    put_cells(tree, 2, 2);
    for (unsigned i = 0; i < machine->nfiles; i++)
        put_file(tree, &machine->files[i]);
    end_node(tree);
}

/* One attempt to write the whole tree into a buffer of size bytes.  Returns 0 or -FDT_ERR_*. */
static int
write_tree(void *buffer, size_t size, const void *argument)
{
    const struct vm_fdt_config *config = argument;
    struct tree tree = { .buffer = buffer, .error = fdt_create(buffer, (int)size) };

    if (tree.error == 0)
        tree.error = fdt_add_reservemap_entry(buffer, 0, config->reserved);
    if (tree.error == 0)
        tree.error = fdt_finish_reservemap(buffer);
    begin_node(&tree, "");
    put_cells(&tree, 2, 2);
    put_string(&tree, "compatible", VKVM_FDT_COMPATIBLE);
    put_string(&tree, "model", "vkvm");
    put_chosen(&tree);
    put_memory(&tree, config->machine);
    put_cpus(&tree, config->machine->nvcpus);
    put_io(&tree);
    put_windows(&tree, config->machine);
    put_files(&tree, config->machine);
    end_node(&tree);
    if (tree.error == 0)
        tree.error = fdt_finish(buffer);
    return tree.error;
}

/*
 * Run a step on fresh buffers of growing size, and give its packed result to *fdt.
 * Returns 0, -FDT_ERR_* or ERROR_NO_MEMORY; *fdt is then unchanged.
 */
static int
run_step(struct vm_fdt *fdt, int (*step)(void *buffer, size_t size, const void *argument),
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
            return ERROR_NO_MEMORY;
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

/* The error of a step as a user may read it. */
static int
fail_step(struct failure *failure, int fdt_error, const char *what)
{
    if (fdt_error == -FDT_ERR_NOSPACE)
        return failure_set(failure, -ENOEXEC,
                           "%s makes the device tree larger than 4M: make it smaller", what);
    if (fdt_error == ERROR_NO_MEMORY)
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
        return ERROR_NO_MEMORY;
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
    result = run_step(fdt, write_arguments, &step);
    return result == 0 ? 0 : fail_step(failure, result, "the guest's arguments");
}

int
vm_fdt_build(const struct vm_fdt_config *config, struct vm_fdt *fdt, struct failure *failure)
{
    int status, result;

    *fdt = (struct vm_fdt){ .data = NULL };
    result = run_step(fdt, write_tree, config);
    if (result != 0)
        return fail_step(failure, result, "the machine");
    status = vm_fdt_set_arguments(fdt, config->arguments, config->narguments, failure);
    if (status != 0)
        vm_fdt_fini(fdt);
    return status;
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
        return ERROR_NO_MEMORY;
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
    result = run_step(fdt, apply_overlay, &step);
    vm_fdt_fini(&overlay);
    if (result == -FDT_ERR_NOSPACE || result == ERROR_NO_MEMORY)
        return fail_step(failure, result, "the overlay");
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
