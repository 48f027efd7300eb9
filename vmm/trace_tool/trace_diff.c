/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace diff`: what changed between two runs.  Rows are matched by name, since the numbers
 * behind the names are each trace's own.
 */
#include "vmm/base/json.h"
#include "vmm/trace_tool/trace_report.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIDES 2

/* What is compared, in this order. */
static const enum trace_dimension compared[] = { TRACE_BY_OUTCOME, TRACE_BY_ACCESS, TRACE_BY_REGION,
                                                 TRACE_BY_SYMBOL };

struct side {
    struct trace_input input;
    struct trace_sums sums;
};

struct diff {
    struct side *sides[SIDES]; /* owned */
    const struct tool_options *options;
    FILE *to;
    struct json json;
    bool different;
};

struct diff_row {
    char name[256];
    uint64_t counts[SIDES];
};

struct diff_table {
    struct diff_row *rows; /* owned */
    size_t count;
};

/* --- Rows ------------------------------------------------------------------ */

/* May a count be the other one, with the tolerance?  Of the larger. */
static bool
within(const struct diff *diff, uint64_t a, uint64_t b)
{
    uint64_t more = a > b ? a : b, less = a > b ? b : a;

    return (more - less) * 100.0 <= (double)more * diff->options->tolerance;
}

static int
compare_names(const void *left, const void *right)
{
    const struct diff_row *a = left, *b = right;

    return strcmp(a->name, b->name);
}

/* Rows of one name become one. */
static void
join_rows(struct diff_table *table)
{
    size_t kept = 0;

    if (table->count != 0)
        qsort(table->rows, table->count, sizeof(table->rows[0]), compare_names);
    for (size_t i = 0; i < table->count; i++) {
        if (kept != 0 && strcmp(table->rows[kept - 1].name, table->rows[i].name) == 0) {
            for (unsigned k = 0; k < SIDES; k++)
                table->rows[kept - 1].counts[k] += table->rows[i].counts[k];
        } else {
            table->rows[kept++] = table->rows[i];
        }
    }
    table->count = kept;
}

static int
compare_changes(const void *left, const void *right)
{
    const struct diff_row *a = left, *b = right;
    int64_t x = llabs((int64_t)(a->counts[1] - a->counts[0]));
    int64_t y = llabs((int64_t)(b->counts[1] - b->counts[0]));

    return x != y ? (x > y ? -1 : 1) : strcmp(a->name, b->name);
}

/* The rows of a dimension of both sides, those that changed most first. */
static int
make_table(const struct diff *diff, enum trace_dimension dimension, struct diff_table *table)
{
    size_t room =
        diff->sides[0]->sums.by[dimension].count + diff->sides[1]->sums.by[dimension].count;

    table->count = 0;
    table->rows = calloc(room + 1, sizeof(table->rows[0]));
    if (table->rows == NULL)
        return -1;
    for (unsigned k = 0; k < SIDES; k++) {
        const struct trace_tally *tally = &diff->sides[k]->sums.by[dimension];

        for (size_t i = 0; i < tally->count; i++) {
            struct diff_row *row = &table->rows[table->count++];
            char text[32];

            snprintf(row->name, sizeof(row->name), "%s",
                     trace_row_name(&diff->sides[k]->input, dimension, &tally->rows[i], text));
            row->counts[k] = tally->rows[i].count;
        }
    }
    join_rows(table);
    if (table->count != 0)
        qsort(table->rows, table->count, sizeof(table->rows[0]), compare_changes);
    return 0;
}

/* --- Printing -------------------------------------------------------------- */

static void
print_row(struct diff *diff, const char *name, uint64_t a, uint64_t b)
{
    if (diff->options->json) {
        json_object(&diff->json, NULL);
        json_string(&diff->json, "name", name);
        json_u64(&diff->json, "a", a);
        json_u64(&diff->json, "b", b);
        json_end(&diff->json);
        return;
    }
    fprintf(diff->to, "  %-30s %12" PRIu64 " %12" PRIu64 " %+12" PRId64, name, a, b,
            (int64_t)(b - a));
    if (a != 0)
        fprintf(diff->to, " %+8.1f%%", 100.0 * ((double)b - (double)a) / (double)a);
    putc('\n', diff->to);
}

static void
print_title(struct diff *diff, const char *title)
{
    if (diff->options->json)
        json_array(&diff->json, title);
    else
        fprintf(diff->to, "\n%-32s %12s %12s %12s\n", title, "A", "B", "B - A");
}

static void
print_end(struct diff *diff)
{
    if (diff->options->json)
        json_end(&diff->json);
}

/* Compare one dimension; only what is beyond the tolerance is printed. */
static int
diff_dimension(struct diff *diff, enum trace_dimension dimension)
{
    struct diff_table table;
    unsigned printed = 0;

    if (make_table(diff, dimension, &table) != 0)
        return -1;
    print_title(diff, trace_dimension_name(dimension));
    for (size_t i = 0; i < table.count; i++) {
        const struct diff_row *row = &table.rows[i];

        if (within(diff, row->counts[0], row->counts[1]))
            continue;
        diff->different = true;
        if (printed++ < diff->options->top)
            print_row(diff, row->name, row->counts[0], row->counts[1]);
    }
    if (printed > diff->options->top && !diff->options->json)
        fprintf(diff->to, "  ... and %u more\n", printed - diff->options->top);
    print_end(diff);
    free(table.rows);
    return 0;
}

/* Pages that only one side has, and those whose counts differ. */
static void
diff_pages(struct diff *diff)
{
    const struct trace_tally *a = &diff->sides[0]->sums.pages, *b = &diff->sides[1]->sums.pages;
    uint64_t both = 0, changed = 0;

    for (size_t i = 0; i < a->count; i++) {
        const struct trace_tally_row *other = trace_tally_find(b, a->rows[i].key);

        both += other != NULL;
        changed += other != NULL && !within(diff, a->rows[i].count, other->count);
    }
    print_title(diff, "pages");
    print_row(diff, "touched", a->count, b->count);
    print_row(diff, "touched by one only", a->count - both, b->count - both);
    print_row(diff, "of both, with other counts", changed, changed);
    print_end(diff);
    diff->different |= !within(diff, a->count, b->count) || !within(diff, both, a->count) ||
                       !within(diff, both, b->count) || !within(diff, both - changed, both);
}

static int
diff_all(struct diff *diff)
{
    int error = 0;

    assert(diff->sides[0] != NULL && diff->sides[1] != NULL);
    if (diff->options->json) {
        json_init(&diff->json, diff->to);
        json_object(&diff->json, NULL);
    }
    diff_pages(diff);
    for (size_t i = 0; error == 0 && i < sizeof(compared) / sizeof(compared[0]); i++)
        error = diff_dimension(diff, compared[i]);
    if (diff->options->json) {
        json_bool(&diff->json, "different", diff->different);
        json_end(&diff->json);
    } else {
        fputs(diff->different ? "\nthe traces differ\n" : "\nthe traces do not differ\n", diff->to);
    }
    return error;
}

/* --- The verb -------------------------------------------------------------- */

static int
open_side(struct side **sidep, const struct tool_options *options, unsigned index,
          struct failure *failure)
{
    struct side *side = calloc(1, sizeof(*side));
    int status;

    if (side == NULL)
        return failure_set(failure, CLI_FAILED, "out of memory for a comparison");
    status = trace_input_open(&side->input, options, index, failure);
    if (status != CLI_OK) {
        free(side);
        return status;
    }
    trace_sums_init(&side->sums);
    *sidep = side;
    return trace_input_verdict(&side->input, trace_sums_read(&side->sums, &side->input), failure);
}

static void
close_side(struct side *side)
{
    if (side == NULL)
        return;
    trace_sums_fini(&side->sums);
    trace_input_close(&side->input);
    free(side);
}

/* A trace that can be read in part only is not compared: what is missing is not what changed. */
static int
run_diff(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct diff diff = { .options = options, .to = to };
    int status = open_side(&diff.sides[0], options, 0, failure);

    if (status == CLI_OK)
        status = open_side(&diff.sides[1], options, 1, failure);
    if (status == CLI_OK && diff_all(&diff) != 0)
        status = failure_set(failure, CLI_FAILED, "out of memory for a comparison");
    if (status == CLI_OK && diff.different)
        status = TOOL_DIFFERENT;
    close_side(diff.sides[0]);
    close_side(diff.sides[1]);
    return status;
}

const struct tool_verb trace_diff_verb = {
    .name = "diff",
    .summary = "Print what changed between two runs; exit status 1 if they differ",
    .words = "A B",
    .bit = TOOL_DIFF,
    .nfiles = 2,
    .run = run_diff,
};
