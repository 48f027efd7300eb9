/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The JSON writer.
 */
#include "vmm/base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

/*
 * Length of the well-formed UTF-8 sequence at s (NUL-terminated), 0 if there is none.
 * Source: Unicode Standard, table 3-7: the second byte's range rules out
 * overlong forms, surrogates and values above U+10FFFF.
 */
static unsigned
utf8_length(const unsigned char *s)
{
    unsigned char low = 0x80, high = 0xbf;
    unsigned length;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (unsigned i = 2; i < length; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    }
    return length;
}

static void
write_text(FILE *file, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    putc('"', file);
    while (*s != '\0') {
        unsigned length = utf8_length(s);

        if (length == 0)
            fputs("\\ufffd", file);
        else if (*s == '"' || *s == '\\')
            fprintf(file, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(file, "\\u%04x", *s);
        else
            fwrite(s, 1, length, file);
        s += length != 0 ? length : 1;
    }
    putc('"', file);
}

/* What goes before a value: the comma and the key. */
static void
begin_value(struct json *json, const char *key)
{
    uint32_t bit;

    if (json->depth == 0) {
        assert(key == NULL);
        return;
    }
    bit = (uint32_t)1 << (json->depth - 1);
    assert((key == NULL) == ((json->arrays & bit) != 0));
    if ((json->filled & bit) != 0)
        putc(',', json->file);
    json->filled |= bit;
    if (key != NULL) {
        write_text(json->file, key);
        putc(':', json->file);
    }
}

static void
open_level(struct json *json, const char *key, bool array)
{
    uint32_t bit;

    begin_value(json, key);
    assert(json->depth < JSON_MAX_DEPTH);
    bit = (uint32_t)1 << json->depth++;
    json->filled &= ~bit;
    json->arrays = array ? json->arrays | bit : json->arrays & ~bit;
    putc(array ? '[' : '{', json->file);
}

void
json_init(struct json *json, FILE *file)
{
    *json = (struct json){ .file = file };
}

void
json_object(struct json *json, const char *key)
{
    open_level(json, key, false);
}

void
json_array(struct json *json, const char *key)
{
    open_level(json, key, true);
}

void
json_string(struct json *json, const char *key, const char *value)
{
    begin_value(json, key);
    write_text(json->file, value);
}

void
json_u64(struct json *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    fprintf(json->file, "%" PRIu64, value);
}

void
json_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    fputs(value ? "true" : "false", json->file);
}

void
json_thousandths(struct json *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    fprintf(json->file, "%" PRIu64 ".%03" PRIu64, value / 1000, value % 1000);
}

void
json_end(struct json *json)
{
    assert(json->depth > 0);
    json->depth--;
    putc((json->arrays >> json->depth & 1) != 0 ? ']' : '}', json->file);
    if (json->depth == 0)
        putc('\n', json->file);
}
