/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Resets by the keyboard controller and by port 0xCF9.
 */
#include "vmm/device/reset.h"

#include "vmm/device/access.h"

#define KEYBOARD_DATA 0
#define KEYBOARD_COMMAND 4 /* read: the status */
#define KEYBOARD_RESET 0xFE

#define PCI_ADDRESS 0
#define PCI_RESET 1
#define PCI_RESET_NOW 0x04

int
keyboard_access(void *device, const struct bus_access *access)
{
    const struct keyboard *keyboard = device;
    bool is_command = access->offset == KEYBOARD_COMMAND;

    if (access->size != 1 || (access->offset != KEYBOARD_DATA && !is_command))
        return 0;
    for (unsigned i = 0; i < access->count; i++) {
        if (!access->write)
            access_answer(access, i, 0);
        else if (is_command && access_value(access, i) == KEYBOARD_RESET)
            keyboard->power.request(keyboard->power.context, POWER_RESET, 0,
                                    "the keyboard controller");
    }
    return 0;
}

int
pci_ports_access(void *device, const struct bus_access *access)
{
    struct pci_ports *ports = device;

    for (unsigned i = 0; i < access->count; i++) {
        if (access->offset == PCI_ADDRESS && access->size == 4 && access->write)
            ports->address = (uint32_t)access_value(access, i);
        else if (access->offset == PCI_ADDRESS && access->size == 4)
            access_answer(access, i, ports->address);
        else if (access->offset == PCI_RESET && access->size == 1 && access->write &&
                 (access_value(access, i) & PCI_RESET_NOW) != 0)
            ports->power.request(ports->power.context, POWER_RESET, 0, "port 0xcf9");
    }
    return 0;
}
