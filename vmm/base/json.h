/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A writer of one JSON value on one line (RFC 8259).
 *
 * Output only, no tree and no allocation: a report is written in the time it
 * takes to print it, and no library has to be loaded at start.  Text that is not
 * UTF-8 (file names need not be) has its bad bytes replaced by U+FFFD.
 * Write errors stay in the stream: ask ferror or fclose at the end.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_DEPTH 32

struct json {
    FILE *file;      /* borrowed */
    unsigned depth;  /* open objects and arrays */
    uint32_t arrays; /* bit d: level d is an array */
    uint32_t filled; /* bit d: level d has a member, so that the next needs a comma */
};

void json_init(struct json *json, FILE *file);

/* Every value has a key inside an object and NULL elsewhere. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_string(struct json *json, const char *key, const char *value);
void json_u64(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);

/* value / 1000 with three decimals, exactly: nanoseconds written as microseconds. */
void json_thousandths(struct json *json, const char *key, uint64_t value);

/* Close the innermost object or array; the last one also ends the line. */
void json_end(struct json *json);

#endif
