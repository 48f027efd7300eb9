/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkvm-trace's command lines.  An option is a row of a table that serves the parser and the help of
 * each verb.
 */
#include "vmm/trace_tool/tool_options.h"

#include "vmm/cli/value.h"
#include "vmm/trace_tool/tool.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* getopt_long's value for row i: clear of characters. */
#define ROW_BASE 0x100

#define SECOND 1000000000u
#define TOP_DEFAULT 10u
#define WIDTH_DEFAULT 100u
#define HEIGHT_DEFAULT 32u

/* --- Values ---------------------------------------------------------------- */

/* The name's number among `count` names, or `count`. */
static unsigned
find_name(const char *(*name_of)(unsigned), unsigned count, const char *name, size_t length)
{
    for (unsigned i = 0; i < count; i++) {
        if (strlen(name_of(i)) == length && strncmp(name_of(i), name, length) == 0)
            return i;
    }
    return count;
}

static int
set_vcpu(struct tool_options *options, const char *value, struct failure *failure)
{
    options->filter.has_vcpu = true;
    return value_count("--vcpu", value, 0, UINT16_MAX, &options->filter.vcpu, failure);
}

/* "A-B": the bytes from A to B, without B. */
static int
set_gpa(struct tool_options *options, const char *value, struct failure *failure)
{
    struct tool_filter *filter = &options->filter;
    const char *dash = strchr(value, '-');
    char start[32] = "";

    if (dash != NULL && (size_t)(dash - value) < sizeof(start)) {
        memcpy(start, value, (size_t)(dash - value));
        if (value_size(start, &filter->gpa_start) == 0 &&
            value_size(dash + 1, &filter->gpa_end) == 0 && filter->gpa_start < filter->gpa_end) {
            filter->has_gpa = true;
            return CLI_OK;
        }
    }
    return failure_set(failure, CLI_USAGE,
                       "--gpa=" FAILURE_NAME " is no range: give one like 0x100000-0x200000",
                       value);
}

static int
set_access(struct tool_options *options, const char *value, struct failure *failure)
{
    unsigned access = find_name(trace_access_name, TRACE_ACCESS_COUNT, value, strlen(value));

    if (access == TRACE_ACCESS_COUNT)
        return failure_set(failure, CLI_USAGE,
                           "--access=" FAILURE_NAME
                           " is unknown: give read, write, fetch or unknown",
                           value);
    options->filter.has_access = true;
    options->filter.access = access;
    return CLI_OK;
}

/* Names with commas between them. */
static int
set_outcome(struct tool_options *options, const char *value, struct failure *failure)
{
    size_t length;

    for (const char *name = value;; name += length + 1) {
        length = strcspn(name, ",");
        unsigned outcome = find_name(trace_outcome_name, TRACE_OUTCOMES, name, length);
        if (outcome == TRACE_OUTCOMES)
            return failure_set(failure, CLI_USAGE,
                               "--outcome=" FAILURE_NAME
                               " is unknown: give names as the report prints them, with commas "
                               "between",
                               value);
        options->filter.outcomes[outcome] = 1;
        if (name[length] == '\0')
            break;
    }
    options->filter.has_outcome = true;
    return CLI_OK;
}

/* Seconds with up to nine decimals. */
static int
set_seconds(const char *option, const char *value, uint64_t *ns, struct failure *failure)
{
    uint64_t scale = SECOND;
    const char *p = value;

    *ns = 0;
    for (; *p >= '0' && *p <= '9' && *ns < UINT32_MAX * (uint64_t)SECOND; p++)
        *ns = *ns * 10 + (uint64_t)(*p - '0') * SECOND;
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++) {
            scale /= 10;
            *ns += (uint64_t)(*p - '0') * scale;
        }
    }
    if (*p != '\0' || p == value)
        return failure_set(failure, CLI_USAGE,
                           "%s=" FAILURE_NAME " is no time: give seconds, like 0.25", option,
                           value);
    return CLI_OK;
}

static int
set_since(struct tool_options *options, const char *value, struct failure *failure)
{
    options->filter.has_since = true;
    return set_seconds("--since", value, &options->filter.since, failure);
}

static int
set_until(struct tool_options *options, const char *value, struct failure *failure)
{
    options->filter.has_until = true;
    return set_seconds("--until", value, &options->filter.until, failure);
}

static int
set_symbol(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)failure;
    options->filter.symbol = value;
    return CLI_OK;
}

static int
set_symbols(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)failure;
    options->symbols = value;
    return CLI_OK;
}

static int
set_kaslr(struct tool_options *options, const char *value, struct failure *failure)
{
    if (value_number(value, &options->kaslr) != 0)
        return failure_set(failure, CLI_USAGE,
                           "--kaslr=" FAILURE_NAME " is no number: give one like 0x1e000000",
                           value);
    options->has_kaslr = true;
    return CLI_OK;
}

static int
set_format(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)failure;
    options->format = value;
    return CLI_OK;
}

static int
set_output(struct tool_options *options, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "--output= has no name: give a file");
    options->output = value;
    return CLI_OK;
}

static int
set_kind(struct tool_options *options, const char *value, struct failure *failure)
{
    if (strcmp(value, "count") != 0 && strcmp(value, "latency") != 0 &&
        strcmp(value, "outcome") != 0)
        return failure_set(failure, CLI_USAGE,
                           "--kind=" FAILURE_NAME " is unknown: give count, latency or outcome",
                           value);
    options->kind = value;
    return CLI_OK;
}

static int
set_top(struct tool_options *options, const char *value, struct failure *failure)
{
    return value_count("--top", value, 0, 1000000, &options->top, failure);
}

static int
set_width(struct tool_options *options, const char *value, struct failure *failure)
{
    return value_count("--width", value, 10, 1000, &options->width, failure);
}

static int
set_height(struct tool_options *options, const char *value, struct failure *failure)
{
    return value_count("--height", value, 4, 1000, &options->height, failure);
}

static int
set_window(struct tool_options *options, const char *value, struct failure *failure)
{
    int status = set_seconds("--window", value, &options->window, failure);

    if (status == CLI_OK && options->window == 0)
        return failure_set(failure, CLI_USAGE, "--window=0 holds nothing: give seconds, like 0.1");
    return status;
}

static int
set_tolerance(struct tool_options *options, const char *value, struct failure *failure)
{
    return value_count("--tolerance", value, 0, 1000, &options->tolerance, failure);
}

static int
set_rounds(struct tool_options *options, const char *value, struct failure *failure)
{
    return value_count("--rounds", value, 1, 1000000, &options->rounds, failure);
}

static int
set_sets(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->sets = true;
    return CLI_OK;
}

static int
set_portable(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->portable = true;
    return CLI_OK;
}

static int
set_notes(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->notes = true;
    return CLI_OK;
}

static int
set_json(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->json = true;
    return CLI_OK;
}

static int
set_help(struct tool_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->help = true;
    return CLI_OK;
}

/* --- The table ------------------------------------------------------------- */

#define FILTERED (TOOL_ALL & ~TOOL_CHECK)
#define LISTS (TOOL_REPORT | TOOL_DIFF | TOOL_TOP | TOOL_CHECK)
#define SYMBOLS \
    (TOOL_REPORT | TOOL_DUMP | TOOL_DIFF | TOOL_TOP | TOOL_HEATMAP | TOOL_CANON | TOOL_WSET)

static const struct {
    const char *name;
    int has_argument;
    unsigned verbs;
    const char *placeholder; /* as the help shows it */
    int (*set)(struct tool_options *options, const char *value, struct failure *failure);
    const char *help;
} tool_table[] = {
    { "format", required_argument, TOOL_DUMP, " NAME", set_format,
      "text, jsonl, csv, folded, chrome or perfetto (default text)" },
    { "format", required_argument, TOOL_HEATMAP, " NAME", set_format,
      "digits, blocks, svg, png or pdf (default digits)" },
    { "output", required_argument, TOOL_DUMP | TOOL_HEATMAP | TOOL_WSET | TOOL_CANON, " FILE",
      set_output, "write there instead of to standard output" },
    { "kind", required_argument, TOOL_HEATMAP, " NAME", set_kind,
      "count, latency (the mean) or outcome (the most frequent) (default count)" },
    { "width", required_argument, TOOL_HEATMAP | TOOL_TOP, " N", set_width,
      "columns: steps of time (default 100)" },
    { "height", required_argument, TOOL_HEATMAP | TOOL_TOP, " N", set_height,
      "rows: ranges of guest memory (default 32)" },
    { "window", required_argument, TOOL_WSET, " S", set_window,
      "print how many pages were touched in each S seconds instead" },
    { "tolerance", required_argument, TOOL_DIFF, " PERCENT", set_tolerance,
      "how far a count may be off (default 0)" },
    { "rounds", required_argument, TOOL_TOP, " N", set_rounds,
      "end after N pictures, a second apart" },
    { "sets", no_argument, TOOL_CANON, "", set_sets,
      "the set of each vCPU's faults, with how often, instead of their order" },
    { "portable", no_argument, TOOL_CANON, "", set_portable,
      "without what the host's KVM and the guest's compiler decide: see docs/suites.md" },
    { "notes", no_argument, TOOL_CANON, "", set_notes,
      "region and symbol of each fault behind its line" },
    { "top", required_argument, LISTS, " N", set_top, "rows of each list (default 10)" },
    { "json", no_argument, TOOL_REPORT | TOOL_DIFF | TOOL_WSET | TOOL_TOP | TOOL_CHECK, "",
      set_json, "print one line of JSON; top: each time" },
    { "vcpu", required_argument, FILTERED, " N", set_vcpu, "only what vCPU N did" },
    { "gpa", required_argument, FILTERED, " A-B", set_gpa,
      "only guest-physical addresses from A to below B" },
    { "access", required_argument, FILTERED, " NAME", set_access,
      "only faults by a read, write, fetch or unknown" },
    { "outcome", required_argument, FILTERED, " NAMES", set_outcome,
      "only faults that ended so: resident, zero-fill, vpte-invalid, ..." },
    { "since", required_argument, FILTERED, " S", set_since,
      "only from S seconds after the recording's begin" },
    { "until", required_argument, FILTERED, " S", set_until, "only before that" },
    { "symbol", required_argument, FILTERED, " PATTERN", set_symbol,
      "only faults of code whose symbol matches, as file names do" },
    { "symbols", required_argument, SYMBOLS, " FILE", set_symbols,
      "vmlinux or another ELF file, System.map, or the text of /proc/kallsyms" },
    { "kaslr", required_argument, SYMBOLS, " N", set_kaslr,
      "add N to each symbol's address (default: what the trace says)" },
    { "help", no_argument, TOOL_ALL, "", set_help, "print this help (also -h)" },
};

static void
fill_long_options(unsigned verb, struct option *longs)
{
    size_t n = 0;

    for (size_t i = 0; i < COUNT(tool_table); i++) {
        if ((tool_table[i].verbs & verb) != 0)
            longs[n++] = (struct option){ .name = tool_table[i].name,
                                          .has_arg = tool_table[i].has_argument,
                                          .val = ROW_BASE + (int)i };
    }
    longs[n] = (struct option){ .name = NULL };
}

/* getopt_long's answer for one option. */
static int
take_option(const struct tool_verb *verb, struct tool_options *options, int c, char **argv,
            struct failure *failure)
{
    char name[32];

    if (c >= ROW_BASE)
        return tool_table[c - ROW_BASE].set(options, optarg, failure);
    if (c == 'h')
        return set_help(options, NULL, failure);
    snprintf(name, sizeof(name), "trace %s", verb->name);
    return cli_bad_option(name, c, argv[optind - 1],
                          optopt >= ROW_BASE ? tool_table[optopt - ROW_BASE].name : NULL, failure);
}

static int
take_files(const struct tool_verb *verb, int argc, char **argv, struct tool_options *options,
           struct failure *failure)
{
    unsigned count = (unsigned)(argc - optind);

    if (count < verb->nfiles)
        return failure_set(failure, CLI_USAGE, "%s: give %s", count == 0 ? "no trace" : "one trace",
                           verb->nfiles == 1 ? "a file that vkvm run --trace has written"
                                             : "two files");
    if (count > verb->nfiles)
        return failure_set(failure, CLI_USAGE,
                           "unexpected " FAILURE_NAME ": see 'vkvm trace %s --help'",
                           argv[optind + (int)verb->nfiles], verb->name);
    for (options->nfiles = 0; options->nfiles < count; options->nfiles++)
        options->files[options->nfiles] = argv[optind + (int)options->nfiles];
    return CLI_OK;
}

int
tool_options_parse(const struct tool_verb *verb, int argc, char **argv,
                   struct tool_options *options, struct failure *failure)
{
    struct option longs[COUNT(tool_table) + 1];
    int c, status;

    *options = (struct tool_options){
        .kind = "count", .top = TOP_DEFAULT, .width = WIDTH_DEFAULT, .height = HEIGHT_DEFAULT
    };
    fill_long_options(verb->bit, longs);
    optind = 0; /* glibc: start over, so that it can be called again */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
        status = take_option(verb, options, c, argv, failure);
        if (status != CLI_OK)
            return status;
    }
    return options->help ? CLI_OK : take_files(verb, argc, argv, options, failure);
}

void
tool_options_help(const struct tool_verb *verb, FILE *to)
{
    fprintf(to, "usage: vkvm trace %s [options] %s\n\n%s.\n\noptions:\n", verb->name, verb->words,
            verb->summary);
    for (size_t i = 0; i < COUNT(tool_table); i++) {
        if ((tool_table[i].verbs & verb->bit) != 0)
            fprintf(to, "  --%s%s\n      %s\n", tool_table[i].name, tool_table[i].placeholder,
                    tool_table[i].help);
    }
}
