/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block's length stands before it and its own size counts, so a block is written first and moved
 * up when its length is known.
 */
#include "vmm/x86_64/aml.h"

#include <assert.h>
#include <string.h>

/* Opcodes (20.3) */
#define OP_ZERO 0x00
#define OP_ONE 0x01
#define OP_NAME 0x08
#define OP_BYTE 0x0A
#define OP_STRING 0x0D
#define OP_SCOPE 0x10
#define OP_BUFFER 0x11
#define OP_PACKAGE 0x12
#define OP_EXTENDED 0x5B
#define OP_DEVICE 0x82

/* Resources (6.4) */
#define RESOURCE_MEMORY32_FIXED 0x86
#define RESOURCE_INTERRUPT 0x89
#define RESOURCE_END 0x79
#define MEMORY_WRITABLE 1
#define INTERRUPT_CONSUMER 1 /* level-triggered, active high, not shared */

#define PKG_LENGTH_SHORT 0x3F /* in one byte, itself included */
#define PKG_LENGTH_MAX 0x0FFF /* in two */

void
aml_init(struct aml *aml, uint8_t *bytes, size_t room)
{
    *aml = (struct aml){ .bytes = bytes, .room = room };
}

static void
byte(struct aml *aml, uint8_t value)
{
    assert(aml->size < aml->room);
    aml->bytes[aml->size++] = value;
}

static void
put_number(struct aml *aml, uint64_t value, unsigned nbytes)
{
    for (unsigned i = 0; i < nbytes; i++)
        byte(aml, (uint8_t)(value >> 8 * i));
}

static void
text(struct aml *aml, const char *chars)
{
    while (*chars != '\0')
        byte(aml, (uint8_t)*chars++);
}

static void
name(struct aml *aml, const char *letters)
{
    byte(aml, OP_NAME);
    text(aml, letters);
}

/* 0 and 1 are opcodes of their own. */
static void
byte_constant(struct aml *aml, uint8_t value)
{
    if (value > OP_ONE)
        byte(aml, OP_BYTE);
    byte(aml, value);
}

/* What was written since `start` is a block: put its length before it (20.2.4). */
static void
close_block(struct aml *aml, size_t start)
{
    size_t size = aml->size - start;
    size_t nlength = size + 1 <= PKG_LENGTH_SHORT ? 1 : 2;

    assert(size + 2 <= PKG_LENGTH_MAX && aml->room - aml->size >= nlength);
    memmove(aml->bytes + start + nlength, aml->bytes + start, size);
    aml->size += nlength;
    size += nlength;
    if (nlength == 1) {
        aml->bytes[start] = (uint8_t)size;
    } else {
        aml->bytes[start] = (uint8_t)(0x40 | (size & 0xF));
        aml->bytes[start + 1] = (uint8_t)(size >> 4);
    }
}

void
aml_sleep_state(struct aml *aml, const char *state, uint8_t type)
{
    size_t start;

    name(aml, state);
    byte(aml, OP_PACKAGE);
    start = aml->size;
    byte(aml, 4);
    byte_constant(aml, type);
    byte_constant(aml, type);
    byte(aml, OP_ZERO);
    byte(aml, OP_ZERO);
    close_block(aml, start);
}

/* Memory and an interrupt, as a buffer of resource descriptors. */
static void
resources(struct aml *aml, uint32_t start, uint32_t size, uint32_t line)
{
    size_t block;

    name(aml, "_CRS");
    byte(aml, OP_BUFFER);
    block = aml->size;
    byte_constant(aml, 12 + 9 + 2);
    byte(aml, RESOURCE_MEMORY32_FIXED);
    put_number(aml, 9, 2);
    byte(aml, MEMORY_WRITABLE);
    put_number(aml, start, 4);
    put_number(aml, size, 4);
    byte(aml, RESOURCE_INTERRUPT);
    put_number(aml, 6, 2);
    byte(aml, INTERRUPT_CONSUMER);
    byte(aml, 1);
    put_number(aml, line, 4);
    byte(aml, RESOURCE_END);
    byte(aml, 0); /* any checksum */
    close_block(aml, block);
}

static char
hex_digit(unsigned value)
{
    return "0123456789ABCDEF"[value & 0xF];
}

void
aml_memory_device(struct aml *aml, const char *hid, uint8_t number, uint32_t start, uint32_t size,
                  uint32_t line)
{
    const char letters[] = { 'D', 'V', hex_digit(number >> 4), hex_digit(number), '\0' };
    size_t scope, device;

    byte(aml, OP_SCOPE);
    scope = aml->size;
    text(aml, "_SB_");
    byte(aml, OP_EXTENDED);
    byte(aml, OP_DEVICE);
    device = aml->size;
    text(aml, letters);
    name(aml, "_HID");
    byte(aml, OP_STRING);
    text(aml, hid);
    byte(aml, '\0');
    name(aml, "_UID");
    byte_constant(aml, number);
    resources(aml, start, size, line);
    close_block(aml, device);
    close_block(aml, scope);
}
