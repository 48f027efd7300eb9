/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bus for the tests of devices, and what they ask of the machine.
 */
#ifndef DEVICE_RIG_H
#define DEVICE_RIG_H

#include "vmm/device/bus.h"
#include "vmm/device/power.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static struct bus bus;

/* The last request of a device, and how many there were. */
static enum power_request requested;
static unsigned requested_status;
static unsigned nrequests;

static inline void
on_request(void *context, enum power_request request, unsigned status, const char *by)
{
    (void)context;
    (void)by;
    requested = request;
    requested_status = status;
    nrequests++;
}

static const struct power device_power = { .request = on_request };

static inline void
put_device(enum bus_space space, uint64_t start, uint64_t size, bus_access_fn *access, void *device)
{
    cr_assert(eq(int, bus_add(&bus, space, start, size, 0, access, device), 0));
}

static inline uint64_t
bus_read(enum bus_space space, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    struct bus_access access = { .size = size, .count = 1, .data = &value };

    cr_assert(eq(int, bus_access(&bus, space, address, &access), 0));
    return value;
}

static inline void
bus_write(enum bus_space space, uint64_t address, unsigned size, uint64_t value)
{
    struct bus_access access = { .write = true, .size = size, .count = 1, .data = &value };

    cr_assert(eq(int, bus_access(&bus, space, address, &access), 0));
}

static inline uint64_t
in(uint16_t port, unsigned size)
{
    return bus_read(BUS_PORT, port, size);
}

static inline void
out(uint16_t port, unsigned size, uint64_t value)
{
    bus_write(BUS_PORT, port, size, value);
}

#endif
