/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Figures and their names.
 *
 * The engine's counters come from VM_METER_FIELDS, so a new one can be expected at once; the other
 * members are listed here, and a unit test compares the list with what vkvm run writes.
 */
#include "vmm/test_tool/expect_figures.h"

#include "vmm/base/file.h"
#include "vmm/vpagetable/vm_meter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A report is one line of a few kilobytes. */
#define REPORT_MAX (1u << 20)
#define DEPTH_MAX 8u
#define PATH_MAX_BYTES 128u

static const struct figure list[] = {
#define METER_FIGURE(name, text) { "faults." #name, false },
    VM_METER_FIELDS(METER_FIGURE)
#undef METER_FIGURE
        { "exit_status", false },
    { "guest_status", false },
    { "signal", false },
    { "create_us", true },
    { "run_us", true },
    { "vcpus", false },
    { "memory.size", false },
    { "memory.resident_pages", false },
    { "memory.mapped_pages", false },
    { "memory.budget_pages", false },
    { "memory.swap_pages", false },
    { "memory.swap_used", false },
    { "messages.total", false },
    { "messages.foreign", false },
    { "messages.missing", false },
    { "messages.minor", false },
    { "messages.write_protect", false },
    { "messages.resolved", false },
    { "messages.failed", false },
    { "latency_us.count", false },
    { "latency_us.min", true },
    { "latency_us.p50", true },
    { "latency_us.p90", true },
    { "latency_us.p99", true },
    { "latency_us.p99.9", true },
    { "latency_us.max", true },
    { "placement.choices", false },
    { "placement.fault_us.block", true },
    { "placement.fault_us.same-core", true },
    { "placement.fault_us.spin-bare", true },
    { "placement.fault_us.spin-short", true },
    { "placement.fault_us.spin", true },
    { "exits.doorbell", false },
    { "exits.console", false },
    { "exits.mmio", false },
    { "exits.efault", false },
    { "exceptions.pf", false },
    { "exceptions.ve", false },
    { "pmap.windows", false },
    { "pmap.enter_calls", false },
    { "pmap.natural_pages", false },
    { "pmap.foreign_pages", false },
    { "pmap.continued_pages", false },
    { "pmap.foreign_evictions", false },
    { "pmap.superpages", false },
    { "pmap.superpages_refused", false },
};
_Static_assert(COUNT(list) <= FIGURES_MAX, "struct figures has room for all");

size_t
figures_list(const struct figure **listp)
{
    *listp = list;
    return COUNT(list);
}

/* --- Names ----------------------------------------------------------------- */

/* The path behind its object. */
static const char *
end_of(const char *path)
{
    const char *dot = strchr(path, '.');

    return dot != NULL ? dot + 1 : path;
}

/* The end without what all counters begin with. */
static const char *
short_of(const char *path)
{
    static const char *const prefixes[] = { "v_kind_", "v_" };
    const char *end = end_of(path);

    for (size_t i = 0; i < COUNT(prefixes); i++) {
        if (strncmp(end, prefixes[i], strlen(prefixes[i])) == 0)
            return end + strlen(prefixes[i]);
    }
    return end;
}

static bool
is(const char *candidate, const char *name, size_t length)
{
    return strlen(candidate) == length && strncmp(candidate, name, length) == 0;
}

/* Edits that make one of the other: Levenshtein's distance, of names up to a length. */
static size_t
distance(const char *a, size_t na, const char *b)
{
    size_t row[PATH_MAX_BYTES + 1], nb = strlen(b);

    if (na >= PATH_MAX_BYTES || nb >= PATH_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t edit = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

            diagonal = row[j];
            row[j] = change < edit ? change : edit;
        }
    }
    return row[nb];
}

/* The figure one of whose names is least far from this one. */
static const char *
nearest(const char *name, size_t length)
{
    const char *best = list[0].path;
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < COUNT(list); i++) {
        const char *names[] = { list[i].path, end_of(list[i].path), short_of(list[i].path) };

        for (size_t k = 0; k < COUNT(names); k++) {
            size_t d = distance(name, length, names[k]);

            if (d < least) {
                least = d;
                best = names[k];
            }
        }
    }
    return best;
}

int
figures_find(const char *name, size_t length, size_t *index, struct failure *failure)
{
    size_t found = COUNT(list);

    for (size_t i = 0; i < COUNT(list); i++) {
        if (is(list[i].path, name, length)) {
            *index = i;
            return 0;
        }
    }
    for (size_t i = 0; i < COUNT(list); i++) {
        if (!is(end_of(list[i].path), name, length) && !is(short_of(list[i].path), name, length))
            continue;
        if (found != COUNT(list))
            return failure_set(failure, -EINVAL, "'%.*s' may be %s or %s: write which", (int)length,
                               name, list[found].path, list[i].path);
        found = i;
    }
    if (found == COUNT(list))
        return failure_set(failure, -ENOENT,
                           "'%.*s' is no counter: did you mean %s? (docs/suites.md lists all)",
                           (int)(length < 64 ? length : 64), name, nearest(name, length));
    *index = found;
    return 0;
}

/* --- Reading --------------------------------------------------------------- */

/* A JSON text being read; `at` is NULL once it proved wrong. */
struct reader {
    const char *at;
    char path[PATH_MAX_BYTES]; /* of the value being read */
    struct figures *figures;
};

static void
skip_blanks(struct reader *r)
{
    if (r->at != NULL)
        r->at += strspn(r->at, " \t\r\n");
}

/* Take the character if it is next. */
static bool
take(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at == NULL || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* Returns the length of what is between the quotes, escapes as they stand, and *start. */
static size_t
read_string(struct reader *r, const char **start)
{
    if (!take(r, '"')) {
        r->at = NULL;
        return 0;
    }
    *start = r->at;
    while (*r->at != '"' && *r->at != '\0')
        r->at += *r->at == '\\' && r->at[1] != '\0' ? 2 : 1;
    size_t length = (size_t)(r->at - *start);
    r->at = *r->at == '"' ? r->at + 1 : NULL;
    return length;
}

static void
read_number(struct reader *r)
{
    char *end;
    double value = strtod(r->at, &end);

    if (end == r->at) {
        r->at = NULL;
        return;
    }
    r->at = end;
    for (size_t i = 0; i < COUNT(list); i++) {
        if (strcmp(list[i].path, r->path) == 0) {
            r->figures->known[i] = true;
            r->figures->values[i] = value;
        }
    }
}

static void read_value(struct reader *r, unsigned depth);

/* The value of a key, whose path is the object's and the key. */
static void
read_member(struct reader *r, unsigned depth)
{
    size_t before = strlen(r->path), length;
    const char *key = NULL;

    length = read_string(r, &key);
    if (r->at == NULL || !take(r, ':') || before + length + 2 > sizeof(r->path)) {
        r->at = NULL;
        return;
    }
    snprintf(r->path + before, sizeof(r->path) - before, "%s%.*s", before != 0 ? "." : "",
             (int)length, key);
    read_value(r, depth);
    r->path[before] = '\0';
}

static void
read_members(struct reader *r, char end, unsigned depth)
{
    if (depth >= DEPTH_MAX) {
        r->at = NULL;
        return;
    }
    if (take(r, end))
        return;
    do {
        if (end == '}')
            read_member(r, depth + 1);
        else
            read_value(r, depth + 1);
    } while (take(r, ','));
    if (!take(r, end))
        r->at = NULL;
}

static void
read_value(struct reader *r, unsigned depth) // NOLINT(misc-no-recursion): no deeper than DEPTH_MAX
{
    const char *string = NULL;

    skip_blanks(r);
    if (r->at == NULL)
        return;
    if (*r->at == '"')
        read_string(r, &string);
    else if (take(r, '{'))
        read_members(r, '}', depth);
    else if (take(r, '['))
        read_members(r, ']', depth);
    else if (strncmp(r->at, "true", 4) == 0 || strncmp(r->at, "null", 4) == 0)
        r->at += 4;
    else if (strncmp(r->at, "false", 5) == 0)
        r->at += 5;
    else
        read_number(r);
}

int
figures_read(const char *json, struct figures *figures)
{
    struct reader reader = { .at = json, .figures = figures };

    memset(figures, 0, sizeof(*figures));
    skip_blanks(&reader);
    if (*reader.at != '{')
        return -EBADMSG;
    read_value(&reader, 0);
    skip_blanks(&reader);
    return reader.at != NULL && *reader.at == '\0' ? 0 : -EBADMSG;
}

int
figures_read_file(const char *path, struct figures *figures, struct failure *failure)
{
    char *text = NULL;
    uint64_t size;
    int fd, error = file_open(path, O_RDONLY, &fd, &size, failure);

    if (error != 0)
        return error;
    if (size < REPORT_MAX)
        text = calloc(1, size + 1);
    if (text == NULL)
        error = failure_set(failure, -ENOMEM, FAILURE_NAME ": too large for a report", path);
    else if ((error = file_read_at(fd, text, size, 0)) != 0)
        failure_set(failure, error, FAILURE_NAME ": %s", path, strerror(-error));
    else if ((error = figures_read(text, figures)) != 0)
        failure_set(failure, error, FAILURE_NAME " is no report of vkvm run: it is cut off", path);
    free(text);
    close(fd);
    return error;
}
