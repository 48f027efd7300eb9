/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing device trees: the one that a guest gets, and the description of the machine.
 *
 * Source: Devicetree Specification 0.4, chapters 2, 3 and 5.
 */
#include "vmm/boot/description.h"
#include "vmm/boot/fdt_device.h"
#include "vmm/boot/fdt_step.h"

#include "guest/include/vkvm_abi.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

/* A tree under construction.  After the first error nothing more happens. */
struct tree {
    void *buffer;
    int error; /* 0 or -FDT_ERR_* */
    const struct machine *machine;
    const struct description *description; /* NULL = the tree is a guest's: nothing of the host's */
};

static void
begin_node(struct tree *tree, const char *name)
{
    if (tree->error == 0)
        tree->error = fdt_begin_node(tree->buffer, name);
}

/* NAME@ADDRESS */
static void
begin_node_at(struct tree *tree, const char *name, uint64_t address)
{
    char full[48];

    snprintf(full, sizeof(full), "%s@%" PRIx64, name, address);
    begin_node(tree, full);
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

static void
put_bytes(struct tree *tree, const char *name, const void *bytes, size_t size)
{
    if (tree->error == 0)
        tree->error = size <= VM_FDT_MAX_SIZE ? fdt_property(tree->buffer, name, bytes, (int)size)
                                              : -FDT_ERR_NOSPACE;
}

/* A string that has no NUL of its own. */
static void
put_text(struct tree *tree, const char *name, const char *text, size_t size)
{
    void *value;

    if (tree->error != 0)
        return;
    if (size >= VM_FDT_MAX_SIZE)
        tree->error = -FDT_ERR_NOSPACE;
    else
        tree->error = fdt_property_placeholder(tree->buffer, name, (int)size + 1, &value);
    if (tree->error != 0)
        return;
    memcpy(value, text, size);
    ((char *)value)[size] = '\0';
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

/* --- what both have ---------------------------------------------------------- */

static void
put_cpu_features(struct tree *tree, const struct cpu_features *features)
{
    char list[CPU_FEATURE_CHOICES * 48];
    size_t n = 0;

    for (unsigned i = 0; i < features->n; i++) {
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s=%s",
                              cpu_feature_name(features->choices[i].feature),
                              features->choices[i].on ? "on" : "off");
        n++; /* its NUL */
    }
    if (n != 0)
        put_bytes(tree, "vkvm,features", list, n);
}

static void
put_cpus(struct tree *tree)
{
    begin_node(tree, "cpus");
    put_cells(tree, 1, 0);
    if (tree->description != NULL) {
        put_cpu_features(tree, &tree->description->features);
        if (tree->description->exact_faults)
            put_bytes(tree, "vkvm,exact-faults", NULL, 0);
    }
    for (unsigned i = 0; i < tree->machine->nvcpus; i++) {
        begin_node_at(tree, "cpu", i);
        put_string(tree, "device_type", "cpu");
        put_string(tree, "compatible", "x86_64");
        put_u32(tree, "reg", i);
        end_node(tree);
    }
    end_node(tree);
}

/* What a disk is of, which a guest need not know. */
static void
put_disk(struct tree *tree, const struct machine_disk *disk)
{
    put_text(tree, "vkvm,path", disk->path, disk->path_size);
    if (disk->read_only)
        put_bytes(tree, "vkvm,read-only", NULL, 0);
    if (disk->discard)
        put_bytes(tree, "vkvm,discard", NULL, 0);
}

static void
put_device(struct tree *tree, const struct machine_device *device)
{
    const struct fdt_device *names = fdt_device_of(device->kind);
    uint64_t start = gpa_to_u64(device->start);

    begin_node_at(tree, names->name, device->nports != 0 ? device->port : start);
    put_string(tree, "compatible", names->compatible);
    if (device->nports != 0)
        put_reg32(tree, device->port, device->nports);
    else
        put_reg64(tree, start, device->size);
    if (device->line != 0)
        put_u32(tree, "vkvm,line", device->line);
    if (device->kind == MACHINE_DISK && tree->description != NULL)
        put_disk(tree, &tree->machine->disks[device->disk]);
    end_node(tree);
}

/* Devices with ports in a node of their own, those with memory beside it. */
static void
put_devices(struct tree *tree)
{
    const struct machine *machine = tree->machine;

    begin_node(tree, "io");
    put_string(tree, "compatible", "vkvm,io");
    put_cells(tree, 1, 1);
    for (unsigned i = 0; i < machine->ndevices; i++) {
        if (machine->devices[i].nports != 0)
            put_device(tree, &machine->devices[i]);
    }
    end_node(tree);
    for (unsigned i = 0; i < machine->ndevices; i++) {
        if (machine->devices[i].nports == 0)
            put_device(tree, &machine->devices[i]);
    }
}

static void
put_window(struct tree *tree, const struct machine_window *window)
{
    uint64_t start = gpa_to_u64(window->start);
    char protection[4];

    machine_protection_text(window->protection, protection);
    begin_node_at(tree, "window", start);
    put_string(tree, "compatible", "vkvm,window-1");
    put_reg64(tree, start, window->size);
    put_string(tree, "vkvm,format", window->format->name);
    put_u64(tree, "vkvm,root", window->root);
    put_string(tree, "vkvm,protection", protection);
    end_node(tree);
}

/* A guest is told where windows may lie, whether there is one or not. */
static void
put_windows(struct tree *tree)
{
    bool for_guest = tree->description == NULL;

    if (!for_guest && tree->machine->nwindows == 0)
        return;
    begin_node(tree, "windows");
    put_string(tree, "compatible", "vkvm,windows-1");
    put_cells(tree, 2, 2);
    if (for_guest)
        put_reg64(tree, VKVM_WINDOW_BASE, VKVM_WINDOW_END - VKVM_WINDOW_BASE);
    for (unsigned i = 0; i < tree->machine->nwindows; i++)
        put_window(tree, &tree->machine->windows[i]);
    end_node(tree);
}

/* What a guest need not know. */
static void
put_file_name(struct tree *tree, const struct machine_file *file)
{
    put_text(tree, "vkvm,path", file->path, file->path_size);
    if (file->offset != 0)
        put_u64(tree, "vkvm,offset", file->offset);
}

static void
put_file(struct tree *tree, const struct machine_file *file)
{
    uint64_t start = gpa_to_u64(file->start);

    begin_node_at(tree, "file", start);
    put_string(tree, "compatible", "vkvm,file-1");
    put_reg64(tree, start, file->size);
    if (tree->description != NULL)
        put_file_name(tree, file);
    put_string(tree, "vkvm,sharing", file->shared ? "shared" : "private");
    put_string(tree, "vkvm,protection", file->read_only ? "rx" : "rwx");
    end_node(tree);
}

static void
put_files(struct tree *tree)
{
    if (tree->machine->nfiles == 0)
        return;
    begin_node(tree, "files");
    put_string(tree, "compatible", "vkvm,files-1");
    put_cells(tree, 2, 2);
    for (unsigned i = 0; i < tree->machine->nfiles; i++)
        put_file(tree, &tree->machine->files[i]);
    end_node(tree);
}

/* Where the memory's contents are, while it is not in the host's. */
static void
put_pager(struct tree *tree, const struct description *description)
{
    const struct machine_file *file = &tree->machine->ram_file;
    const char *pager = file->path != NULL          ? "file"
                        : description->swap != NULL ? "swap"
                                                    : "anonymous";

    put_string(tree, "vkvm,pager", pager);
    if (file->path != NULL) {
        put_file_name(tree, file);
        put_string(tree, "vkvm,sharing", file->shared ? "shared" : "private");
    }
    if (description->swap != NULL)
        put_string(tree, "vkvm,swap", description->swap);
    if (description->ram_budget != 0)
        put_u64(tree, "vkvm,budget", description->ram_budget);
}

static void
put_memory(struct tree *tree)
{
    const struct machine *machine = tree->machine;
    fdt64_t reg[2 * MACHINE_MAX_RAM];

    for (unsigned i = 0; i < machine->nram; i++) {
        reg[2 * i] = cpu_to_fdt64(gpa_to_u64(machine->ram[i].start));
        reg[2 * i + 1] = cpu_to_fdt64(machine->ram[i].size);
    }
    begin_node_at(tree, "memory", gpa_to_u64(machine->ram[0].start));
    put_string(tree, "device_type", "memory");
    put_bytes(tree, "reg", reg, 2 * machine->nram * sizeof(reg[0]));
    if (tree->description != NULL)
        put_pager(tree, tree->description);
    end_node(tree);
}

/* --- a guest's --------------------------------------------------------------- */

static void
put_console_path(struct tree *tree)
{
    const struct machine_device *console = machine_find_device(tree->machine, MACHINE_CONSOLE);
    char path[32];

    if (console == NULL)
        return;
    snprintf(path, sizeof(path), "/io/console@%x", console->port);
    put_string(tree, "stdout-path", path);
    put_string(tree, "stdin-path", path);
}

static void
put_guest_chosen(struct tree *tree)
{
    begin_node(tree, "chosen");
    put_console_path(tree);
    end_node(tree);
}

/* --- the description's ------------------------------------------------------- */

static void
put_words(struct tree *tree, const struct description *description)
{
    if (description->command_line == NULL && description->arguments == NULL)
        return;
    begin_node(tree, "chosen");
    if (description->command_line != NULL)
        put_string(tree, "bootargs", description->command_line);
    if (description->arguments != NULL)
        put_bytes(tree, "vkvm,args", description->arguments, description->arguments_size);
    end_node(tree);
}

/* --- the whole --------------------------------------------------------------- */

static void
put_root(struct tree *tree)
{
    begin_node(tree, "");
    put_cells(tree, 2, 2);
    put_string(tree, "compatible",
               tree->machine->kind == MACHINE_PC ? DESCRIPTION_PC : VKVM_FDT_COMPATIBLE);
    put_string(tree, "model", "vkvm");
    if (tree->description != NULL)
        put_words(tree, tree->description);
    else
        put_guest_chosen(tree);
    put_memory(tree);
    put_cpus(tree);
    put_devices(tree);
    put_windows(tree);
    put_files(tree);
    end_node(tree);
}

/* One attempt to write a whole tree into a buffer of size bytes.  Returns 0 or -FDT_ERR_*. */
static int
write_tree(struct tree *tree, size_t size, uint64_t reserved)
{
    tree->error = fdt_create(tree->buffer, (int)size);
    if (tree->error == 0 && reserved != 0)
        tree->error = fdt_add_reservemap_entry(tree->buffer, 0, reserved);
    if (tree->error == 0)
        tree->error = fdt_finish_reservemap(tree->buffer);
    put_root(tree);
    if (tree->error == 0)
        tree->error = fdt_finish(tree->buffer);
    return tree->error;
}

static int
write_guest_tree(void *buffer, size_t size, const void *argument)
{
    const struct vm_fdt_config *config = argument;
    struct tree tree = { .buffer = buffer, .machine = config->machine };

    return write_tree(&tree, size, config->reserved);
}

int
vm_fdt_build(const struct vm_fdt_config *config, struct vm_fdt *fdt, struct failure *failure)
{
    int status, result;

    *fdt = (struct vm_fdt){ .data = NULL };
    result = fdt_step_run(fdt, write_guest_tree, config);
    if (result != 0)
        return fdt_step_fail(failure, result, "the machine");
    status = vm_fdt_set_arguments(fdt, config->arguments, config->narguments, failure);
    if (status != 0)
        vm_fdt_fini(fdt);
    return status;
}

static int
write_description(void *buffer, size_t size, const void *argument)
{
    const struct description *description = argument;
    struct tree tree = { .buffer = buffer,
                         .machine = &description->machine,
                         .description = description };

    return write_tree(&tree, size, 0);
}

int
description_write(const struct description *description, struct vm_fdt *fdt,
                  struct failure *failure)
{
    int result;

    *fdt = (struct vm_fdt){ .data = NULL };
    result = fdt_step_run(fdt, write_description, description);
    return result == 0 ? 0 : fdt_step_fail(failure, result, "the machine");
}
