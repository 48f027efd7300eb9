/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of options: numbers, sizes, times. */
#include "vmm/cli/value.h"

#include "vmm/vpagetable/vm_types.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

static unsigned
digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return UINT_MAX;
}

/* Digits in base 10 or, after 0x, 16.  Not strtoull: it takes blanks, signs and octal too. */
static int
parse_number(const char *text, uint64_t *value, const char **end)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    unsigned base = hex ? 16 : 10, digit;
    const char *p = hex ? text + 2 : text;
    uint64_t number = 0;

    if (digit_value(*p) >= base)
        return -EINVAL;
    for (; (digit = digit_value(*p)) < base; p++) {
        if (number > (UINT64_MAX - digit) / base)
            return -ERANGE;
        number = number * base + digit;
    }
    *value = number;
    *end = p;
    return 0;
}

int
value_number(const char *text, uint64_t *value)
{
    const char *end;
    uint64_t number;
    int error = parse_number(text, &number, &end);

    if (error != 0)
        return error;
    if (*end != '\0')
        return -EINVAL;
    *value = number;
    return 0;
}

int
value_size(const char *text, uint64_t *size)
{
    static const char suffixes[] = "KMGT";
    const char *suffix, *end;
    unsigned shift;
    uint64_t value;
    int error = parse_number(text, &value, &end);

    if (error != 0)
        return error;
    if (*end != '\0') {
        suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (suffix == NULL || end[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (value > UINT64_MAX >> shift)
            return -ERANGE;
        value <<= shift;
    }
    *size = value;
    return 0;
}

int
value_seconds(const char *text, unsigned *ms)
{
    uint64_t value = 0, scale = 1000;
    bool rest = false, digits = false;

    for (; isdigit((unsigned char)*text); text++, digits = true) {
        value = value * 10 + (uint64_t)(*text - '0') * 1000;
        if (value > UINT32_MAX)
            return -ERANGE;
    }
    if (*text == '.') {
        for (text++; isdigit((unsigned char)*text); text++, digits = true) {
            scale /= 10;
            value += (uint64_t)(*text - '0') * scale;
            rest |= scale == 0 && *text != '0';
        }
    }
    if (*text != '\0' || !digits)
        return -EINVAL;
    value += rest;
    if (value > UINT32_MAX)
        return -ERANGE;
    *ms = (unsigned)value;
    return 0;
}

int
value_pages(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *size,
            struct failure *failure)
{
    char low[SIZE_TEXT_MAX], high[SIZE_TEXT_MAX];
    uint64_t value;
    int result = value_size(text, &value);

    if (result != 0 && result != -ERANGE)
        return failure_set(failure, CLI_USAGE,
                           "%s=" FAILURE_NAME " is not a size: give one like 64M", option, text);
    if (result != 0 || value > max || value < min)
        return failure_set(failure, CLI_USAGE, "%s=" FAILURE_NAME " is out of range: give %s to %s",
                           option, text, size_text(min, low), size_text(max, high));
    if ((value & PAGE_MASK) != 0)
        return failure_set(failure, CLI_USAGE,
                           "%s=" FAILURE_NAME
                           " is not a whole number of pages: give a multiple of 4K",
                           option, text);
    *size = value;
    return CLI_OK;
}

int
value_count(const char *option, const char *text, unsigned min, unsigned max, unsigned *count,
            struct failure *failure)
{
    const char *end = text;
    uint64_t value = 0;

    if (parse_number(text, &value, &end) != 0 || *end != '\0' || value < min || value > max)
        return failure_set(failure, CLI_USAGE, "%s=" FAILURE_NAME " is not possible: give %u to %u",
                           option, text, min, max);
    *count = (unsigned)value;
    return CLI_OK;
}
