/* SPDX-License-Identifier: BSD-2-Clause */
/* A record a line with the same columns for each kind: what does not apply is empty. */
#include "vmm/trace_tool/trace_dump.h"

#include <inttypes.h>

static int
csv_begin(struct trace_dump *dump)
{
    fputs(
        "sequence,time_ns,who,kind,access,gpa,region,arrival,map,outcome,duration_ns,object,pindex,"
        "depth,levels,a_set,m_set,prefaulted,retries,mode,rip,symbol\n",
        dump->to);
    return 0;
}

static void
csv_fault(FILE *to, const struct trace_input *input, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    fprintf(to, "%s,0x%" PRIx64 ",%s,%s,%s,%s,%" PRIu64 ",", trace_access_name(fault->access),
            fault->gpa, trace_input_region(input, event->region),
            trace_arrival_name(fault->arrival), trace_map_name(trace_map_of(fault)),
            trace_event_title(event), fault->duration);
    if (fault->step >= FAULT_STEP_OBJECT)
        fprintf(to, "%" PRIu64 ",%" PRIu64 ",%u,", fault->object, fault->pindex, fault->depth);
    else
        fputs(",,,", to);
    fprintf(to, "%u,%u,%u,%u,%u,", fault->nvptes, trace_fault_a_set(fault),
            trace_fault_m_set(fault), fault->prefaulted, trace_fault_retries(fault));
}

static void
csv_other(FILE *to, const struct trace_input *input, const struct trace_event *event)
{
    uint64_t gpa;

    if (trace_event_gpa(event, &gpa))
        fprintf(to, ",0x%" PRIx64 ",%s,,,,", gpa, trace_input_region(input, event->region));
    else
        fputs(",,,,,,", to);
    fprintf(to, "%" PRIu64 ",", trace_event_duration(event));
    if (event->record.kind == TRACE_PAGEOUT)
        fprintf(to, "%" PRIu64 ",%" PRIu64 ",", event->record.pageout.object,
                event->record.pageout.pindex);
    else
        fputs(",,", to);
    fputs(",,,,,,", to);
}

static int
csv_event(struct trace_dump *dump, const struct trace_event *event)
{
    char who[32];

    fprintf(dump->to, "%" PRIu64 ",%" PRIu64 ",%s,%s,", event->record.sequence, event->time,
            trace_event_who(event, who), trace_kind_name(event->record.kind));
    if (event->record.kind == TRACE_FAULT)
        csv_fault(dump->to, dump->input, event);
    else
        csv_other(dump->to, dump->input, event);
    if (event->registers != NULL)
        fprintf(dump->to, "%s,0x%" PRIx64 ",%s\n", trace_event_mode(event), event->registers->rip,
                event->symbol != NULL ? event->symbol : "");
    else
        fputs(",,\n", dump->to);
    return 0;
}

const struct trace_dump_format trace_dump_csv = {
    .name = "csv",
    .begin = csv_begin,
    .event = csv_event,
};
