/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracks in which slices nest, and counters. */
#include "vmm/trace_tool/trace_tracks.h"

#include "vmm/trace_tool/trace_dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000u

void
trace_tracks_fini(struct trace_tracks *tracks)
{
    free(tracks->list);
    *tracks = (struct trace_tracks){ .list = NULL };
}

/* Put the slice on the track, if it nests there. */
static bool
place(struct trace_track *track, uint64_t begin, uint64_t end)
{
    unsigned depth = track->depth;

    while (depth > 0 && track->slices[depth - 1].begin >= begin)
        depth--; /* inside */
    if (begin < (depth > 0 ? track->slices[depth - 1].end : track->floor))
        return false;
    if (depth == TRACE_TRACK_DEPTH) {
        track->floor = track->slices[0].end;
        memmove(track->slices, track->slices + 1, (depth - 1) * sizeof(track->slices[0]));
        depth--;
    }
    /* What began with it or later may end later only by a clock's grain: it is around that too. */
    if (depth < track->depth && track->slices[track->depth - 1].end > end)
        return false;
    track->slices[depth] = (struct trace_slice){ begin, end };
    track->depth = depth + 1;
    return true;
}

ssize_t
trace_tracks_place(struct trace_tracks *tracks, const struct trace_event *event, uint64_t begin,
                   uint64_t end)
{
    const struct trace_record *record = &event->record;
    struct trace_track *track;
    unsigned copies = 0;

    for (size_t i = 0; i < tracks->count; i++) {
        track = &tracks->list[i];
        if (track->who != record->who || track->number != record->number)
            continue;
        copies++;
        if (place(track, begin, end))
            return (ssize_t)i;
    }
    track = reallocarray(tracks->list, tracks->count + 1, sizeof(*track));
    if (track == NULL)
        return -ENOMEM;
    tracks->list = track;
    track += tracks->count;
    *track = (struct trace_track){ .who = record->who, .number = record->number, .copy = copies };
    (void)place(track, begin, end);
    return (ssize_t)tracks->count++;
}

void
trace_track_name(const struct trace_track *track, char text[32])
{
    int length = track->who == TRACE_VCPU ? snprintf(text, 32, "vcpu%u", track->number)
                                          : snprintf(text, 32, "%s", trace_who_name(track->who));

    if (track->copy != 0)
        snprintf(text + length, 32 - (size_t)length, " %u", track->copy + 1);
}

static void
count_pages(struct trace_counters *counters, const struct trace_record *record)
{
    if (record->kind == TRACE_PAGEOUT && record->pageout.freed)
        counters->resident--;
    if (record->kind == TRACE_FAULT && record->fault.result == VM_OK &&
        record->fault.resolution != TRACE_RESIDENT && record->fault.resolution != TRACE_MOVED)
        counters->resident++;
}

bool
trace_counters_add(struct trace_counters *counters, const struct trace_event *event, uint64_t *at,
                   uint64_t *per_second)
{
    uint64_t step = (event->time + trace_event_duration(event)) / TRACE_COUNTER_STEP_NS;
    bool over = step > counters->step;

    if (over) {
        trace_counters_last(counters, at, per_second);
        counters->step = step;
        counters->faults = 0;
    }
    counters->faults += event->record.kind == TRACE_FAULT && !trace_is_lookup(&event->record.fault);
    count_pages(counters, &event->record);
    return over;
}

void
trace_counters_last(const struct trace_counters *counters, uint64_t *at, uint64_t *per_second)
{
    *at = counters->step * TRACE_COUNTER_STEP_NS;
    *per_second = counters->faults * (SECOND / TRACE_COUNTER_STEP_NS);
}
