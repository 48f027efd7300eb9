/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fixed ACPI hardware of a PC: power management events and control, and the PM timer.
 *
 * The one sleep state is S5, off.  No event ever comes, so the interrupt line stays low; the
 * registers are there because ACPI wants them.
 * Source: ACPI Specification 6.4, 4.8.
 * Locks: the bus range's.
 */
#ifndef ACPI_PM_H
#define ACPI_PM_H

#include "vmm/device/bus.h"
#include "vmm/device/power.h"

/* Offsets in its ports. */
#define ACPI_PM_EVENTS 0u  /* PM1a status, enable: 2 bytes each */
#define ACPI_PM_CONTROL 4u /* PM1a control: 2 bytes */
#define ACPI_PM_TIMER 8u   /* 24 of 4 bytes */
#define ACPI_PM_PORTS 12u

/* The sleep type that is S5: what _S5 in the DSDT says. */
#define ACPI_PM_SLEEP_OFF 5u

struct acpi_pm {
    struct power power;    /* (c) */
    uint64_t (*now)(void); /* (c) ns */
    uint16_t enabled;
    uint16_t control;
};

/* `now` tells ns of a clock that never goes back; NULL = the host's monotonic one. */
void acpi_pm_init(struct acpi_pm *pm, const struct power *power, uint64_t (*now)(void));

/* bus_access_fn of ACPI_PM_PORTS ports. */
int acpi_pm_access(void *device, const struct bus_access *access);

#endif
