/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI tables of a PC: RSDP, XSDT, FADT with FACS, MADT, and a DSDT that names its devices.
 *
 * Addresses in the tables are guest-physical; all tables lie together behind the RSDP, at a place
 * where systems look for it.
 * Source: ACPI Specification 6.4, chapters 5, 6 and 20.
 */
#ifndef ACPI_H
#define ACPI_H

#include "vmm/x86_64/layout.h"

#include <stddef.h>
#include <stdint.h>

/* A virtio device: registers in memory and an interrupt line, level-triggered. */
struct acpi_device {
    uint64_t start; /* below 4 GiB */
    uint64_t size;
    unsigned line;
};

#define ACPI_MAX_DEVICES 32u
#define ACPI_MAX_CPUS 255u /* those with an 8-bit APIC id */

struct acpi_config {
    unsigned ncpus;                    /* their APIC ids are 0 and on */
    uint16_t pm_port;                  /* of acpi_pm.h */
    unsigned sci_line;                 /* its interrupt line */
    const struct acpi_device *devices; /* borrowed */
    unsigned ndevices;
};

/*
 * Make all tables, as they stand from ACPI_RSDP_GPA on.  Returns their size.
 */
size_t acpi_build(const struct acpi_config *config, uint8_t tables[ACPI_SIZE]);

#endif
