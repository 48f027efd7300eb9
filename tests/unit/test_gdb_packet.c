/* SPDX-License-Identifier: BSD-2-Clause */
/* gdb's packets: bytes in, bytes out. */
#include "vmm/gdb/gdb_packet.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct gdb_reader reader;

/* What the last byte gave; the ones before it give nothing. */
static enum gdb_input
take(const char *bytes, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++)
        cr_assert(eq(int, gdb_reader_take(&reader, (uint8_t)bytes[i]), GDB_INPUT_NONE));
    return gdb_reader_take(&reader, (uint8_t)bytes[size - 1]);
}

static enum gdb_input
take_text(const char *text)
{
    return take(text, strlen(text));
}

static void
begin(void)
{
    gdb_reader_init(&reader);
}

TestSuite(gdb_packet, .init = begin);

Test(gdb_packet, a_packet_with_its_sum_is_taken)
{
    cr_assert(eq(int, take_text("$OK#9a"), GDB_INPUT_PACKET));
    cr_assert_str_eq(reader.data, "OK");
    cr_assert(eq(int, take_text("$#00"), GDB_INPUT_PACKET));
    cr_assert(zero(sz, reader.size));
    cr_assert(eq(int, take_text("+++$OK#9A"), GDB_INPUT_PACKET));
}

Test(gdb_packet, a_wrong_sum_is_bad_unless_nobody_looks)
{
    cr_assert(eq(int, take_text("$OK#9b"), GDB_INPUT_BAD));
    cr_assert(eq(int, take_text("$OK#zz"), GDB_INPUT_BAD));
    reader.check = false;
    cr_assert(eq(int, take_text("$OK#9b"), GDB_INPUT_PACKET));
    cr_assert(eq(int, take_text("$OK#zz"), GDB_INPUT_PACKET));
}

Test(gdb_packet, an_interrupt_counts_outside_of_packets_only)
{
    cr_assert(eq(int, take_text("\003"), GDB_INPUT_INTERRUPT));
    cr_assert(eq(int, take_text("$\003#03"), GDB_INPUT_PACKET));
    cr_assert(eq(int, take_text("-"), GDB_INPUT_NAK));
}

Test(gdb_packet, a_packet_that_begins_in_another_takes_its_place)
{
    cr_assert(eq(int, take_text("$abc$OK#9a"), GDB_INPUT_PACKET));
    cr_assert_str_eq(reader.data, "OK");
}

Test(gdb_packet, every_byte_survives_both_ways)
{
    char data[256], frame[600];
    size_t size;

    for (unsigned i = 0; i < 256; i++)
        data[i] = (char)i;
    size = gdb_packet_frame(data, sizeof(data), frame);
    cr_assert(eq(int, take(frame, size), GDB_INPUT_PACKET));
    cr_assert(eq(sz, reader.size, sizeof(data)));
    cr_assert(zero(int, memcmp(reader.data, data, sizeof(data))));
    cr_assert_null(memchr(frame + 1, '$', size - 1));
    cr_assert_null(memchr(frame, '*', size));
}

Test(gdb_packet, a_packet_of_the_longest_size_is_taken_and_a_longer_one_is_bad)
{
    static char data[GDB_PACKET_MAX + 1], frame[GDB_PACKET_FRAME_MAX + 2];

    memset(data, 'a', sizeof(data));
    cr_assert(
        eq(int, take(frame, gdb_packet_frame(data, GDB_PACKET_MAX, frame)), GDB_INPUT_PACKET));
    cr_assert(eq(sz, reader.size, GDB_PACKET_MAX));
    cr_assert(
        eq(int, take(frame, gdb_packet_frame(data, GDB_PACKET_MAX + 1, frame)), GDB_INPUT_BAD));
    cr_assert(eq(int, take_text("$OK#9a"), GDB_INPUT_PACKET));
}

Test(gdb_packet, numbers_and_bytes_are_hexadecimal)
{
    const char *text = "1f,";
    uint64_t number;
    uint8_t bytes[2];

    cr_assert(gdb_hex_number(&text, &number));
    cr_assert(eq(u64, number, 0x1f));
    cr_assert_str_eq(text, ",");
    cr_assert(not(gdb_hex_number(&text, &number)));
    text = "11111111111111111"; /* 17 digits */
    cr_assert(not(gdb_hex_number(&text, &number)));
    cr_assert(gdb_hex_decode("a5F0", 4, bytes, 2));
    cr_assert(eq(int, bytes[1], 0xF0));
    cr_assert(not(gdb_hex_decode("a5F", 3, bytes, 2)));
    cr_assert(not(gdb_hex_decode("a5g0", 4, bytes, 2)));
}
