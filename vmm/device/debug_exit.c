/* SPDX-License-Identifier: BSD-2-Clause */
/* The port that ends the VM. */
#include "vmm/device/debug_exit.h"

#include "vmm/device/access.h"

int
debug_exit_access(void *device, const struct bus_access *access)
{
    const struct debug_exit *exit = device;

    if (access->write && access->offset == 0)
        exit->power.request(exit->power.context, POWER_EXIT,
                            (unsigned)(access_value(access, 0) << 1 | 1) & 0xFF, "port 0xf4");
    return 0;
}
