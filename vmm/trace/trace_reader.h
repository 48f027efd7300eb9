/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace file read back: its segments are found and checked, its lanes merged into one stream of
 * records in the order of their sequence.
 *
 * Nothing in the file is trusted.  What is damaged is left out and counted; all else is read.  The
 * file may be one that is still being written: what is in it at the time of the opening is read.
 *
 * Locks: none; one thread.
 */
#ifndef TRACE_READER_H
#define TRACE_READER_H

#include "vmm/base/failure.h"
#include "vmm/trace/trace_format.h"
#include "vmm/trace/trace_record.h"
#include "vmm/trace/trace_text.h"

struct trace_reader; /* trace_reader.c */

/* What of a trace there is to read. */
struct trace_coverage {
    uint64_t records; /* in the segments that are whole; less those found undecodable since */
    uint64_t total;   /* made by the VM, those that are not in the file included */
    uint64_t lost;    /* of those, found no room in a buffer or in the file, as it says itself */
    uint64_t segments;
    uint64_t damaged;     /* segments, or stretches where one should begin */
    uint64_t undecodable; /* segments that are whole but hold no records; known when all was read */
    bool cut;             /* the file ends within a segment */
    bool ended;           /* the VM's last words are there: it was not killed and is not running */
    bool header_damaged;  /* nothing is known of the VM */
    bool keeps_last;      /* the oldest records make room for new ones, and are not lost but gone */
    uint64_t first;       /* CLOCK_MONOTONIC, ns: when recording began ... */
    uint64_t last;        /* ... and when the newest segment was written */
};

/*
 * Open a trace and find its segments.
 * Returns 0; with *failure filled, one line: -ENOENT and what file_open says; -EPROTO: no trace;
 * -ENOTSUP: one of another version; -ENODATA: cut off within its header; -ENOMEM, -EIO.
 */
int trace_reader_open(const char *path, struct trace_reader **readerp, struct failure *failure)
    __attribute__((warn_unused_result));

void trace_reader_close(struct trace_reader *reader);

/*
 * The file is being written: look what has come since, and start over with the first record.
 * Returns 0; -ESTALE: it is another trace by now, to be opened; -ENOMEM, -EIO: only close it.
 */
int trace_reader_refresh(struct trace_reader *reader) __attribute__((warn_unused_result));

/* Leave out segments that were written before, CLOCK_MONOTONIC, ns; start over. */
void trace_reader_since(struct trace_reader *reader, uint64_t written);

/*
 * The next record, in the order of their sequence.
 * Returns 1 with *record; 0 at the end; -ENOMEM.
 */
int trace_reader_next(struct trace_reader *reader, struct trace_record *record)
    __attribute__((warn_unused_result));

/* Start over with the first record. */
void trace_reader_rewind(struct trace_reader *reader);

void trace_reader_coverage(const struct trace_reader *reader, struct trace_coverage *coverage);

/* The header's text and the last words: "key=value\n", "" if there are none. */
const char *trace_reader_text(const struct trace_reader *reader);
const char *trace_reader_last_words(const struct trace_reader *reader);

#endif
