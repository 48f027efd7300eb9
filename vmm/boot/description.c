/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading the description of a machine: its root, processors, and the guest's words.
 */
#include "vmm/boot/description.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/boot/description_node.h"

#include <errno.h>
#include <libfdt.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- processors -------------------------------------------------------------- */

static int
take_feature(const struct description_reading *reading, int node, const char *text)
{
    switch (cpu_features_add(&reading->to->features, text)) {
    case 0:
        return 0;
    case -EINVAL:
        return fdt_node_refuse(&reading->in, node, "vkvm,features",
                               "'%.64s' says neither on nor off: give \"FEATURE=on\" or "
                               "\"FEATURE=off\"",
                               text);
    case -ENOENT:
        return fdt_node_refuse(&reading->in, node, "vkvm,features",
                               "'%.64s' is unknown: give a name as /proc/cpuinfo has it", text);
    default:
        return fdt_node_refuse(&reading->in, node, "vkvm,features", "has too many: give at most %u",
                               CPU_FEATURE_CHOICES);
    }
}

static int
take_features(const struct description_reading *reading, int node)
{
    const char *list = NULL;
    size_t size = 0;
    int error = fdt_node_strings(&reading->in, node, "vkvm,features", &list, &size);

    for (size_t at = 0; error == 0 && at < size; at += strlen(list + at) + 1)
        error = take_feature(reading, node, list + at);
    return error;
}

/* The bit of a processor in *mask, which is its number. */
static int
take_cpu(const struct description_reading *reading, int node, int parent, uint64_t *mask)
{
    static const char *const known[] = { "device_type", "compatible", "reg", NULL };
    struct fdt_range range = { .size = 0 };
    unsigned n;
    int error = fdt_node_check(&reading->in, node, known);

    if (error == 0)
        error = fdt_node_is_leaf(&reading->in, node);
    if (error == 0)
        error = description_need_compatible(reading, node, "x86_64");
    if (error == 0)
        error = fdt_node_reg(&reading->in, node, parent, &range, 1, &n);
    if (error != 0)
        return error;
    if (range.start >= MACHINE_MAX_VCPUS)
        return fdt_node_refuse(&reading->in, node, "reg", "is 0x%llx: the last is %d",
                               (unsigned long long)range.start, MACHINE_MAX_VCPUS - 1);
    if ((*mask & UINT64_C(1) << range.start) != 0)
        return fdt_node_refuse(&reading->in, node, "reg",
                               "is another one's number: number them from 0");
    *mask |= UINT64_C(1) << range.start;
    return 0;
}

_Static_assert(MACHINE_MAX_VCPUS <= 64, "a bit for each");

static int
count_cpus(struct description_reading *reading, int cpus, unsigned *count)
{
    uint64_t mask = 0;
    int node, error;
    bool used = false;

    fdt_for_each_subnode (node, reading->in.tree, cpus) {
        error = fdt_node_used(&reading->in, node, &used);
        if (error == 0 && used)
            error = take_cpu(reading, node, cpus, &mask);
        if (error != 0)
            return error;
    }
    if (mask == 0)
        return fdt_node_refuse(&reading->in, cpus, NULL, "has none: give it cpu@0");
    if ((mask & (mask + 1)) != 0)
        return fdt_node_refuse(&reading->in, cpus, NULL,
                               "lacks cpu@%x and has later ones: number them from 0",
                               (unsigned)__builtin_ctzll(~mask));
    *count = (unsigned)__builtin_popcountll(mask);
    return 0;
}

static int
take_cpus(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "#address-cells", "#size-cells", "vkvm,features",
                                         "vkvm,exact-faults", NULL };
    int error = fdt_node_check(&reading->in, node, known);

    (void)parent;
    if (error == 0)
        error = take_features(reading, node);
    if (error == 0)
        error = fdt_node_flag(&reading->in, node, "vkvm,exact-faults", &reading->to->exact_faults);
    return error == 0 ? count_cpus(reading, node, &reading->to->machine.nvcpus) : error;
}

/* --- words ------------------------------------------------------------------- */

static int
take_chosen(struct description_reading *reading, int node, int parent)
{
    static const char *const of_pc[] = { "bootargs", NULL };
    static const char *const of_others[] = { "vkvm,args", NULL };
    struct description *to = reading->to;
    bool pc = to->machine.kind == MACHINE_PC;
    int error = fdt_node_check(&reading->in, node, pc ? of_pc : of_others);

    (void)parent;
    if (error == 0)
        error = fdt_node_is_leaf(&reading->in, node);
    if (error == 0)
        error = fdt_node_string(&reading->in, node, "bootargs", &to->command_line);
    if (error == 0)
        error =
            fdt_node_strings(&reading->in, node, "vkvm,args", &to->arguments, &to->arguments_size);
    return error;
}
/* --- the whole --------------------------------------------------------------- */

/* The nodes of the root; others are devices with memory.  Which of them must be there. */
static const struct root_node {
    const char *name;
    description_take_fn *take;
    const char *remedy; /* where it is missing; NULL = it may be */
} root_nodes[] = {
    { "memory", description_memory, NULL }, /* description_memory_check */
    { "chosen", take_chosen, NULL },
    { "cpus", take_cpus, "give cpu@0 in it" },
    { "io", description_io, "give the devices in it, or nothing" },
    { "windows", description_windows, NULL },
    { "files", description_files, NULL },
};
#define ROOT_MEMORY 0
#define ROOT_NODES COUNT(root_nodes)

/* Which of root_nodes it is by the name before its address; ROOT_NODES for none. */
static unsigned
find_root_node(const struct description_reading *reading, int node)
{
    const char *name = fdt_get_name(reading->in.tree, node, NULL);
    size_t size = strcspn(name, "@");
    unsigned i;

    for (i = 0; i < ROOT_NODES; i++) {
        if (strlen(root_nodes[i].name) == size && memcmp(root_nodes[i].name, name, size) == 0)
            break;
    }
    return i;
}

static int
take_if_memory(struct description_reading *reading, int node, int parent)
{
    return find_root_node(reading, node) == ROOT_MEMORY ? description_memory(reading, node, parent)
                                                        : 0;
}

static int
take_other(struct description_reading *reading, int node, int parent)
{
    unsigned which = find_root_node(reading, node);

    if (which == ROOT_MEMORY)
        return 0;
    if (which == ROOT_NODES)
        return description_device(reading, node, parent);
    if ((reading->root_seen & 1u << which) != 0)
        return fdt_node_refuse(&reading->in, node, NULL, "is there twice: make one of them");
    reading->root_seen |= 1u << which;
    return root_nodes[which].take(reading, node, parent);
}

static int
check_missing(const struct description_reading *reading)
{
    for (unsigned i = 0; i < ROOT_NODES; i++) {
        if (root_nodes[i].remedy != NULL && (reading->root_seen & 1u << i) == 0)
            return fdt_node_refuse(&reading->in, 0, NULL, "/%s is missing: %s", root_nodes[i].name,
                                   root_nodes[i].remedy);
    }
    return 0;
}

/* Which machine it is, without anything in it yet. */
static int
take_kind(struct description_reading *reading)
{
    struct machine *machine = &reading->to->machine;
    const char *list = NULL;
    size_t size = 0;
    int error = fdt_node_strings(&reading->in, 0, "compatible", &list, &size);

    if (error != 0)
        return error;
    machine_init(machine);
    if (list != NULL && fdt_stringlist_contains(list, (int)size, DESCRIPTION_PC))
        machine_make_pc(machine);
    else if (list == NULL || !fdt_stringlist_contains(list, (int)size, VKVM_FDT_COMPATIBLE))
        return fdt_node_refuse(&reading->in, 0, "compatible",
                               "names no machine that there is: give \"" VKVM_FDT_COMPATIBLE
                               "\", or \"" DESCRIPTION_PC "\" for a PC");
    machine->ndevices = 0;
    return 0;
}

static int
check_root(const struct description_reading *reading)
{
    static const char *const known[] = { "compatible", "model", "#address-cells", "#size-cells",
                                         NULL };

    if (fdt_num_mem_rsv(reading->in.tree) != 0)
        return fdt_node_refuse(&reading->in, -1, NULL,
                               "has memory reservations, which are made at the start: leave "
                               "/memreserve/ out");
    return fdt_node_check(&reading->in, 0, known);
}

int
description_read(const struct description_source *source, struct description *to,
                 struct failure *failure)
{
    struct description_reading reading = {
        .in = { .tree = source->fdt->data, .name = source->name, .failure = failure },
        .to = to,
        .pager_node = -1,
    };
    int error;

    *to = (struct description){ .ram_budget = 0 };
    error = check_root(&reading);
    if (error == 0)
        error = take_kind(&reading);
    if (error == 0)
        error = description_for_each(&reading, 0, take_if_memory);
    if (error == 0)
        error = description_memory_check(&reading);
    if (error == 0)
        error = description_for_each(&reading, 0, take_other);
    return error == 0 ? check_missing(&reading) : error;
}
