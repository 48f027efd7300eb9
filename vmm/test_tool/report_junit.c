/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A report as JUnit's XML, of which there is no one schema: what Jenkins, GitLab and pytest's readers all
 * take (tests/suites/junit.xsd).
 *
 * A suite's tests are the cases of a testsuite; a test with subtests is a testsuite of its own, so that
 * it has its time and its console.  The counts of an element stand before its contents, so all is kept in
 * memory and written at the end.
 *
 * Each element is written by open_tag, attributes and close_tag from one place, and all text goes through
 * put_xml, which lets only XML's characters (XML 1.0, section 2.2) pass and escapes the markup's: so the
 * result is well-formed whatever a guest prints.
 */
#include "vmm/base/utf8.h"
#include "vmm/test_tool/report_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct junit_counts {
    size_t tests, failures, errors, skipped;
};

/* A testsuite under way. */
struct junit_suite {
    char *name; /* owned */
    struct junit_counts counts;
    uint64_t begin_ns, duration_ns;
    struct report_buffer cases;
    struct report_buffer flaky; /* for its system-err */
};

struct junit {
    struct reporter reporter;
    int error;
    struct report_roll roll;
    struct junit_suite **suites; /* owned, each by itself: its buffers are written where they lie */
    size_t nsuites, room;
};

static struct junit *
junit_of(struct reporter *reporter)
{
    return (struct junit *)reporter;
}

/* --- XML ------------------------------------------------------------------- */

/* What XML 1.0 has no character for. */
static bool
is_forbidden(const char *text, unsigned length)
{
    const unsigned char *s = (const unsigned char *)text;

    if (length == 1)
        return s[0] < 0x20 && s[0] != '\t' && s[0] != '\n' && s[0] != '\r';
    /* U+FFFE and U+FFFF; a surrogate is no UTF-8. */
    return length == 3 && s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe;
}

/* DEL and C1 are characters, but nobody wants them; a carriage return would be read as a line's end. */
static bool
is_unwanted(const char *text, unsigned length)
{
    return *text == '\r' || *text == 0x7f ||
           (length == 2 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0);
}

/* In an attribute a line's end would be read as a blank, unless it is a reference. */
static const char *
escape_of(char c, bool attribute)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>': /* "]]>" may not stand in text */
        return "&gt;";
    case '"':
        return "&quot;";
    case '\n':
        return attribute ? "&#10;" : NULL;
    case '\t':
        return attribute ? "&#9;" : NULL;
    default:
        return NULL;
    }
}

static void
put_xml(FILE *to, const char *text, bool attribute)
{
    while (*text != '\0') {
        unsigned length = utf8_length(text);
        const char *escape = escape_of(*text, attribute);

        if (*text == '\033') {
            text += report_escape_length(text);
            continue;
        }
        if (length == 0)
            fputs("\xef\xbf\xbd", to);
        else if (escape != NULL)
            fputs(escape, to);
        else if (!is_forbidden(text, length) && !is_unwanted(text, length))
            fwrite(text, 1, length, to);
        text += length != 0 ? length : 1;
    }
}

static void
open_tag(FILE *to, unsigned level, const char *name)
{
    fprintf(to, "%*s<%s", (int)(2 * level), "", name);
}

static void
put_attribute(FILE *to, const char *name, const char *value)
{
    fprintf(to, " %s=\"", name);
    put_xml(to, value, true);
    putc('"', to);
}

static void
put_count(FILE *to, const char *name, size_t value)
{
    fprintf(to, " %s=\"%zu\"", name, value);
}

/* Seconds. */
static void
put_time(FILE *to, uint64_t ns)
{
    fprintf(to, " time=\"%" PRIu64 ".%06" PRIu64 "\"", ns / 1000000000, ns / 1000 % 1000000);
}

/* An element of text: <system-out>...</system-out>. */
static void
put_element(FILE *to, unsigned level, const char *name, const char *text)
{
    open_tag(to, level, name);
    putc('>', to);
    put_xml(to, text, false);
    fprintf(to, "</%s>\n", name);
}

static void
put_counts(FILE *to, const struct junit_counts *counts)
{
    put_count(to, "tests", counts->tests);
    put_count(to, "failures", counts->failures);
    put_count(to, "errors", counts->errors);
    put_count(to, "skipped", counts->skipped);
}

/* Of CLOCK_REALTIME, in UTC; the schema of Ant's takes no zone. */
static void
put_timestamp(FILE *to, uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    char text[32] = "";
    struct tm tm;

    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    put_attribute(to, "timestamp", text);
}

/* --- Cases ----------------------------------------------------------------- */

struct junit_case {
    const char *class; /* SUITE or SUITE/TEST */
    const char *name;
    enum verdict verdict;
    const char *type;   /* of what went wrong; NULL = the verdict's */
    const char *reason; /* NULL = none */
    uint64_t duration_ns;
    const char *out; /* NULL = nothing */
    const char *err;
};

static void
put_verdict(FILE *to, const struct junit_case *c)
{
    static const struct {
        const char *element, *type;
    } words[VERDICTS] = {
        [VERDICT_FAIL] = { "failure", "fail" },
        [VERDICT_ERROR] = { "error", "error" },
        [VERDICT_SKIP] = { "skipped", "skip" },
    };

    if (words[c->verdict].element == NULL)
        return;
    open_tag(to, 3, words[c->verdict].element);
    put_attribute(to, "message", c->reason != NULL ? c->reason : "");
    put_attribute(to, "type", c->type != NULL ? c->type : words[c->verdict].type);
    fputs("/>\n", to);
}

static void
put_case(FILE *to, const struct junit_case *c)
{
    open_tag(to, 2, "testcase");
    put_attribute(to, "classname", c->class);
    put_attribute(to, "name", c->name);
    put_time(to, c->duration_ns);
    fputs(">\n", to);
    put_verdict(to, c);
    if (c->out != NULL && *c->out != '\0')
        put_element(to, 3, "system-out", c->out);
    if (c->verdict == VERDICT_XFAIL && c->reason != NULL)
        put_element(to, 3, "system-err", c->reason);
    else if (c->err != NULL && *c->err != '\0')
        put_element(to, 3, "system-err", c->err);
    fputs("    </testcase>\n", to);
}

static void
add_case(struct junit_suite *suite, const struct junit_case *c)
{
    suite->counts.tests++;
    suite->counts.failures += c->verdict == VERDICT_FAIL;
    suite->counts.errors += c->verdict == VERDICT_ERROR;
    suite->counts.skipped += c->verdict == VERDICT_SKIP;
    if (suite->cases.file != NULL)
        put_case(suite->cases.file, c);
}

/* --- Suites ---------------------------------------------------------------- */

/* A new one of that name.  Returns NULL: no memory. */
static struct junit_suite *
new_suite(struct junit *junit, const char *name, size_t length)
{
    if (junit->nsuites == junit->room) {
        size_t room = junit->room == 0 ? 16 : 2 * junit->room;
        struct junit_suite **suites = reallocarray(junit->suites, room, sizeof(*suites));

        if (suites == NULL)
            return NULL;
        junit->suites = suites;
        junit->room = room;
    }
    struct junit_suite *suite = calloc(1, sizeof(*suite));
    if (suite == NULL)
        return NULL;
    suite->name = strndup(name, length);
    if (suite->name == NULL) {
        free(suite);
        return NULL;
    }
    report_buffer_open(&suite->cases);
    report_buffer_open(&suite->flaky);
    junit->suites[junit->nsuites++] = suite;
    return suite;
}

static struct junit_suite *
suite_of(struct junit *junit, const char *name)
{
    size_t length = report_suite_length(name);

    for (size_t i = 0; i < junit->nsuites; i++) {
        if (strlen(junit->suites[i]->name) == length &&
            strncmp(junit->suites[i]->name, name, length) == 0)
            return junit->suites[i];
    }
    return new_suite(junit, name, length);
}

static void
put_suite(FILE *to, const struct junit_suite *suite, const char *host)
{
    open_tag(to, 1, "testsuite");
    put_attribute(to, "name", suite->name);
    put_counts(to, &suite->counts);
    put_time(to, suite->duration_ns);
    put_timestamp(to, suite->begin_ns);
    put_attribute(to, "hostname", host);
    fputs(">\n", to);
    fwrite(suite->cases.text, 1, suite->cases.size, to);
    if (suite->flaky.size != 0)
        put_element(to, 2, "system-err", suite->flaky.text);
    fputs("  </testsuite>\n", to);
}

static void
add_flaky(struct junit_suite *suite, const struct test_result *result)
{
    FILE *to = suite->flaky.file;

    if (!result->flaky || to == NULL)
        return;
    fprintf(to, "flaky: %s: ", result->name);
    report_flaky(to, result);
    putc('\n', to);
}

static void
add_time(struct junit_suite *suite, const struct test_result *result)
{
    if (suite->begin_ns == 0 || result->begin_ns < suite->begin_ns)
        suite->begin_ns = result->begin_ns;
    suite->duration_ns += result->duration_ns;
}

/* The name behind the suite's. */
static const char *
name_within(const char *name)
{
    size_t length = report_suite_length(name);

    return name[length] == '/' ? name + length + 1 : name;
}

/* --- Results --------------------------------------------------------------- */

static const char *
wanted_tail(const struct test_result *result)
{
    return result->verdict == VERDICT_FAIL || result->verdict == VERDICT_ERROR || result->flaky
               ? result->tail
               : NULL;
}

/* The attempts before the last, a line each.  The caller frees the buffer. */
static void
tell_attempts(const struct test_result *result, struct report_buffer *buffer)
{
    report_buffer_open(buffer);
    for (size_t i = 0; i < result->nattempts && buffer->file != NULL; i++) {
        const struct attempt *attempt = &result->attempts[i];

        fprintf(buffer->file, "attempt %zu: %s%s%s\n", i + 1, verdict_name(attempt->verdict),
                attempt->reason != NULL ? ": " : "",
                attempt->reason != NULL ? attempt->reason : "");
    }
    if (report_buffer_close(buffer) != 0)
        report_buffer_fini(buffer);
}

static void
add_test(struct junit_suite *suite, const struct test_result *result)
{
    struct report_buffer attempts;

    tell_attempts(result, &attempts);
    add_case(suite, &(struct junit_case){ .class = suite->name,
                                          .name = name_within(result->name),
                                          .verdict = result->verdict,
                                          .reason = result->reason,
                                          .duration_ns = result->duration_ns,
                                          .out = wanted_tail(result),
                                          .err = attempts.text });
    report_buffer_fini(&attempts);
}

static void
add_subtests(struct junit_suite *suite, const struct test_result *result)
{
    size_t count = report_nleaves(result);
    struct report_buffer attempts;

    tell_attempts(result, &attempts);
    for (size_t i = 0; i < count; i++) {
        struct report_leaf leaf = report_leaf(result, i);
        bool last = i + 1 == count;

        add_case(suite, &(struct junit_case){ .class = suite->name,
                                              .name = leaf.name,
                                              .verdict = leaf.verdict,
                                              .reason = leaf.reason,
                                              .duration_ns = last ? result->duration_ns : 0,
                                              .out = last ? wanted_tail(result) : NULL,
                                              .err = last ? attempts.text : NULL });
    }
    report_buffer_fini(&attempts);
}

static void
add_result(struct junit *junit, const struct test_result *result)
{
    struct junit_suite *suite = result->nsubtests == 0
                                    ? suite_of(junit, result->name)
                                    : new_suite(junit, result->name, strlen(result->name));

    if (suite == NULL) {
        junit->error = -ENOMEM;
        return;
    }
    if (result->nsubtests == 0)
        add_test(suite, result);
    else
        add_subtests(suite, result);
    add_time(suite, result);
    add_flaky(suite, result);
}

/* --- The reporter ---------------------------------------------------------- */

static void
junit_begin(struct reporter *reporter, const struct report_plan *plan)
{
    report_roll_init(&junit_of(reporter)->roll, plan);
}

static void
junit_test_end(struct reporter *reporter, const struct test_result *result)
{
    report_roll_mark(&junit_of(reporter)->roll, result);
    add_result(junit_of(reporter), result);
}

/* What did not run is a skip of a type of its own. */
static void
add_missing(struct junit *junit, const struct report_totals *totals)
{
    char name[SUITE_NAME_MAX + 24];
    struct report_buffer reason;
    size_t i = 0;

    report_buffer_open(&reason);
    if (reason.file != NULL) {
        fputs("not run: ", reason.file);
        report_cut(reason.file, totals);
    }
    if (report_buffer_close(&reason) != 0)
        junit->error = -ENOMEM;
    while (report_roll_missing(&junit->roll, &i, name) != NULL) {
        struct junit_suite *suite = suite_of(junit, name);

        if (suite == NULL) {
            junit->error = -ENOMEM;
            break;
        }
        add_case(suite, &(struct junit_case){ .class = suite->name,
                                              .name = name_within(name),
                                              .verdict = VERDICT_SKIP,
                                              .type = "not-run",
                                              .reason = reason.text });
    }
    report_buffer_fini(&reason);
}

/* Returns 0, or -ENOMEM: a suite lacks something. */
static int
close_suites(struct junit *junit)
{
    int error = 0;

    for (size_t i = 0; i < junit->nsuites; i++) {
        if (report_buffer_close(&junit->suites[i]->cases) != 0 ||
            report_buffer_close(&junit->suites[i]->flaky) != 0)
            error = -ENOMEM;
        if (junit->suites[i]->begin_ns == 0)
            junit->suites[i]->begin_ns = junit->roll.plan.begin_ns;
    }
    return error;
}

static void
put_document(FILE *to, const struct junit *junit, const struct report_totals *totals)
{
    struct junit_counts all = { .tests = 0 };
    char host[256] = "";

    if (gethostname(host, sizeof(host) - 1) != 0)
        snprintf(host, sizeof(host), "localhost");
    for (size_t i = 0; i < junit->nsuites; i++) {
        all.tests += junit->suites[i]->counts.tests;
        all.failures += junit->suites[i]->counts.failures;
        all.errors += junit->suites[i]->counts.errors;
        all.skipped += junit->suites[i]->counts.skipped;
    }
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", to);
    open_tag(to, 0, "testsuites");
    put_attribute(to, "name", "vkvm test");
    put_counts(to, &all);
    put_time(to, totals->duration_ns);
    put_timestamp(to, junit->roll.plan.begin_ns);
    put_attribute(to, "hostname", host);
    fputs(">\n", to);
    for (size_t i = 0; i < junit->nsuites; i++)
        put_suite(to, junit->suites[i], host);
    fputs("</testsuites>\n", to);
}

static int
junit_end(struct reporter *reporter, const struct report_totals *totals)
{
    struct junit *junit = junit_of(reporter);
    struct report_buffer document;

    add_missing(junit, totals);
    if (close_suites(junit) != 0)
        return -ENOMEM;
    report_buffer_open(&document);
    if (document.file != NULL)
        put_document(document.file, junit, totals);
    report_write_buffer(reporter->to, &document, &junit->error);
    return junit->error;
}

static void
junit_destroy(struct reporter *reporter)
{
    struct junit *junit = junit_of(reporter);

    for (size_t i = 0; i < junit->nsuites; i++) {
        report_buffer_fini(&junit->suites[i]->cases);
        report_buffer_fini(&junit->suites[i]->flaky);
        free(junit->suites[i]->name);
        free(junit->suites[i]);
    }
    report_roll_fini(&junit->roll);
    free(junit->suites);
    free(junit);
}

static const struct reporter_ops junit_ops = {
    .begin = junit_begin,
    .test_end = junit_test_end,
    .end = junit_end,
    .destroy = junit_destroy,
};

static struct reporter *
junit_create(void)
{
    struct junit *junit = calloc(1, sizeof(*junit));

    if (junit == NULL)
        return NULL;
    junit->reporter.ops = &junit_ops;
    return &junit->reporter;
}

const struct report_format report_junit = {
    .name = "junit",
    .summary = "JUnit's XML, at the end",
    .whole = true,
    .create = junit_create,
};
