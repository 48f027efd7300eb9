/* SPDX-License-Identifier: BSD-2-Clause */
/* A second reader of trace files, for the tests of the writer: slow, small, its own. */
#ifndef TRACE_SCAN_H
#define TRACE_SCAN_H

#include "vmm/trace/trace_record.h"

#define TRACE_SCAN_LANES 64u

struct trace_scan {
    uint64_t segments;
    uint64_t bad_segments; /* at most the last of a chunk, which was not written whole */
    uint64_t records;
    uint64_t bad_records;
    uint64_t total; /* as the newest segment says */
    uint64_t lost[TRACE_SCAN_LANES];
    char *text;     /* owned: the last text segment, or NULL */
    char *header;   /* owned: the header's text */
    uint64_t bytes; /* of the file */
};

/* Read the file; `each` is told of every record, lane by lane in order; may be NULL. */
void trace_scan_file(const char *path, struct trace_scan *scan,
                     void (*each)(void *context, unsigned lane, const struct trace_record *record),
                     void *context);
void trace_scan_fini(struct trace_scan *scan);

uint64_t trace_scan_lost(const struct trace_scan *scan);

#endif
