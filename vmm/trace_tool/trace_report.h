/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Totals of a trace, and the report that prints them.
 */
#ifndef TRACE_REPORT_H
#define TRACE_REPORT_H

#include "vmm/trace_tool/tool.h"
#include "vmm/trace_tool/trace_input.h"
#include "vmm/trace_tool/trace_tally.h"

/* What faults are counted by. */
enum trace_dimension {
    TRACE_BY_OUTCOME,
    TRACE_BY_ACCESS,
    TRACE_BY_ARRIVAL,
    TRACE_BY_MAP,
    TRACE_BY_WHO,
    TRACE_BY_REGION,
    TRACE_BY_SYMBOL,
    TRACE_DIMENSIONS
};

/* Times by powers of two: row 0 is below 1 us, row i from 2^(i-1) us on; the last has all the rest. */
#define TRACE_LOG2_ROWS 40u

/* One level of walks: 0 is the root. */
struct trace_level {
    uint64_t read;
    uint64_t a_set;
    uint64_t m_set;
};

/* A count and what --stats says it is. */
struct trace_check {
    const char *key; /* of the last words */
    uint64_t counted;
    uint64_t told;
    bool known; /* --stats says something */
};

#define TRACE_CHECKS 16

struct trace_sums {
    uint64_t kinds[TRACE_KINDS + 1]; /* records by kind; the last one: not known */
    uint64_t faults;                 /* as --stats counts them: without look-ups and debuggers */
    uint64_t lookups;
    uint64_t debugger;
    uint64_t hardfaults;
    uint64_t prefaulted;
    uint64_t waited[VM_ERRAND_KINDS];
    uint64_t written, freed, failed; /* page-outs */
    uint64_t lost;                   /* as the records of kind `lost` say */
    struct histogram latency;        /* of faults */
    struct histogram refaults;       /* how soon after its page-out a page came back */
    uint64_t latency_log2[TRACE_LOG2_ROWS];
    uint64_t refaults_log2[TRACE_LOG2_ROWS];
    struct trace_level levels[VPTE_MAX_LEVELS + 1];
    struct trace_tally by[TRACE_DIMENSIONS];
    struct trace_tally pages;
    struct trace_tally sites; /* by RIP */
    struct trace_tally gone;  /* pages paged out: `sum` is when, 0 = it came back */
    uint64_t first, last;     /* records' times */
    struct trace_check checks[TRACE_CHECKS];
    unsigned nchecks;
};

void trace_sums_init(struct trace_sums *sums);
void trace_sums_fini(struct trace_sums *sums);

/* Count one event.  Returns 0 or -ENOMEM. */
int trace_sums_add(struct trace_sums *sums, const struct trace_event *event)
    __attribute__((warn_unused_result));

/* Count all there is in the input.  Returns 0 or -ENOMEM. */
int trace_sums_read(struct trace_sums *sums, struct trace_input *input)
    __attribute__((warn_unused_result));

/* The counts that `--stats` has too.  Returns how many. */
unsigned trace_sums_check(const struct trace_sums *sums, const char *last_words,
                          struct trace_check *checks);

/* What a dimension is called, and a row of it: `text` is for names that have to be made. */
const char *trace_dimension_name(enum trace_dimension dimension);
const char *trace_row_name(const struct trace_input *input, enum trace_dimension dimension,
                           const struct trace_tally_row *row, char text[32]);

/* The report in its two forms; the tallies are sorted. */
void trace_report_text(FILE *to, const struct trace_input *input, const struct trace_sums *sums,
                       const struct tool_options *options);
void trace_report_json(FILE *to, const struct trace_input *input, const struct trace_sums *sums,
                       const struct tool_options *options);

#endif
