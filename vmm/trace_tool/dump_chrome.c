/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chrome's JSON, for chrome://tracing, ui.perfetto.dev and speedscope: slices and moments on tracks,
 * counters.  Times are us from the recording's begin.
 */
#include "vmm/base/json.h"
#include "vmm/trace_tool/trace_dump.h"
#include "vmm/trace_tool/trace_tracks.h"

#include <errno.h>
#include <stdlib.h>

/* The VM is the process, a track its thread. */
#define PID 1

struct chrome {
    struct json json;
    struct trace_tracks tracks;
    struct trace_counters counters;
};

static void
chrome_name(struct json *json, const char *what, uint64_t tid, const char *name)
{
    json_object(json, NULL);
    json_string(json, "ph", "M");
    json_u64(json, "pid", PID);
    json_u64(json, "tid", tid);
    json_string(json, "name", what);
    json_object(json, "args");
    json_string(json, "name", name);
    json_end(json);
    json_end(json);
}

static int
chrome_begin(struct trace_dump *dump)
{
    struct chrome *chrome = calloc(1, sizeof(*chrome));

    if (chrome == NULL)
        return -ENOMEM;
    dump->state = chrome;
    json_init(&chrome->json, dump->to);
    json_object(&chrome->json, NULL);
    json_string(&chrome->json, "displayTimeUnit", "ns");
    json_array(&chrome->json, "traceEvents");
    chrome_name(&chrome->json, "process_name", 0, "vkvm");
    return 0;
}

static void
chrome_counter(struct json *json, const char *name, uint64_t at, int64_t value)
{
    json_object(json, NULL);
    json_string(json, "ph", "C");
    json_u64(json, "pid", PID);
    json_string(json, "name", name);
    json_thousandths(json, "ts", at);
    json_object(json, "args");
    json_u64(json, "value", value > 0 ? (uint64_t)value : 0);
    json_end(json);
    json_end(json);
}

static void
chrome_counters(struct chrome *chrome, uint64_t at, uint64_t per_second)
{
    chrome_counter(&chrome->json, "faults per second", at, (int64_t)per_second);
    chrome_counter(&chrome->json, "resident pages", at, chrome->counters.resident);
}

static void
chrome_arguments(struct json *json, const struct trace_input *input,
                 const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;
    uint64_t gpa;

    json_object(json, "args");
    json_u64(json, "sequence", event->record.sequence);
    if (trace_event_gpa(event, &gpa)) {
        char text[24];

        snprintf(text, sizeof(text), "0x%llx", (unsigned long long)gpa);
        json_string(json, "gpa", text);
        json_string(json, "region", trace_input_region(input, event->region));
    }
    if (event->record.kind == TRACE_FAULT) {
        json_string(json, "access", trace_access_name(fault->access));
        json_string(json, "arrival", trace_arrival_name(fault->arrival));
        json_string(json, "map", trace_map_name(trace_map_of(fault)));
        json_u64(json, "a_set", trace_fault_a_set(fault));
        json_u64(json, "m_set", trace_fault_m_set(fault));
        json_u64(json, "retries", trace_fault_retries(fault));
    }
    if (event->symbol != NULL)
        json_string(json, "symbol", event->symbol);
    json_end(json);
}

static int
chrome_event(struct trace_dump *dump, const struct trace_event *event)
{
    struct chrome *chrome = dump->state;
    struct json *json = &chrome->json;
    uint64_t duration = trace_event_duration(event), at, per_second;
    ssize_t track = trace_tracks_place(&chrome->tracks, event, event->time, event->time + duration);
    char name[32];

    if (track < 0)
        return (int)track;
    if (!chrome->tracks.list[track].told) {
        chrome->tracks.list[track].told = true;
        trace_track_name(&chrome->tracks.list[track], name);
        chrome_name(json, "thread_name", (uint64_t)track + 1, name);
    }
    if (trace_counters_add(&chrome->counters, event, &at, &per_second))
        chrome_counters(chrome, at, per_second);
    json_object(json, NULL);
    json_string(json, "ph", duration != 0 ? "X" : "i");
    json_u64(json, "pid", PID);
    json_u64(json, "tid", (uint64_t)track + 1);
    json_string(json, "name", trace_event_title(event));
    json_string(json, "cat", trace_kind_name(event->record.kind));
    json_thousandths(json, "ts", event->time);
    if (duration != 0)
        json_thousandths(json, "dur", duration);
    else
        json_string(json, "s", "t");
    chrome_arguments(json, dump->input, event);
    json_end(json);
    return 0;
}

static int
chrome_end(struct trace_dump *dump)
{
    struct chrome *chrome = dump->state;
    uint64_t at, per_second;

    trace_counters_last(&chrome->counters, &at, &per_second);
    chrome_counters(chrome, at, per_second);
    json_end(&chrome->json);
    json_end(&chrome->json);
    trace_tracks_fini(&chrome->tracks);
    free(chrome);
    return 0;
}

const struct trace_dump_format trace_dump_chrome = {
    .name = "chrome",
    .begin = chrome_begin,
    .event = chrome_event,
    .end = chrome_end,
};
