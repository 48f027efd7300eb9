/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CMOS memory and clock.
 */
#include "vmm/device/cmos.h"

#include "vmm/device/access.h"

#define SECONDS 0x00
#define MINUTES 0x02
#define HOURS 0x04
#define WEEKDAY 0x06
#define DAY 0x07
#define MONTH 0x08
#define YEAR 0x09
#define STATUS_A 0x0A
#define STATUS_B 0x0B
#define STATUS_C 0x0C
#define STATUS_D 0x0D
#define CENTURY 0x32

#define BASE_KIB 0x15     /* RAM below 640 KiB */
#define EXTENDED_KIB 0x17 /* ... from 1 MiB on, 64 MiB at most; also at 0x30 */
#define ABOVE_16M 0x34    /* ... from 16 MiB on, in 64 KiB */
#define ABOVE_4G 0x5B     /* ... from 4 GiB on, in 64 KiB, three bytes */
#define EXTENDED_KIB2 0x30

/* 32.768 kHz, 1024 Hz; and "update in progress", which lasts 2 ms in each second. */
#define STATUS_A_RATES 0x26
#define STATUS_A_UPDATE 0x80
#define UPDATE_NS 998000000

#define STATUS_B_24H 0x02
#define STATUS_D_VALID 0x80

#define INDEX_MASK 0x7F /* the other bit masks NMIs, of which there are none */

static void
host_time(struct timespec *now)
{
    (void)clock_gettime(CLOCK_REALTIME, now);
}

static void
put_number(struct cmos *cmos, unsigned at, unsigned nbytes, uint64_t value)
{
    uint64_t most = (UINT64_C(1) << 8 * nbytes) - 1;

    if (value > most)
        value = most;
    for (unsigned i = 0; i < nbytes; i++)
        cmos->bytes[at + i] = (uint8_t)(value >> 8 * i);
}

static uint64_t
beyond(uint64_t size, uint64_t start)
{
    return size > start ? size - start : 0;
}

void
cmos_init(struct cmos *cmos, uint64_t low_memory, uint64_t high_memory,
          void (*now)(struct timespec *now))
{
    uint64_t extended = beyond(low_memory, UINT64_C(1) << 20) >> 10;

    *cmos = (struct cmos){ .now = now != NULL ? now : host_time };
    put_number(cmos, BASE_KIB, 2, 640);
    put_number(cmos, EXTENDED_KIB, 2, extended);
    put_number(cmos, EXTENDED_KIB2, 2, extended);
    put_number(cmos, ABOVE_16M, 2, beyond(low_memory, UINT64_C(16) << 20) >> 16);
    put_number(cmos, ABOVE_4G, 3, high_memory >> 16);
}

static uint8_t
bcd(int value)
{
    return (uint8_t)(value / 10 << 4 | value % 10);
}

/* Returns false for what is no register of the clock. */
static bool
read_clock(const struct cmos *cmos, uint8_t *value)
{
    struct timespec now;
    struct tm tm;

    cmos->now(&now);
    (void)gmtime_r(&now.tv_sec, &tm);
    switch (cmos->index) {
    case SECONDS:
        *value = bcd(tm.tm_sec);
        return true;
    case MINUTES:
        *value = bcd(tm.tm_min);
        return true;
    case HOURS:
        *value = bcd(tm.tm_hour);
        return true;
    case WEEKDAY:
        *value = bcd(tm.tm_wday + 1);
        return true;
    case DAY:
        *value = bcd(tm.tm_mday);
        return true;
    case MONTH:
        *value = bcd(tm.tm_mon + 1);
        return true;
    case YEAR:
        *value = bcd(tm.tm_year % 100);
        return true;
    case CENTURY:
        *value = bcd(19 + tm.tm_year / 100);
        return true;
    case STATUS_A:
        *value = STATUS_A_RATES | (now.tv_nsec >= UPDATE_NS ? STATUS_A_UPDATE : 0);
        return true;
    default:
        return false;
    }
}

static uint8_t
read_byte(const struct cmos *cmos)
{
    uint8_t value;

    if (read_clock(cmos, &value))
        return value;
    switch (cmos->index) {
    case STATUS_B:
        return STATUS_B_24H;
    case STATUS_C:
        return 0;
    case STATUS_D:
        return STATUS_D_VALID;
    default:
        return cmos->bytes[cmos->index];
    }
}

int
cmos_access(void *device, const struct bus_access *access)
{
    struct cmos *cmos = device;

    if (access->size != 1)
        return 0;
    for (unsigned i = 0; i < access->count; i++) {
        if (access->offset == 0 && access->write)
            cmos->index = access_value(access, i) & INDEX_MASK;
        else if (access->offset == 1 && access->write)
            cmos->bytes[cmos->index] = (uint8_t)access_value(access, i);
        else if (access->offset == 1)
            access_answer(access, i, read_byte(cmos));
    }
    return 0;
}
