/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of a 16550A.  The numbers in comments are sections of the data sheet.
 */
#include "vmm/device/serial.h"

#include "vmm/device/access.h"

#define DATA 0 /* or the divisor's low byte, with LCR_DLAB */
#define IER 1  /* or its high byte */
#define IIR 2  /* written: FCR */
#define LCR 3
#define MCR 4
#define LSR 5
#define MSR 6
#define SCRATCH 7

#define IER_RECEIVED 0x01u
#define IER_EMPTY 0x02u
#define IER_WRITABLE 0x0Fu

#define IIR_NONE 0x01u
#define IIR_EMPTY 0x02u
#define IIR_RECEIVED 0x04u
#define IIR_FIFOS 0xC0u

#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RECEIVER 0x02u

#define LCR_DLAB 0x80u

#define MCR_OUT2 0x08u /* on a PC: lets the interrupt reach the controller */
#define MCR_LOOP 0x10u
#define MCR_WRITABLE 0x1Fu

#define LSR_RECEIVED 0x01u
#define LSR_EMPTY 0x60u /* holding register and shift register */

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u

void
serial_init(struct serial *serial, const struct serial_config *config)
{
    *serial = (struct serial){ .config = *config, .divisor = { 12, 0 } };
    vm_mutex_init(&serial->lock);
}

void
serial_fini(struct serial *serial)
{
    vm_mutex_fini(&serial->lock);
}

static bool
has_input(const struct serial *serial)
{
    return serial->head != serial->tail;
}

static size_t
room(const struct serial *serial)
{
    return SERIAL_FIFO - (serial->tail - serial->head);
}

/* What is pending, by priority (8.5), whether or not OUT2 lets it through. */
static uint8_t
pending(const struct serial *serial)
{
    if ((serial->ier & IER_RECEIVED) != 0 && has_input(serial))
        return IIR_RECEIVED;
    if ((serial->ier & IER_EMPTY) != 0 && serial->sent)
        return IIR_EMPTY;
    return IIR_NONE;
}

static void
update_line(struct serial *serial)
{
    irq_line_set(&serial->config.line, pending(serial) != IIR_NONE);
}

static void
tell_room(struct serial *serial)
{
    if (!serial->starved)
        return;
    serial->starved = false;
    serial->config.room(serial->config.context);
}

static uint8_t
take_input(struct serial *serial)
{
    uint8_t byte = 0;

    if (!has_input(serial))
        return byte;
    byte = serial->in[serial->head++ % SERIAL_FIFO];
    tell_room(serial);
    update_line(serial);
    return byte;
}

/* Reading it takes back "transmitter empty", if that is what it says (8.5). */
static uint8_t
identify(struct serial *serial)
{
    uint8_t id = pending(serial);

    if (id == IIR_EMPTY) {
        serial->sent = false;
        update_line(serial);
    }
    return id | ((serial->fcr & FCR_ENABLE) != 0 ? IIR_FIFOS : 0);
}

/* In the loop the modem's inputs are its outputs (8.7); else there is a modem, always ready. */
static uint8_t
modem_status(const struct serial *serial)
{
    uint8_t mcr = serial->mcr;

    if ((mcr & MCR_LOOP) == 0)
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (uint8_t)((mcr & 1 ? MSR_DSR : 0) | (mcr & 2 ? MSR_CTS : 0) | (mcr & 4 ? MSR_RI : 0) |
                     (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t
read_register(struct serial *serial, unsigned which)
{
    bool dlab = (serial->lcr & LCR_DLAB) != 0;

    switch (which) {
    case DATA:
        return dlab ? serial->divisor[0] : take_input(serial);
    case IER:
        return dlab ? serial->divisor[1] : serial->ier;
    case IIR:
        return identify(serial);
    case LCR:
        return serial->lcr;
    case MCR:
        return serial->mcr;
    case LSR:
        return LSR_EMPTY | (has_input(serial) ? LSR_RECEIVED : 0);
    case MSR:
        return modem_status(serial);
    default:
        return serial->scratch;
    }
}

/* Enabling the interrupt while the transmitter is empty raises it (8.6). */
static void
write_ier(struct serial *serial, uint8_t value)
{
    if ((value & IER_EMPTY) != 0 && (serial->ier & IER_EMPTY) == 0)
        serial->sent = true;
    serial->ier = value & IER_WRITABLE;
    update_line(serial);
}

static void
write_fcr(struct serial *serial, uint8_t value)
{
    serial->fcr = value;
    if ((value & FCR_CLEAR_RECEIVER) == 0)
        return;
    serial->head = serial->tail = 0;
    tell_room(serial);
    update_line(serial);
}

static void
put_input(struct serial *serial, uint8_t byte)
{
    if (room(serial) != 0)
        serial->in[serial->tail++ % SERIAL_FIFO] = byte;
    update_line(serial);
}

/* Returns whether the byte is output. */
static bool
write_data(struct serial *serial, uint8_t value)
{
    if ((serial->lcr & LCR_DLAB) != 0) {
        serial->divisor[0] = value;
        return false;
    }
    if ((serial->mcr & MCR_LOOP) != 0) {
        put_input(serial, value);
        return false;
    }
    return true;
}

/* Returns whether the value is output. */
static bool
write_register(struct serial *serial, unsigned which, uint8_t value)
{
    switch (which) {
    case DATA:
        return write_data(serial, value);
    case IER:
        if ((serial->lcr & LCR_DLAB) != 0)
            serial->divisor[1] = value;
        else
            write_ier(serial, value);
        break;
    case IIR:
        write_fcr(serial, value);
        break;
    case LCR:
        serial->lcr = value;
        break;
    case MCR:
        serial->mcr = value & MCR_WRITABLE;
        break;
    case SCRATCH:
        serial->scratch = value;
        break;
    default:
        break;
    }
    return false;
}

static void
output(struct serial *serial, uint8_t byte)
{
    serial->config.output(serial->config.context, &byte, 1);
    vm_mutex_lock(&serial->lock);
    serial->sent = true;
    update_line(serial);
    vm_mutex_unlock(&serial->lock);
}

static void
access_register(struct serial *serial, const struct bus_access *access, unsigned i)
{
    bool is_output = false;
    uint8_t value = (uint8_t)access_value(access, i);
    unsigned which = (unsigned)access->offset % SERIAL_PORTS;

    vm_mutex_lock(&serial->lock);
    if (access->write)
        is_output = write_register(serial, which, value);
    else
        access_answer(access, i, read_register(serial, which));
    vm_mutex_unlock(&serial->lock);
    if (is_output)
        output(serial, value);
}

int
serial_access(void *device, const struct bus_access *access)
{
    if (access->size == 1) {
        for (unsigned i = 0; i < access->count; i++)
            access_register(device, access, i);
    }
    return 0;
}

size_t
serial_room(struct serial *serial)
{
    size_t size;

    vm_mutex_lock(&serial->lock);
    size = room(serial);
    serial->starved = size == 0;
    vm_mutex_unlock(&serial->lock);
    return size;
}

size_t
serial_receive(struct serial *serial, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    size_t n;

    vm_mutex_lock(&serial->lock);
    n = size < room(serial) ? size : room(serial);
    for (size_t i = 0; i < n; i++)
        put_input(serial, p[i]);
    serial->starved = n < size;
    vm_mutex_unlock(&serial->lock);
    return n;
}
