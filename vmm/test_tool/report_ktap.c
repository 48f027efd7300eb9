/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A report in KTAP, version 1 (the kernel's Documentation/dev-tools/ktap.rst): three levels, suite, test
 * and subtest, each with its version line and its plan first, and full names at each.
 *
 * A suite's tests must stand together, but tests of several suites run side by side.  So one suite is
 * written as its tests end, and what the others have is kept in memory until it is their turn.
 *
 * What readers would take for something else is not written: a '#' within a name, a reason behind a
 * failure that begins with a directive's word, the words with which a kernel's log ends (kunit.py stops
 * at them).
 */
#include "vmm/test_tool/report_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INDENT 2
#define SUITE_LEVEL 0
#define TEST_LEVEL 1
#define SUBTEST_LEVEL 2

struct ktap_suite {
    const char *name; /* its first test's: a part of length */
    size_t length;
    size_t planned;
    size_t ended;
    size_t results[VERDICTS];
    bool begun;                   /* its plan has been written */
    struct report_buffer waiting; /* tests that ended before its turn */
};

struct ktap {
    struct reporter reporter;
    int error;
    struct report_roll roll;
    struct ktap_suite *suites; /* owned */
    size_t nsuites;
    size_t nwritten;            /* suites */
    struct ktap_suite *current; /* being written; NULL = none */
};

static struct ktap *
ktap_of(struct reporter *reporter)
{
    return (struct ktap *)reporter;
}

/* --- Text ------------------------------------------------------------------ */

/* kunit.py takes these, anywhere in a line, for the log's end. */
static bool
ends_a_log(const char *text)
{
    static const char *const ends[] = {
        "List of all partitions:", "Kernel panic - not syncing: VFS:", "reboot: System halted"
    };

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (strncmp(text, ends[i], strlen(ends[i])) == 0)
            return true;
    }
    return false;
}

enum place {
    PLACE_NAME,   /* what is escaped there can be told from what stands for itself */
    PLACE_REASON, /* behind a name */
    PLACE_NOTE    /* a line of its own */
};

/* A text in which nothing is taken for KTAP. */
static void
put_text(FILE *to, const char *text, enum place place)
{
    while (*text != '\0') {
        bool broken = ends_a_log(text);

        if ((*text == '#' && place != PLACE_NOTE) || (*text == '%' && place == PLACE_NAME)) {
            fputs(*text == '#' ? "%23" : "%25", to);
            text++;
        } else {
            text += report_char(to, text);
        }
        if (broken)
            putc('|', to);
    }
}

static void
indent(FILE *to, unsigned level)
{
    fprintf(to, "%*s", (int)(level * INDENT), "");
}

static void
put_plan(FILE *to, unsigned level, size_t count)
{
    indent(to, level);
    fputs("KTAP version 1\n", to);
    indent(to, level);
    fprintf(to, "1..%zu%s\n", count, count == 0 ? " # SKIP nothing was chosen" : "");
}

/* Why the line after it says what it says. */
static void
put_diagnostic(FILE *to, unsigned level, const char *text)
{
    indent(to, level);
    fputs("# | ", to);
    put_text(to, text, PLACE_NOTE);
    putc('\n', to);
}

/* --- Results --------------------------------------------------------------- */

struct ktap_line {
    unsigned level;
    size_t number;
    const char *name;
    const char *subtest; /* behind the name; NULL = none */
    enum verdict verdict;
    const char *directive; /* NULL = the verdict's */
    const char *reason;    /* NULL = none */
};

static void
put_name(FILE *to, const struct ktap_line *line)
{
    put_text(to, line->name, PLACE_NAME);
    if (line->subtest != NULL) {
        putc('/', to);
        put_text(to, line->subtest, PLACE_NAME);
    }
}

/*
 * "ok 1 suite/test # SKIP no such device".  A failure has no directive, and its reason stands before it:
 * behind it a reason such as "todo list is empty" would be one.
 */
static void
put_line(FILE *to, const struct ktap_line *line)
{
    static const char *const directives[VERDICTS] = {
        [VERDICT_ERROR] = "ERROR", [VERDICT_SKIP] = "SKIP", [VERDICT_XFAIL] = "XFAIL"
    };
    const char *directive = line->directive != NULL ? line->directive : directives[line->verdict];
    bool bad = line->verdict == VERDICT_FAIL || line->verdict == VERDICT_ERROR;

    if (directive == NULL && line->reason != NULL)
        put_diagnostic(to, line->level, line->reason);
    indent(to, line->level);
    fprintf(to, "%s %zu ", bad ? "not ok" : "ok", line->number);
    put_name(to, line);
    if (directive != NULL) {
        fprintf(to, " # %s", directive);
        if (line->reason != NULL) {
            putc(' ', to);
            put_text(to, line->reason, PLACE_REASON);
        }
    }
    putc('\n', to);
}

static void
put_subtests(FILE *to, const struct test_result *result)
{
    size_t count = report_nleaves(result);

    if (result->nsubtests == 0)
        return;
    put_plan(to, SUBTEST_LEVEL, count);
    for (size_t i = 0; i < count; i++) {
        struct report_leaf leaf = report_leaf(result, i);

        put_line(to, &(struct ktap_line){ .level = SUBTEST_LEVEL,
                                          .number = i + 1,
                                          .name = result->name,
                                          .subtest = leaf.name,
                                          .verdict = leaf.verdict,
                                          .reason = leaf.reason });
    }
    if (result->subtests_left_out != 0) {
        indent(to, SUBTEST_LEVEL);
        fprintf(to, "# | %llu more subtests\n", (unsigned long long)result->subtests_left_out);
    }
}

static void
put_attempts(FILE *to, const struct test_result *result)
{
    for (size_t i = 0; i < result->nattempts; i++) {
        const struct attempt *attempt = &result->attempts[i];

        indent(to, TEST_LEVEL);
        fprintf(to, "# | attempt %zu: %s", i + 1, verdict_name(attempt->verdict));
        if (attempt->reason != NULL) {
            fputs(": ", to);
            put_text(to, attempt->reason, PLACE_NOTE);
        }
        putc('\n', to);
    }
}

/* "not ok", so that the suite fails, and a skip, so that the test does not. */
static void
put_missing(FILE *to, size_t number, const struct test_result *result)
{
    put_line(to, &(struct ktap_line){ .level = TEST_LEVEL,
                                      .number = number,
                                      .name = result->name,
                                      .verdict = VERDICT_FAIL,
                                      .directive = "SKIP",
                                      .reason = result->reason });
}

static void
put_result(FILE *to, size_t number, const struct test_result *result)
{
    struct report_buffer flaky = { .text = NULL };
    struct ktap_line line = { .level = TEST_LEVEL,
                              .number = number,
                              .name = result->name,
                              .verdict = result->verdict,
                              .reason = result->reason };

    put_subtests(to, result);
    put_attempts(to, result);
    if (result->flaky) {
        report_buffer_open(&flaky);
        if (flaky.file != NULL)
            report_flaky(flaky.file, result);
        line.directive = "FLAKY";
        line.reason = report_buffer_close(&flaky) == 0 ? flaky.text : NULL;
    }
    put_line(to, &line);
    report_buffer_fini(&flaky);
}

/* --- Suites ---------------------------------------------------------------- */

static struct ktap_suite *
find_suite(const struct ktap *ktap, const char *name)
{
    size_t length = report_suite_length(name);

    for (size_t i = 0; i < ktap->nsuites; i++) {
        if (ktap->suites[i].length == length && strncmp(ktap->suites[i].name, name, length) == 0)
            return &ktap->suites[i];
    }
    return NULL;
}

/* What the suite's line says: the worst of its tests; a skip only if all were. */
static enum verdict
suite_verdict(const struct ktap_suite *suite)
{
    if (suite->results[VERDICT_FAIL] + suite->results[VERDICT_ERROR] != 0)
        return VERDICT_FAIL;
    return suite->results[VERDICT_SKIP] == suite->planned ? VERDICT_SKIP : VERDICT_PASS;
}

static void
write_suite_begin(struct ktap *ktap, struct ktap_suite *suite)
{
    struct report_buffer buffer;

    if (suite->begun)
        return;
    suite->begun = true;
    report_buffer_open(&buffer);
    if (buffer.file != NULL)
        put_plan(buffer.file, TEST_LEVEL, suite->planned);
    report_write_buffer(ktap->reporter.to, &buffer, &ktap->error);
    if (suite->waiting.file != NULL)
        report_write_buffer(ktap->reporter.to, &suite->waiting, &ktap->error);
}

static void
write_suite_end(struct ktap *ktap, const struct ktap_suite *suite)
{
    struct report_buffer buffer;
    char *name = strndup(suite->name, suite->length);

    report_buffer_open(&buffer);
    if (buffer.file != NULL)
        put_line(buffer.file, &(struct ktap_line){ .level = SUITE_LEVEL,
                                                   .number = ++ktap->nwritten,
                                                   .name = name != NULL ? name : "?",
                                                   .verdict = suite_verdict(suite),
                                                   .reason = suite_verdict(suite) == VERDICT_SKIP
                                                                 ? "all tests were skipped"
                                                                 : NULL });
    free(name);
    report_write_buffer(ktap->reporter.to, &buffer, &ktap->error);
}

/* The next suite of which something waits, those that are complete at once. */
static void
write_waiting(struct ktap *ktap)
{
    ktap->current = NULL;
    for (size_t i = 0; i < ktap->nsuites && ktap->current == NULL; i++) {
        struct ktap_suite *suite = &ktap->suites[i];

        if (suite->begun || suite->ended == 0)
            continue;
        write_suite_begin(ktap, suite);
        if (suite->ended == suite->planned)
            write_suite_end(ktap, suite);
        else
            ktap->current = suite;
    }
}

/* Where the suite's next result goes. */
static FILE *
open_result(struct ktap *ktap, struct ktap_suite *suite, struct report_buffer *buffer)
{
    if (ktap->current == NULL)
        ktap->current = suite;
    if (ktap->current == suite) {
        write_suite_begin(ktap, suite);
        report_buffer_open(buffer);
        return buffer->file;
    }
    if (suite->waiting.file == NULL)
        report_buffer_open(&suite->waiting);
    return suite->waiting.file;
}

static void
close_result(struct ktap *ktap, struct ktap_suite *suite, struct report_buffer *buffer)
{
    if (ktap->current == suite)
        report_write_buffer(ktap->reporter.to, buffer, &ktap->error);
    else if (suite->waiting.file == NULL && ktap->error == 0)
        ktap->error = -ENOMEM;
    if (ktap->current == suite && suite->ended == suite->planned) {
        write_suite_end(ktap, suite);
        write_waiting(ktap);
    }
}

/* `put` writes its lines. */
static void
add_result(struct ktap *ktap, const struct test_result *result,
           void (*put)(FILE *to, size_t number, const struct test_result *result))
{
    struct ktap_suite *suite = find_suite(ktap, result->test->name);
    struct report_buffer buffer = { .text = NULL };
    FILE *to;

    if (suite == NULL || suite->ended == suite->planned)
        return;
    to = open_result(ktap, suite, &buffer);
    suite->results[result->verdict]++;
    suite->ended++;
    if (to != NULL)
        put(to, suite->ended, result);
    close_result(ktap, suite, &buffer);
}

/* --- The reporter ---------------------------------------------------------- */

static void
count_suites(struct ktap *ktap, const struct report_plan *plan)
{
    size_t repeat = plan->repeat != 0 ? plan->repeat : 1;

    for (size_t i = 0; i < plan->ntests; i++) {
        const char *name = plan->tests[i]->name;
        struct ktap_suite *suite = find_suite(ktap, name);

        if (suite == NULL) {
            suite = &ktap->suites[ktap->nsuites++];
            suite->name = name;
            suite->length = report_suite_length(name);
        }
        suite->planned += repeat;
    }
}

static void
ktap_begin(struct reporter *reporter, const struct report_plan *plan)
{
    struct ktap *ktap = ktap_of(reporter);
    struct report_buffer buffer;

    report_roll_init(&ktap->roll, plan);
    ktap->suites = calloc(plan->ntests + 1, sizeof(*ktap->suites));
    if (ktap->suites == NULL || ktap->roll.came == NULL) {
        ktap->error = -ENOMEM;
        return;
    }
    count_suites(ktap, plan);
    report_buffer_open(&buffer);
    if (buffer.file != NULL) {
        put_plan(buffer.file, SUITE_LEVEL, ktap->nsuites);
        if (plan->nfiltered != 0)
            fprintf(buffer.file, "# | %zu tests were not chosen\n", plan->nfiltered);
    }
    report_write_buffer(reporter->to, &buffer, &ktap->error);
}

static void
ktap_test_end(struct reporter *reporter, const struct test_result *result)
{
    struct ktap *ktap = ktap_of(reporter);

    report_roll_mark(&ktap->roll, result);
    add_result(ktap, result, put_result);
}

static void
add_missing(struct ktap *ktap, const struct report_totals *totals)
{
    char name[SUITE_NAME_MAX + 24], reason[128] = "not run";
    struct report_buffer buffer;
    const struct suite_test *test;
    size_t i = 0;

    report_buffer_open(&buffer);
    if (buffer.file != NULL)
        report_cut(buffer.file, totals);
    if (report_buffer_close(&buffer) == 0)
        snprintf(reason, sizeof(reason), "not run: %s", buffer.text);
    report_buffer_fini(&buffer);
    while ((test = report_roll_missing(&ktap->roll, &i, name)) != NULL)
        add_result(ktap,
                   &(struct test_result){
                       .test = test, .name = name, .verdict = VERDICT_FAIL, .reason = reason },
                   put_missing);
}

static int
ktap_end(struct reporter *reporter, const struct report_totals *totals)
{
    struct ktap *ktap = ktap_of(reporter);
    struct report_buffer buffer;

    add_missing(ktap, totals);
    report_buffer_open(&buffer);
    if (buffer.file != NULL)
        fprintf(buffer.file,
                "# | %zu passed, %zu of them flaky; %zu failed; %zu errors; %zu skipped; "
                "%zu not run\n",
                totals->results[VERDICT_PASS], totals->flaky, totals->results[VERDICT_FAIL],
                totals->results[VERDICT_ERROR], totals->results[VERDICT_SKIP], totals->not_run);
    report_write_buffer(reporter->to, &buffer, &ktap->error);
    return ktap->error;
}

static void
ktap_destroy(struct reporter *reporter)
{
    struct ktap *ktap = ktap_of(reporter);

    for (size_t i = 0; i < ktap->nsuites; i++)
        report_buffer_fini(&ktap->suites[i].waiting);
    report_roll_fini(&ktap->roll);
    free(ktap->suites);
    free(ktap);
}

static const struct reporter_ops ktap_ops = {
    .begin = ktap_begin,
    .test_end = ktap_test_end,
    .end = ktap_end,
    .destroy = ktap_destroy,
};

static struct reporter *
ktap_create(void)
{
    struct ktap *ktap = calloc(1, sizeof(*ktap));

    if (ktap == NULL)
        return NULL;
    ktap->reporter.ops = &ktap_ops;
    return &ktap->reporter;
}

const struct report_format report_ktap = {
    .name = "ktap",
    .summary = "the kernel's Test Anything Protocol, nested",
    .create = ktap_create,
};
