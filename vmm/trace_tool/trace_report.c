/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace report`: one pass over the records, then the sums.
 */
#include "vmm/trace_tool/trace_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define WHO_SHIFT 32

static const char *const dimension_names[] = {
    [TRACE_BY_OUTCOME] = "outcome", [TRACE_BY_ACCESS] = "access", [TRACE_BY_ARRIVAL] = "arrival",
    [TRACE_BY_MAP] = "map",         [TRACE_BY_WHO] = "who",       [TRACE_BY_REGION] = "region",
    [TRACE_BY_SYMBOL] = "symbol",
};

void
trace_sums_init(struct trace_sums *sums)
{
    memset(sums, 0, sizeof(*sums));
    histogram_init(&sums->latency);
    histogram_init(&sums->refaults);
    for (unsigned i = 0; i < TRACE_DIMENSIONS; i++)
        trace_tally_init(&sums->by[i], true);
    trace_tally_init(&sums->pages, false);
    trace_tally_init(&sums->sites, false);
    trace_tally_init(&sums->gone, false);
}

void
trace_sums_fini(struct trace_sums *sums)
{
    for (unsigned i = 0; i < TRACE_DIMENSIONS; i++)
        trace_tally_fini(&sums->by[i]);
    trace_tally_fini(&sums->pages);
    trace_tally_fini(&sums->sites);
    trace_tally_fini(&sums->gone);
}

/* --- Counting -------------------------------------------------------------- */

/* A page of an object as one key. */
static uint64_t
page_key(uint64_t object, uint64_t pindex)
{
    return object * 0xd6e8feb86659fd93u + pindex;
}

static void
count_time(struct histogram *h, uint64_t *log2_rows, uint64_t ns)
{
    uint64_t value = ns / 1000;
    unsigned row = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);

    histogram_add(h, ns);
    log2_rows[row < TRACE_LOG2_ROWS ? row : TRACE_LOG2_ROWS - 1]++;
}

static int
count(struct trace_tally *tally, uint64_t key, uint64_t duration, const char *name)
{
    struct trace_tally_row *row = trace_tally_add(tally, key, duration);

    if (row == NULL)
        return -ENOMEM;
    row->name = name;
    return 0;
}

static void
count_walk(struct trace_sums *sums, const struct trace_fault *fault)
{
    for (unsigned i = 0; i < fault->nvptes; i++) {
        vpte_t set = fault->vptes[i].after & ~fault->vptes[i].before;

        sums->levels[i].read++;
        sums->levels[i].a_set += (set & VPTE_A) != 0;
        sums->levels[i].m_set += (set & VPTE_M) != 0;
    }
}

/* A page that page-out took, and that a fault brings back. */
static void
count_refault(struct trace_sums *sums, const struct trace_record *record)
{
    const struct trace_fault *fault = &record->fault;
    struct trace_tally_row *row;

    if (fault->step < FAULT_STEP_OBJECT || fault->result != VM_OK)
        return;
    row = trace_tally_find(&sums->gone, page_key(fault->object, fault->pindex));
    if (row == NULL || row->sum == 0)
        return;
    count_time(&sums->refaults, sums->refaults_log2,
               record->time > row->sum ? record->time - row->sum : 0);
    row->sum = 0;
}

static int
count_keys(struct trace_sums *sums, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;
    const struct trace_fault *fault = &record->fault;
    const struct trace_registers *registers = event->registers;
    const uint64_t keys[] = {
        [TRACE_BY_OUTCOME] = trace_outcome(fault),
        [TRACE_BY_ACCESS] = fault->access,
        [TRACE_BY_ARRIVAL] = fault->arrival,
        [TRACE_BY_MAP] = trace_map_of(fault),
        [TRACE_BY_WHO] = (uint64_t)record->who << WHO_SHIFT | record->number,
        [TRACE_BY_REGION] = event->region,
        [TRACE_BY_SYMBOL] = event->symbol != NULL ? event->symbol_start : TRACE_NONE,
    };
    int error = 0;

    for (unsigned i = 0; error == 0 && i < TRACE_DIMENSIONS; i++)
        error = count(&sums->by[i], keys[i], fault->duration,
                      i == TRACE_BY_SYMBOL ? event->symbol : NULL);
    if (error == 0)
        error = count(&sums->pages, fault->gpa >> PAGE_SHIFT, fault->duration, NULL);
    if (error == 0 && registers != NULL)
        error = count(&sums->sites, registers->rip, fault->duration, event->symbol);
    return error;
}

static int
count_fault(struct trace_sums *sums, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    if (trace_is_lookup(fault)) {
        if ((fault->flags & VM_FAULT_DEBUGGER) != 0)
            sums->debugger++;
        else
            sums->lookups++;
        return 0;
    }
    sums->faults++;
    sums->hardfaults += fault->hardfault && fault->result == VM_OK;
    sums->prefaulted += fault->prefaulted;
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        sums->waited[i] += fault->waited[i];
    count_time(&sums->latency, sums->latency_log2, fault->duration);
    count_walk(sums, fault);
    count_refault(sums, &event->record);
    return count_keys(sums, event);
}

static int
count_pageout(struct trace_sums *sums, const struct trace_record *record)
{
    const struct trace_pageout *pageout = &record->pageout;
    struct trace_tally_row *row;

    sums->written += pageout->written;
    sums->freed += pageout->freed;
    sums->failed += pageout->failed;
    if (!pageout->freed)
        return 0;
    row = trace_tally_add(&sums->gone, page_key(pageout->object, pageout->pindex), 0);
    if (row == NULL)
        return -ENOMEM;
    row->sum = record->time;
    return 0;
}

int
trace_sums_add(struct trace_sums *sums, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;

    sums->kinds[record->kind]++;
    if (sums->first == 0 || event->time < sums->first)
        sums->first = event->time;
    if (event->time > sums->last)
        sums->last = event->time;
    if (record->kind == TRACE_FAULT)
        return count_fault(sums, event);
    if (record->kind == TRACE_PAGEOUT)
        return count_pageout(sums, record);
    if (record->kind == TRACE_LOST)
        sums->lost += record->lost.count;
    return 0;
}

int
trace_sums_read(struct trace_sums *sums, struct trace_input *input)
{
    struct trace_event event;
    int found, error = 0;

    while (error == 0 && (found = trace_input_next(input, &event)) != 0)
        error = found < 0 ? found : trace_sums_add(sums, &event);
    return error;
}

/* --- What --stats says ----------------------------------------------------- */

static uint64_t
outcomes(const struct trace_sums *sums, unsigned first, unsigned last)
{
    uint64_t sum = 0;

    for (unsigned i = first; i <= last; i++) {
        const struct trace_tally_row *row = trace_tally_find(&sums->by[TRACE_BY_OUTCOME], i);

        sum += row != NULL ? row->count : 0;
    }
    return sum;
}

unsigned
trace_sums_check(const struct trace_sums *sums, const char *last_words, struct trace_check *checks)
{
    const unsigned host = TRACE_RESOLUTION_COUNT + VM_HOST_FAILURE;
    const struct trace_check list[] = {
        { .key = "v_vm_faults", .counted = sums->faults },
        { .key = "v_kind_resident", .counted = outcomes(sums, TRACE_RESIDENT, TRACE_RESIDENT) },
        { .key = "v_kind_zero_fill", .counted = outcomes(sums, TRACE_ZERO_FILL, TRACE_ZERO_FILL) },
        { .key = "v_kind_page_in", .counted = outcomes(sums, TRACE_FILE_READ, TRACE_SWAP_IN) },
        { .key = "v_kind_cow", .counted = outcomes(sums, TRACE_COPIED, TRACE_MOVED) },
        { .key = "v_kind_failed", .counted = outcomes(sums, TRACE_RESOLUTION_COUNT + 1, host - 1) },
        { .key = "v_kind_host", .counted = outcomes(sums, host, host) },
        { .key = "v_majflt", .counted = sums->hardfaults },
        { .key = "v_lookups", .counted = sums->lookups },
        { .key = "v_debugger", .counted = sums->debugger },
        { .key = "v_inval", .counted = sums->kinds[TRACE_INVAL] },
        { .key = "v_setmap", .counted = sums->kinds[TRACE_SETMAP] },
        { .key = "v_pageout", .counted = sums->written },
        { .key = "v_pageout_failed", .counted = sums->failed },
        { .key = "v_dfree", .counted = sums->freed },
    };

    _Static_assert(COUNT(list) <= TRACE_CHECKS, "there is room for all");
    for (unsigned i = 0; i < COUNT(list); i++) {
        checks[i] = list[i];
        checks[i].known = trace_text_number(last_words, list[i].key, &checks[i].told);
    }
    return COUNT(list);
}

/* --- Names ----------------------------------------------------------------- */

const char *
trace_dimension_name(enum trace_dimension dimension)
{
    return dimension_names[dimension];
}

const char *
trace_row_name(const struct trace_input *input, enum trace_dimension dimension,
               const struct trace_tally_row *row, char text[32])
{
    unsigned who = (unsigned)(row->key >> WHO_SHIFT);

    switch (dimension) {
    case TRACE_BY_OUTCOME:
        return trace_outcome_name((unsigned)row->key);
    case TRACE_BY_ACCESS:
        return trace_access_name((unsigned)row->key);
    case TRACE_BY_ARRIVAL:
        return trace_arrival_name((unsigned)row->key);
    case TRACE_BY_MAP:
        return trace_map_name((unsigned)row->key);
    case TRACE_BY_WHO:
        if (who != TRACE_VCPU)
            return trace_who_name(who);
        snprintf(text, 32, "vcpu%u", (unsigned)row->key);
        return text;
    case TRACE_BY_REGION:
        return trace_input_region(input, (size_t)row->key);
    case TRACE_BY_SYMBOL:
    case TRACE_DIMENSIONS:
        break;
    }
    return row->name != NULL ? row->name : "unknown";
}

/* --- The verb -------------------------------------------------------------- */

/* The checks first: a sorted tally finds nothing. */
static void
check_and_sort(struct trace_sums *sums, const char *last_words)
{
    sums->nchecks = trace_sums_check(sums, last_words, sums->checks);
    for (unsigned i = 0; i < TRACE_DIMENSIONS; i++)
        trace_tally_sort(&sums->by[i]);
    trace_tally_sort(&sums->pages);
    trace_tally_sort(&sums->sites);
}

static int
run_report(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct trace_input input;
    struct trace_sums *sums;
    int status = trace_input_open(&input, options, 0, failure);

    if (status != CLI_OK)
        return status;
    sums = malloc(sizeof(*sums));
    if (sums == NULL) {
        trace_input_close(&input);
        return failure_set(failure, CLI_FAILED, "out of memory for a report");
    }
    trace_sums_init(sums);
    status = trace_input_verdict(&input, trace_sums_read(sums, &input), failure);
    if (status != CLI_FAILED) {
        check_and_sort(sums, trace_reader_last_words(input.reader));
        (options->json ? trace_report_json : trace_report_text)(to, &input, sums, options);
    }
    trace_sums_fini(sums);
    free(sums);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_report_verb = {
    .name = "report",
    .summary = "Print what was recorded as totals, tables and a histogram",
    .words = "FILE",
    .bit = TOOL_REPORT,
    .nfiles = 1,
    .run = run_report,
};
