/* SPDX-License-Identifier: BSD-2-Clause */
/* The serial port: output, input, and when its interrupt line is up. */
#include "vmm/device/serial.h"

#include "tests/unit/device_rig.h"

#include <string.h>

#define PORT 0x3F8

static struct serial serial;
static char written[64];
static size_t nwritten;
static bool line_up;
static unsigned rooms;

static void
on_output(void *context, const void *bytes, size_t size)
{
    (void)context;
    cr_assert(nwritten + size <= sizeof(written));
    memcpy(written + nwritten, bytes, size);
    nwritten += size;
}

static void
on_room(void *context)
{
    (void)context;
    rooms++;
}

static void
on_line(void *controller, unsigned line, bool level)
{
    (void)controller;
    cr_assert(eq(uint, line, 4));
    line_up = level;
}

static void
setup(void)
{
    const struct serial_config config = { .line = { on_line, NULL, 4 },
                                          .output = on_output,
                                          .room = on_room };

    serial_init(&serial, &config);
    bus_init(&bus, BUS_ABSENT_ONES);
    cr_assert(bus_add(&bus, BUS_PORT, PORT, SERIAL_PORTS, BUS_UNLOCKED, serial_access, &serial) ==
              0);
}

static void
teardown(void)
{
    bus_fini(&bus);
    serial_fini(&serial);
}

TestSuite(serial, .init = setup, .fini = teardown);

Test(serial, what_is_written_comes_out_and_the_transmitter_is_always_empty)
{
    char ell[] = "ell";
    struct bus_access string = { .write = true, .size = 1, .count = 3, .data = ell };

    cr_expect(eq(u64, in(PORT + 5, 1), 0x60));
    out(PORT, 1, 'H');
    cr_assert(bus_access(&bus, BUS_PORT, PORT, &string) == 0); /* rep outsb */
    out(PORT, 1, 'o');
    cr_expect(nwritten == 5 && memcmp(written, "Hello", 5) == 0);
    cr_expect(eq(u64, in(PORT + 5, 1), 0x60));
    cr_expect(not(line_up));
}

Test(serial, an_empty_transmitter_interrupts_when_that_is_enabled_and_until_it_is_identified)
{
    out(PORT + 2, 1, 1);
    out(PORT + 1, 1, 2);
    cr_expect(line_up);
    cr_expect(eq(u64, in(PORT + 2, 1), 0xC2));
    cr_expect(not(line_up));
    cr_expect(eq(u64, in(PORT + 2, 1), 0xC1));
    out(PORT, 1, 'x');
    cr_expect(line_up);
    cr_expect(eq(u64, in(PORT + 2, 1), 0xC2));
    out(PORT + 1, 1, 0);
    out(PORT, 1, 'x');
    cr_expect(not(line_up));
}

Test(serial, input_waits_for_the_guest_in_its_order_and_interrupts_if_that_is_enabled)
{
    cr_expect(eq(sz, serial_receive(&serial, "ab", 2), 2));
    cr_expect(not(line_up));
    cr_expect(eq(u64, in(PORT + 5, 1), 0x61));
    out(PORT + 1, 1, 1);
    cr_expect(line_up);
    cr_expect(eq(u64, in(PORT + 2, 1), 0x04));
    cr_expect(eq(u64, in(PORT, 1), 'a'));
    cr_expect(line_up);
    cr_expect(eq(u64, in(PORT, 1), 'b'));
    cr_expect(not(line_up));
    cr_expect(eq(u64, in(PORT, 1), 0));
    cr_expect(eq(u64, in(PORT + 5, 1), 0x60));
}

Test(serial, more_input_than_fits_is_left_and_asked_for_once_there_is_room)
{
    static const char many[SERIAL_FIFO + 10];

    cr_expect(eq(sz, serial_room(&serial), SERIAL_FIFO));
    cr_expect(eq(sz, serial_receive(&serial, many, sizeof(many)), SERIAL_FIFO));
    cr_expect(eq(sz, serial_receive(&serial, many, 1), 0));
    cr_expect(eq(sz, serial_room(&serial), 0));
    cr_expect(eq(uint, rooms, 0));
    (void)in(PORT, 1);
    cr_expect(eq(uint, rooms, 1));
    (void)in(PORT, 1);
    cr_expect(eq(uint, rooms, 1));
    cr_expect(eq(sz, serial_room(&serial), 2));
    out(PORT + 2, 1, 2); /* clears the receiver */
    cr_expect(eq(sz, serial_room(&serial), SERIAL_FIFO));
}

Test(serial, the_divisor_hides_data_and_interrupt_enable)
{
    out(PORT + 1, 1, 1);
    out(PORT + 3, 1, 0x83);
    out(PORT, 1, 0x34);
    out(PORT + 1, 1, 0x12);
    cr_expect(eq(u64, in(PORT, 1), 0x34));
    cr_expect(eq(u64, in(PORT + 1, 1), 0x12));
    out(PORT + 3, 1, 3);
    cr_expect(eq(u64, in(PORT + 1, 1), 1));
    cr_expect(eq(sz, nwritten, 0));
}

Test(serial, a_driver_finds_a_16550_by_its_loop_its_fifos_and_its_scratch_register)
{
    out(PORT + 4, 1, 0x1A); /* loop, OUT2, RTS: what Linux looks for */
    cr_expect(eq(u64, in(PORT + 6, 1), 0x90));
    out(PORT, 1, 'l');
    cr_expect(eq(u64, in(PORT, 1), 'l'));
    cr_expect(eq(sz, nwritten, 0));
    out(PORT + 4, 1, 0xFF);
    cr_expect(eq(u64, in(PORT + 4, 1), 0x1F));
    out(PORT + 4, 1, 0);
    cr_expect(eq(u64, in(PORT + 6, 1), 0xB0));
    out(PORT + 2, 1, 1);
    cr_expect(eq(u64, in(PORT + 2, 1) & 0xC0, 0xC0));
    out(PORT + 2, 1, 0);
    cr_expect(eq(u64, in(PORT + 2, 1) & 0xC0, 0));
    out(PORT + 7, 1, 0xA5);
    cr_expect(eq(u64, in(PORT + 7, 1), 0xA5));
    out(PORT + 1, 1, 0xFF);
    cr_expect(eq(u64, in(PORT + 1, 1), 0x0F));
}

Test(serial, accesses_of_other_sizes_read_as_ones_and_write_nothing)
{
    out(PORT, 2, 0x4141);
    cr_expect(eq(sz, nwritten, 0));
    cr_expect(eq(u64, in(PORT + 4, 4), 0xFFFFFFFF));
}
