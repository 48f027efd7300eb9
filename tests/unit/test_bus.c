/* SPDX-License-Identifier: BSD-2-Clause */
/* The bus: which device an access reaches, and what happens where there is none. */
#include "vmm/device/bus.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/environment.h"

#include <errno.h>
#include <string.h>

/* A device that remembers what it was asked. */
struct probe {
    struct bus_access last;
    unsigned ncalls;
    int answer;   /* what it returns */
    uint8_t byte; /* what it reads as; 0 = it leaves reads alone */
};

static struct bus bus;

static int
probe_access(void *device, const struct bus_access *access)
{
    struct probe *probe = device;

    probe->last = *access;
    probe->ncalls++;
    if (!access->write && probe->byte != 0)
        memset(access->data, probe->byte, (size_t)access->size * access->count);
    return probe->answer;
}

static void
add(enum bus_space space, uint64_t start, uint64_t size, struct probe *probe)
{
    cr_assert(bus_add(&bus, space, start, size, 0, probe_access, probe) == 0);
}

/* Read `size` bytes; returns what bus_access did, and *value is zero-extended. */
static int
read_at(enum bus_space space, uint64_t address, unsigned size, uint64_t *value)
{
    struct bus_access access = { .size = size, .count = 1, .data = value };

    *value = 0;
    return bus_access(&bus, space, address, &access);
}

Test(bus, an_access_reaches_the_device_in_whose_range_it_lies_whatever_the_order_they_came_in)
{
    struct probe probes[5] = { 0 };
    static const uint64_t starts[5] = { 0x60, 0x3f8, 0x64, 0x10, 0x510 };
    uint64_t value;

    bus_init(&bus, BUS_ABSENT_FAULT);
    for (unsigned i = 0; i < 5; i++)
        add(BUS_PORT, starts[i], 4, &probes[i]);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned offset = 0; offset < 4; offset++) {
            probes[i].byte = (uint8_t)(0x20 + i);
            cr_assert(read_at(BUS_PORT, starts[i] + offset, 1, &value) == 0);
            cr_assert(value == 0x20 + i && probes[i].last.offset == offset);
        }
        cr_assert(probes[i].ncalls == 4 && bus_count(&bus, BUS_PORT, starts[i] + 3) == 4);
    }
    cr_assert(bus_count(&bus, BUS_PORT, 0x68) == 0);
    bus_fini(&bus);
}

Test(bus, nothing_is_reached_beside_a_range_or_by_an_access_that_sticks_out_of_it)
{
    struct probe low = { 0 }, high = { 0 };
    uint64_t value;

    bus_init(&bus, BUS_ABSENT_ONES);
    add(BUS_MEMORY, 0x1000, 0x10, &low);
    add(BUS_MEMORY, 0x1010, 0x10, &high);
    cr_assert(read_at(BUS_MEMORY, 0xfff, 1, &value) == -ENXIO);
    cr_assert(read_at(BUS_MEMORY, 0xffc, 8, &value) == -ENXIO);
    cr_assert(read_at(BUS_MEMORY, 0x100c, 8, &value) == -ENXIO, "into the next device");
    cr_assert(read_at(BUS_MEMORY, 0x1020, 1, &value) == -ENXIO);
    cr_assert(read_at(BUS_MEMORY, UINT64_MAX, 8, &value) == -ENXIO);
    cr_assert(read_at(BUS_PORT, 0x1000, 1, &value) == -ENXIO, "another space");
    cr_assert(low.ncalls == 0 && high.ncalls == 0 && value == 0, "nothing was done");
    cr_assert(read_at(BUS_MEMORY, 0x1008, 8, &value) == 0 && low.ncalls == 1);
    cr_assert(read_at(BUS_MEMORY, 0x1010, 8, &value) == 0 && high.ncalls == 1);
    bus_fini(&bus);
}

Test(bus, ranges_that_overlap_are_refused_and_neighbours_are_not)
{
    static const struct {
        uint64_t start, size;
        int result;
    } places[] = {
        { 0x100, 0x10, -EEXIST }, { 0xff, 2, -EEXIST },    { 0x10f, 1, -EEXIST },
        { 0, 0x1000, -EEXIST },   { 0x108, 1, -EEXIST },   { 0, 0, -EINVAL },
        { 0xffff, 2, -EINVAL },   { 0x10000, 1, -EINVAL }, { 0xf0, 0x10, 0 },
        { 0x110, 0x10, 0 },       { 0xffff, 1, 0 },        { 0, 1, 0 },
    };
    struct probe probe = { 0 };

    bus_init(&bus, BUS_ABSENT_FAULT);
    add(BUS_PORT, 0x100, 0x10, &probe);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        cr_assert(bus_add(&bus, BUS_PORT, places[i].start, places[i].size, 0, probe_access,
                          &probe) == places[i].result,
                  "place %zu", i);
    add(BUS_MEMORY, 0x100, 0x10, &probe);
    add(BUS_MEMORY, UINT64_MAX - 0xfff, 0x1000, &probe);
    cr_assert(bus.spaces[BUS_PORT].n == 5);
    bus_fini(&bus);
}

Test(bus, where_no_device_is_a_port_reads_as_ones_and_memory_as_the_machine_says)
{
    uint8_t bytes[8] = { 0 };
    struct bus_access string = { .size = 4, .count = 2, .data = bytes };

    bus_init(&bus, BUS_ABSENT_FAULT);
    cr_assert(bus_access_absent(&bus, BUS_MEMORY, &string) == false && bytes[0] == 0);
    cr_assert(bus_access_absent(&bus, BUS_PORT, &string));
    for (unsigned i = 0; i < 8; i++)
        cr_assert(bytes[i] == 0xff);
    bus_fini(&bus);
    bus_init(&bus, BUS_ABSENT_ONES);
    bytes[7] = 0;
    cr_assert(bus_access_absent(&bus, BUS_MEMORY, &string) && bytes[7] == 0xff);
    string.write = true;
    bytes[0] = 0x12;
    cr_assert(bus_access_absent(&bus, BUS_MEMORY, &string) && bytes[0] == 0x12, "a write is lost");
    bus_fini(&bus);
}

Test(bus, a_string_access_is_one_call_with_all_its_units)
{
    struct probe probe = { .byte = 0x5a };
    uint8_t bytes[6] = { 0 };
    struct bus_access access = { .cpu = 3, .size = 2, .count = 3, .data = bytes };

    bus_init(&bus, BUS_ABSENT_FAULT);
    add(BUS_PORT, 0xe8, 4, &probe);
    cr_assert(bus_access(&bus, BUS_PORT, 0xea, &access) == 0);
    cr_assert(probe.ncalls == 1 && probe.last.count == 3 && probe.last.size == 2);
    cr_assert(probe.last.cpu == 3 && probe.last.offset == 2 && bytes[5] == 0x5a);
    /* The units go to one address, not to one after the other: they need not all fit. */
    access.count = 2;
    cr_assert(bus_access(&bus, BUS_PORT, 0xea, &access) == 0);
    bus_fini(&bus);
}

Test(bus, a_read_that_the_device_leaves_alone_is_ones_and_its_error_comes_back)
{
    struct probe probe = { .answer = -EPIPE };
    uint64_t value;

    bus_init(&bus, BUS_ABSENT_FAULT);
    add(BUS_PORT, 0x10, 4, &probe);
    cr_assert(read_at(BUS_PORT, 0x10, 2, &value) == -EPIPE && value == 0xffff);
    bus_fini(&bus);
}

/* Can the device's mutex be taken while it is asked? */
static int
locked_access(void *device, const struct bus_access *access)
{
    bool *locked = device;
    struct bus_range *range = bus.spaces[BUS_PORT].ranges[access->offset];
    int error = pthread_mutex_trylock(&range->lock.mutex);

    *locked = error == EBUSY;
    if (error == 0)
        pthread_mutex_unlock(&range->lock.mutex);
    return 0;
}

Test(bus, a_device_is_locked_while_it_is_asked_unless_it_said_not_to)
{
    bool locked;
    uint64_t value;

    bus_init(&bus, BUS_ABSENT_FAULT);
    cr_assert(bus_add(&bus, BUS_PORT, 0, 2, 0, locked_access, &locked) == 0);
    cr_assert(read_at(BUS_PORT, 0, 1, &value) == 0 && locked);
    bus_fini(&bus);
    cr_assert(bus_add(&bus, BUS_PORT, 0, 2, BUS_UNLOCKED, locked_access, &locked) == 0);
    cr_assert(read_at(BUS_PORT, 0, 1, &value) == 0 && !locked);
    bus_fini(&bus);
}

Test(bus, a_device_that_finds_no_memory_is_not_there)
{
    struct probe probe = { 0 };
    uint64_t value;

    bus_init(&bus, BUS_ABSENT_FAULT);
    for (unsigned n = 1; n <= 2; n++) {
        alloc_failure_set(n);
        cr_assert(bus_add(&bus, BUS_PORT, 1, 1, 0, probe_access, &probe) == -ENOMEM);
        alloc_failure_set(0);
        cr_assert(read_at(BUS_PORT, 1, 1, &value) == -ENXIO);
    }
    bus_fini(&bus);
}
