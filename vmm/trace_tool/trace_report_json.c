/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report as one line of JSON; docs/tracing.md lists the members.
 */
#include "vmm/base/json.h"
#include "vmm/trace_tool/trace_report.h"

static void
json_latency(struct json *json, const struct histogram *h)
{
    json_thousandths(json, "time_us", h->sum);
    json_thousandths(json, "min_us", h->min);
    json_thousandths(json, "max_us", h->max);
    json_thousandths(json, "p50_us", histogram_percentile(h, 50));
    json_thousandths(json, "p99_us", histogram_percentile(h, 99));
}

static void
json_dimension(struct json *json, const struct trace_input *input, const struct trace_sums *sums,
               enum trace_dimension dimension)
{
    const struct trace_tally *tally = &sums->by[dimension];
    char text[32];

    json_array(json, trace_dimension_name(dimension));
    for (size_t i = 0; i < tally->count; i++) {
        json_object(json, NULL);
        json_string(json, "name", trace_row_name(input, dimension, &tally->rows[i], text));
        json_u64(json, "samples", tally->rows[i].count);
        json_latency(json, tally->rows[i].latency);
        json_end(json);
    }
    json_end(json);
}

static void
json_list(struct json *json, const char *key, const char *what, const struct trace_tally *tally,
          unsigned shift, unsigned most)
{
    json_array(json, key);
    for (size_t i = 0; i < tally->count && i < most; i++) {
        json_object(json, NULL);
        json_u64(json, what, tally->rows[i].key << shift);
        if (tally->rows[i].name != NULL)
            json_string(json, "symbol", tally->rows[i].name);
        json_u64(json, "samples", tally->rows[i].count);
        json_thousandths(json, "time_us", tally->rows[i].sum);
        json_end(json);
    }
    json_end(json);
}

static void
json_coverage(struct json *json, const struct trace_input *input)
{
    struct trace_coverage coverage;

    trace_reader_coverage(input->reader, &coverage);
    json_u64(json, "records", coverage.records);
    json_u64(json, "records_made", coverage.total);
    json_u64(json, "records_lost", coverage.lost);
    json_u64(json, "damaged", coverage.damaged + coverage.undecodable + coverage.cut);
    json_bool(json, "ended", coverage.ended);
}

static void
json_sums(struct json *json, const struct trace_sums *sums)
{
    json_object(json, "kinds");
    for (unsigned i = TRACE_FAULT; i <= TRACE_KINDS; i++)
        json_u64(json, trace_kind_name(i), sums->kinds[i]);
    json_end(json);
    json_u64(json, "faults", sums->faults);
    json_u64(json, "lookups", sums->lookups);
    json_u64(json, "hard", sums->hardfaults);
    json_u64(json, "prefaulted", sums->prefaulted);
    json_object(json, "latency");
    json_u64(json, "samples", sums->latency.count);
    json_latency(json, &sums->latency);
    json_end(json);
    json_object(json, "refaults");
    json_u64(json, "samples", sums->refaults.count);
    json_latency(json, &sums->refaults);
    json_end(json);
}

static void
json_levels(struct json *json, const struct trace_sums *sums)
{
    json_array(json, "levels");
    for (unsigned i = 0; i <= VPTE_MAX_LEVELS; i++) {
        json_object(json, NULL);
        json_u64(json, "read", sums->levels[i].read);
        json_u64(json, "a_set", sums->levels[i].a_set);
        json_u64(json, "m_set", sums->levels[i].m_set);
        json_end(json);
    }
    json_end(json);
}

static void
json_checks(struct json *json, const struct trace_sums *sums)
{
    json_array(json, "stats");
    for (unsigned i = 0; i < sums->nchecks; i++) {
        if (!sums->checks[i].known)
            continue;
        json_object(json, NULL);
        json_string(json, "name", sums->checks[i].key);
        json_u64(json, "trace", sums->checks[i].counted);
        json_u64(json, "stats", sums->checks[i].told);
        json_end(json);
    }
    json_end(json);
}

void
trace_report_json(FILE *to, const struct trace_input *input, const struct trace_sums *sums,
                  const struct tool_options *options)
{
    struct json json;

    json_init(&json, to);
    json_object(&json, NULL);
    json_coverage(&json, input);
    json_sums(&json, sums);
    for (unsigned i = 0; i < TRACE_DIMENSIONS; i++)
        json_dimension(&json, input, sums, i);
    json_list(&json, "pages", "gpa", &sums->pages, PAGE_SHIFT, options->top);
    json_list(&json, "sites", "rip", &sums->sites, 0, options->top);
    json_levels(&json, sums);
    json_checks(&json, sums);
    json_end(&json);
}
