/* SPDX-License-Identifier: BSD-2-Clause */
/* See inject_options.h. */
#include "vmm/cli/inject_options.h"

#include "vmm/cli/value.h"
#include "vmm/vm/machine.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A rule while its pieces are read. */
struct rule_pieces {
    const char *text; /* the option's value */
    struct vm_inject_rule *rule;
    unsigned seen; /* bit i: keys[i] was given */
};

static bool
page_address(const char *text, gpa_t *gpa)
{
    uint64_t value;

    if (value_size(text, &value) != 0 || (value & PAGE_MASK) != 0)
        return false;
    *gpa = gpa_from_u64(value);
    return true;
}

/* A-B, the end not included. */
static int
set_gpa(struct rule_pieces *pieces, char *value, struct failure *failure)
{
    struct vm_inject_rule *rule = pieces->rule;
    char *end = strchr(value, '-');

    if (end == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--inject gpa=" FAILURE_NAME
                           " is no range: give two addresses, like 0x100000-0x101000",
                           value);
    *end++ = '\0';
    if (!page_address(value, &rule->start) || !page_address(end, &rule->end))
        return failure_set(failure, CLI_USAGE,
                           "--inject gpa=%.64s-%.64s is not possible: give addresses of pages, "
                           "multiples of 0x1000",
                           value, end);
    if (rule->start.value >= rule->end.value)
        return failure_set(failure, CLI_USAGE,
                           "--inject gpa=%.64s-%.64s is empty: give an end above the start, which "
                           "is not part of the range",
                           value, end);
    return CLI_OK;
}

static int
set_access(struct rule_pieces *pieces, char *value, struct failure *failure)
{
    if (machine_protection_find(value, &pieces->rule->access) == 0)
        return CLI_OK;
    return failure_set(failure, CLI_USAGE,
                       "--inject access=" FAILURE_NAME " is no access: give letters of rwx", value);
}

/* N or N+. */
static int
set_nth(struct rule_pieces *pieces, char *value, struct failure *failure)
{
    struct vm_inject_rule *rule = pieces->rule;
    size_t size = strlen(value);

    rule->on = size != 0 && value[size - 1] == '+';
    if (rule->on)
        value[size - 1] = '\0';
    if (value_number(value, &rule->nth) == 0 && rule->nth != 0)
        return CLI_OK;
    return failure_set(failure, CLI_USAGE,
                       "--inject nth=" FAILURE_NAME
                       " is no place in a row: give a number from 1 on, with + if it and all after "
                       "it are meant",
                       value);
}

static const struct {
    const char *unit;
    uint64_t microseconds;
} units[] = {
    { "us", 1 },
    { "ms", 1000 },
    { "s", 1000000 },
};

/* A number and its unit: microseconds; 0 for what is none, or is too long. */
static unsigned
delay_of(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    char text[24];
    uint64_t number;

    snprintf(text, sizeof(text), "%.*s", (int)digits, value);
    for (size_t i = 0; i < COUNT(units); i++) {
        if (strcmp(value + digits, units[i].unit) != 0)
            continue;
        if (digits >= sizeof(text) || value_number(text, &number) != 0 ||
            number > VM_INJECT_DELAY_MAX / units[i].microseconds)
            return 0;
        return (unsigned)(number * units[i].microseconds);
    }
    return 0;
}

static int
set_do(struct rule_pieces *pieces, char *value, struct failure *failure)
{
    struct vm_inject_rule *rule = pieces->rule;

    if (strcmp(value, "eio") == 0) {
        rule->action = VM_INJECT_ERROR;
    } else if (strcmp(value, "deny") == 0) {
        rule->action = VM_INJECT_DENY;
    } else if (strncmp(value, "delay:", 6) == 0) {
        rule->action = VM_INJECT_DELAY;
        rule->delay = delay_of(value + 6);
        if (rule->delay == 0)
            return failure_set(failure, CLI_USAGE,
                               "--inject do=" FAILURE_NAME
                               " is no delay: give a time like 5ms, from 1us to 60s",
                               value);
    } else {
        return failure_set(failure, CLI_USAGE,
                           "--inject do=" FAILURE_NAME " is unknown: give eio, deny or delay:TIME",
                           value);
    }
    return CLI_OK;
}

#define KEY_GPA 0
#define KEY_DO 1

static const struct {
    const char *name;
    int (*set)(struct rule_pieces *pieces, char *value, struct failure *failure);
} keys[] = {
    [KEY_GPA] = { "gpa", set_gpa },
    [KEY_DO] = { "do", set_do },
    { "access", set_access },
    { "nth", set_nth },
};

static int
set_piece(struct rule_pieces *pieces, char *piece, struct failure *failure)
{
    char *value = strchr(piece, '=');

    if (value == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--inject " FAILURE_NAME " has no '=': give KEY=VALUE,...", piece);
    *value++ = '\0';
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (strcmp(piece, keys[i].name) != 0)
            continue;
        if ((pieces->seen & 1u << i) != 0)
            return failure_set(failure, CLI_USAGE, "--inject has two %s=: give one", piece);
        pieces->seen |= 1u << i;
        return keys[i].set(pieces, value, failure);
    }
    return failure_set(failure, CLI_USAGE,
                       "--inject " FAILURE_NAME "= is unknown: give gpa, access, nth or do", piece);
}

int
inject_options_add(struct vm_inject *inject, const char *value, struct failure *failure)
{
    struct rule_pieces pieces = { .text = value, .rule = &inject->rules[inject->nrules] };
    char *copy, *rest, *piece;
    int status = CLI_OK;

    if (inject->nrules == VM_INJECT_RULES)
        return failure_set(failure, CLI_USAGE, "too many --inject: give at most %u",
                           VM_INJECT_RULES);
    *pieces.rule =
        (struct vm_inject_rule){ .access = VM_PROT_ALL, .nth = 1, .on = true, .text = value };
    copy = rest = strdup(value);
    if (copy == NULL)
        return failure_set(failure, CLI_FAILED, "out of memory");
    while (status == CLI_OK && (piece = strsep(&rest, ",")) != NULL)
        status = set_piece(&pieces, piece, failure);
    free(copy);
    if (status != CLI_OK)
        return status;
    if ((pieces.seen & 1u << KEY_GPA) == 0 || (pieces.seen & 1u << KEY_DO) == 0)
        return failure_set(failure, CLI_USAGE,
                           "--inject " FAILURE_NAME " is incomplete: give gpa and do", value);
    inject->nrules++;
    return CLI_OK;
}
