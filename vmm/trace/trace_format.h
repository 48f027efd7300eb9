/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace file: docs/trace-format.md says it in full.  Little-endian, as the records are.
 *
 *     0                  struct trace_header, then text "key=value\n": what the VM is
 *     TRACE_CHUNK        chunk 0: segments, one behind the other
 *     2 * TRACE_CHUNK    chunk 1 ...
 *
 * A segment holds records of one lane, that is of one thread at a time, in the order they ended
 * in.  It is never written to again, so what is in the file stays readable whatever happens to the
 * writer.  A file that keeps the last records uses its chunks in turns: each has a number that
 * grows, and of a chunk's segments those are valid that have the number of its first one.
 */
#ifndef TRACE_FORMAT_H
#define TRACE_FORMAT_H

#include <stdint.h>

#define TRACE_MAGIC "vkvmtrc"
#define TRACE_VERSION 2u /* of what is written; any from 1 on is read */
#define TRACE_CHUNK 65536u
#define TRACE_SEGMENT_MAGIC 0x47455376u /* "vSEG" */

/* What a segment holds. */
enum trace_segment_kind {
    TRACE_SEGMENT_RECORDS = 1,
    TRACE_SEGMENT_TEXT /* "key=value\n": what --stats has, at the VM's end */
};

/* At the start of the file, which has at least one chunk. */
struct trace_header {
    char magic[8];       /* TRACE_MAGIC and its NUL */
    uint32_t version;    /* TRACE_VERSION */
    uint32_t chunk_size; /* TRACE_CHUNK */
    uint64_t limit;      /* bytes the file may have; 0 = no limit */
    uint32_t keep_last;  /* 1: at the limit the oldest chunk is used again; 0: recording ends */
    uint32_t text_size;  /* bytes behind the header */
    uint64_t started;    /* CLOCK_MONOTONIC, ns */
    uint64_t started_realtime;
    uint64_t checksum; /* XXH3 (64 bits) of the header with 0 here, then of the text */
};

/* At the start of a segment, at a multiple of 8; never across the end of a chunk. */
struct trace_segment {
    uint32_t magic; /* TRACE_SEGMENT_MAGIC */
    uint32_t kind;  /* enum trace_segment_kind */
    uint64_t chunk; /* the chunk's number, from 0 */
    uint32_t lane;
    uint32_t nrecords; /* may be 0: then it tells what was lost */
    uint32_t size;     /* bytes behind this; the next segment begins at the next multiple of 8 */
    uint32_t reserved; /* 0 */
    uint64_t lost;     /* records of the lane that found no room, so far */
    uint64_t total;    /* records of the VM so far, those that found no room included */
    uint64_t written;  /* CLOCK_MONOTONIC, ns */
    /* What the first record is a difference to (struct trace_cursor). */
    uint64_t base_sequence;
    uint64_t base_time;
    uint64_t base_gpa;
    uint64_t checksum; /* XXH3 (64 bits) of the header with 0 here, then of the bytes behind it */
};

#endif
