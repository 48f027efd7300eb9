/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is left of two chips of a PC when nobody needs more: the ways to reset it.
 *
 * The keyboard controller (0x60 to 0x64) has no keyboard: its status is 0, and command 0xFE resets
 * the machine.  The PCI ports (0xCF8 to 0xCFF) have no bus behind them: all of configuration space
 * reads as ones; between them is the reset control register, 0xCF9.
 * Sources: Intel 8042 commands; PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel PCH data sheet,
 * RST_CNT.
 * Locks: the bus range's.
 */
#ifndef RESET_H
#define RESET_H

#include "vmm/device/bus.h"
#include "vmm/device/power.h"

#define KEYBOARD_PORTS 5u
#define PCI_PORTS 8u

struct keyboard {
    struct power power; /* (c) */
};

struct pci_ports {
    struct power power; /* (c) */
    uint32_t address;   /* what the guest wants to configure */
};

/* bus_access_fn of KEYBOARD_PORTS ports and a struct keyboard. */
int keyboard_access(void *device, const struct bus_access *access);

/* bus_access_fn of PCI_PORTS ports and a struct pci_ports. */
int pci_ports_access(void *device, const struct bus_access *access);

#endif
