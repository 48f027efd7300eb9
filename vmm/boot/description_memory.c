/* SPDX-License-Identifier: BSD-2-Clause */
/* A description's memory: where it is, and what is behind it. */
#include "vmm/boot/description_node.h"

#include <libfdt.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum pager {
    PAGER_ANONYMOUS,
    PAGER_SWAP,
    PAGER_FILE,
    PAGERS
};

static const char *const pager_names[PAGERS] = { "anonymous", "swap", "file" };

/* Which properties go with which pager: bit i, pager i. */
static const struct {
    const char *name;
    unsigned pagers;
} pager_properties[] = {
    { "vkvm,path", 1u << PAGER_FILE },
    { "vkvm,offset", 1u << PAGER_FILE },
    { "vkvm,sharing", 1u << PAGER_FILE },
    { "vkvm,swap", 1u << PAGER_FILE | 1u << PAGER_SWAP },
    { "vkvm,budget", ~0u },
};

static int
find_pager(const struct description_reading *reading, int node, enum pager *pager)
{
    const char *text = NULL;
    int error = fdt_node_string(&reading->in, node, "vkvm,pager", &text);

    *pager = PAGER_ANONYMOUS;
    if (error != 0 || text == NULL)
        return error;
    for (unsigned i = 0; i < PAGERS; i++) {
        if (strcmp(text, pager_names[i]) == 0) {
            *pager = (enum pager)i;
            return 0;
        }
    }
    return fdt_node_refuse(&reading->in, node, "vkvm,pager",
                           "'%.64s' is unknown: give \"anonymous\", \"swap\" or \"file\"", text);
}

/* Nothing is said that this pager would not look at. */
static int
check_pager_properties(const struct description_reading *reading, int node, enum pager pager)
{
    for (size_t i = 0; i < COUNT(pager_properties); i++) {
        const char *name = pager_properties[i].name;

        if (fdt_getprop(reading->in.tree, node, name, NULL) != NULL &&
            (pager_properties[i].pagers & 1u << pager) == 0)
            return fdt_node_refuse(&reading->in, node, name,
                                   "does not go with the pager \"%s\": leave it out, or give "
                                   "another vkvm,pager",
                                   pager_names[pager]);
    }
    return 0;
}

static int
take_swap(const struct description_reading *reading, int node, enum pager pager)
{
    const char *remedy = "give a file or block device";

    if (pager == PAGER_SWAP || fdt_getprop(reading->in.tree, node, "vkvm,swap", NULL) != NULL)
        return description_need_string(reading, node, "vkvm,swap", remedy, &reading->to->swap);
    return 0;
}

static int
take_budget(const struct description_reading *reading, int node)
{
    uint64_t budget = DESCRIPTION_BUDGET_MIN;
    int error = fdt_node_u64(&reading->in, node, "vkvm,budget", &budget);

    if (error != 0 || fdt_getprop(reading->in.tree, node, "vkvm,budget", NULL) == NULL)
        return error;
    if (budget < DESCRIPTION_BUDGET_MIN || budget > DESCRIPTION_BUDGET_MAX ||
        (budget & PAGE_MASK) != 0)
        return fdt_node_refuse(&reading->in, node, "vkvm,budget",
                               "is 0x%llx: give whole pages, 1M to 1T", (unsigned long long)budget);
    reading->to->ram_budget = budget;
    return 0;
}

static bool
says_pager(const struct description_reading *reading, int node)
{
    bool says = fdt_getprop(reading->in.tree, node, "vkvm,pager", NULL) != NULL;

    for (size_t i = 0; i < COUNT(pager_properties); i++)
        says |= fdt_getprop(reading->in.tree, node, pager_properties[i].name, NULL) != NULL;
    return says;
}

/* All memory is one object, so one node says what is behind it. */
static int
take_pager(struct description_reading *reading, int node)
{
    enum pager pager;
    int error;

    if (!says_pager(reading, node))
        return 0;
    if (reading->pager_node >= 0)
        return fdt_node_refuse(&reading->in, node, "vkvm,pager",
                               "and what goes with it stand in another memory node, for all "
                               "memory: leave them out here");
    reading->pager_node = node;
    error = find_pager(reading, node, &pager);
    if (error == 0)
        error = check_pager_properties(reading, node, pager);
    if (error == 0 && pager == PAGER_FILE)
        error = description_file_name(reading, node, &reading->to->machine.ram_file);
    if (error == 0)
        error = take_swap(reading, node, pager);
    return error == 0 ? take_budget(reading, node) : error;
}

/* In their order. */
static void
insert_ram(struct machine *machine, const struct fdt_range *range)
{
    unsigned i = machine->nram++;

    for (; i > 0 && gpa_to_u64(machine->ram[i - 1].start) > range->start; i--)
        machine->ram[i] = machine->ram[i - 1];
    machine->ram[i] = (struct machine_ram){ gpa_from_u64(range->start), range->size };
}

int
description_memory(struct description_reading *reading, int node, int parent)
{
    static const char *const known[] = { "device_type", "reg",         "vkvm,pager",
                                         "vkvm,path",   "vkvm,offset", "vkvm,sharing",
                                         "vkvm,swap",   "vkvm,budget", NULL };
    struct machine *machine = &reading->to->machine;
    struct fdt_range ranges[MACHINE_MAX_RAM];
    const char *type = NULL;
    unsigned n = 0;
    int error = fdt_node_check(&reading->in, node, known);

    if (error == 0)
        error = fdt_node_is_leaf(&reading->in, node);
    if (error == 0)
        error = description_need_string(reading, node, "device_type", "give \"memory\"", &type);
    if (error == 0 && strcmp(type, "memory") != 0)
        error = fdt_node_refuse(&reading->in, node, "device_type", "is not \"memory\": give that");
    if (error == 0)
        error = fdt_node_reg(&reading->in, node, parent, ranges, MACHINE_MAX_RAM, &n);
    if (error == 0 && n > MACHINE_MAX_RAM - machine->nram)
        error = fdt_node_refuse(&reading->in, node, "reg",
                                "makes more than %d ranges of memory: give fewer", MACHINE_MAX_RAM);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < n; i++)
        insert_ram(machine, &ranges[i]);
    error = take_pager(reading, node);
    return error == 0 ? description_check_machine(reading, node, NULL) : error;
}

/* Of all nodes together. */
int
description_memory_check(const struct description_reading *reading)
{
    const struct machine *machine = &reading->to->machine;

    if (machine->nram == 0)
        return fdt_node_refuse(&reading->in, 0, "/memory", "is missing: give some from address 0");
    if (machine_low_end(machine) < MACHINE_MEMORY_MIN)
        return fdt_node_refuse(&reading->in, 0, "/memory",
                               "has less than 4M from address 0 on: give more there");
    if (machine_memory_size(machine) > MACHINE_MEMORY_MAX)
        return fdt_node_refuse(&reading->in, 0, "/memory", "is more than 1T: give less");
    return 0;
}
