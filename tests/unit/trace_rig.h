/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trace files byte by byte, for tests: segments where they are wanted, with checksums that fit.
 */
#ifndef TRACE_RIG_H
#define TRACE_RIG_H

#include "vmm/trace/trace_format.h"
#include "vmm/trace/trace_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define TRACE_RIG_CHUNKS 8u
#define TRACE_RIG_STARTED 1000000000u

struct trace_rig {
    uint8_t bytes[(1 + TRACE_RIG_CHUNKS) * TRACE_CHUNK];
    size_t size; /* of the file */
    size_t at;   /* where the next segment goes */
    uint64_t chunk;
    uint64_t total;   /* told by the segments */
    uint64_t written; /* when */
    char path[64];
};

static inline uint64_t
trace_rig_checksum(const void *header, size_t header_size, const void *bytes, size_t size)
{
    XXH3_state_t state;

    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, header, header_size);
    XXH3_64bits_update(&state, bytes, size);
    return XXH3_64bits_digest(&state);
}

static inline void
trace_rig_init(struct trace_rig *rig, const char *text, uint32_t keep_last)
{
    struct trace_header header = { .magic = TRACE_MAGIC,
                                   .version = TRACE_VERSION,
                                   .chunk_size = TRACE_CHUNK,
                                   .keep_last = keep_last,
                                   .text_size = (uint32_t)strlen(text),
                                   .started = TRACE_RIG_STARTED };

    memset(rig, 0, sizeof(*rig));
    header.checksum = trace_rig_checksum(&header, sizeof(header), text, header.text_size);
    memcpy(rig->bytes, &header, sizeof(header));
    memcpy(rig->bytes + sizeof(header), text, header.text_size);
    rig->at = rig->size = TRACE_CHUNK;
}

/* Segments go to this place from now on, and have that chunk number. */
static inline void
trace_rig_chunk(struct trace_rig *rig, size_t place, uint64_t number)
{
    rig->at = (1 + place) * TRACE_CHUNK;
    rig->chunk = number;
}

static inline void
trace_rig_put(struct trace_rig *rig, struct trace_segment *segment, const void *bytes)
{
    segment->magic = TRACE_SEGMENT_MAGIC;
    segment->chunk = rig->chunk;
    segment->total = rig->total;
    segment->written = rig->written;
    segment->checksum = 0;
    segment->checksum = trace_rig_checksum(segment, sizeof(*segment), bytes, segment->size);
    memcpy(rig->bytes + rig->at, segment, sizeof(*segment));
    memcpy(rig->bytes + rig->at + sizeof(*segment), bytes, segment->size);
    rig->at += sizeof(*segment) + segment->size;
    rig->size = rig->at > rig->size ? rig->at : rig->size;
    rig->at = (rig->at + 7) & ~(size_t)7;
}

/* Records of one lane as a segment. */
static inline void
trace_rig_records(struct trace_rig *rig, uint32_t lane, const struct trace_record *records,
                  uint32_t count, uint64_t lost)
{
    uint8_t bytes[TRACE_CHUNK / 2];
    struct trace_cursor cursor = { .time = TRACE_RIG_STARTED };
    struct trace_segment segment = { .kind = TRACE_SEGMENT_RECORDS,
                                     .lane = lane,
                                     .nrecords = count,
                                     .lost = lost,
                                     .base_time = TRACE_RIG_STARTED };

    for (uint32_t i = 0; i < count; i++) {
        segment.size += (uint32_t)trace_record_encode(&cursor, &records[i], bytes + segment.size);
        if (records[i].sequence + 1 > rig->total)
            rig->total = records[i].sequence + 1;
    }
    trace_rig_put(rig, &segment, bytes);
}

static inline void
trace_rig_text(struct trace_rig *rig, const char *text)
{
    struct trace_segment segment = { .kind = TRACE_SEGMENT_TEXT, .size = (uint32_t)strlen(text) };

    trace_rig_put(rig, &segment, text);
}

/* Write the first `size` bytes of the file to `path`.  Returns whether it is there. */
static inline bool
trace_rig_write(const struct trace_rig *rig, const char *path, size_t size)
{
    FILE *file = fopen(path, "w");
    bool whole = file != NULL && fwrite(rig->bytes, 1, size, file) == size;

    return file != NULL && fclose(file) == 0 && whole;
}

/* A fault of a vCPU's that found zeros, `us` after the begin. */
static inline struct trace_record
trace_rig_fault(uint64_t sequence, unsigned vcpu, uint64_t gpa, uint64_t us)
{
    return (struct trace_record){ .kind = TRACE_FAULT,
                                  .sequence = sequence,
                                  .time = TRACE_RIG_STARTED + us * 1000,
                                  .who = TRACE_VCPU,
                                  .number = vcpu,
                                  .fault = { .access = TRACE_WRITE,
                                             .arrival = TRACE_MISSING,
                                             .gpa = gpa,
                                             .duration = 1000,
                                             .step = FAULT_STEP_PAGE,
                                             .result = VM_OK,
                                             .entry_prot = 7,
                                             .resolution = TRACE_ZERO_FILL,
                                             .object = 1,
                                             .pindex = gpa >> 12 } };
}

/* A file by a template of mkstemp's, and a rig for it.  The caller frees and unlinks.  NULL = no room. */
static inline struct trace_rig *
trace_rig_create(char *path, const char *text)
{
    int fd = mkstemp(path);
    struct trace_rig *rig = fd >= 0 ? malloc(sizeof(*rig)) : NULL;

    if (fd >= 0)
        close(fd);
    if (rig != NULL)
        trace_rig_init(rig, text, 0);
    return rig;
}

#endif
