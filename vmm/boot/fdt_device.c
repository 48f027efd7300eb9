/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kinds of devices are called in a device tree. */
#include "vmm/boot/fdt_device.h"

#include <libfdt.h>

static const struct fdt_device devices[] = {
    [MACHINE_DOORBELL] = { MACHINE_DOORBELL, "doorbell", "vkvm,doorbell-1", false },
    [MACHINE_CONSOLE] = { MACHINE_CONSOLE, "console", "vkvm,console-1", false },
    [MACHINE_SERIAL] = { MACHINE_SERIAL, "serial", "ns16550a", true },
    [MACHINE_CMOS] = { MACHINE_CMOS, "rtc", "motorola,mc146818", false },
    [MACHINE_KEYBOARD] = { MACHINE_KEYBOARD, "keyboard-reset", "vkvm,keyboard-reset-1", false },
    [MACHINE_PCI_CONFIG] = { MACHINE_PCI_CONFIG, "pci-ports", "vkvm,pci-ports-1", false },
    [MACHINE_ACPI_PM] = { MACHINE_ACPI_PM, "acpi-pm", "vkvm,acpi-pm-1", true },
    [MACHINE_DEBUG_EXIT] = { MACHINE_DEBUG_EXIT, "debug-exit", "vkvm,debug-exit-1", false },
    [MACHINE_FW_CFG] = { MACHINE_FW_CFG, "fw-cfg", "vkvm,fw-cfg-1", false },
    [MACHINE_TEST_PORTS] = { MACHINE_TEST_PORTS, "test-ports", "vkvm,test-ports-1", false },
    [MACHINE_TEST_LINES] = { MACHINE_TEST_LINES, "test-lines", "vkvm,test-lines-1", false },
    [MACHINE_TEST_MEMORY] = { MACHINE_TEST_MEMORY, "test-memory", "vkvm,test-memory-1", false },
    [MACHINE_DISK] = { MACHINE_DISK, "disk", "virtio,mmio", true },
    [MACHINE_BALLOON] = { MACHINE_BALLOON, "balloon", "vkvm,balloon-1", true },
};

const struct fdt_device *
fdt_device_of(enum machine_device_kind kind)
{
    return &devices[kind];
}

const struct fdt_device *
fdt_device_find(const char *compatible, int size)
{
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (fdt_stringlist_contains(compatible, size, devices[i].compatible))
            return &devices[i];
    }
    return NULL;
}
