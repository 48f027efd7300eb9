/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CMOS memory of a PC with its clock: index and data port.
 *
 * The clock shows the host's UTC, in BCD and 24 hours, and takes no other time: what a guest writes
 * to it is lost.  It has no alarm and no interrupt.
 * Source: Motorola MC146818A data sheet; sizes of memory in the bytes that PC firmware keeps them.
 * Locks: the bus range's.
 */
#ifndef CMOS_H
#define CMOS_H

#include "vmm/device/bus.h"

#include <time.h>

#define CMOS_PORTS 2u
#define CMOS_SIZE 128u

struct cmos {
    void (*now)(struct timespec *now); /* (c) */
    uint8_t index;
    uint8_t bytes[CMOS_SIZE];
};

/*
 * RAM from address 0 up to 4 GiB at most, and from there on, in bytes.  `now` tells the time of
 * CLOCK_REALTIME; NULL = the host's.
 */
void cmos_init(struct cmos *cmos, uint64_t low_memory, uint64_t high_memory,
               void (*now)(struct timespec *now));

/* bus_access_fn of CMOS_PORTS ports. */
int cmos_access(void *device, const struct bus_access *access);

#endif
