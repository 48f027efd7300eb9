/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A 16550A serial port, without a wire: what is written goes out at once, so its transmitter is
 * always empty; what comes in waits in the receive FIFO until the guest reads it.
 *
 * Source: National Semiconductor PC16550D data sheet, sections 8.0 to 8.6.
 *
 * Locks: `lock` guards the registers and is held while the line is set.  Output is written with no
 * lock held, because it may wait for whoever reads it: the range is BUS_UNLOCKED.
 */
#ifndef SERIAL_H
#define SERIAL_H

#include "vmm/device/bus.h"
#include "vmm/device/irq.h"

#define SERIAL_PORTS 8u

/* Bytes that wait for the guest; more than the 16 of the chip, of which nobody can tell. */
#define SERIAL_FIFO 256u

struct serial_config {
    struct irq_line line;
    /* Write bytes, as long as it takes.  No locks held. */
    void (*output)(void *context, const void *bytes, size_t size);
    /* There is room again after there was none.  Under `lock`. */
    void (*room)(void *context);
    void *context; /* borrowed */
};

struct serial {
    struct serial_config config; /* (c) */
    struct vm_mutex lock;        /* serial: guards the rest */
    uint8_t ier;
    uint8_t fcr;
    uint8_t lcr;
    uint8_t mcr;
    uint8_t scratch;
    uint8_t divisor[2];
    bool sent;               /* the transmitter became empty, and nobody was told */
    bool starved;            /* there was no room for input */
    uint8_t in[SERIAL_FIFO]; /* a ring: [head, tail) */
    unsigned head;
    unsigned tail;
};

void serial_init(struct serial *serial, const struct serial_config *config);
void serial_fini(struct serial *serial);

/* bus_access_fn of SERIAL_PORTS ports; BUS_UNLOCKED. */
int serial_access(void *device, const struct bus_access *access);

/*
 * How many bytes of input fit.  When none do, `room` is called once some do again.  Any thread;
 * takes `lock`.
 */
size_t serial_room(struct serial *serial);

/*
 * Input for the guest.  Any thread; takes `lock`.  Returns how many bytes it took; `room` is called
 * later when they are less than `size`.
 */
size_t serial_receive(struct serial *serial, const void *bytes, size_t size);

#endif
