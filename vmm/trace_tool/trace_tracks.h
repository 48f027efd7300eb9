/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tracks of a picture in which slices nest: each is behind, inside or around the others of its track.
 *
 * Each vCPU has a track.  What several threads do under one name, such as the monitor's accesses,
 * overlaps; it gets as many tracks of that name as it needs.  Records come in the order they ended
 * in, so a slice can be around those before it.
 */
#ifndef TRACE_TRACKS_H
#define TRACE_TRACKS_H

#include "vmm/trace_tool/trace_input.h"

/* Slices that a track remembers: one around more of them goes to another track. */
#define TRACE_TRACK_DEPTH 64u

struct trace_slice {
    uint64_t begin, end;
};

struct trace_track {
    enum trace_who who;
    unsigned number; /* of the vCPU */
    unsigned copy;   /* 0, or which further one of the name */
    bool told;       /* the format has named it */
    uint64_t floor;  /* the end of what is not remembered */
    unsigned depth;
    struct trace_slice slices[TRACE_TRACK_DEPTH];
};

struct trace_tracks {
    struct trace_track *list; /* owned */
    size_t count;
};

/* What is counted along the time. */
struct trace_counters {
    int64_t resident; /* pages brought in and not paged out, from 0 at the begin */
    uint64_t faults;  /* of the step */
    uint64_t step;    /* number of the step of time under way */
};

#define TRACE_COUNTER_STEP_NS 10000000u

void trace_tracks_fini(struct trace_tracks *tracks);

/*
 * The number of the track for a slice; a moment has `end` == `begin`.
 * Returns -ENOMEM or the number.
 */
ssize_t trace_tracks_place(struct trace_tracks *tracks, const struct trace_event *event,
                           uint64_t begin, uint64_t end);

/* "vcpu0", "monitor 2". */
void trace_track_name(const struct trace_track *track, char text[32]);

/*
 * Count the event.  Returns true when a step is over: *at is its begin, *per_second its rate of faults.
 */
bool trace_counters_add(struct trace_counters *counters, const struct trace_event *event,
                        uint64_t *at, uint64_t *per_second);

/* The rate of the step under way, at the end. */
void trace_counters_last(const struct trace_counters *counters, uint64_t *at, uint64_t *per_second);

#endif
