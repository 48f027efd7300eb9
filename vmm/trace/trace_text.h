/* SPDX-License-Identifier: BSD-2-Clause */
/* What a trace says of its VM: texts of lines "key=value". */
#ifndef TRACE_TEXT_H
#define TRACE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The value of `key` in a text of lines "key=value".  Control characters in it are its writer's.
 * Returns its size and *value, which ends with the line and not with a NUL; -1 if there is none.
 */
ssize_t trace_text_find(const char *text, const char *key, const char **value);

/* The same for a number, decimal or 0x.  Returns false if there is none. */
bool trace_text_number(const char *text, const char *key, uint64_t *number);

#endif
