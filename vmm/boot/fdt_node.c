/* SPDX-License-Identifier: BSD-2-Clause */
/* Properties of a device tree's nodes. */
#include "vmm/boot/fdt_node.h"

#include <errno.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CELL sizeof(fdt32_t)
#define KNOWN_MAX 32

/* The node's path, or as much of a name as there is. */
static void
name_node(const struct fdt_reader *reader, int node, char *path, int size)
{
    if (node < 0)
        snprintf(path, (size_t)size, "the whole");
    else if (fdt_get_path(reader->tree, node, path, size) != 0)
        snprintf(path, (size_t)size, "a node deep below");
}

int
fdt_node_refuse(const struct fdt_reader *reader, int node, const char *property, const char *format,
                ...)
{
    char path[256], why[512];
    va_list arguments;

    name_node(reader, node, path, sizeof(path));
    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    failure_set(reader->failure, -ENOEXEC, "device tree '%.128s': %s%s%.64s: %s", reader->name,
                path, property == NULL ? "" : " ", property == NULL ? "" : property, why);
    return -ENOEXEC;
}

/* Which of the known names it is, those of every node behind them; -1 for none. */
static int
find_known(const char *const *known, const char *name)
{
    static const char *const everywhere[] = { "status", "phandle" };
    int i;

    for (i = 0; known[i] != NULL; i++) {
        if (strcmp(known[i], name) == 0)
            return i;
    }
    for (int j = 0; j < 2; j++) {
        if (strcmp(everywhere[j], name) == 0)
            return i + j;
    }
    return -1;
}

int
fdt_node_check(const struct fdt_reader *reader, int node, const char *const *known)
{
    uint64_t seen = 0;
    int property;

    fdt_for_each_property_offset (property, reader->tree, node) {
        const char *name = NULL;
        int which;

        if (fdt_getprop_by_offset(reader->tree, property, &name, NULL) == NULL || name == NULL)
            return fdt_node_refuse(reader, node, NULL, "a property is damaged: compile it anew");
        which = find_known(known, name);
        if (which < 0)
            return fdt_node_refuse(reader, node, name, "is unknown here: leave it out");
        if ((seen & UINT64_C(1) << which) != 0)
            return fdt_node_refuse(reader, node, name, "is there twice: leave one out");
        seen |= UINT64_C(1) << which;
    }
    return 0;
}

int
fdt_node_used(const struct fdt_reader *reader, int node, bool *used)
{
    const char *status;
    int error = fdt_node_string(reader, node, "status", &status);

    if (error != 0)
        return error;
    if (status != NULL && strcmp(status, "okay") != 0 && strcmp(status, "ok") != 0 &&
        strcmp(status, "disabled") != 0)
        return fdt_node_refuse(reader, node, "status",
                               "'%.64s' is unknown: give \"okay\" or \"disabled\"", status);
    *used = status == NULL || strcmp(status, "disabled") != 0;
    return 0;
}

int
fdt_node_is_leaf(const struct fdt_reader *reader, int node)
{
    int inner = fdt_first_subnode(reader->tree, node);

    return inner < 0 ? 0 : fdt_node_refuse(reader, inner, NULL, "is unknown here: leave it out");
}

int
fdt_node_strings(const struct fdt_reader *reader, int node, const char *property, const char **list,
                 size_t *size)
{
    int length = 0;
    const char *value = fdt_getprop(reader->tree, node, property, &length);

    if (value == NULL) {
        *list = NULL;
        *size = 0;
        return 0;
    }
    if (length == 0 || value[length - 1] != '\0')
        return fdt_node_refuse(reader, node, property, "does not end in a NUL: give a string");
    *list = value;
    *size = (size_t)length;
    return 0;
}

int
fdt_node_string(const struct fdt_reader *reader, int node, const char *property, const char **text)
{
    const char *list = NULL;
    size_t size = 0;
    int error = fdt_node_strings(reader, node, property, &list, &size);

    if (error == 0 && list != NULL && strlen(list) + 1 != size)
        error = fdt_node_refuse(reader, node, property, "is more than one string: give one");
    if (error == 0)
        *text = list;
    return error;
}

/* `ncells` cells as one number. */
static uint64_t
take_cells(const uint8_t *bytes, unsigned ncells)
{
    uint64_t value = 0;

    for (size_t i = 0; i < ncells * CELL; i++)
        value = value << 8 | bytes[i];
    return value;
}

static int
take_number(const struct fdt_reader *reader, int node, const char *property, unsigned ncells,
            uint64_t *number)
{
    int length = 0;
    const void *value = fdt_getprop(reader->tree, node, property, &length);

    if (value == NULL)
        return 0;
    if (length != (int)(ncells * CELL))
        return fdt_node_refuse(reader, node, property, "has %d bytes: give a number of %u cell%s",
                               length, ncells, ncells == 1 ? "" : "s");
    *number = take_cells(value, ncells);
    return 0;
}

int
fdt_node_u32(const struct fdt_reader *reader, int node, const char *property, uint32_t *value)
{
    uint64_t number = *value;
    int error = take_number(reader, node, property, 1, &number);

    if (error == 0)
        *value = (uint32_t)number;
    return error;
}

int
fdt_node_u64(const struct fdt_reader *reader, int node, const char *property, uint64_t *value)
{
    return take_number(reader, node, property, 2, value);
}

int
fdt_node_flag(const struct fdt_reader *reader, int node, const char *property, bool *there)
{
    int length = 0;
    const void *value = fdt_getprop(reader->tree, node, property, &length);

    if (value != NULL && length != 0)
        return fdt_node_refuse(reader, node, property, "has a value: give it without");
    *there = value != NULL;
    return 0;
}

/* How many cells the addresses, or sizes, in the parent have. */
static int
count_cells(const struct fdt_reader *reader, int parent, const char *property, unsigned least,
            uint32_t *ncells)
{
    int error = fdt_node_u32(reader, parent, property, ncells);

    if (error == 0 && (*ncells < least || *ncells > 2))
        error = fdt_node_refuse(reader, parent, property, "is %u: give 1 or 2", *ncells);
    return error;
}

static int
take_ranges(const struct fdt_reader *reader, int node, const uint8_t *bytes, uint32_t naddress,
            uint32_t nsize, struct fdt_range *ranges, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct fdt_range range = {
            .start = take_cells(bytes, naddress),
            .size = take_cells(bytes + naddress * CELL, nsize),
        };

        if (range.size > UINT64_MAX - range.start)
            return fdt_node_refuse(reader, node, "reg",
                                   "0x%llx bytes at 0x%llx wrap around: make it smaller",
                                   (unsigned long long)range.size, (unsigned long long)range.start);
        ranges[i] = range;
        bytes += (naddress + nsize) * CELL;
    }
    return 0;
}

int
fdt_node_reg(const struct fdt_reader *reader, int node, int parent, struct fdt_range *ranges,
             unsigned max, unsigned *n)
{
    uint32_t naddress = 2, nsize = 1; /* what the specification has where nothing is said */
    int length = 0, entry, error;
    const void *value = fdt_getprop(reader->tree, node, "reg", &length);

    if (value == NULL)
        return fdt_node_refuse(reader, node, "reg", "is missing: say where it is");
    error = count_cells(reader, parent, "#address-cells", 1, &naddress);
    if (error == 0)
        error = count_cells(reader, parent, "#size-cells", 0, &nsize);
    if (error != 0)
        return error;
    entry = (int)((naddress + nsize) * CELL);
    if (length == 0 || length % entry != 0)
        return fdt_node_refuse(reader, node, "reg",
                               "has %d bytes: give %u cell%s of address and %u of size for each "
                               "range",
                               length, naddress, naddress == 1 ? "" : "s", nsize);
    if (length / entry > (int)max)
        return fdt_node_refuse(reader, node, "reg", "has %d ranges: give at most %u",
                               length / entry, max);
    error = take_ranges(reader, node, value, naddress, nsize, ranges, (unsigned)(length / entry));
    if (error == 0)
        *n = (unsigned)(length / entry);
    return error;
}
