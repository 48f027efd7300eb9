/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/trace_scan.h"

#include "vmm/trace/trace_format.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* What the scan is told with each record. */
struct teller {
    void (*each)(void *context, unsigned lane, const struct trace_record *record);
    void *context;
};

static uint8_t *
read_all(const char *path, uint64_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    uint8_t *bytes;

    cr_assert(fd >= 0 && fstat(fd, &status) == 0);
    *size = (uint64_t)status.st_size;
    bytes = malloc(*size + 1);
    cr_assert(read(fd, bytes, *size) == (ssize_t)*size);
    bytes[*size] = '\0';
    close(fd);
    return bytes;
}

static bool
sum_fits(const uint8_t *bytes, const struct trace_segment *segment)
{
    struct trace_segment zeroed = *segment;
    XXH3_state_t *state = XXH3_createState();
    bool fits;

    zeroed.checksum = 0;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, &zeroed, sizeof(zeroed));
    XXH3_64bits_update(state, bytes, segment->size);
    fits = XXH3_64bits_digest(state) == segment->checksum;
    XXH3_freeState(state);
    return fits;
}

static void
scan_records(struct trace_scan *scan, const uint8_t *bytes, const struct trace_segment *segment,
             const struct teller *teller)
{
    struct trace_cursor cursor = { segment->base_sequence, segment->base_time, segment->base_gpa };
    uint32_t done = 0;

    for (uint32_t i = 0; i < segment->nrecords; i++) {
        struct trace_record record;
        ssize_t n = trace_record_decode(&cursor, bytes + done, segment->size - done, &record);
        if (n < 0) {
            scan->bad_records++;
            return;
        }
        done += (uint32_t)n;
        scan->records++;
        if (teller->each != NULL)
            teller->each(teller->context, segment->lane, &record);
    }
    scan->bad_records += done != segment->size;
}

static void
scan_segment(struct trace_scan *scan, const uint8_t *bytes, const struct trace_segment *segment,
             const struct teller *teller)
{
    scan->segments++;
    if (segment->total > scan->total)
        scan->total = segment->total;
    if (segment->kind == TRACE_SEGMENT_TEXT) {
        free(scan->text);
        scan->text = strndup((const char *)bytes, segment->size);
        return;
    }
    cr_assert(segment->kind == TRACE_SEGMENT_RECORDS && segment->lane < TRACE_SCAN_LANES);
    if (segment->lost > scan->lost[segment->lane])
        scan->lost[segment->lane] = segment->lost;
    scan_records(scan, bytes, segment, teller);
}

static void
scan_chunk(struct trace_scan *scan, const uint8_t *bytes, uint64_t size,
           const struct teller *teller)
{
    struct trace_segment segment;
    uint64_t number = 0;

    for (uint64_t at = 0; at + sizeof(segment) <= size;
         at = (at + sizeof(segment) + segment.size + 7) / 8 * 8) {
        memcpy(&segment, bytes + at, sizeof(segment));
        if (at == 0)
            number = segment.chunk;
        if (segment.magic != TRACE_SEGMENT_MAGIC || segment.chunk != number)
            return;
        if (segment.size > size - at - sizeof(segment) ||
            !sum_fits(bytes + at + sizeof(segment), &segment)) {
            scan->bad_segments++;
            return;
        }
        scan_segment(scan, bytes + at + sizeof(segment), &segment, teller);
    }
}

/* The chunk with the lowest number: the file of the last records begins anywhere. */
static uint64_t
first_chunk(const uint8_t *bytes, uint64_t size)
{
    uint64_t first = TRACE_CHUNK, lowest = UINT64_MAX;

    for (uint64_t at = TRACE_CHUNK; at + sizeof(struct trace_segment) <= size; at += TRACE_CHUNK) {
        struct trace_segment segment;
        memcpy(&segment, bytes + at, sizeof(segment));
        if (segment.magic == TRACE_SEGMENT_MAGIC && segment.chunk < lowest) {
            lowest = segment.chunk;
            first = at;
        }
    }
    return first;
}

void
trace_scan_file(const char *path, struct trace_scan *scan,
                void (*each)(void *context, unsigned lane, const struct trace_record *record),
                void *context)
{
    const struct teller teller = { each, context };
    struct trace_header header;
    uint64_t size, first;
    uint8_t *bytes = read_all(path, &size);

    *scan = (struct trace_scan){ .bytes = size };
    cr_assert(size >= sizeof(header));
    memcpy(&header, bytes, sizeof(header));
    cr_assert(memcmp(header.magic, TRACE_MAGIC, sizeof(header.magic)) == 0);
    cr_assert(header.version == TRACE_VERSION && header.chunk_size == TRACE_CHUNK);
    scan->header = strndup((const char *)bytes + sizeof(header), header.text_size);
    first = first_chunk(bytes, size);
    for (uint64_t at = first; at < size; at += TRACE_CHUNK)
        scan_chunk(scan, bytes + at, size - at < TRACE_CHUNK ? size - at : TRACE_CHUNK, &teller);
    for (uint64_t at = TRACE_CHUNK; at < first; at += TRACE_CHUNK)
        scan_chunk(scan, bytes + at, TRACE_CHUNK, &teller);
    free(bytes);
}

void
trace_scan_fini(struct trace_scan *scan)
{
    free(scan->text);
    free(scan->header);
}

uint64_t
trace_scan_lost(const struct trace_scan *scan)
{
    uint64_t lost = 0;

    for (unsigned i = 0; i < TRACE_SCAN_LANES; i++)
        lost += scan->lost[i];
    return lost;
}
