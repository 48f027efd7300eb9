/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the command verbs: errors, wrong options, exit statuses.
 */
#include "vmm/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

void
cli_complain(const char *message)
{
    static const char hex[] = "0123456789abcdef";
    char line[8 + 4 * sizeof(((struct failure *)0)->message)] = "vkvm: ";
    size_t n = strlen(line);

    for (const char *p = message; *p != '\0' && n < sizeof(line) - 6; p++) {
        unsigned char c = (unsigned char)*p;

        if (c >= 0x20 && c != 0x7f) {
            line[n++] = *p;
            continue;
        }
        line[n++] = '\\';
        line[n++] = 'x';
        line[n++] = hex[c >> 4];
        line[n++] = hex[c & 0xf];
    }
    line[n] = '\0';
    fprintf(stderr, "%s\n", line);
}

int
cli_bad_option(const char *verb, int c, const char *word, const char *option,
               struct failure *failure)
{
    if (c == ':')
        return failure_set(failure, CLI_USAGE, "%.512s needs a value: see 'vkvm %s --help'", word,
                           verb);
    if (option != NULL)
        return failure_set(failure, CLI_USAGE, FAILURE_NAME ": --%s takes no value", word, option);
    if (optopt != 0)
        return failure_set(failure, CLI_USAGE, "unknown option -%c: see 'vkvm %s --help'", optopt,
                           verb);
    return failure_set(failure, CLI_USAGE,
                       "unknown or ambiguous option " FAILURE_NAME ": see 'vkvm %s --help'", word,
                       verb);
}

int
cli_load_status(int error)
{
    switch (error) {
    case 0:
        return CLI_OK;
    case -ENOENT:
        return CLI_NOT_FOUND;
    case -ENOEXEC:
        return CLI_NOT_LOADABLE;
    default:
        return CLI_FAILED;
    }
}
