/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkvm-test's command line.  An option is a row of a table that serves the parser and the help.
 */
#include "vmm/test_tool/test_options.h"

#include "vmm/cli/value.h"
#include "vmm/test_tool/runner.h"

#include <getopt.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* getopt_long's value for row i: clear of characters. */
#define ROW_BASE 0x100
#define REPEAT_MAX 1000000u
#define RETRIES_MAX 100u

static const struct report_format *const formats[] = {
    &report_human,
    &report_ktap,
    &report_junit,
    &report_jsonl,
};

/* --- Values ---------------------------------------------------------------- */

static int
set_jobs(struct test_options *options, const char *value, struct failure *failure)
{
    return value_count("--jobs", value, 1, RUNNER_JOBS_MAX, &options->jobs, failure);
}

static int
set_timeout(struct test_options *options, const char *value, struct failure *failure)
{
    if (value_seconds(value, &options->timeout_ms) != 0 || options->timeout_ms == 0)
        return failure_set(failure, CLI_USAGE,
                           "--timeout=" FAILURE_NAME " is no time: give seconds, like 90 or 0.5",
                           value);
    return CLI_OK;
}

static int
add_text(const char *option, const char **list, size_t *n, const char *value,
         struct failure *failure)
{
    if (*n == TEST_OPTIONS_MANY)
        return failure_set(failure, CLI_USAGE, "%s is given more than %d times", option,
                           TEST_OPTIONS_MANY);
    list[(*n)++] = value;
    return CLI_OK;
}

static int
set_filter(struct test_options *options, const char *value, struct failure *failure)
{
    return add_text("--filter", options->patterns, &options->npatterns, value, failure);
}

static int
set_group(struct test_options *options, const char *value, struct failure *failure)
{
    return add_text("--group", options->groups, &options->ngroups, value, failure);
}

static int
set_repeat(struct test_options *options, const char *value, struct failure *failure)
{
    return value_count("--repeat", value, 1, REPEAT_MAX, &options->repeat, failure);
}

static int
set_retries(struct test_options *options, const char *value, struct failure *failure)
{
    return value_count("--retries", value, 0, RETRIES_MAX, &options->retries, failure);
}

static int
set_shuffle(struct test_options *options, const char *value, struct failure *failure)
{
    options->shuffle = true;
    if (value_number(value, &options->seed) != 0)
        return failure_set(failure, CLI_USAGE,
                           "--shuffle=" FAILURE_NAME " is no number: give a seed, like 1", value);
    return CLI_OK;
}

static int
set_directory(const char *option, const char **directory, const char *value,
              struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "%s= has no name: give a directory", option);
    *directory = value;
    return CLI_OK;
}

static int
set_images(struct test_options *options, const char *value, struct failure *failure)
{
    return set_directory("--images", &options->images, value, failure);
}

static int
set_out(struct test_options *options, const char *value, struct failure *failure)
{
    return set_directory("--out", &options->out, value, failure);
}

/* NAME or NAME=FILE; "-" is standard output. */
static int
set_report(struct test_options *options, const char *value, struct failure *failure)
{
    size_t length = strcspn(value, "=");
    const char *file = value[length] == '\0' ? "-" : value + length + 1;
    struct test_report *report = &options->reports[options->nreports];

    if (options->nreports == TEST_OPTIONS_MANY)
        return failure_set(failure, CLI_USAGE, "--report is given more than %d times",
                           TEST_OPTIONS_MANY);
    for (size_t i = 0; i < COUNT(formats); i++) {
        if (strlen(formats[i]->name) == length && strncmp(formats[i]->name, value, length) == 0)
            report->format = formats[i];
    }
    if (report->format == NULL || *file == '\0')
        return failure_set(failure, CLI_USAGE,
                           "--report=" FAILURE_NAME " is none: give human, ktap, junit or jsonl, "
                           "and =FILE behind it",
                           value);
    report->file = strcmp(file, "-") == 0 ? NULL : file;
    options->nreports++;
    return CLI_OK;
}

static int
set_fail_fast(struct test_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->fail_fast = true;
    return CLI_OK;
}

static int
set_all(struct test_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->all = true;
    return CLI_OK;
}

static int
set_list(struct test_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->list = true;
    return CLI_OK;
}

static int
set_bless(struct test_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->bless = true;
    return CLI_OK;
}

static int
set_no_trace(struct test_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->no_trace = true;
    return CLI_OK;
}

static int
set_help(struct test_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->help = true;
    return CLI_OK;
}

/* --- The table ------------------------------------------------------------- */

static const struct row {
    const char *name;
    char letter; /* the short one, or 0 */
    int has_argument;
    const char *placeholder; /* as the help shows it */
    int (*set)(struct test_options *options, const char *value, struct failure *failure);
    const char *help;
} table[] = {
    { "jobs", 'j', required_argument, "N", set_jobs, "run N tests at a time (default 1)" },
    { "filter", 0, required_argument, "PATTERN", set_filter,
      "only tests whose name, with or without its suite's, matches this pattern of the\n"
      "shell's; may be repeated: any of them" },
    { "group", 0, required_argument, "GROUP", set_group,
      "only tests of this group; may be repeated: any of them" },
    { "all", 0, no_argument, "", set_all, "tests of the group nodefault too" },
    { "list", 0, no_argument, "", set_list, "print the names of the chosen tests, run none" },
    { "timeout", 0, required_argument, "SECONDS", set_timeout,
      "longest time of each test, instead of what its suite says (90 where it says nothing)" },
    { "repeat", 0, required_argument, "N", set_repeat, "run each test N times" },
    { "retries", 0, required_argument, "N", set_retries,
      "try a test that did not pass up to N times again; if it then passes it is reported\n"
      "as flaky" },
    { "shuffle", 0, required_argument, "SEED", set_shuffle,
      "in another order, which this number determines" },
    { "fail-fast", 0, no_argument, "", set_fail_fast, "start no more tests when one did not pass" },
    { "out", 0, required_argument, "DIRECTORY", set_out,
      "keep each test's console, stats and trace below this directory" },
    { "no-trace", 0, no_argument, "", set_no_trace,
      "with --out: record only what a golden trace is compared with" },
    { "images", 0, required_argument, "DIRECTORY", set_images,
      "images and programs are here, not in the folder of their suite" },
    { "bless", 0, no_argument, "", set_bless,
      "write what was recorded as the golden traces, instead of comparing" },
    { "report", 0, required_argument, "FORMAT[=FILE]", set_report,
      "write a report: human, ktap, junit or jsonl, to FILE or standard output; may be\n"
      "repeated" },
    { "help", 'h', no_argument, "", set_help, "print this and exit" },
};

/* --- Parsing --------------------------------------------------------------- */

static const struct row *
find_row(int c)
{
    if (c >= ROW_BASE && c < ROW_BASE + (int)COUNT(table))
        return &table[c - ROW_BASE];
    for (size_t i = 0; i < COUNT(table); i++) {
        if (c != 0 && c == table[i].letter)
            return &table[i];
    }
    return NULL;
}

static int
parse_words(int argc, char **argv, struct test_options *options, struct failure *failure)
{
    struct option longs[COUNT(table) + 1] = { 0 };
    int c;

    for (size_t i = 0; i < COUNT(table); i++)
        longs[i] = (struct option){ table[i].name, table[i].has_argument, NULL, ROW_BASE + (int)i };
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, ":j:h", longs, NULL)) != -1) {
        const struct row *row = find_row(c);
        const struct row *wrong = find_row(optopt);
        int status;

        if (row == NULL)
            return cli_bad_option("test", c, argv[optind - 1],
                                  c == '?' && wrong != NULL && optopt >= ROW_BASE ? wrong->name
                                                                                  : NULL,
                                  failure);
        status = row->set(options, optarg, failure);
        if (status != CLI_OK)
            return status;
    }
    options->suites = argv + optind;
    return CLI_OK;
}

/* Somebody looks at standard output. */
static void
add_human(struct test_options *options)
{
    for (size_t i = 0; i < options->nreports; i++) {
        if (options->reports[i].file == NULL)
            return;
    }
    options->reports[options->nreports++] = (struct test_report){ .format = &report_human };
}

static int
check(const struct test_options *options, struct failure *failure)
{
    size_t on_output = 0;

    for (size_t i = 0; i < options->nreports; i++)
        on_output += options->reports[i].file == NULL;
    if (on_output > 1)
        return failure_set(failure, CLI_USAGE,
                           "two reports on standard output: give one of them a file, by "
                           "--report FORMAT=FILE");
    return CLI_OK;
}

int
test_options_parse(int argc, char **argv, struct test_options *options, struct failure *failure)
{
    int status;

    *options = (struct test_options){ .jobs = 1, .repeat = 1 };
    status = parse_words(argc, argv, options, failure);
    if (status != CLI_OK || options->help)
        return status;
    add_human(options);
    return check(options, failure);
}

/* --- Help ------------------------------------------------------------------ */

static void
print_row(const struct row *row, FILE *to)
{
    const char *text = row->help;

    if (row->letter != 0)
        fprintf(to, "  -%c, --%s %s\n", row->letter, row->name, row->placeholder);
    else
        fprintf(to, "  --%s %s\n", row->name, row->placeholder);
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        fprintf(to, "        %.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

void
test_options_help(FILE *to)
{
    fputs("usage: vkvm test [options] [SUITE | DIRECTORY]...\n\n"
          "Run suites of guest tests: configuration files (kvm-unit-tests' format, see\n"
          "docs/suites.md), or all *.cfg of a directory; without one those that are installed.\n\n"
          "options:\n",
          to);
    for (size_t i = 0; i < COUNT(table); i++)
        print_row(&table[i], to);
    fputs("\nexit status: 0 when all that were chosen ran and passed, or\n"
          "    1  a test failed or ended by an error, or was not run\n"
          "    2  wrong usage, or a suite is not right\n"
          "   77  all tests were skipped\n"
          "  125  vkvm or the host failed\n"
          "  128  plus the number of the signal that ended the run\n",
          to);
}
