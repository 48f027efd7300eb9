/* SPDX-License-Identifier: BSD-2-Clause */
/* "key=value" texts. */
#include "vmm/trace/trace_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

ssize_t
trace_text_find(const char *text, const char *key, const char **value)
{
    size_t length = strlen(key);

    for (const char *line = text; *line != '\0'; line += *line == '\n') {
        size_t size = strcspn(line, "\n");

        if (size > length && strncmp(line, key, length) == 0 && line[length] == '=') {
            *value = line + length + 1;
            return (ssize_t)(size - length - 1);
        }
        line += size;
    }
    return -1;
}

bool
trace_text_number(const char *text, const char *key, uint64_t *number)
{
    const char *value;
    ssize_t size = trace_text_find(text, key, &value);
    char *end;

    if (size <= 0 || value[0] < '0' || value[0] > '9')
        return false;
    errno = 0;
    *number = strtoull(value, &end, value[0] == '0' && value[1] == 'x' ? 16 : 10);
    return errno == 0 && end == value + size;
}
