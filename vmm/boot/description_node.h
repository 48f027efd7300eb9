/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the readers of a description's nodes have in common.
 *
 * Each node puts what it says into the machine, which is then checked as a whole: so what cannot be
 * is refused by the same words as for options, and the node that brought it is named.  Memory comes
 * first, since a machine cannot be without.
 *
 * All functions return 0, or -ENOEXEC with *failure filled (fdt_node.h).
 */
#ifndef DESCRIPTION_NODE_H
#define DESCRIPTION_NODE_H

#include "vmm/boot/description.h"
#include "vmm/boot/fdt_node.h"

/* A description while it is read. */
struct description_reading {
    struct fdt_reader in;
    struct description *to;
    int pager_node;     /* of memory, which said what is behind it; -1 = none yet */
    unsigned root_seen; /* description.c's */
};

/* The reader of a kind of node; `parent` says how its addresses look. */
typedef int description_take_fn(struct description_reading *reading, int node, int parent);

/* The machine can be as it is now, with what `node` brought, in `property` unless that is NULL. */
int description_check_machine(const struct description_reading *reading, int node,
                              const char *property) __attribute__((warn_unused_result));

/* There is room for one more. */
int description_check_room(const struct description_reading *reading, int node, const char *what,
                           unsigned count, unsigned max) __attribute__((warn_unused_result));

/* A string that has to be there, and not empty. */
int description_need_string(const struct description_reading *reading, int node,
                            const char *property, const char *remedy, const char **text)
    __attribute__((warn_unused_result));

/* compatible has this among its strings. */
int description_need_compatible(const struct description_reading *reading, int node,
                                const char *wanted) __attribute__((warn_unused_result));

/* Name, offset and sharing of the file behind something. */
int description_file_name(const struct description_reading *reading, int node,
                          struct machine_file *file) __attribute__((warn_unused_result));

/* Call `take` for each node in `parent` that counts (fdt_node_used), until one fails. */
int description_for_each(struct description_reading *reading, int parent, description_take_fn *take)
    __attribute__((warn_unused_result));

/* The readers.  description_device is for devices outside /io; description_memory_check for all of
 * memory together. */
description_take_fn description_memory, description_windows, description_files, description_io,
    description_device;
int description_memory_check(const struct description_reading *reading)
    __attribute__((warn_unused_result));

#endif
