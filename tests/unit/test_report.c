/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report: its sums, its text, and its JSON, which a strict reader written
 * here after RFC 8259 must accept and from which every figure is read back.
 */
#include "vmm/base/json.h"
#include "vmm/cli/cli.h"
#include "vmm/cli/report.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A JSON text being read; `at` is NULL once it proved wrong. */
struct reader {
    const char *at;
    const char *wanted; /* path of a value, "a.b"; NULL = none */
    char path[128];     /* of the value being read */
    const char *found;  /* where the wanted value starts ... */
    size_t found_size;  /* ... and its length */
};

static void
expect_char(struct reader *r, char c)
{
    if (r->at != NULL)
        r->at = *r->at == c ? r->at + 1 : NULL;
}

/* Length of one UTF-8 sequence, decoded by value: 0 for none, overlong, surrogate or too large. */
static size_t
utf8_size(const unsigned char *s)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t size = s[0] < 0x80       ? 1
                  : s[0] >> 5 == 6  ? 2
                  : s[0] >> 4 == 14 ? 3
                  : s[0] >> 3 == 30 ? 4
                                    : 0;
    uint32_t value;

    if (size <= 1)
        return size;
    value = s[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3fu);
    }
    return value < least[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0
                                                                                          : size;
}

/* What follows a backslash. */
static void
read_escape(struct reader *r)
{
    if (*r->at == 'u') {
        for (int i = 1; i <= 4; i++) {
            if (!isxdigit((unsigned char)r->at[i])) {
                r->at = NULL;
                return;
            }
        }
        r->at += 5;
    } else {
        r->at = *r->at != '\0' && strchr("\"\\/bfnrt", *r->at) != NULL ? r->at + 1 : NULL;
    }
}

static void
read_string(struct reader *r)
{
    expect_char(r, '"');
    while (r->at != NULL && *r->at != '"') {
        size_t size = utf8_size((const unsigned char *)r->at);

        if ((unsigned char)*r->at < 0x20 || size == 0)
            r->at = NULL;
        else if (*r->at++ == '\\')
            read_escape(r);
        else
            r->at += size - 1;
    }
    expect_char(r, '"');
}

static void
read_digits(struct reader *r)
{
    if (r->at == NULL || !isdigit((unsigned char)*r->at)) {
        r->at = NULL;
        return;
    }
    while (isdigit((unsigned char)*r->at))
        r->at++;
}

static void
read_number(struct reader *r)
{
    if (r->at[0] == '0' && isdigit((unsigned char)r->at[1]))
        r->at = NULL;
    read_digits(r);
    if (r->at != NULL && *r->at == '.') {
        r->at++;
        read_digits(r);
    }
}

static void
read_word(struct reader *r, const char *word)
{
    r->at = strncmp(r->at, word, strlen(word)) == 0 ? r->at + strlen(word) : NULL;
}

static void read_value(struct reader *r);

static void
read_member(struct reader *r)
{
    size_t length = strlen(r->path), size;
    const char *key = r->at + 1;

    read_string(r);
    if (r->at == NULL)
        return;
    size = (size_t)(r->at - 1 - key);
    if (length + size + 2 > sizeof(r->path)) {
        r->at = NULL;
        return;
    }
    snprintf(r->path + length, sizeof(r->path) - length, "%s%.*s", length != 0 ? "/" : "",
             (int)size, key);
    expect_char(r, ':');
    read_value(r);
    r->path[length] = '\0';
}

static void
read_list(struct reader *r, char open, char close, void (*item)(struct reader *r))
{
    expect_char(r, open);
    if (r->at != NULL && *r->at != close) {
        item(r);
        while (r->at != NULL && *r->at == ',') {
            r->at++;
            item(r);
        }
    }
    expect_char(r, close);
}

static void
read_value(struct reader *r)
{
    const char *start = r->at;

    if (r->at == NULL)
        return;
    switch (*r->at) {
    case '{':
        read_list(r, '{', '}', read_member);
        break;
    case '[':
        read_list(r, '[', ']', read_value);
        break;
    case '"':
        read_string(r);
        break;
    case 't':
        read_word(r, "true");
        break;
    case 'f':
        read_word(r, "false");
        break;
    default:
        read_number(r);
        break;
    }
    if (r->at != NULL && r->wanted != NULL && strcmp(r->path, r->wanted) == 0) {
        cr_expect(r->found == NULL, "%s is there twice", r->wanted);
        r->found = start;
        r->found_size = (size_t)(r->at - start);
    }
}

/* Read one line of JSON, strictly; text of the value at `wanted` ("a/b") in a static buffer. */
static const char *
value_at(const char *text, const char *wanted)
{
    static char value[2048];
    struct reader r = { .at = text, .wanted = wanted };

    read_value(&r);
    cr_assert(r.at != NULL, "not JSON: %s", text);
    cr_assert(strcmp(r.at, "\n") == 0, "after the value: '%s'", r.at);
    if (wanted == NULL)
        return NULL;
    if (r.found == NULL)
        return NULL;
    snprintf(value, sizeof(value), "%.*s", (int)r.found_size, r.found);
    return value;
}

static void
expect_value(const char *json, const char *path, const char *expected)
{
    const char *value = value_at(json, path);

    cr_assert(value != NULL, "%s is missing", path);
    cr_expect(strcmp(value, expected) == 0, "%s: %s, expected %s", path, value, expected);
}

static void
expect_number(const char *json, const char *path, uint64_t expected)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, expected);
    expect_value(json, path, text);
}

static void
expect_part(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no '%s' in: %s", part, text);
}

/* A report in which every figure is another and all sums hold. */
static void
fill(struct vm_report *report, struct vm_outcome *outcome)
{
    *outcome = (struct vm_outcome){ .end = VM_END_GUEST, .status = 3 };
    *report = (struct vm_report){
        .run_ns = 12345678,
        .create_ns = 987654,
        .memory_size = (uint64_t)64 << 20,
        .resident_pages = 301,
        .mapped_pages = 302,
        .ram_budget = 309,
        .swap_pages = 310,
        .swap_used = 311,
        .nvcpus = 2,
        .exits_doorbell = 303,
        .exits_console = 304,
        .exits_mmio = 305,
        .exits_efault = 306,
        .exceptions_pf = 307,
        .exceptions_ve = 308,
        .faults = { .messages = 60,
                    .missing = 10,
                    .minor = 20,
                    .write_protect = 30,
                    .resolved = 55,
                    .failed = 5,
                    .tuned = true,
                    .looks = 501,
                    .way = FAULT_WAY_SAME,
                    .way_ns = { 502000, 503000, 504000, 0, 505000 } },
        .pmap = { .enter_calls = 401,
                  .natural_pages = 402,
                  .foreign_pages = 403,
                  .foreign_evictions = 404,
                  .windows = 405 },
    };
    for (unsigned i = 0; i < 64; i++)
        report->meter[i] = 1000 + i;
    /* The first counter is the sum of the six kinds behind it. */
    report->meter[0] = 1001 + 1002 + 1003 + 1004 + 1005 + 1006;
    histogram_init(&report->faults.latency);
    for (uint64_t ns = 1000; ns <= 1000000; ns += 1000)
        histogram_add(&report->faults.latency, ns);
}

static char *
json_of(const struct vm_outcome *outcome, int status, const struct vm_report *report)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    cr_assert(to != NULL);
    report_json(to, outcome, status, report);
    fclose(to);
    cr_assert(eq(sz, strlen(text), size));
    return text;
}

static char *
text_of(const struct vm_outcome *outcome, int status, const struct vm_report *report)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    cr_assert(to != NULL);
    report_text(to, outcome, status, report);
    fclose(to);
    return text;
}

Test(report, the_reader_of_these_tests_is_strict)
{
    static const char *const wrong[] = {
        "",
        "{",
        "{}x",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "01",
        "1.",
        ".5",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "nan",
        "tru",
        "{a:1}",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct reader r = { .at = wrong[i] };

        read_value(&r);
        cr_expect(r.at == NULL || *r.at != '\0', "%s", wrong[i]);
    }
    value_at("{\"a\":[1,2.5,\"\\u00e9\xc3\xa9\",true,{}],\"b\":false}\n", NULL);
}

Test(report, sums_that_hold_add_up)
{
    struct vm_outcome outcome;
    struct vm_report report;
    struct report_sums sums;

    fill(&report, &outcome);
    report_sums(&report, &sums);
    cr_expect(eq(u64, sums.faults, 6021));
    cr_expect(eq(u64, sums.fault_kinds, 6021));
    cr_expect(eq(u64, sums.messages, 60));
    cr_expect(eq(u64, sums.message_kinds, 60));
    cr_expect(sums.add_up);
}

Test(report, a_fault_or_message_of_no_kind_does_not_add_up)
{
    struct vm_outcome outcome;
    struct vm_report report;
    struct report_sums sums;
    char *text, *json;

    fill(&report, &outcome);
    report.meter[0]++;
    report_sums(&report, &sums);
    cr_expect(not(sums.add_up));
    text = text_of(&outcome, 3, &report);
    json = json_of(&outcome, 3, &report);
    expect_part(text, "faults by kind: total 6022, sum of kinds 6021: DOES NOT ADD UP");
    expect_part(text, "messages by kind: total 60, sum of kinds 60: adds up");
    expect_value(json, "adds_up", "false");
    free(text);
    free(json);
    fill(&report, &outcome);
    report.faults.minor--;
    report_sums(&report, &sums);
    cr_expect(not(sums.add_up));
    text = text_of(&outcome, 3, &report);
    expect_part(text, "messages by kind: total 60, sum of kinds 59: DOES NOT ADD UP");
    free(text);
}

Test(report, the_text_says_how_it_ended_and_that_it_adds_up)
{
    struct vm_outcome outcome;
    struct vm_report report;
    char *text;

    fill(&report, &outcome);
    text = text_of(&outcome, 3, &report);
    expect_part(text, "ended by: guest, exit status 3");
    expect_part(text, "faults by kind: total 6021, sum of kinds 6021: adds up");
    expect_part(text, "messages by kind: total 60, sum of kinds 60: adds up");
    cr_expect(strstr(text, "NOT ADD UP") == NULL);
    expect_part(text, "12.345 ms");
    expect_part(text, "1000.000 us");
    free(text);
}

Test(report, the_text_has_every_counter_of_the_engine)
{
    struct vm_outcome outcome;
    struct vm_report report;
    char *text;

    fill(&report, &outcome);
    text = text_of(&outcome, 3, &report);
#define FIELD(name, description) expect_part(text, description);
    VM_METER_FIELDS(FIELD)
#undef FIELD
    free(text);
}

Test(report, without_messages_there_is_no_latency_in_the_text)
{
    struct vm_outcome outcome;
    struct vm_report report;
    char *text;

    fill(&report, &outcome);
    histogram_init(&report.faults.latency);
    text = text_of(&outcome, 3, &report);
    cr_expect(strstr(text, "latency") == NULL);
    free(text);
}

Test(report, the_json_is_one_line_with_every_figure)
{
    struct vm_outcome outcome;
    struct vm_report report;
    char path[64], *json;
    unsigned i = 0;

    fill(&report, &outcome);
    json = json_of(&outcome, 3, &report);
    cr_expect(strchr(json, '\n') == json + strlen(json) - 1);
    expect_value(json, "vkvm", "\"" VKVM_VERSION "\"");
    expect_value(json, "create_us", "987.654");
    expect_value(json, "run_us", "12345.678");
    expect_number(json, "vcpus", 2);
    expect_number(json, "memory/size", 64 << 20);
    expect_number(json, "memory/resident_pages", 301);
    expect_number(json, "memory/mapped_pages", 302);
    expect_number(json, "memory/budget_pages", 309);
    expect_number(json, "memory/swap_pages", 310);
    expect_number(json, "memory/swap_used", 311);
#define FIELD(name, description)                         \
    snprintf(path, sizeof(path), "faults/%s", #name);    \
    expect_number(json, path, i == 0 ? 6021 : 1000 + i); \
    i++;
    VM_METER_FIELDS(FIELD)
#undef FIELD
    expect_number(json, "messages/total", 60);
    expect_number(json, "messages/missing", 10);
    expect_number(json, "messages/minor", 20);
    expect_number(json, "messages/write_protect", 30);
    expect_number(json, "messages/resolved", 55);
    expect_number(json, "messages/failed", 5);
    expect_value(json, "adds_up", "true");
    expect_number(json, "exits/doorbell", 303);
    expect_number(json, "exits/console", 304);
    expect_number(json, "exits/mmio", 305);
    expect_number(json, "exits/efault", 306);
    expect_number(json, "exceptions/pf", 307);
    expect_number(json, "exceptions/ve", 308);
    expect_number(json, "pmap/enter_calls", 401);
    expect_number(json, "pmap/natural_pages", 402);
    expect_number(json, "pmap/foreign_pages", 403);
    expect_number(json, "pmap/foreign_evictions", 404);
    expect_number(json, "pmap/windows", 405);
    free(json);
}

Test(report, the_json_has_the_latency_in_microseconds)
{
    static const struct {
        const char *path;
        double us;
    } cases[] = {
        { "latency_us/min", 1 },   { "latency_us/p50", 500 },   { "latency_us/p90", 900 },
        { "latency_us/p99", 990 }, { "latency_us/p99.9", 999 }, { "latency_us/max", 1000 },
    };
    struct vm_outcome outcome;
    struct vm_report report;
    char *json;

    fill(&report, &outcome);
    json = json_of(&outcome, 3, &report);
    expect_number(json, "latency_us/count", 1000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *value = value_at(json, cases[i].path);

        cr_assert(value != NULL, "%s", cases[i].path);
        /* Histogram buckets are at most 6.25 % wide. */
        cr_expect(atof(value) >= cases[i].us * 0.93 && atof(value) <= cases[i].us * 1.07, "%s: %s",
                  cases[i].path, value);
    }
    expect_value(json, "latency_us/min", "1.000");
    expect_value(json, "latency_us/max", "1000.000");
    free(json);
}

Test(report, the_placement_and_what_each_way_took_are_there)
{
    struct vm_outcome outcome;
    struct vm_report report;
    char *json, *text;

    fill(&report, &outcome);
    json = json_of(&outcome, 3, &report);
    expect_number(json, "placement/choices", 501);
    expect_value(json, "placement/way", "\"same-core\"");
    expect_value(json, "placement/fault_us/block", "502.000");
    expect_value(json, "placement/fault_us/spin", "505.000");
    expect_value(json, "placement/fault_us/spin-short", "0.000");
    free(json);
    text = text_of(&outcome, 3, &report);
    expect_part(text, "placement: same-core, the best here");
    free(text);
    report.faults.looking = true;
    text = text_of(&outcome, 3, &report);
    expect_part(text, "placement: same-core, looking for the best");
    free(text);
    report.faults.tuned = false;
    text = text_of(&outcome, 3, &report);
    expect_part(text, "placement: same-core\n");
    cr_expect(strstr(text, "choices") == NULL);
    free(text);
}

Test(report, every_end_has_its_name_and_exit_status)
{
    static const struct {
        enum vm_end end;
        int status;
        const char *name;
        int exit_status;
    } cases[] = {
        { VM_END_GUEST, 0, "guest", 0 },       { VM_END_GUEST, 124, "guest", 124 },
        { VM_END_TIMEOUT, 0, "timeout", 124 }, { VM_END_INTERRUPTED, 2, "interrupted", 130 },
        { VM_END_CRASHED, 0, "crashed", 70 },  { VM_END_FAILED, 0, "failed", 125 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct vm_outcome outcome = { .end = cases[i].end, .status = cases[i].status };

        cr_expect(strcmp(report_end_name(outcome.end), cases[i].name) == 0);
        cr_expect(eq(int, report_exit_status(&outcome), cases[i].exit_status));
    }
}

Test(report, the_json_tells_a_guests_status_from_vkvms)
{
    struct vm_outcome outcome;
    struct vm_report report;
    char *json;

    fill(&report, &outcome);
    outcome.status = 124;
    strcpy(outcome.message, "ended by port 0xf4");
    json = json_of(&outcome, 124, &report);
    expect_value(json, "end", "\"guest\"");
    expect_number(json, "exit_status", 124);
    expect_number(json, "guest_status", 124);
    expect_value(json, "message", "\"ended by port 0xf4\"");
    free(json);
    outcome = (struct vm_outcome){ .end = VM_END_TIMEOUT, .message = "timed out: give more" };
    json = json_of(&outcome, 124, &report);
    expect_value(json, "end", "\"timeout\"");
    expect_number(json, "exit_status", 124);
    cr_expect(value_at(json, "guest_status") == NULL);
    expect_value(json, "message", "\"timed out: give more\"");
    free(json);
    outcome = (struct vm_outcome){ .end = VM_END_INTERRUPTED, .status = 15 };
    json = json_of(&outcome, 143, &report);
    expect_number(json, "signal", 15);
    free(json);
}

Test(report, without_a_vm_the_json_tells_only_how_it_ended)
{
    const struct vm_outcome outcome = { .end = VM_END_FAILED, .message = "'x': no such file" };
    char *json = json_of(&outcome, 127, NULL);

    expect_value(json, "end", "\"failed\"");
    expect_number(json, "exit_status", 127);
    cr_expect(value_at(json, "faults/v_vm_faults") == NULL);
    free(json);
}

Test(report, any_bytes_in_a_message_make_sound_json)
{
    struct vm_outcome outcome = { .end = VM_END_FAILED };
    char *json;

    strcpy(outcome.message, "quote\" back\\ tab\t nul-free \x01\x1f\x7f \xc3\xa9 \xf0\x9f\x98\x80");
    json = json_of(&outcome, 125, NULL);
    expect_value(json, "message",
                 "\"quote\\\" back\\\\ tab\\u0009 nul-free \\u0001\\u001f\\u007f "
                 "\xc3\xa9 \xf0\x9f\x98\x80\"");
    free(json);
    strcpy(outcome.message,
           "\xff \xc0\x80 \xed\xa0\x80 \xf0\x80\x80\x80 \xf4\x90\x80\x80 \xe2\x82\xc0 \xe2");
    json = json_of(&outcome, 125, NULL);
    value_at(json, NULL);
    cr_expect(strstr(json, "\\ufffd") != NULL);
    free(json);
    /* Every byte alone and before every other. */
    for (unsigned first = 1; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            outcome.message[0] = (char)first;
            outcome.message[1] = (char)second;
            strcpy(outcome.message + 2, "\x80z");
            json = json_of(&outcome, 125, NULL);
            value_at(json, NULL);
            free(json);
        }
    }
}

Test(json, lists_and_objects_nest_with_commas_where_they_belong)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    struct json json;

    json_init(&json, to);
    json_object(&json, NULL);
    json_array(&json, "list");
    json_u64(&json, NULL, UINT64_MAX);
    json_object(&json, NULL);
    json_end(&json);
    json_array(&json, NULL);
    json_bool(&json, NULL, true);
    json_end(&json);
    json_end(&json);
    json_thousandths(&json, "t", 1002);
    json_end(&json);
    fclose(to);
    cr_expect(strcmp(text, "{\"list\":[18446744073709551615,{},[true]],\"t\":1.002}\n") == 0, "%s",
              text);
    value_at(text, NULL);
    free(text);
}
