/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An access to a device's registers as numbers.
 */
#ifndef ACCESS_H
#define ACCESS_H

#include "vmm/device/bus.h"

#include <string.h>

/* Unit `i` of what is written, little-endian as the guest is. */
static inline uint64_t
access_value(const struct bus_access *access, unsigned i)
{
    uint64_t value = 0;

    memcpy(&value, (const uint8_t *)access->data + (size_t)i * access->size, access->size);
    return value;
}

/* Let unit `i` of a read be the low bytes of the value. */
static inline void
access_answer(const struct bus_access *access, unsigned i, uint64_t value)
{
    memcpy((uint8_t *)access->data + (size_t)i * access->size, &value, access->size);
}

/*
 * Read or write bytes of `registers` that lie in the range, as if they were memory; what is beyond
 * `size` is left alone.
 */
static inline void
access_bytes(const struct bus_access *access, uint8_t *registers, size_t size)
{
    if (access->offset > size || access->size > size - access->offset)
        return;
    for (unsigned i = 0; i < access->count; i++) {
        uint8_t *unit = (uint8_t *)access->data + (size_t)i * access->size;

        if (access->write)
            memcpy(registers + access->offset, unit, access->size);
        else
            memcpy(unit, registers + access->offset, access->size);
    }
}

#endif
