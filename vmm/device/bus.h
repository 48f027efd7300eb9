/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bus: which device answers an access to a port or to an address without memory.
 *
 * A device puts ranges on it while no vCPU runs; from then on the ranges are constant and an
 * access takes no lock but the range's own.  That mutex makes the accesses to one range exclude
 * each other.  It comes before every lock of the engine; a range whose accesses may take long, or
 * that several vCPUs are to reach at once, is added with BUS_UNLOCKED and looks after itself.
 *
 * An address where no device is: a port reads as ones and what is written to it is lost; for
 * memory the machine says whether that is so too (a PC) or a fault of the guest's.
 */
#ifndef BUS_H
#define BUS_H

#include "vmm/vpagetable/vm_lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bus_space {
    BUS_PORT,
    BUS_MEMORY
};
#define BUS_SPACES 2

/* What memory without anything is to the guest. */
enum bus_absent {
    BUS_ABSENT_FAULT,
    BUS_ABSENT_ONES
};

/* One access: `count` units of `size` bytes each, all at one address (string I/O), or count 1. */
struct bus_access {
    unsigned cpu;    /* number of the vCPU that makes it */
    bool write;      /* else a read, and `data` is all ones when the device gets it */
    unsigned size;   /* 1, 2, 4 or 8 bytes */
    unsigned count;  /* 1 or more */
    void *data;      /* borrowed: size * count bytes */
    uint64_t offset; /* into the range; bus_access sets it */
};

/*
 * A device's answer to an access that lies in one of its ranges.  What it does not know it
 * leaves alone.  Locks: the range's, unless BUS_UNLOCKED.
 * Returns 0, or a negative errno: the device cannot go on, and the VM ends.
 */
typedef int bus_access_fn(void *device, const struct bus_access *access);

#define BUS_UNLOCKED 0x1u /* the bus takes no mutex for an access */

struct bus_range {
    uint64_t start;             /* (c) */
    uint64_t size;              /* (c) bytes */
    unsigned flags;             /* (c) BUS_* */
    bus_access_fn *access;      /* (c) */
    void *device;               /* (c) borrowed */
    struct vm_mutex lock;       /* bus: held across `access` */
    _Atomic uint64_t naccesses; /* (a) */
};

/* The ranges of one space: disjoint, in order. */
struct bus_ranges {
    struct bus_range **ranges; /* (c) owned, as are the ranges */
    size_t n;                  /* (c) */
};

struct bus {
    struct bus_ranges spaces[BUS_SPACES];
    enum bus_absent absent; /* (c) */
};

void bus_init(struct bus *bus, enum bus_absent absent);

/* Nobody uses the bus any more. */
void bus_fini(struct bus *bus);

/*
 * Put a device on the bus.  Locks: none; no vCPU runs.
 * Returns 0; -EINVAL (size 0, or beyond the space's end: 65,536 ports), -EEXIST (overlaps another
 * range), -ENOMEM.  On failure nothing changed.
 */
int bus_add(struct bus *bus, enum bus_space space, uint64_t start, uint64_t size, unsigned flags,
            bus_access_fn *access, void *device) __attribute__((warn_unused_result));

/*
 * Hand an access to the device in whose range all of it lies.
 * Locks: none held that comes after a device's; takes the range's.
 * Returns 0; -ENXIO (no such device; nothing was done); what the device returned.
 */
int bus_access(struct bus *bus, enum bus_space space, uint64_t address, struct bus_access *access)
    __attribute__((warn_unused_result));

/*
 * There was neither device nor memory: does that read as ones (then it has)?
 * Returns false when it is a fault.
 */
bool bus_access_absent(const struct bus *bus, enum bus_space space,
                       const struct bus_access *access);

/* How many accesses the range at `address` has had; 0 where there is none. */
uint64_t bus_count(const struct bus *bus, enum bus_space space, uint64_t address);

#endif
