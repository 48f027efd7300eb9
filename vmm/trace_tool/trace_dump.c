/* SPDX-License-Identifier: BSD-2-Clause */
/* `vkvm trace dump`: every record that is wanted, in one of the formats of a table. */
#include "vmm/trace_tool/trace_dump.h"

#include "vmm/trace_tool/tool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct trace_dump_format *const formats[] = {
    &trace_dump_text,   &trace_dump_jsonl,  &trace_dump_csv,
    &trace_dump_folded, &trace_dump_chrome, &trace_dump_perfetto,
};

const char *
trace_event_who(const struct trace_event *event, char text[32])
{
    if (event->record.who != TRACE_VCPU)
        return trace_who_name(event->record.who);
    snprintf(text, 32, "vcpu%u", event->record.number);
    return text;
}

const char *
trace_event_mode(const struct trace_event *event)
{
    if (event->registers == NULL || event->registers->kernel_event)
        return "unknown";
    return event->registers->cpl == 3 ? "user" : "kernel";
}

uint64_t
trace_event_duration(const struct trace_event *event)
{
    switch (event->record.kind) {
    case TRACE_FAULT:
        return event->record.fault.duration;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        return event->record.range.duration;
    case TRACE_VMSPACE:
        return event->record.vmspace.duration;
    default:
        return 0;
    }
}

const char *
trace_event_title(const struct trace_event *event)
{
    if (event->record.kind == TRACE_FAULT)
        return trace_outcome_name(trace_outcome(&event->record.fault));
    return trace_kind_name(event->record.kind);
}

static unsigned
bits_set(const struct trace_fault *fault, vpte_t bit)
{
    unsigned count = 0;

    for (unsigned i = 0; i < fault->nvptes; i++)
        count += (fault->vptes[i].after & ~fault->vptes[i].before & bit) != 0;
    return count;
}

unsigned
trace_fault_a_set(const struct trace_fault *fault)
{
    return bits_set(fault, VPTE_A);
}

unsigned
trace_fault_m_set(const struct trace_fault *fault)
{
    return bits_set(fault, VPTE_M);
}

unsigned
trace_fault_retries(const struct trace_fault *fault)
{
    unsigned count = 0;

    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        count += fault->waited[i];
    return count;
}

static const struct trace_dump_format *
find_format(const char *name)
{
    for (size_t i = 0; i < COUNT(formats); i++) {
        if (name == NULL || strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

static int
dump_all(const struct trace_dump_format *format, struct trace_input *input, FILE *to)
{
    struct trace_dump dump = { .to = to, .input = input };
    struct trace_event event;
    int found, ended, error = format->begin != NULL ? format->begin(&dump) : 0;

    if (error != 0)
        return error;
    while (error == 0 && (found = trace_input_next(input, &event)) != 0)
        error = found < 0 ? found : format->event(&dump, &event);
    ended = format->end != NULL ? format->end(&dump) : 0;
    return error != 0 ? error : ended;
}

static int
run_dump(const struct tool_options *options, FILE *to, struct failure *failure)
{
    const struct trace_dump_format *format = find_format(options->format);
    struct trace_input input;
    int status;

    if (format == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--format=" FAILURE_NAME
                           " is unknown: give text, jsonl, csv, folded, chrome or perfetto",
                           options->format);
    if (format->binary && isatty(fileno(to)))
        return failure_set(failure, CLI_USAGE,
                           "--format=%s is no text for a terminal: give --output FILE",
                           format->name);
    status = trace_input_open(&input, options, 0, failure);
    if (status != CLI_OK)
        return status;
    status = trace_input_verdict(&input, dump_all(format, &input, to), failure);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_dump_verb = {
    .name = "dump",
    .summary = "Print every record, for grep, spreadsheets, flame graphs and trace viewers",
    .words = "FILE",
    .bit = TOOL_DUMP,
    .nfiles = 1,
    .run = run_dump,
};
