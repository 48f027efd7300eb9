/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lowest layer of gdb's remote protocol: bytes to packets, packets to bytes.  Pure.
 *
 *     $DATA#CC   a packet; CC is the sum of DATA's bytes modulo 256, in hex
 *     + -        it came well, it did not: until both sides agree on QStartNoAckMode
 *     0x03       an interrupt, outside of packets
 *
 * In DATA `}` stands before a byte that was combined with 0x20 by exclusive or.
 *
 * Source: GDB manual, appendix E, "Overview" and "Packet Acknowledgment".
 */
#ifndef GDB_PACKET_H
#define GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a packet's data, as the debugger is told (PacketSize). */
#define GDB_PACKET_MAX 16384u

/* What a frame adds: $, #, two digits; escaped bytes count twice. */
#define GDB_PACKET_FRAME_MAX (2u * GDB_PACKET_MAX + 4u)

enum gdb_input {
    GDB_INPUT_NONE,      /* nothing yet */
    GDB_INPUT_PACKET,    /* reader->data has a packet, until the next byte */
    GDB_INPUT_INTERRUPT, /* 0x03 */
    GDB_INPUT_BAD,       /* a packet came wrong: ask for it again */
    GDB_INPUT_NAK        /* - : what was sent last is wanted again */
};

enum gdb_reader_state {
    GDB_READER_IDLE,
    GDB_READER_DATA,
    GDB_READER_ESCAPE,
    GDB_READER_SUM1,
    GDB_READER_SUM2
};

struct gdb_reader {
    enum gdb_reader_state state;
    bool check;       /* is the checksum looked at? */
    bool overflow;    /* the packet is longer than GDB_PACKET_MAX */
    uint8_t sum;      /* of what came */
    uint8_t expected; /* of the digits */
    bool bad_digit;
    size_t size;
    char data[GDB_PACKET_MAX + 1]; /* unescaped, with a 0 behind it */
};

void gdb_reader_init(struct gdb_reader *reader);

/* Take one byte. */
enum gdb_input gdb_reader_take(struct gdb_reader *reader, uint8_t byte);

/*
 * A packet around `size` bytes, GDB_PACKET_MAX at most, in `to`, which has GDB_PACKET_FRAME_MAX.
 * Returns its size.
 */
size_t gdb_packet_frame(const char *data, size_t size, char *to);

/* Two digits a byte.  *_decode returns whether `size` bytes could be read from `hex`. */
void gdb_hex_encode(const void *bytes, size_t size, char *hex);
bool gdb_hex_decode(const char *hex, size_t digits, void *bytes, size_t size);

/* Digits at **text, at least one, at most 16: moves *text behind them. */
bool gdb_hex_number(const char **text, uint64_t *number);

#endif
