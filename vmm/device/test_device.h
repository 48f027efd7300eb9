/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What test images of the kvm-unit-tests kind find beside a PC's own devices: four bytes at ports,
 * a port that drops a page's mapping, a port for each interrupt line, and memory whose every
 * access is a device's.
 * Locks: the bus ranges' mutexes; each range has state of its own.
 */
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

#include "vmm/device/bus.h"
#include "vmm/device/irq.h"

#define TEST_PORTS 8u /* 0 to 3: four bytes; 4: the page to be dropped */
#define TEST_LINES 24u
#define TEST_MEMORY 0x10000u

struct test_device {
    /* Drop the mappings of the page at that guest-physical address. */
    void (*drop)(void *context, uint64_t address); /* (c) */
    irq_set_fn *set_line;                          /* (c) NULL = nobody listens */
    void *context;                                 /* (c) borrowed: of both */
    uint8_t bytes[4];
    uint8_t memory[TEST_MEMORY];
};

/* bus_access_fn of TEST_PORTS ports, TEST_LINES ports, TEST_MEMORY bytes of memory. */
int test_device_ports(void *device, const struct bus_access *access);
int test_device_lines(void *device, const struct bus_access *access);
int test_device_memory(void *device, const struct bus_access *access);

#endif
