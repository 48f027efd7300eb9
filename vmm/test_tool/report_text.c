/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text for reports.
 */
#include "vmm/test_tool/report_text.h"

#include "vmm/base/utf8.h"

#include <errno.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- Pieces ---------------------------------------------------------------- */

void
report_buffer_open(struct report_buffer *buffer)
{
    buffer->text = NULL;
    buffer->size = 0;
    buffer->file = open_memstream(&buffer->text, &buffer->size);
}

int
report_buffer_close(struct report_buffer *buffer)
{
    bool whole = buffer->file != NULL && ferror(buffer->file) == 0;

    if (buffer->file != NULL && fclose(buffer->file) != 0)
        whole = false;
    buffer->file = NULL;
    return whole && buffer->text != NULL ? 0 : -ENOMEM;
}

void
report_buffer_fini(struct report_buffer *buffer)
{
    if (buffer->file != NULL)
        fclose(buffer->file);
    free(buffer->text);
    *buffer = (struct report_buffer){ .text = NULL };
}

void
report_write(FILE *to, const char *text, size_t size, int *error)
{
    off_t begin;

    if (*error != 0)
        return;
    begin = ftello(to);
    errno = 0;
    if (fwrite(text, 1, size, to) == size && fflush(to) == 0)
        return;
    *error = errno != 0 ? -errno : -EIO;
    __fpurge(to);
    /* Best effort: a reader then sees whole pieces.  A pipe has no begin; what stdout is, others may use. */
    if (to != stdout && begin >= 0 && ftruncate(fileno(to), begin) != 0)
        return;
}

void
report_write_buffer(FILE *to, struct report_buffer *buffer, int *error)
{
    int closed = report_buffer_close(buffer);

    if (closed == 0)
        report_write(to, buffer->text, buffer->size, error);
    else if (*error == 0)
        *error = closed;
    report_buffer_fini(buffer);
}

/* --- Lines ----------------------------------------------------------------- */

/* C0, DEL and C1: what a terminal may obey. */
static bool
is_control(const char *text, unsigned length)
{
    unsigned char first = (unsigned char)text[0];

    return (length == 1 && (first < 0x20 || first == 0x7f)) ||
           (length == 2 && first == 0xc2 && (unsigned char)text[1] < 0xa0);
}

size_t
report_escape_length(const char *text)
{
    const char *end = text + 1;

    if (*end != '[')
        return 1;
    for (end++; *end >= 0x20 && *end <= 0x3f;)
        end++;
    return (size_t)(end - text) + (*end >= 0x40 && *end <= 0x7e);
}

size_t
report_char(FILE *to, const char *text)
{
    unsigned length = utf8_length(text);

    if (*text == '\033')
        return report_escape_length(text);
    if (length == 0)
        fputs("\xef\xbf\xbd", to);
    else if (is_control(text, length))
        putc(' ', to);
    else
        fwrite(text, 1, length, to);
    return length != 0 ? length : 1;
}

void
report_line(FILE *to, const char *text)
{
    while (*text != '\0')
        text += report_char(to, text);
}

size_t
report_suite_length(const char *name)
{
    return strcspn(name, "/");
}

/* --- Leaves ---------------------------------------------------------------- */

static bool
has_subtest(const struct test_result *result, enum verdict verdict)
{
    for (size_t i = 0; i < result->nsubtests; i++) {
        if (result->subtests[i].verdict == verdict)
            return true;
    }
    return false;
}

/* Is there something that no subtest tells? */
static bool
has_last_leaf(const struct test_result *result)
{
    switch (result->verdict) {
    case VERDICT_ERROR:
        return true;
    case VERDICT_FAIL:
    case VERDICT_SKIP:
        return !has_subtest(result, result->verdict);
    default:
        return false;
    }
}

/* A name that no subtest has. */
static const char *
last_name(const struct test_result *result)
{
    static const char *const names[] = { "the end", "the test's end", "the end of the test" };
    const char *name = names[0];

    for (size_t i = 0, tried = 0; i < result->nsubtests && tried < 2; i++) {
        if (strcmp(result->subtests[i].name, name) == 0) {
            name = names[++tried];
            i = (size_t)-1; /* from the first again */
        }
    }
    return name;
}

size_t
report_nleaves(const struct test_result *result)
{
    return result->nsubtests == 0 ? 1 : result->nsubtests + has_last_leaf(result);
}

struct report_leaf
report_leaf(const struct test_result *result, size_t i)
{
    const struct subtest *subtest = &result->subtests[i];

    if (i < result->nsubtests)
        return (struct report_leaf){ .name = subtest->name,
                                     .verdict = subtest->verdict,
                                     .reason = subtest->reason };
    return (struct report_leaf){ .name = result->nsubtests == 0 ? NULL : last_name(result),
                                 .verdict = result->verdict,
                                 .reason = result->reason };
}

/* --- What has come --------------------------------------------------------- */

static size_t
repetitions(const struct report_plan *plan)
{
    return plan->repeat != 0 ? plan->repeat : 1;
}

void
report_roll_init(struct report_roll *roll, const struct report_plan *plan)
{
    roll->plan = *plan;
    roll->came = calloc(plan->ntests * repetitions(plan) + 1, sizeof(*roll->came));
}

void
report_roll_fini(struct report_roll *roll)
{
    free(roll->came);
    roll->came = NULL;
}

void
report_roll_mark(struct report_roll *roll, const struct test_result *result)
{
    size_t repeat = repetitions(&roll->plan);

    if (roll->came == NULL || result->repeat >= repeat)
        return;
    for (size_t i = 0; i < roll->plan.ntests; i++) {
        if (roll->plan.tests[i] == result->test)
            roll->came[i * repeat + result->repeat] = true;
    }
}

const struct suite_test *
report_roll_missing(const struct report_roll *roll, size_t *i, char name[SUITE_NAME_MAX + 24])
{
    size_t repeat = repetitions(&roll->plan), count = roll->plan.ntests * repeat;

    while (roll->came != NULL && *i < count && roll->came[*i])
        ++*i;
    if (roll->came == NULL || *i >= count)
        return NULL;
    const struct suite_test *test = roll->plan.tests[*i / repeat];
    if (repeat > 1)
        snprintf(name, SUITE_NAME_MAX + 24, "%.*s #%zu", SUITE_NAME_MAX, test->name,
                 *i % repeat + 1);
    else
        snprintf(name, SUITE_NAME_MAX + 24, "%.*s", SUITE_NAME_MAX, test->name);
    ++*i;
    return test;
}

/* --- Words ----------------------------------------------------------------- */

void
report_flaky(FILE *to, const struct test_result *result)
{
    const struct attempt *last =
        result->nattempts != 0 ? &result->attempts[result->nattempts - 1] : NULL;

    fprintf(to, "passed after %zu of %zu attempts failed", result->nattempts,
            result->nattempts + 1);
    if (last != NULL && last->reason != NULL) {
        fputs(": ", to);
        report_line(to, last->reason);
    }
}

void
report_cut(FILE *to, const struct report_totals *totals)
{
    if (totals->interrupted != 0)
        fprintf(to, "interrupted by signal %d", totals->interrupted);
    else
        fputs("the run ended early", to);
}
