/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Properties of a device tree's nodes, taken with their form checked.
 *
 * Whatever is refused is named with the file, the node's path, the property and what to do.  All
 * functions return 0, or -ENOEXEC with *failure filled; results are then unchanged.
 *
 * Source: Devicetree Specification 0.4, chapter 2.
 */
#ifndef FDT_NODE_H
#define FDT_NODE_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fdt_reader {
    const void *tree; /* borrowed: checked by fdt_check_full */
    const char *name; /* borrowed: of its file */
    struct failure *failure;
};

/* An entry of `reg`, which does not wrap around. */
struct fdt_range {
    uint64_t start;
    uint64_t size;
};

/* Refuse a node (-1: the tree), because of `property` unless that is NULL.  Returns -ENOEXEC. */
int fdt_node_refuse(const struct fdt_reader *reader, int node, const char *property,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Every property is one of `known` (ends with NULL, at most 32), and none is there twice; status and
 * phandle are always known.
 */
int fdt_node_check(const struct fdt_reader *reader, int node, const char *const *known)
    __attribute__((warn_unused_result));

/* Does `status` say that the node counts?  *used is false for one that is disabled. */
int fdt_node_used(const struct fdt_reader *reader, int node, bool *used)
    __attribute__((warn_unused_result));

/* It has no nodes in it. */
int fdt_node_is_leaf(const struct fdt_reader *reader, int node) __attribute__((warn_unused_result));

/* A property that is one string; *text is NULL where there is none. */
int fdt_node_string(const struct fdt_reader *reader, int node, const char *property,
                    const char **text) __attribute__((warn_unused_result));

/* A property that is a list of strings: *size bytes; *list is NULL where there is none. */
int fdt_node_strings(const struct fdt_reader *reader, int node, const char *property,
                     const char **list, size_t *size) __attribute__((warn_unused_result));

/* A property of one or two cells; *value stays as it is where there is none. */
int fdt_node_u32(const struct fdt_reader *reader, int node, const char *property, uint32_t *value)
    __attribute__((warn_unused_result));
int fdt_node_u64(const struct fdt_reader *reader, int node, const char *property, uint64_t *value)
    __attribute__((warn_unused_result));

/* A property without a value is there. */
int fdt_node_flag(const struct fdt_reader *reader, int node, const char *property, bool *there)
    __attribute__((warn_unused_result));

/*
 * reg, which must be there: 1 to max ranges in cells as the parent says, one or two for addresses
 * and as many for sizes.
 */
int fdt_node_reg(const struct fdt_reader *reader, int node, int parent, struct fdt_range *ranges,
                 unsigned max, unsigned *n) __attribute__((warn_unused_result));

#endif
