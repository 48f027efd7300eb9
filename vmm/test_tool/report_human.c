/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A report for a person: a line for each test, why it failed below it, all failures again at the end, and
 * the counts as the last line.  On a terminal the last line on the screen says what is under way.
 *
 * What a guest or a reason says stands behind "  | ", so that no script takes it for a count of ours.
 */
#include "vmm/test_tool/report_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_SUBTESTS 10u
#define LIVE_MAX 79 /* columns: a narrower terminal would break the line */

struct human {
    struct reporter reporter;
    int error;
    bool live;                     /* a line that is under way is on the screen */
    struct report_buffer failures; /* told again at the end */
    size_t nfailures;
    size_t nflaky;
    struct report_buffer flaky;
};

static struct human *
human_of(struct reporter *reporter)
{
    return (struct human *)reporter;
}

static void
put_quoted(FILE *to, const char *text)
{
    fputs("  | ", to);
    report_line(to, text);
    putc('\n', to);
}

/* --- Tests ----------------------------------------------------------------- */

/* The console's last lines. */
static void
put_tail(FILE *to, const char *tail)
{
    while (tail != NULL && *tail != '\0') {
        size_t length = strcspn(tail, "\n");
        char *line = strndup(tail, length);

        if (line == NULL)
            return;
        put_quoted(to, line);
        free(line);
        tail += length + (tail[length] == '\n');
    }
}

static bool
is_bad(enum verdict verdict)
{
    return verdict == VERDICT_FAIL || verdict == VERDICT_ERROR;
}

static void
put_bad_subtests(FILE *to, const struct test_result *result)
{
    size_t shown = 0, bad = 0;

    for (size_t i = 0; i < result->nsubtests; i++) {
        const struct subtest *subtest = &result->subtests[i];

        if (!is_bad(subtest->verdict) || ++bad > SHOWN_SUBTESTS)
            continue;
        shown++;
        fputs("  | ", to);
        report_line(to, subtest->name);
        if (subtest->reason != NULL) {
            fputs(": ", to);
            report_line(to, subtest->reason);
        }
        putc('\n', to);
    }
    if (bad > shown)
        fprintf(to, "  | ... and %zu more subtests\n", bad - shown);
}

static void
put_attempts(FILE *to, const struct test_result *result)
{
    for (size_t i = 0; i < result->nattempts; i++) {
        const struct attempt *attempt = &result->attempts[i];

        fprintf(to, "  | attempt %zu: %s: ", i + 1, verdict_name(attempt->verdict));
        report_line(to, attempt->reason != NULL ? attempt->reason : "no reason is known");
        putc('\n', to);
    }
}

/* Is the reason that of a subtest, which is shown anyway? */
static bool
is_told(const struct test_result *result)
{
    for (size_t i = 0; i < result->nsubtests; i++) {
        const struct subtest *subtest = &result->subtests[i];
        size_t length = strlen(subtest->name);

        if (is_bad(subtest->verdict) && strncmp(result->reason, subtest->name, length) == 0)
            return true;
    }
    return false;
}

/* `whole`: with what the console said. */
static void
put_result(FILE *to, const struct test_result *result, bool whole)
{
    uint64_t ms = result->duration_ns / 1000000;

    fprintf(to, "%-5s ", result->flaky ? "FLAKY" : verdict_name(result->verdict));
    report_line(to, result->name);
    fprintf(to, " (%llu.%03llu s)\n", (unsigned long long)(ms / 1000),
            (unsigned long long)(ms % 1000));
    put_attempts(to, result);
    if (result->reason != NULL && !is_told(result))
        put_quoted(to, result->reason);
    put_bad_subtests(to, result);
    if (is_bad(result->verdict)) {
        if (whole)
            put_tail(to, result->tail);
        if (result->console != NULL)
            put_quoted(to, result->console);
    }
}

/* --- The live line --------------------------------------------------------- */

static void
clear_live(struct human *human)
{
    if (human->live)
        report_write(human->reporter.to, "\r\033[K", 4, &human->error);
    human->live = false;
}

static void
human_progress(struct reporter *reporter, const struct report_progress *progress)
{
    struct human *human = human_of(reporter);
    struct report_buffer line;
    char failed[32] = "", others[32] = "";
    int width;

    if (!reporter->terminal)
        return;
    if (progress->failed != 0)
        snprintf(failed, sizeof(failed), ", %zu bad", progress->failed);
    if (progress->nrunning > 1)
        snprintf(others, sizeof(others), " and %zu more", progress->nrunning - 1);
    report_buffer_open(&line);
    if (line.file == NULL)
        return;
    width = fprintf(line.file, "\r\033[K[%zu/%zu%s] %llu s ", progress->done, progress->total,
                    failed, (unsigned long long)(progress->elapsed_ns / 1000000000));
    /* Bytes, which are at least as many as columns. */
    if (progress->running != NULL)
        fprintf(line.file, "%.*s", LIVE_MAX - width - (int)strlen(others), progress->running);
    fputs(others, line.file);
    human->live = true;
    report_write_buffer(reporter->to, &line, &human->error);
}

/* --- The run --------------------------------------------------------------- */

static void
human_begin(struct reporter *reporter, const struct report_plan *plan)
{
    struct human *human = human_of(reporter);
    struct report_buffer line;

    report_buffer_open(&human->failures);
    report_buffer_open(&human->flaky);
    if (!plan->shuffled && plan->repeat <= 1)
        return;
    report_buffer_open(&line);
    if (line.file != NULL) {
        fprintf(line.file, "%zu tests", plan->ntests);
        if (plan->repeat > 1)
            fprintf(line.file, ", %u times", plan->repeat);
        if (plan->shuffled)
            fprintf(line.file, ", in the order of --shuffle %llu", (unsigned long long)plan->seed);
        putc('\n', line.file);
    }
    report_write_buffer(reporter->to, &line, &human->error);
}

static void
human_test_end(struct reporter *reporter, const struct test_result *result)
{
    struct human *human = human_of(reporter);
    struct report_buffer text;

    clear_live(human);
    report_buffer_open(&text);
    if (text.file != NULL)
        put_result(text.file, result, true);
    report_write_buffer(reporter->to, &text, &human->error);
    if (is_bad(result->verdict)) {
        human->nfailures++;
        if (human->failures.file != NULL)
            put_result(human->failures.file, result, false);
    } else if (result->flaky) {
        human->nflaky++;
        if (human->flaky.file != NULL)
            put_result(human->flaky.file, result, false);
    }
}

static void
put_again(FILE *to, struct report_buffer *buffer, size_t count, const char *what)
{
    if (count == 0)
        return;
    fprintf(to, "\n%s:\n", what);
    if (report_buffer_close(buffer) == 0)
        fwrite(buffer->text, 1, buffer->size, to);
    else
        fputs("  | out of memory: see above\n", to);
}

/* ", N WORD" if there are any. */
static void
put_more(FILE *to, size_t count, const char *word)
{
    if (count != 0)
        fprintf(to, ", %zu %s", count, word);
}

/* Other scripts look for "N passed, M failed": an error is a failure there, and named. */
static void
put_totals(FILE *to, const struct report_totals *totals)
{
    size_t errors = totals->results[VERDICT_ERROR];

    fprintf(to, "%zu passed, %zu failed", totals->results[VERDICT_PASS],
            totals->results[VERDICT_FAIL] + errors);
    if (errors != 0)
        fprintf(to, " (%zu by an error)", errors);
    fprintf(to, ", %zu skipped", totals->results[VERDICT_SKIP]);
    put_more(to, totals->flaky, "flaky");
    put_more(to, totals->filtered, "not chosen");
    put_more(to, totals->not_run, "not run");
    putc('\n', to);
}

static int
human_end(struct reporter *reporter, const struct report_totals *totals)
{
    struct human *human = human_of(reporter);
    struct report_buffer text;

    clear_live(human);
    report_buffer_open(&text);
    if (text.file != NULL) {
        put_again(text.file, &human->failures, human->nfailures, "what failed");
        put_again(text.file, &human->flaky, human->nflaky, "what passed only after a retry");
        if (totals->not_run != 0) {
            fputs("\nnot everything ran: ", text.file);
            report_cut(text.file, totals);
            putc('\n', text.file);
        } else if (totals->results[VERDICT_SKIP] != 0 && totals->results[VERDICT_PASS] +
                                                                 totals->results[VERDICT_FAIL] +
                                                                 totals->results[VERDICT_ERROR] ==
                                                             0) {
            fputs("\nall was skipped: that is no success\n", text.file);
        }
        put_totals(text.file, totals);
    }
    report_write_buffer(reporter->to, &text, &human->error);
    return human->error;
}

static void
human_destroy(struct reporter *reporter)
{
    struct human *human = human_of(reporter);

    report_buffer_fini(&human->failures);
    report_buffer_fini(&human->flaky);
    free(human);
}

static const struct reporter_ops human_ops = {
    .begin = human_begin,
    .progress = human_progress,
    .test_end = human_test_end,
    .end = human_end,
    .destroy = human_destroy,
};

static struct reporter *
human_create(void)
{
    struct human *human = calloc(1, sizeof(*human));

    if (human == NULL)
        return NULL;
    human->reporter.ops = &human_ops;
    return &human->reporter;
}

const struct report_format report_human = {
    .name = "human",
    .summary = "lines for a person, and what is under way on a terminal",
    .create = human_create,
};
