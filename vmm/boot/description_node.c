/* SPDX-License-Identifier: BSD-2-Clause */
/* What the readers of a description's nodes have in common. */
#include "vmm/boot/description_node.h"

#include <libfdt.h>
#include <string.h>

/* Refuse `node` in the words of a check that failed. */
static int
refuse_checked(const struct description_reading *reading, int node, const char *property,
               const struct failure *found)
{
    return fdt_node_refuse(&reading->in, node, property, "%s", found->message);
}

int
description_check_machine(const struct description_reading *reading, int node, const char *property)
{
    struct failure found;

    if (machine_check(&reading->to->machine, MACHINE_PHYSICAL_BITS_MAX, &found) == 0)
        return 0;
    return refuse_checked(reading, node, property, &found);
}

int
description_check_room(const struct description_reading *reading, int node, const char *what,
                       unsigned count, unsigned max)
{
    if (count < max)
        return 0;
    return fdt_node_refuse(&reading->in, node, NULL, "is one of too many %s: give at most %u", what,
                           max);
}

int
description_need_string(const struct description_reading *reading, int node, const char *property,
                        const char *remedy, const char **text)
{
    int error = fdt_node_string(&reading->in, node, property, text);

    if (error == 0 && (*text == NULL || **text == '\0'))
        error = fdt_node_refuse(&reading->in, node, property, "%s: %s",
                                *text == NULL ? "is missing" : "is empty", remedy);
    return error;
}

int
description_need_compatible(const struct description_reading *reading, int node, const char *wanted)
{
    const char *list = NULL;
    size_t size = 0;
    int error = fdt_node_strings(&reading->in, node, "compatible", &list, &size);

    if (error == 0 && (list == NULL || !fdt_stringlist_contains(list, (int)size, wanted)))
        error = fdt_node_refuse(&reading->in, node, "compatible",
                                "is not \"%s\", which alone can be here: give that", wanted);
    return error;
}

int
description_for_each(struct description_reading *reading, int parent, description_take_fn *take)
{
    int node, error = 0;
    bool used = false;

    fdt_for_each_subnode (node, reading->in.tree, parent) {
        error = fdt_node_used(&reading->in, node, &used);
        if (error == 0 && used)
            error = take(reading, node, parent);
        if (error != 0)
            return error;
    }
    return 0;
}

static int
take_sharing(const struct description_reading *reading, int node, bool *shared)
{
    const char *text = NULL;
    int error = description_need_string(reading, node, "vkvm,sharing",
                                        "give \"private\" or \"shared\"", &text);

    if (error != 0)
        return error;
    *shared = strcmp(text, "shared") == 0;
    if (*shared || strcmp(text, "private") == 0)
        return 0;
    return fdt_node_refuse(&reading->in, node, "vkvm,sharing",
                           "'%.64s' is unknown: give \"private\" or \"shared\"", text);
}

int
description_file_name(const struct description_reading *reading, int node,
                      struct machine_file *file)
{
    int error =
        description_need_string(reading, node, "vkvm,path", "give the file's name", &file->path);

    if (error == 0)
        error = fdt_node_u64(&reading->in, node, "vkvm,offset", &file->offset);
    if (error == 0 && (file->offset & PAGE_MASK) != 0)
        error = fdt_node_refuse(&reading->in, node, "vkvm,offset", "is 0x%llx: give whole pages",
                                (unsigned long long)file->offset);
    if (error == 0)
        error = take_sharing(reading, node, &file->shared);
    if (error == 0)
        file->path_size = strlen(file->path);
    return error;
}
