/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The JSON writer.
 */
#include "vmm/base/json.h"

#include "vmm/base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

static void
write_text(FILE *file, const char *text)
{
    const char *s = text;

    putc('"', file);
    while (*s != '\0') {
        unsigned length = utf8_length(s);
        unsigned char c = (unsigned char)*s;

        if (length == 0)
            fputs("\\ufffd", file);
        else if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(file, "\\u%04x", c);
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
