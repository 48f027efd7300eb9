/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A version is two numbers: what is behind them is a fix's, and of a distribution's choosing.
 */
#include "vmm/test_tool/kernel_version.h"

#include "vmm/test_tool/expect_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MINOR_MAX 1000 /* of one major number there are fewer */

/* The number of "MAJOR.MINOR" and *end behind it; -1: there is none. */
static long
read_version(const char *text, const char **end)
{
    const char *digits = "0123456789";
    size_t major = strspn(text, digits);

    if (major == 0 || major > 3 || text[major] != '.')
        return -1;
    size_t minor = strspn(text + major + 1, digits);
    if (minor == 0 || minor > 3)
        return -1;
    *end = text + major + 1 + minor;
    return strtol(text, NULL, 10) * MINOR_MAX + strtol(text + major + 1, NULL, 10);
}

/* The relation at the text's start and *end behind it.  Two characters before one. */
static bool
read_relation(const char *text, enum expect_relation *relation, const char **end)
{
    static const enum expect_relation relations[] = {
        EXPECT_EQUAL, EXPECT_UNEQUAL, EXPECT_AT_MOST, EXPECT_AT_LEAST, EXPECT_LESS, EXPECT_MORE,
    };

    for (size_t i = 0; i < COUNT(relations); i++) {
        const char *sign = expect_relation_text(relations[i]);

        if (strncmp(text, sign, strlen(sign)) != 0)
            continue;
        *relation = relations[i];
        *end = text + strlen(sign);
        return true;
    }
    return false;
}

int
kernel_version_is(const char *text, const char *release, bool *is)
{
    const char *end;
    long here = read_version(release, &end);
    bool all = true;

    for (;;) {
        enum expect_relation relation;

        text += strspn(text, " \t");
        if (!read_relation(text, &relation, &text))
            return -EINVAL;
        text += strspn(text, " \t");
        long version = read_version(text, &text);
        if (version < 0)
            return -EINVAL;
        all = expect_holds(relation, (double)here, (double)version) && all;
        text += strspn(text, " \t");
        if (*text == '\0')
            break;
        if (*text++ != ',')
            return -EINVAL;
    }
    *is = all;
    return 0;
}
