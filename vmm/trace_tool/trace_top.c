/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace top`: a trace that is being written, looked at once a second from another terminal.
 * Each time what has come since is looked for, and the newest second summed up.
 */
#include "vmm/base/json.h"
#include "vmm/trace_tool/trace_heatmap.h"
#include "vmm/trace_tool/trace_report.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000000u
#define MAP_HEIGHT 8u
#define ROWS 5u

static double
us(uint64_t ns)
{
    return (double)ns / 1e3;
}

static void
print_rates(FILE *to, const struct trace_input *input, const struct trace_sums *sums)
{
    const struct histogram *h = &sums->latency;
    char scope[256];

    trace_input_scope(input, scope, sizeof(scope));
    fprintf(to, "vkvm trace top: %s\n", input->path);
    fprintf(to, "%s\n", scope);
    fprintf(to,
            "in the last second: %" PRIu64 " faults, p50 %.1f us, p99 %.1f us, max %.1f us; "
            "page-out %" PRIu64 "; came back %" PRIu64 "\n\n",
            sums->faults, us(histogram_percentile(h, 50)), us(histogram_percentile(h, 99)),
            us(h->max), sums->freed, sums->refaults.count);
}

static void
print_dimension(FILE *to, const struct trace_input *input, struct trace_sums *sums,
                enum trace_dimension dimension)
{
    struct trace_tally *tally = &sums->by[dimension];
    char text[32];

    trace_tally_sort(tally);
    if (tally->count == 0 || (dimension == TRACE_BY_SYMBOL && input->nregisters == 0))
        return;
    fprintf(to, "%-24s %10s %10s\n", trace_dimension_name(dimension), "faults", "p99 us");
    for (size_t i = 0; i < tally->count && i < ROWS; i++)
        fprintf(to, "  %-22.22s %10" PRIu64 " %10.1f\n",
                trace_row_name(input, dimension, &tally->rows[i], text), tally->rows[i].count,
                us(histogram_percentile(tally->rows[i].latency, 99)));
    putc('\n', to);
}

static void
json_rows(struct json *json, const struct trace_input *input, struct trace_sums *sums,
          enum trace_dimension dimension, unsigned most)
{
    struct trace_tally *tally = &sums->by[dimension];
    char text[32];

    trace_tally_sort(tally);
    json_array(json, trace_dimension_name(dimension));
    for (size_t i = 0; i < tally->count && i < most; i++) {
        json_object(json, NULL);
        json_string(json, "name", trace_row_name(input, dimension, &tally->rows[i], text));
        json_u64(json, "samples", tally->rows[i].count);
        json_thousandths(json, "p99_us", histogram_percentile(tally->rows[i].latency, 99));
        json_end(json);
    }
    json_end(json);
}

/* The second as one line; the picture is for who looks. */
static void
print_json(FILE *to, const struct trace_input *input, struct trace_sums *sums,
           const struct tool_options *options)
{
    const struct histogram *h = &sums->latency;
    struct trace_coverage coverage;
    struct json json;

    trace_reader_coverage(input->reader, &coverage);
    json_init(&json, to);
    json_object(&json, NULL);
    json_u64(&json, "records", coverage.records);
    json_u64(&json, "records_made", coverage.total);
    json_bool(&json, "ended", coverage.ended);
    json_u64(&json, "faults", sums->faults);
    json_thousandths(&json, "p50_us", histogram_percentile(h, 50));
    json_thousandths(&json, "p99_us", histogram_percentile(h, 99));
    json_thousandths(&json, "max_us", h->max);
    json_u64(&json, "pageouts", sums->freed);
    json_u64(&json, "refaults", sums->refaults.count);
    json_rows(&json, input, sums, TRACE_BY_OUTCOME, UINT32_MAX);
    json_rows(&json, input, sums, TRACE_BY_SYMBOL, options->top);
    json_end(&json);
}

static int
print_map(FILE *to, struct trace_input *input, const struct tool_options *options)
{
    struct trace_grid grid;
    int error;

    trace_reader_rewind(input->reader);
    error = trace_grid_read(&grid, input, TRACE_GRID_COUNT, options->width, MAP_HEIGHT);
    if (error == 0 && grid.rows != 0)
        trace_heatmap_digits(to, &grid, TRACE_GRID_COUNT);
    trace_grid_fini(&grid);
    return error;
}

/* What was written in the newest second, or, as that takes a moment, so much longer. */
#define NEWEST (SECOND + SECOND / 2)

/* The file as it is now; the filter's begin is the newest second's, unless it was given. */
static int
print_second(const struct tool_options *options, struct trace_input *input, FILE *to)
{
    struct trace_sums *sums = malloc(sizeof(*sums));
    struct trace_coverage coverage;
    int error;

    if (sums == NULL)
        return -ENOMEM;
    trace_reader_coverage(input->reader, &coverage);
    if (coverage.last > coverage.first + SECOND && !options->filter.has_since) {
        input->filter.has_since = true;
        input->filter.since = coverage.last - coverage.first - SECOND;
    }
    trace_sums_init(sums);
    error = trace_sums_read(sums, input);
    if (error == 0 && options->json) {
        print_json(to, input, sums, options);
    } else if (error == 0) {
        print_rates(to, input, sums);
        print_dimension(to, input, sums, TRACE_BY_OUTCOME);
        print_dimension(to, input, sums, TRACE_BY_SYMBOL);
        error = print_map(to, input, options);
    }
    trace_sums_fini(sums);
    free(sums);
    return error;
}

/* Another VM writes to the file now, or the same one again. */
static int
open_again(struct trace_input *input, const struct tool_options *options, struct failure *failure)
{
    trace_input_close(input);
    return trace_input_open(input, options, 0, failure);
}

/* With --since all of it is read each time. */
static int
follow(struct trace_input *input, const struct tool_options *options, struct failure *failure)
{
    int error = trace_input_refresh(input, options,
                                    options->filter.has_since ? UINT64_MAX : (uint64_t)NEWEST);

    if (error == -ESTALE)
        return open_again(input, options, failure);
    if (error != 0)
        return failure_set(failure, CLI_FAILED, "cannot read " FAILURE_NAME ": %s", input->path,
                           strerror(-error));
    return CLI_OK;
}

static bool
has_ended(const struct trace_input *input)
{
    struct trace_coverage coverage;

    trace_reader_coverage(input->reader, &coverage);
    return coverage.ended;
}

/* Until the VM has ended, the rounds are over, or somebody presses the interrupt key. */
static int
show(struct trace_input *input, const struct tool_options *options, FILE *to,
     struct failure *failure)
{
    int status;

    for (unsigned round = 1;; round++) {
        /* A segment that is being written is no damage. */
        status = follow(input, options, failure);
        if (status != CLI_OK)
            return status;
        if (isatty(fileno(to)) && !options->json)
            fputs("\033[H\033[2J", to);
        if (print_second(options, input, to) != 0)
            return failure_set(failure, CLI_FAILED, "out of memory for a picture");
        if (fflush(to) != 0 || has_ended(input) || round == options->rounds)
            return CLI_OK;
        (void)poll(NULL, 0, 1000);
    }
}

static int
run_top(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct trace_input input;
    int status = trace_input_open(&input, options, 0, failure);

    if (status != CLI_OK)
        return status;
    status = show(&input, options, to, failure);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_top_verb = {
    .name = "top",
    .summary = "Show a trace that is being written, once a second",
    .words = "FILE",
    .bit = TOOL_TOP,
    .nfiles = 1,
    .run = run_top,
};
