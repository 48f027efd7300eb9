/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report as text, its tables in the manner of `perf kvm stat`.
 */
#include "vmm/trace_tool/trace_report.h"

#include <inttypes.h>

#define BAR_WIDTH 40u

static double
us(uint64_t ns)
{
    return (double)ns / 1e3;
}

static double
percent(uint64_t part, uint64_t whole)
{
    return whole != 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void
text_columns(FILE *to, const char *title)
{
    fprintf(to, "\n%-32s %10s %9s %9s %10s %10s %10s %10s %10s\n", title, "Samples", "Samples%",
            "Time%", "Min us", "Max us", "Avg us", "p50 us", "p99 us");
}

static void
text_row(FILE *to, const char *name, const struct trace_tally_row *row, const struct histogram *all)
{
    const struct histogram *h = row->latency;

    fprintf(to, "  %-30s %10" PRIu64 " %8.2f%% %8.2f%% %10.2f %10.2f %10.2f %10.2f %10.2f\n", name,
            row->count, percent(row->count, all->count), percent(row->sum, all->sum), us(h->min),
            us(h->max), us(row->sum) / (double)row->count, us(histogram_percentile(h, 50)),
            us(histogram_percentile(h, 99)));
}

static void
text_dimension(FILE *to, const struct trace_input *input, const struct trace_sums *sums,
               enum trace_dimension dimension, unsigned most)
{
    const struct trace_tally *tally = &sums->by[dimension];
    char title[32], text[32];

    if (tally->count == 0 || (dimension == TRACE_BY_SYMBOL && !trace_input_has_registers(input)))
        return;
    snprintf(title, sizeof(title), "by %s", trace_dimension_name(dimension));
    text_columns(to, title);
    if (dimension < TRACE_BY_REGION)
        most = UINT32_MAX;
    for (size_t i = 0; i < tally->count && i < most; i++)
        text_row(to, trace_row_name(input, dimension, &tally->rows[i], text), &tally->rows[i],
                 &sums->latency);
    if (tally->count > most)
        fprintf(to, "  ... and %zu more\n", tally->count - most);
}

/* --- The histogram --------------------------------------------------------- */

static void
text_histogram(FILE *to, const char *title, const uint64_t *rows)
{
    uint64_t most = 1;
    unsigned first = TRACE_LOG2_ROWS, last = 0;

    for (unsigned i = 0; i < TRACE_LOG2_ROWS; i++) {
        if (rows[i] == 0)
            continue;
        first = i < first ? i : first;
        last = i;
        most = rows[i] > most ? rows[i] : most;
    }
    if (first == TRACE_LOG2_ROWS)
        return;
    fprintf(to, "\n%s\n", title);
    for (unsigned i = first; i <= last; i++) {
        unsigned bar = (unsigned)(rows[i] * BAR_WIDTH / most);

        fprintf(to, "  [%10" PRIu64 ", %10" PRIu64 ") us %10" PRIu64 " |%.*s\n",
                i == 0 ? 0 : (uint64_t)1 << (i - 1), (uint64_t)1 << i, rows[i], (int)bar,
                "########################################");
    }
}

/* --- Lists ----------------------------------------------------------------- */

static void
text_pages(FILE *to, const struct trace_sums *sums, unsigned most)
{
    const struct trace_tally *pages = &sums->pages;

    fprintf(to, "\n%-32s %10s %9s %12s\n", "top pages", "Samples", "Samples%", "Time us");
    for (size_t i = 0; i < pages->count && i < most; i++)
        fprintf(to, "  0x%-28" PRIx64 " %10" PRIu64 " %8.2f%% %12.2f\n",
                pages->rows[i].key << PAGE_SHIFT, pages->rows[i].count,
                percent(pages->rows[i].count, sums->latency.count), us(pages->rows[i].sum));
    fprintf(to, "  pages touched: %zu\n", pages->count);
}

static void
text_sites(FILE *to, const struct trace_sums *sums, unsigned most)
{
    const struct trace_tally *sites = &sums->sites;

    if (sites->count == 0)
        return;
    fprintf(to, "\n%-32s %10s %9s %12s\n", "top call sites", "Samples", "Samples%", "Time us");
    for (size_t i = 0; i < sites->count && i < most; i++)
        fprintf(to, "  0x%-28" PRIx64 " %10" PRIu64 " %8.2f%% %12.2f  %s\n", sites->rows[i].key,
                sites->rows[i].count, percent(sites->rows[i].count, sums->latency.count),
                us(sites->rows[i].sum), sites->rows[i].name != NULL ? sites->rows[i].name : "");
}

static void
text_levels(FILE *to, const struct trace_sums *sums)
{
    if (sums->levels[0].read == 0)
        return;
    fprintf(to, "\n%-32s %10s %10s %10s\n", "page table level", "read", "A set", "M set");
    for (unsigned i = 0; i <= VPTE_MAX_LEVELS; i++) {
        const struct trace_level *level = &sums->levels[i];

        if (level->read != 0)
            fprintf(to, "  %u%-29s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n", i,
                    i == 0 ? " (root)" : "", level->read, level->a_set, level->m_set);
    }
}

static void
text_others(FILE *to, const struct trace_sums *sums)
{
    fprintf(to, "\nrecords\n");
    for (unsigned i = TRACE_FAULT; i <= TRACE_KINDS; i++) {
        if (sums->kinds[i] != 0)
            fprintf(to, "  %-30s %10" PRIu64 "\n", trace_kind_name(i), sums->kinds[i]);
    }
    fprintf(to, "  %-30s %10" PRIu64 "\n", "faults without look-ups", sums->faults);
    fprintf(to, "  %-30s %10" PRIu64 "\n", "  ... that needed I/O", sums->hardfaults);
    fprintf(to, "  %-30s %10" PRIu64 "\n", "neighbours entered with them", sums->prefaulted);
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++) {
        if (sums->waited[i] != 0)
            fprintf(to, "  started over, %-16s %10" PRIu64 "\n", trace_wait_name(i),
                    sums->waited[i]);
    }
    if (sums->kinds[TRACE_PAGEOUT] != 0)
        fprintf(to,
                "  page-out: %" PRIu64 " written, %" PRIu64 " freed, %" PRIu64
                " failed; came back: %" PRIu64 "\n",
                sums->written, sums->freed, sums->failed, sums->refaults.count);
}

static void
text_checks(FILE *to, const struct trace_sums *sums)
{
    bool any = false, all = true;

    for (unsigned i = 0; i < sums->nchecks; i++)
        any |= sums->checks[i].known;
    if (!any)
        return;
    fprintf(to, "\n%-32s %10s %10s\n", "counted here and by --stats", "trace", "--stats");
    for (unsigned i = 0; i < sums->nchecks; i++) {
        const struct trace_check *check = &sums->checks[i];

        if (!check->known || (check->counted == 0 && check->told == 0))
            continue;
        all &= check->counted == check->told;
        fprintf(to, "  %-30s %10" PRIu64 " %10" PRIu64 "%s\n", check->key, check->counted,
                check->told, check->counted == check->told ? "" : "  differs");
    }
    fprintf(to, "  %s\n", all ? "adds up" : "DOES NOT ADD UP");
}

/* If they were wanted: how many, or why there are none. */
static void
text_kernel(FILE *to, const struct trace_input *input)
{
    const char *why;
    ssize_t size = trace_text_find(trace_reader_text(input->reader), "kernel", &why);
    uint64_t lost;

    if (input->kernel.count == 0 && size > 0) {
        fputs("  no events of the kernel: ", to);
        for (ssize_t i = 0; i < size; i++)
            putc(why[i] < ' ' || why[i] == 0x7f ? '?' : why[i], to); /* the file's word for it */
        putc('\n', to);
    } else if (trace_text_number(trace_reader_last_words(input->reader), "kernel_lost", &lost)) {
        fprintf(to, "  %zu events of the kernel, %" PRIu64 " lost\n", input->kernel.count, lost);
    }
}

void
trace_report_text(FILE *to, const struct trace_input *input, const struct trace_sums *sums,
                  const struct tool_options *options)
{
    char scope[256];

    trace_input_scope(input, scope, sizeof(scope));
    fprintf(to, "vkvm trace report\n  %s\n  %" PRIu64 " faults from %.6f s to %.6f s\n", scope,
            sums->faults, (double)sums->first / 1e9, (double)sums->last / 1e9);
    text_kernel(to, input);
    for (unsigned i = 0; i < TRACE_DIMENSIONS; i++)
        text_dimension(to, input, sums, i, options->top);
    text_histogram(to, "latency of faults", sums->latency_log2);
    if (options->top != 0) {
        text_pages(to, sums, options->top);
        text_sites(to, sums, options->top);
    }
    text_levels(to, sums);
    text_histogram(to, "pages that came back after page-out, after", sums->refaults_log2);
    text_others(to, sums);
    if (!trace_input_filtered(input))
        text_checks(to, sums);
}
