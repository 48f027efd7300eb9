/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A report as lines of JSON, each written when what it tells has happened.  docs/suites.md, Outputs,
 * lists the members.
 */
#include "vmm/base/json.h"
#include "vmm/test_tool/report_text.h"

#include <stdlib.h>
#include <string.h>

struct jsonl {
    struct reporter reporter;
    int error;
};

/* An object under way, in memory. */
struct jsonl_line {
    struct report_buffer buffer;
    struct json json;
};

static struct jsonl *
jsonl_of(struct reporter *reporter)
{
    return (struct jsonl *)reporter;
}

/* Returns false: no memory, which is kept as the reporter's error. */
static bool
open_line(struct jsonl *jsonl, struct jsonl_line *line, const char *kind)
{
    report_buffer_open(&line->buffer);
    if (line->buffer.file == NULL) {
        report_write_buffer(jsonl->reporter.to, &line->buffer, &jsonl->error);
        return false;
    }
    json_init(&line->json, line->buffer.file);
    json_object(&line->json, NULL);
    json_string(&line->json, "event", kind);
    return true;
}

static void
close_line(struct jsonl *jsonl, struct jsonl_line *line)
{
    json_end(&line->json);
    report_write_buffer(jsonl->reporter.to, &line->buffer, &jsonl->error);
}

static void
put_string(struct json *json, const char *key, const char *value)
{
    if (value != NULL)
        json_string(json, key, value);
}

/* --- Events ---------------------------------------------------------------- */

static void
jsonl_begin(struct reporter *reporter, const struct report_plan *plan)
{
    struct jsonl *jsonl = jsonl_of(reporter);
    struct jsonl_line line;

    if (!open_line(jsonl, &line, "begin"))
        return;
    put_string(&line.json, "program", plan->program);
    json_thousandths(&line.json, "time_us", plan->begin_ns);
    json_u64(&line.json, "tests", plan->ntests);
    json_u64(&line.json, "results", plan->nresults);
    json_u64(&line.json, "filtered", plan->nfiltered);
    json_u64(&line.json, "repeat", plan->repeat);
    json_u64(&line.json, "jobs", plan->jobs);
    if (plan->shuffled)
        json_u64(&line.json, "seed", plan->seed);
    close_line(jsonl, &line);
}

static void
jsonl_test_begin(struct reporter *reporter, const struct suite_test *test, unsigned repeat)
{
    struct jsonl *jsonl = jsonl_of(reporter);
    struct jsonl_line line;

    if (!open_line(jsonl, &line, "start"))
        return;
    json_string(&line.json, "test", test->name);
    json_u64(&line.json, "repeat", repeat);
    close_line(jsonl, &line);
}

static void
put_attempts(struct json *json, const struct test_result *result)
{
    json_array(json, "attempts");
    for (size_t i = 0; i < result->nattempts; i++) {
        const struct attempt *attempt = &result->attempts[i];

        json_object(json, NULL);
        json_string(json, "verdict", verdict_name(attempt->verdict));
        put_string(json, "reason", attempt->reason);
        json_thousandths(json, "duration_us", attempt->duration_ns);
        json_end(json);
    }
    json_end(json);
}

static void
put_subtests(struct json *json, const struct test_result *result)
{
    json_array(json, "subtests");
    for (size_t i = 0; i < result->nsubtests; i++) {
        const struct subtest *subtest = &result->subtests[i];

        json_object(json, NULL);
        json_string(json, "name", subtest->name);
        json_string(json, "verdict", verdict_name(subtest->verdict));
        put_string(json, "reason", subtest->reason);
        json_end(json);
    }
    json_end(json);
    if (result->subtests_left_out != 0)
        json_u64(json, "subtests_left_out", result->subtests_left_out);
}

static void
jsonl_test_end(struct reporter *reporter, const struct test_result *result)
{
    struct jsonl *jsonl = jsonl_of(reporter);
    struct jsonl_line line;
    struct json *json = &line.json;

    if (!open_line(jsonl, &line, "result"))
        return;
    json_string(json, "name", result->name);
    json_string(json, "test", result->test->name);
    json_u64(json, "repeat", result->repeat);
    json_string(json, "verdict", verdict_name(result->verdict));
    put_string(json, "reason", result->reason);
    json_bool(json, "flaky", result->flaky);
    if (result->exit_status >= 0)
        json_u64(json, "exit_status", (uint64_t)result->exit_status);
    json_thousandths(json, "time_us", result->begin_ns);
    json_thousandths(json, "duration_us", result->duration_ns);
    put_attempts(json, result);
    put_subtests(json, result);
    put_string(json, "console", result->console);
    put_string(json, "stats", result->stats);
    put_string(json, "trace", result->trace);
    if (result->tail != NULL && *result->tail != '\0')
        json_string(json, "tail", result->tail);
    close_line(jsonl, &line);
}

static void
put_counts(struct json *json, const char *key, const size_t counts[VERDICTS])
{
    json_object(json, key);
    for (unsigned i = 0; i < VERDICTS; i++)
        json_u64(json, verdict_name((enum verdict)i), counts[i]);
    json_end(json);
}

static int
jsonl_end(struct reporter *reporter, const struct report_totals *totals)
{
    struct jsonl *jsonl = jsonl_of(reporter);
    struct jsonl_line line;

    if (open_line(jsonl, &line, "end")) {
        put_counts(&line.json, "results", totals->results);
        put_counts(&line.json, "subtests", totals->subtests);
        json_u64(&line.json, "flaky", totals->flaky);
        json_u64(&line.json, "filtered", totals->filtered);
        json_u64(&line.json, "not_run", totals->not_run);
        if (totals->interrupted != 0)
            json_u64(&line.json, "signal", (uint64_t)totals->interrupted);
        json_thousandths(&line.json, "duration_us", totals->duration_ns);
        close_line(jsonl, &line);
    }
    return jsonl->error;
}

static void
jsonl_destroy(struct reporter *reporter)
{
    free(jsonl_of(reporter));
}

static const struct reporter_ops jsonl_ops = {
    .begin = jsonl_begin,
    .test_begin = jsonl_test_begin,
    .test_end = jsonl_test_end,
    .end = jsonl_end,
    .destroy = jsonl_destroy,
};

static struct reporter *
jsonl_create(void)
{
    struct jsonl *jsonl = calloc(1, sizeof(*jsonl));

    if (jsonl == NULL)
        return NULL;
    jsonl->reporter.ops = &jsonl_ops;
    return &jsonl->reporter;
}

const struct report_format report_jsonl = {
    .name = "jsonl",
    .summary = "lines of JSON as it goes",
    .create = jsonl_create,
};
