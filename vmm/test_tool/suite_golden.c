/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Golden traces.
 *
 * The trace is made canonical by the code of `vkvm trace canon --portable --notes`; the golden file has
 * no notes.  A line of it is a fault, so the first line that differs is the first fault that does.
 */
#include "vmm/test_tool/suite_golden.h"

#include "vmm/base/file.h"
#include "vmm/test_tool/suite_expect.h"
#include "vmm/trace_tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN "golden"
#define GOLDEN_MAX (64u << 20)
#define BEFORE 2u /* faults shown before the first that differs */

/* --- Lines ----------------------------------------------------------------- */

/* A line without its notes. */
struct golden_line {
    const char *text;
    size_t length;
    const char *notes; /* "ram main+0x10", or "" */
    size_t notes_length;
};

/* Take a line from *text.  Returns false at the end. */
static bool
take_line(const char **text, struct golden_line *line)
{
    size_t length = strcspn(*text, "\n");
    const char *hash;

    if (**text == '\0')
        return false;
    *line = (struct golden_line){ .text = *text, .length = length, .notes = "" };
    hash = length > 0 && **text != '#' ? memchr(*text, '#', length) : NULL;
    if (hash != NULL) {
        line->notes = hash + 1 + (hash[1] == ' ');
        line->notes_length = (size_t)(*text + length - line->notes);
        line->length = (size_t)(hash - *text);
    }
    while (line->length > 0 && strchr(" \t\r", line->text[line->length - 1]) != NULL)
        line->length--;
    *text += length + ((*text)[length] == '\n');
    return true;
}

/* Comments and empty lines of a golden file are passed over, but for the first line, which says the form. */
static bool
take_fault(const char **text, struct golden_line *line)
{
    while (take_line(text, line)) {
        if (line->length > 0 && *line->text != '#')
            return true;
    }
    return false;
}

static bool
same(const struct golden_line *a, const struct golden_line *b)
{
    return a->length == b->length && strncmp(a->text, b->text, a->length) == 0;
}

/* --- What differs ---------------------------------------------------------- */

/* "vcpu0 write 0x1000 window zero-fill -/A" as a person says it. */
static void
tell_fault(FILE *to, const struct golden_line *line)
{
    char words[6][32] = { "" };
    char text[256];

    snprintf(text, sizeof(text), "%.*s", (int)line->length, line->text);
    if (sscanf(text, "%31s %31s %31s %31s %31s %31s", words[0], words[1], words[2], words[3],
               words[4], words[5]) < 5) {
        fprintf(to, "'%s'", text);
        return;
    }
    fprintf(to, "%s by %s of page %s (%s): %s", words[1], words[0], words[2], words[3], words[4]);
    if (words[5][0] != '\0' && strcmp(words[5], "-") != 0)
        fprintf(to, ", set %s", words[5]);
}

static void
tell_notes(FILE *to, const struct golden_line *line)
{
    if (line->notes_length != 0)
        fprintf(to, " [%.*s]", (int)line->notes_length, line->notes);
}

struct difference {
    size_t number; /* of the fault, from 1 */
    bool has_golden, has_came;
    struct golden_line golden, came;
    size_t nbefore;
    struct golden_line before[BEFORE]; /* the older one first */
};

static void
tell_difference(FILE *to, const struct difference *d)
{
    fprintf(to, "fault %zu: expected ", d->number);
    if (d->has_golden)
        tell_fault(to, &d->golden);
    else
        fputs("no more", to);
    fputs("; came ", to);
    if (d->has_came) {
        tell_fault(to, &d->came);
        tell_notes(to, &d->came);
    } else {
        fputs("no more", to);
    }
    for (size_t i = 0; i < d->nbefore; i++) {
        fputs(i == 0 ? "; before: " : ", then ", to);
        tell_fault(to, &d->before[i]);
        tell_notes(to, &d->before[i]);
    }
}

static void
remember(struct difference *d, const struct golden_line *line)
{
    if (d->nbefore == BEFORE)
        memmove(&d->before[0], &d->before[1], (BEFORE - 1) * sizeof(d->before[0]));
    else
        d->nbefore++;
    d->before[d->nbefore - 1] = *line;
}

/* The text of the difference.  Returns 1. */
static int
print_difference(const struct difference *d, char *why, size_t size)
{
    FILE *to = fmemopen(why, size, "w");

    snprintf(why, size, "fault %zu differs", d->number);
    if (to != NULL) {
        tell_difference(to, d);
        fclose(to);
        why[size - 1] = '\0';
    }
    return 1;
}

int
golden_compare(const char *golden, const char *came, char *why, size_t size)
{
    struct difference d = { .number = 0 };
    struct golden_line first, second;

    if (!take_line(&golden, &first) || !take_line(&came, &second) || !same(&first, &second)) {
        snprintf(why, size, "it is not of the form that came, '%.*s': bless it anew",
                 (int)strcspn(came, "\n"), came);
        return 1;
    }
    for (;;) {
        d.number++;
        d.has_golden = take_fault(&golden, &d.golden);
        d.has_came = take_fault(&came, &d.came);
        if (!d.has_golden && !d.has_came)
            return 0;
        if (!d.has_golden || !d.has_came || !same(&d.golden, &d.came))
            return print_difference(&d, why, size);
        remember(&d, &d.came);
    }
}

/* --- Files ----------------------------------------------------------------- */

/* Returns the file's text, or NULL with *failure filled. */
static char *
read_text(const char *path, struct failure *failure)
{
    char *text = NULL;
    uint64_t size;
    int fd, error;

    if (file_open(path, O_RDONLY, &fd, &size, failure) != 0)
        return NULL;
    if (size < GOLDEN_MAX)
        text = calloc(1, size + 1);
    error = text == NULL ? -ENOMEM : file_read_at(fd, text, size, 0);
    if (error != 0) {
        failure_set(failure, error, FAILURE_NAME ": %s", path, strerror(-error));
        free(text);
        text = NULL;
    }
    close(fd);
    return text;
}

/* The canonical form of a trace, or NULL with *failure filled. */
static char *
canonical(const char *trace, struct failure *failure)
{
    struct tool_options options = {
        .files = { trace }, .nfiles = 1, .portable = true, .notes = true
    };
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    int status;

    if (to == NULL) {
        failure_set(failure, -ENOMEM, "out of memory for the trace");
        return NULL;
    }
    status = trace_canon_verb.run(&options, to, failure);
    if (fclose(to) != 0 && status == 0)
        status = failure_set(failure, -ENOMEM, "out of memory for the trace");
    if (status == 0)
        return text;
    free(text);
    return NULL;
}

/* Are there faults in it at all? */
static bool
has_faults(const char *text)
{
    struct golden_line line;

    return take_fault(&text, &line);
}

/* Without notes, and as a whole or not at all. */
static int
write_golden(const char *path, const char *came, struct failure *failure)
{
    char *temporary = NULL;
    struct golden_line line;
    FILE *to = NULL;
    int error = 0;

    if (asprintf(&temporary, "%s.new", path) < 0)
        return failure_set(failure, -ENOMEM, "out of memory for a name");
    to = fopen(temporary, "we");
    if (to == NULL)
        error = -errno;
    while (error == 0 && take_line(&came, &line)) {
        if (fprintf(to, "%.*s\n", (int)line.length, line.text) < 0)
            error = -errno;
    }
    if (to != NULL && fclose(to) != 0 && error == 0)
        error = -errno;
    if (error == 0 && rename(temporary, path) != 0)
        error = -errno;
    if (error != 0) {
        failure_set(failure, error, FAILURE_NAME " cannot be written: %s", path, strerror(-error));
        if (to != NULL)
            unlink(temporary);
    }
    free(temporary);
    return error;
}

/* --- The test -------------------------------------------------------------- */

int
golden_validate(const struct suite_test *test, struct failure *failure)
{
    if (test->program)
        return failure_set(failure, -EINVAL,
                           "%.256s:%u: golden: a program by itself has no trace: take it out",
                           test->file, test->golden_line);
    for (char **option = test->options; option != NULL && *option != NULL; option++) {
        if (strcmp(*option, "--prefault") == 0 || strncmp(*option, "--prefault=", 11) == 0)
            return 0;
    }
    return failure_set(failure, -EINVAL,
                       "%.256s:%u: golden: which pages fault depends on how many are entered "
                       "besides: add --prefault 0 to options",
                       test->file, test->golden_line);
}

/* What came against what is in the file. */
static void
compare_with_file(const struct suite_test *test, const char *came, struct test_result *result)
{
    struct failure failure = { .message = "" };
    char *golden = read_text(test->golden, &failure);
    char why[2048], reason[2304];

    if (golden == NULL && failure.code == -ENOENT)
        failure_set(&failure, -ENOENT, "there is no %.512s: vkvm test --bless writes it",
                    test->golden);
    if (golden == NULL) {
        test_result_add(result, GOLDEN, VERDICT_ERROR, failure.message);
        return;
    }
    if (golden_compare(golden, came, why, sizeof(why)) == 0) {
        test_result_add(result, GOLDEN, VERDICT_PASS, NULL);
    } else {
        snprintf(reason, sizeof(reason), "%.200s: %s", test->golden, why);
        test_result_add(result, GOLDEN, VERDICT_FAIL, reason);
    }
    free(golden);
}

void
golden_check(const struct suite_test *test, bool bless, struct test_result *result)
{
    struct failure failure = { .message = "vkvm run has written no trace" };
    char *came = result->trace != NULL ? canonical(result->trace, &failure) : NULL;

    if (came != NULL && !has_faults(came)) {
        failure_set(&failure, -EINVAL,
                    "no fault of the trace is in the portable form, which leaves out plain RAM: "
                    "the test needs a window, a file or vmspaces");
        free(came);
        came = NULL;
    }
    if (came != NULL && !bless)
        compare_with_file(test, came, result);
    else if (came != NULL && write_golden(test->golden, came, &failure) == 0)
        test_result_add(result, GOLDEN, VERDICT_PASS, NULL);
    else
        test_result_add(result, GOLDEN, VERDICT_ERROR, failure.message);
    free(came);
}
