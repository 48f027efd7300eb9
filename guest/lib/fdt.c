/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading the device tree.  libfdt checks the tree's structure; what is read out of
 * it is checked for size here.
 */
#include "guest/lib/fdt.h"

#include "guest/include/vkvm_abi.h"
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/ring3.h"
#include "guest/lib/string.h"
#include "guest/lib/traps.h"

#include <libfdt.h>

#define FDT_PAGE_MASK ((uint64_t)0xfff)

static struct fdt_machine fdt_the_machine;
static bool fdt_parsed;

static _Noreturn void
fdt_bad(const char *what)
{
    console_printf("device tree: no usable %s\n", what);
    doorbell_exit(TRAP_EXIT_STATUS);
}

/* `cells` 32-bit cells of a property, as one number. */
static uint64_t
fdt_number(const fdt32_t *cells, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++)
        value = value << 32 | fdt32_to_cpu(cells[i]);
    return value;
}

/* reg = <address size> of a node, two cells each. */
static void
fdt_read_reg(const void *tree, int node, const char *what, uint64_t *address, uint64_t *size)
{
    int length;
    const fdt32_t *reg = fdt_getprop(tree, node, "reg", &length);

    if (reg == NULL || length < 16)
        fdt_bad(what);
    *address = fdt_number(reg, 2);
    *size = fdt_number(reg + 2, 2);
}

/* reg = <start size> for each range, the one from 0 first. */
static void
fdt_read_ram(const void *tree, struct fdt_machine *machine)
{
    int length;
    int node = fdt_node_offset_by_prop_value(tree, -1, "device_type", "memory", 7);
    const fdt32_t *reg = node < 0 ? NULL : fdt_getprop(tree, node, "reg", &length);

    if (reg == NULL || length < 16)
        fdt_bad("memory node");
    for (; length >= 16 && machine->nram < FDT_MAX_RAM; length -= 16, reg += 4)
        machine->ram[machine->nram++] =
            (struct fdt_ram){ fdt_number(reg, 2), fdt_number(reg + 2, 2) };
    machine->memory_size = machine->ram[0].size;
}

static void
fdt_read_memory(const void *tree, struct fdt_machine *machine)
{
    uint64_t address;
    uint64_t size;

    fdt_read_ram(tree, machine);
    for (int i = 0; i < fdt_num_mem_rsv(tree); i++) {
        if (fdt_get_mem_rsv(tree, i, &address, &size) == 0 && address == 0)
            machine->reserved_end = size;
    }
}

static void
fdt_read_cpus(const void *tree, struct fdt_machine *machine)
{
    int cpus = fdt_path_offset(tree, "/cpus");
    int node;

    fdt_for_each_subnode (node, tree, cpus)
        machine->ncpus++;
    if (machine->ncpus == 0 || machine->ncpus > CPU_MAX)
        fdt_bad("number of vCPUs");
}

static void
fdt_read_bootargs(const void *tree, struct fdt_machine *machine)
{
    int chosen = fdt_path_offset(tree, "/chosen");
    int length = 0;

    machine->bootargs = chosen < 0 ? NULL : fdt_getprop(tree, chosen, "bootargs", &length);
    if (machine->bootargs == NULL || length == 0)
        machine->bootargs = "";
}

static unsigned
fdt_protection(const char *letters)
{
    return (strchr(letters, 'r') ? VKVM_MAP_READ : 0) |
           (strchr(letters, 'w') ? VKVM_MAP_WRITE : 0) |
           (strchr(letters, 'x') ? VKVM_MAP_EXECUTE : 0);
}

static void
fdt_read_window(const void *tree, int node, struct fdt_window *window)
{
    int length;
    const char *format = fdt_getprop(tree, node, "vkvm,format", NULL);
    const char *protection = fdt_getprop(tree, node, "vkvm,protection", NULL);
    const fdt32_t *root = fdt_getprop(tree, node, "vkvm,root", &length);

    if (format == NULL || protection == NULL || root == NULL || length != 8)
        fdt_bad("window");
    fdt_read_reg(tree, node, "window", &window->start, &window->size);
    window->root = fdt_number(root, 2);
    window->levels = strcmp(format, "vpte32") == 0 ? 2 : 4;
    window->protection = fdt_protection(protection);
}

static void
fdt_read_windows(const void *tree, struct fdt_machine *machine)
{
    int windows = fdt_path_offset(tree, "/windows");
    int node;

    if (windows < 0)
        fdt_bad("windows node");
    fdt_for_each_subnode (node, tree, windows) {
        if (machine->nwindows < FDT_MAX_WINDOWS)
            fdt_read_window(tree, node, &machine->windows[machine->nwindows++]);
    }
}

static void
fdt_read_file(const void *tree, int node, struct fdt_file *file)
{
    const char *sharing = fdt_getprop(tree, node, "vkvm,sharing", NULL);
    const char *protection = fdt_getprop(tree, node, "vkvm,protection", NULL);

    if (sharing == NULL || protection == NULL)
        fdt_bad("file");
    fdt_read_reg(tree, node, "file", &file->start, &file->size);
    file->shared = strcmp(sharing, "shared") == 0;
    file->protection = fdt_protection(protection);
}

/* There need not be any. */
static void
fdt_read_files(const void *tree, struct fdt_machine *machine)
{
    int files = fdt_path_offset(tree, "/files");
    int node;

    if (files < 0)
        return;
    fdt_for_each_subnode (node, tree, files) {
        if (machine->nfiles < FDT_MAX_FILES)
            fdt_read_file(tree, node, &machine->files[machine->nfiles++]);
    }
}

/* Ring 3. */
static uint64_t
fdt_parse(uint64_t address)
{
    const void *tree = (const void *)address;
    struct fdt_machine *machine = &fdt_the_machine;

    if (fdt_check_header(tree) != 0)
        fdt_bad("header");
    machine->tree_start = address & ~FDT_PAGE_MASK;
    machine->tree_end = (address + fdt_totalsize(tree) + FDT_PAGE_MASK) & ~FDT_PAGE_MASK;
    fdt_read_memory(tree, machine);
    fdt_read_cpus(tree, machine);
    fdt_read_bootargs(tree, machine);
    fdt_read_windows(tree, machine);
    fdt_read_files(tree, machine);
    return 0;
}

const struct fdt_machine *
fdt_machine(void)
{
    if (!fdt_parsed) {
        ring3_call(fdt_parse, cpu_fdt_address());
        fdt_parsed = true;
    }
    return &fdt_the_machine;
}

/* The text after "NAME=", or NULL. */
static const char *
fdt_find_argument(const char *args, const char *name)
{
    size_t length = strlen(name);

    while (*args != '\0') {
        if (strncmp(args, name, length) == 0 && args[length] == '=')
            return args + length + 1;
        while (*args != '\0' && *args != ' ')
            args++;
        while (*args == ' ')
            args++;
    }
    return NULL;
}

bool
fdt_argument(const char *name, char *to, uint64_t size)
{
    const char *value = fdt_find_argument(fdt_machine()->bootargs, name);
    uint64_t n = 0;

    if (value == NULL)
        return false;
    for (; n + 1 < size && value[n] != '\0' && value[n] != ' '; n++)
        to[n] = value[n];
    to[n] = '\0';
    return true;
}

uint64_t
fdt_argument_number(const char *name, uint64_t otherwise)
{
    char text[24];

    return fdt_argument(name, text, sizeof(text)) ? strtoul(text, NULL, 0) : otherwise;
}
