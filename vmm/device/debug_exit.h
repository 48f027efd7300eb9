/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port that ends the VM: what is written, n, makes the exit status n << 1 | 1, as test images
 * expect it (0 is success to them, and 1 to whoever runs them).
 * Locks: the bus range's.
 */
#ifndef DEBUG_EXIT_H
#define DEBUG_EXIT_H

#include "vmm/device/bus.h"
#include "vmm/device/power.h"

#define DEBUG_EXIT_PORTS 4u

struct debug_exit {
    struct power power; /* (c) */
};

/* bus_access_fn of DEBUG_EXIT_PORTS ports. */
int debug_exit_access(void *device, const struct bus_access *access);

#endif
