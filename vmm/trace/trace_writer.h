/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The recording side of a trace: lanes, and one thread that writes them to the file.
 *
 * The thread looks at the lanes every 20 ms, 50 ms when there was nothing, so a record is in the
 * file, or lost and counted, before it is 100 ms old.  Nobody wakes it and nobody waits for it: with a
 * full disk or a file at its limit the VM goes on.  What is written belongs to the kernel at once
 * and survives the process.
 *
 * A lane belongs to one thread; the last ones are for threads without a lane.
 *
 * Locks: none.  Letters: `take` the writer's thread, or after trace_finish its caller.
 */
#ifndef TRACE_WRITER_H
#define TRACE_WRITER_H

#include "vmm/base/failure.h"
#include "vmm/trace/trace_record.h"

#include <stdio.h>

struct trace;      /* trace_writer.c */
struct trace_lane; /* trace_lane.h */

/* The least --trace-limit. */
#define TRACE_LIMIT_MIN ((uint64_t)1 << 20)

struct trace_config {
    const char *path; /* borrowed: a regular file, which is made or replaced */
    uint64_t limit;   /* bytes of the file; 0 = none; else TRACE_LIMIT_MIN or more */
    bool keep_last;   /* at the limit the oldest records go, else recording ends */
    unsigned nlanes;  /* of threads */
    const char *text; /* borrowed during trace_create: "key=value\n", for the header */
    /* By the writer's thread, before all else.  NULL = nothing. */
    void (*begins)(void *context);
    /* Something could not be written; once.  `error` is a negative errno.  From the writer's thread. */
    void (*warn)(void *context, const char *message, int error);
    void *context; /* borrowed */
};

struct trace_totals {
    uint64_t records; /* made */
    uint64_t lost;    /* ... and not written */
    uint64_t bytes;   /* of the file */
};

/*
 * Make the file, its header and the lanes, start the thread.
 * Returns 0; -errno with *failure filled, one line: the file cannot be written, is none or in use by
 * another VM; no memory, no thread.
 */
int trace_create(const struct trace_config *config, struct trace **tracep, struct failure *failure)
    __attribute__((warn_unused_result));

/* The lane of the index-th thread. */
struct trace_lane *trace_get_lane(struct trace *trace, unsigned index);

/*
 * Record something: `record` gets its sequence here.  lane: the calling thread's; NULL: it has none.
 * Any thread; does not sleep.
 */
void trace_put(struct trace *trace, struct trace_lane *lane, struct trace_record *record);

/*
 * Write all there is, then `text`, and end the thread.  Nobody puts anything any more.
 * Waits for the disk, so not while somebody waits for the VM's end.
 */
void trace_finish(struct trace *trace, const char *text);

/* What was recorded.  After trace_finish. */
void trace_get_totals(const struct trace *trace, struct trace_totals *totals);

/* After trace_finish, or if nothing was ever put. */
void trace_destroy(struct trace *trace);

#endif
