/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The firmware configuration ports: a selector, and the bytes of what it selects one after the
 * other.  Of all that QEMU offers there, only what test images ask for; anything else reads as 0.
 * Source: QEMU, docs/specs/fw_cfg.
 * Locks: the bus range's.
 */
#ifndef FW_CFG_H
#define FW_CFG_H

#include "vmm/device/bus.h"

#define FW_CFG_PORTS 2u

struct fw_cfg {
    uint64_t memory_size; /* (c) bytes */
    uint16_t nvcpus;      /* (c) */
    uint16_t selected;
    uint32_t offset; /* of the next byte */
};

/* bus_access_fn of FW_CFG_PORTS ports. */
int fw_cfg_access(void *device, const struct bus_access *access);

#endif
