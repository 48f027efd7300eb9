/* SPDX-License-Identifier: BSD-2-Clause */
/* See gdb_packet.h. */
#include "vmm/gdb/gdb_packet.h"

#include <string.h>

#define ESCAPE '}'
#define ESCAPED 0x20
#define INTERRUPT 0x03

static const char digits[] = "0123456789abcdef";

static int
digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void
gdb_reader_init(struct gdb_reader *reader)
{
    reader->state = GDB_READER_IDLE;
    reader->check = true;
    reader->size = 0;
    reader->data[0] = '\0';
}

static void
begin_packet(struct gdb_reader *reader)
{
    reader->state = GDB_READER_DATA;
    reader->overflow = false;
    reader->bad_digit = false;
    reader->sum = 0;
    reader->expected = 0;
    reader->size = 0;
}

static void
store(struct gdb_reader *reader, uint8_t byte)
{
    if (reader->size == GDB_PACKET_MAX)
        reader->overflow = true;
    else
        reader->data[reader->size++] = (char)byte;
}

static enum gdb_input
take_idle(struct gdb_reader *reader, uint8_t byte)
{
    switch (byte) {
    case '$':
        begin_packet(reader);
        return GDB_INPUT_NONE;
    case '-':
        return GDB_INPUT_NAK;
    case INTERRUPT:
        return GDB_INPUT_INTERRUPT;
    default: /* `+`, and what a line brings that is not the protocol's */
        return GDB_INPUT_NONE;
    }
}

static void
take_data(struct gdb_reader *reader, uint8_t byte)
{
    if (byte == '$') { /* the end of the packet before got lost */
        begin_packet(reader);
        return;
    }
    if (byte == '#') {
        reader->state = GDB_READER_SUM1;
        return;
    }
    reader->sum = (uint8_t)(reader->sum + byte);
    if (reader->state == GDB_READER_ESCAPE) {
        store(reader, byte ^ ESCAPED);
        reader->state = GDB_READER_DATA;
    } else if (byte == ESCAPE) {
        reader->state = GDB_READER_ESCAPE;
    } else {
        store(reader, byte);
    }
}

static void
take_digit(struct gdb_reader *reader, uint8_t byte)
{
    int value = digit_value((char)byte);

    reader->bad_digit |= value < 0;
    reader->expected = (uint8_t)(reader->expected << 4 | (value & 15));
}

/* The second digit is there. */
static enum gdb_input
end_packet(struct gdb_reader *reader)
{
    reader->state = GDB_READER_IDLE;
    reader->data[reader->size] = '\0';
    if (reader->overflow ||
        (reader->check && (reader->bad_digit || reader->sum != reader->expected)))
        return GDB_INPUT_BAD;
    return GDB_INPUT_PACKET;
}

enum gdb_input
gdb_reader_take(struct gdb_reader *reader, uint8_t byte)
{
    switch (reader->state) {
    case GDB_READER_IDLE:
        return take_idle(reader, byte);
    case GDB_READER_DATA:
    case GDB_READER_ESCAPE:
        take_data(reader, byte);
        return GDB_INPUT_NONE;
    case GDB_READER_SUM1:
        take_digit(reader, byte);
        reader->state = GDB_READER_SUM2;
        return GDB_INPUT_NONE;
    case GDB_READER_SUM2:
        take_digit(reader, byte);
        return end_packet(reader);
    }
    return GDB_INPUT_NONE;
}

/* A reply's `*` would be taken for a repetition. */
static bool
needs_escape(char c)
{
    return c == '$' || c == '#' || c == ESCAPE || c == '*';
}

size_t
gdb_packet_frame(const char *data, size_t size, char *to)
{
    uint8_t sum = 0;
    size_t n = 0;

    to[n++] = '$';
    for (size_t i = 0; i < size; i++) {
        if (needs_escape(data[i])) {
            to[n++] = ESCAPE;
            sum = (uint8_t)(sum + ESCAPE);
            to[n++] = (char)(data[i] ^ ESCAPED);
        } else {
            to[n++] = data[i];
        }
        sum = (uint8_t)(sum + (uint8_t)to[n - 1]);
    }
    to[n++] = '#';
    to[n++] = digits[sum >> 4];
    to[n++] = digits[sum & 15];
    return n;
}

void
gdb_hex_encode(const void *bytes, size_t size, char *hex)
{
    const uint8_t *from = bytes;

    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = digits[from[i] >> 4];
        hex[2 * i + 1] = digits[from[i] & 15];
    }
}

bool
gdb_hex_decode(const char *hex, size_t ndigits, void *bytes, size_t size)
{
    uint8_t *to = bytes;

    if (ndigits / 2 < size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = digit_value(hex[2 * i]), low = digit_value(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool
gdb_hex_number(const char **text, uint64_t *number)
{
    const char *p = *text;
    uint64_t value = 0;

    for (; digit_value(*p) >= 0; p++) {
        if (p - *text == 16)
            return false;
        value = value << 4 | (uint64_t)digit_value(*p);
    }
    if (p == *text)
        return false;
    *text = p;
    *number = value;
    return true;
}
