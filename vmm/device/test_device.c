/* SPDX-License-Identifier: BSD-2-Clause */
/* The test device. */
#include "vmm/device/test_device.h"

#include "vmm/device/access.h"

#define DROP 4

int
test_device_ports(void *device, const struct bus_access *access)
{
    struct test_device *test = device;

    if (access->offset == DROP && access->size == 4 && access->write)
        test->drop(test->context, access_value(access, access->count - 1));
    else
        access_bytes(access, test->bytes, sizeof(test->bytes));
    return 0;
}

int
test_device_lines(void *device, const struct bus_access *access)
{
    const struct test_device *test = device;
    struct irq_line line = { test->set_line, test->context, (unsigned)access->offset };

    if (!access->write)
        return 0;
    for (unsigned i = 0; i < access->count; i++)
        irq_line_set(&line, (access_value(access, i) & 1) != 0);
    return 0;
}

int
test_device_memory(void *device, const struct bus_access *access)
{
    struct test_device *test = device;

    access_bytes(access, test->memory, sizeof(test->memory));
    return 0;
}
