/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a verb reads.  The file is read twice where it has registers: they stand behind their faults,
 * and a fault is to be seen with them.
 */
#include "vmm/trace_tool/trace_input.h"

#include "vmm/base/clock.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How often progress is looked after, records, and told, ns. */
#define PROGRESS_RECORDS 65536u
#define PROGRESS_NS 500000000u

/* --- Regions --------------------------------------------------------------- */

static int
compare_regions(const void *left, const void *right)
{
    const struct trace_region *a = left, *b = right;

    return a->start < b->start ? -1 : a->start > b->start;
}

/* What a region is called: a word in every format. */
static void
name_region(struct trace_region *region, const char *key, const char *rest)
{
    const char *slash = strrchr(rest, '/');

    if (strcmp(key, "file") == 0)
        snprintf(region->name, sizeof(region->name), "file:%.*s", TRACE_REGION_NAME - 6,
                 slash != NULL ? slash + 1 : rest);
    else
        snprintf(region->name, sizeof(region->name), "%s", key);
    for (char *c = region->name; *c != '\0'; c++) {
        if (*c <= ' ' || *c == ';' || *c == ',' || *c == '"' || *c >= 0x7f)
            *c = '_';
    }
}

/* "GPA+SIZE WORD"; whatever else is left out. */
static bool
parse_region(const char *key, const char *value, size_t size, struct trace_region *region)
{
    char text[4096];
    char *p;

    if (size >= sizeof(text))
        return false;
    memcpy(text, value, size);
    text[size] = '\0';
    region->start = strtoull(text, &p, 0);
    if (p == text || *p != '+')
        return false;
    region->end = region->start + strtoull(p + 1, &p, 0);
    name_region(region, key, p + (*p == ' '));
    return region->start < region->end;
}

static int
read_regions_of(struct trace_input *input, const char *key)
{
    const char *text = trace_reader_text(input->reader);
    const char *value;
    ssize_t size;

    while ((size = trace_text_find(text, key, &value)) >= 0) {
        struct trace_region *regions =
            reallocarray(input->regions, input->nregions + 1, sizeof(*regions));

        if (regions == NULL)
            return -ENOMEM;
        input->regions = regions;
        if (parse_region(key, value, (size_t)size, &regions[input->nregions]))
            input->nregions++;
        text = value + size + (value[size] == '\n');
    }
    return 0;
}

static int
read_regions(struct trace_input *input)
{
    static const char *const keys[] = { "ram", "window", "file" };
    int error = 0;

    for (size_t i = 0; error == 0 && i < sizeof(keys) / sizeof(keys[0]); i++)
        error = read_regions_of(input, keys[i]);
    if (input->nregions != 0)
        qsort(input->regions, input->nregions, sizeof(input->regions[0]), compare_regions);
    return error;
}

/* The last region that begins at or below gpa, if that has it. */
size_t
trace_input_region_at(const struct trace_input *input, uint64_t gpa)
{
    size_t low = 0, high = input->nregions;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (input->regions[middle].start <= gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && gpa < input->regions[low - 1].end ? low - 1 : input->nregions;
}

const char *
trace_input_region(const struct trace_input *input, size_t region)
{
    if (region < input->nregions)
        return input->regions[region].name;
    return region == input->nregions ? "other" : "window";
}

/* --- Registers ------------------------------------------------------------- */

static int
compare_registers(const void *left, const void *right)
{
    const struct trace_registers *a = left, *b = right;

    return a->fault < b->fault ? -1 : a->fault > b->fault;
}

static int
keep_registers(struct trace_input *input, size_t *room, const struct trace_registers *registers)
{
    if (input->nregisters == *room) {
        size_t more = *room == 0 ? 1024 : 2 * *room;
        struct trace_registers *list = reallocarray(input->registers, more, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        input->registers = list;
        *room = more;
    }
    input->registers[input->nregisters++] = *registers;
    return 0;
}

static int
read_registers(struct trace_input *input)
{
    struct trace_record record;
    size_t room = 0;
    int found, error = 0;

    while (error == 0 && (found = trace_reader_next(input->reader, &record)) != 0) {
        if (found < 0)
            error = found;
        else if (record.kind == TRACE_REGISTERS && record.registers.fault != TRACE_NONE)
            error = keep_registers(input, &room, &record.registers);
        else if (record.kind == TRACE_ENTRY)
            input->lstar = record.entry.lstar;
        else
            error = trace_kernel_events_add(&input->kernel, &record);
    }
    trace_kernel_events_sort(&input->kernel);
    if (input->nregisters != 0)
        qsort(input->registers, input->nregisters, sizeof(input->registers[0]), compare_registers);
    trace_reader_rewind(input->reader);
    return error;
}

static const struct trace_registers *
find_registers(const struct trace_input *input, uint64_t fault)
{
    size_t low = 0, high = input->nregisters;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (input->registers[middle].fault < fault)
            low = middle + 1;
        else
            high = middle;
    }
    return low < input->nregisters && input->registers[low].fault == fault ? &input->registers[low]
                                                                           : NULL;
}

/* The kernel's event of a vCPU's fault. */
static const struct trace_registers *
find_kernel_event(const struct trace_input *input, const struct trace_record *record)
{
    const struct trace_kernel_event *event;

    if (record->kind != TRACE_FAULT || record->who != TRACE_VCPU)
        return NULL;
    event = trace_kernel_events_at(&input->kernel, record->number, record->time);
    return event != NULL && event->registers.gpa >> PAGE_SHIFT == record->fault.gpa >> PAGE_SHIFT
               ? &event->registers
               : NULL;
}

/* --- Opening --------------------------------------------------------------- */

/*
 * How far the guest's symbols are from where the file has them.  A Linux that was moved tells it by
 * its MSR_LSTAR, the address of entry_SYSCALL_64; for /proc/kallsyms, which was moved too, that
 * yields 0.
 */
static uint64_t
symbol_offset(const struct trace_input *input, const struct tool_options *options)
{
    uint64_t lstar = input->lstar, entry;

    if (options->has_kaslr)
        return options->kaslr;
    if (lstar == 0)
        (void)trace_text_number(trace_reader_last_words(input->reader), "lstar", &lstar);
    if (lstar != 0 && trace_symbols_address(input->symbols, "entry_SYSCALL_64", &entry))
        return lstar - entry;
    return 0;
}

/* Symbols of another build than the one that ran are worse than none. */
static int
check_build(const struct trace_input *input, const char *path, struct failure *failure)
{
    const char *found = trace_symbols_build_id(input->symbols);
    const char *ran;
    ssize_t size = trace_text_find(trace_reader_text(input->reader), "build_id", &ran);

    if (size <= 0 || found[0] == '\0' ||
        (strlen(found) == (size_t)size && memcmp(found, ran, (size_t)size) == 0))
        return 0;
    return failure_set(failure, -EPROTO,
                       FAILURE_NAME
                       " is another build (%.12s...) than what ran (%.12s...): give the "
                       "symbols of that one",
                       path, found, ran);
}

/*
 * --symbols, or the image that ran if it is there and has any.  Without registers in the trace there is
 * nothing to look up; --symbols is then read all the same, so that a wrong one is told.
 */
static int
read_symbols(struct trace_input *input, const struct tool_options *options, struct failure *failure)
{
    const char *value, *path = options->symbols;
    struct failure ignored;
    char image[4096];
    ssize_t size;
    int error;

    if (path == NULL && trace_input_has_registers(input)) {
        size = trace_text_find(trace_reader_text(input->reader), "image", &value);
        if (size > 0 && (size_t)size < sizeof(image)) {
            memcpy(image, value, (size_t)size);
            image[size] = '\0';
            path = image;
        }
    }
    if (path == NULL)
        return 0;
    error =
        trace_symbols_load(path, &input->symbols, options->symbols != NULL ? failure : &ignored);
    if (error == 0)
        error = check_build(input, path, options->symbols != NULL ? failure : &ignored);
    if (error != 0) {
        trace_symbols_free(input->symbols);
        input->symbols = NULL;
        return options->symbols != NULL ? error : 0;
    }
    trace_symbols_move(input->symbols, symbol_offset(input, options));
    return 0;
}

static int
open_status(int error)
{
    if (error == -ENOENT)
        return CLI_NOT_FOUND;
    return error == -ENOMEM || error == -EIO ? CLI_FAILED : CLI_NOT_LOADABLE;
}

int
trace_input_open(struct trace_input *input, const struct tool_options *options, unsigned index,
                 struct failure *failure)
{
    struct trace_coverage coverage;
    int error;

    *input = (struct trace_input){ .filter = options->filter, .path = options->files[index] };
    error = trace_reader_open(input->path, &input->reader, failure);
    if (error != 0)
        return open_status(error);
    trace_reader_coverage(input->reader, &coverage);
    input->started = coverage.first;
    input->all = coverage.records;
    error = read_regions(input);
    if (error == 0)
        error = read_registers(input);
    if (error != 0)
        failure_set(failure, error, "out of memory for the trace " FAILURE_NAME, input->path);
    else
        error = read_symbols(input, options, failure);
    if (error != 0)
        trace_input_close(input);
    return error != 0 ? open_status(error) : CLI_OK;
}

/* Symbols that were read stay; where the guest has them may be known only now. */
static void
refresh_symbols(struct trace_input *input, const struct tool_options *options)
{
    struct failure ignored;

    if (input->symbols != NULL)
        trace_symbols_move(input->symbols, symbol_offset(input, options));
    else
        (void)read_symbols(input, options, &ignored);
}

int
trace_input_refresh(struct trace_input *input, const struct tool_options *options, uint64_t newest)
{
    struct trace_coverage coverage;
    int error = trace_reader_refresh(input->reader);

    if (error != 0)
        return error;
    trace_reader_coverage(input->reader, &coverage);
    trace_reader_since(input->reader, coverage.last > newest ? coverage.last - newest : 0);
    input->started = coverage.first;
    input->all = coverage.records;
    input->done = 0;
    input->nregisters = 0;
    free(input->registers);
    input->registers = NULL;
    trace_kernel_events_free(&input->kernel);
    error = read_registers(input);
    if (error == 0)
        refresh_symbols(input, options);
    return error;
}

void
trace_input_close(struct trace_input *input)
{
    trace_symbols_free(input->symbols);
    trace_kernel_events_free(&input->kernel);
    free(input->registers);
    free(input->regions);
    if (input->reader != NULL)
        trace_reader_close(input->reader);
    *input = (struct trace_input){ .reader = NULL };
}

/* --- Records --------------------------------------------------------------- */

bool
trace_input_has_registers(const struct trace_input *input)
{
    return input->nregisters != 0 || input->kernel.count != 0;
}

bool
trace_event_gpa(const struct trace_event *event, uint64_t *gpa)
{
    switch (event->record.kind) {
    case TRACE_FAULT:
        *gpa = event->record.fault.gpa;
        return true;
    case TRACE_EXCEPTION:
        *gpa = event->record.exception.gpa;
        return true;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        *gpa = event->record.range.gpa;
        return true;
    case TRACE_REGISTERS:
        *gpa = event->record.registers.gpa;
        return event->record.registers.kernel_event;
    default:
        return false;
    }
}

static bool
wants_fault(const struct tool_filter *filter, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;
    bool is_fault = event->record.kind == TRACE_FAULT;

    if (filter->has_access && (!is_fault || fault->access != filter->access))
        return false;
    if (filter->has_outcome && (!is_fault || filter->outcomes[trace_outcome(fault)] == 0))
        return false;
    return filter->symbol == NULL ||
           (is_fault && event->symbol != NULL && fnmatch(filter->symbol, event->symbol, 0) == 0);
}

static bool
wants(const struct tool_filter *filter, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;
    uint64_t gpa;

    if (filter->has_vcpu && (record->who != TRACE_VCPU || record->number != filter->vcpu))
        return false;
    if (filter->has_gpa &&
        (!trace_event_gpa(event, &gpa) || gpa < filter->gpa_start || gpa >= filter->gpa_end))
        return false;
    if ((filter->has_since && event->time < filter->since) ||
        (filter->has_until && event->time >= filter->until))
        return false;
    return wants_fault(filter, event);
}

bool
trace_input_filtered(const struct trace_input *input)
{
    const struct tool_filter *f = &input->filter;

    return f->has_vcpu || f->has_gpa || f->has_access || f->has_outcome || f->has_since ||
           f->has_until || f->symbol != NULL;
}

/* On a terminal, what takes long says how far it is. */
static void
tell_progress(struct trace_input *input)
{
    uint64_t now;

    if (++input->done % PROGRESS_RECORDS != 0 || !isatty(STDERR_FILENO))
        return;
    now = clock_now_ns();
    if (input->told == 0)
        input->told = now;
    if (now - input->told < PROGRESS_NS)
        return;
    input->told = now;
    fprintf(stderr, "\rvkvm: %" PRIu64 " of %" PRIu64 " records\033[K\r", input->done, input->all);
}

/* Windows that the guest has made are not in the header; a fault says that it is in one. */
static size_t
region_of(const struct trace_input *input, const struct trace_event *event)
{
    uint64_t gpa;
    size_t region =
        trace_event_gpa(event, &gpa) ? trace_input_region_at(input, gpa) : input->nregions;

    if (region == input->nregions && event->record.kind == TRACE_FAULT &&
        event->record.fault.window)
        return input->nregions + 1;
    return region;
}

static void
complete(const struct trace_input *input, struct trace_event *event)
{
    event->time = event->record.time > input->started ? event->record.time - input->started : 0;
    event->region = region_of(input, event);
    event->registers = event->record.kind == TRACE_REGISTERS ? &event->record.registers
                       : event->record.kind == TRACE_FAULT
                           ? find_registers(input, event->record.sequence)
                           : NULL;
    event->kernel = find_kernel_event(input, &event->record);
    if (event->registers == NULL)
        event->registers = event->kernel;
    event->symbol = NULL;
    if (event->registers != NULL && input->symbols != NULL)
        event->symbol =
            trace_symbols_find(input->symbols, event->registers->rip, &event->symbol_start);
}

int
trace_input_next(struct trace_input *input, struct trace_event *event)
{
    int found;

    while ((found = trace_reader_next(input->reader, &event->record)) > 0) {
        tell_progress(input);
        complete(input, event);
        if (wants(&input->filter, event))
            break;
    }
    return found;
}

/* --- How much of it -------------------------------------------------------- */

/* What a limit of the last records has taken, as far as that is known. */
static uint64_t
records_gone(const struct trace_coverage *c)
{
    bool known = c->keeps_last && c->ended && !c->cut && c->damaged + c->undecodable == 0;

    return known && c->total > c->records + c->lost ? c->total - c->records - c->lost : 0;
}

void
trace_input_scope(const struct trace_input *input, char *text, size_t size)
{
    struct trace_coverage c;
    char gone[64] = "";

    trace_reader_coverage(input->reader, &c);
    if (c.records == c.total && c.damaged == 0 && c.undecodable == 0)
        snprintf(text, size, "all of %" PRIu64 " records%s", c.total,
                 c.ended ? "" : " so far: the VM's end is not in the file");
    else {
        if (records_gone(&c) != 0)
            snprintf(gone, sizeof(gone), ", %" PRIu64 " made room for newer ones",
                     records_gone(&c));
        snprintf(text, size, "%" PRIu64 " of %" PRIu64 " records: %" PRIu64 " found no room%s%s%s",
                 c.records, c.total, c.lost, gone,
                 c.damaged + c.undecodable != 0 ? ", the file is damaged" : "",
                 c.ended ? "" : ", the VM's end is not in the file");
    }
}

int
trace_input_verdict(const struct trace_input *input, int error, struct failure *failure)
{
    struct trace_coverage c;

    if (error != 0)
        return failure_set(failure, CLI_FAILED, "out of memory for the trace " FAILURE_NAME,
                           input->path);
    trace_reader_coverage(input->reader, &c);
    if (c.damaged == 0 && c.undecodable == 0 && !c.header_damaged && !c.cut)
        return CLI_OK;
    return failure_set(failure, CLI_NOT_LOADABLE,
                       FAILURE_NAME " is %s: %" PRIu64 " of %" PRIu64
                                    " records could be read, %" PRIu64 " places not%s",
                       input->path, c.cut ? "cut off" : "damaged", c.records, c.total,
                       c.damaged + c.undecodable + c.cut,
                       c.header_damaged ? ", nor what the VM was" : "");
}
