/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kinds of devices are called in a device tree.
 */
#ifndef FDT_DEVICE_H
#define FDT_DEVICE_H

#include "vmm/vm/machine.h"

struct fdt_device {
    enum machine_device_kind kind;
    const char *name; /* of the node, before the address */
    const char *compatible;
    bool has_line; /* it can have an interrupt line */
};

/* The names of a kind.  There are some for each. */
const struct fdt_device *fdt_device_of(enum machine_device_kind kind);

/* The kind of the first string of a list that is some kind's; NULL if none is. */
const struct fdt_device *fdt_device_find(const char *compatible, int size);

#endif
