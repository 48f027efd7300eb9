/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file is read twice.  First chunk by chunk, for the index: each segment that is whole, with
 * its place.  Then lane by lane, each with the segment it has come to; a heap says which lane has
 * the record with the lowest sequence.
 *
 *   trace_reader_open
 *     read_header
 *     index_chunk              for each: segments with their checksums
 *       keep_newest              of a chunk that was used again
 *     make_lanes
 *   trace_reader_refresh       the same for what has come since
 *   trace_reader_next
 *     lane_step                  decode, or load the lane's next segment
 */
#include "vmm/trace/trace_reader.h"

#include "vmm/base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SEGMENT_ALIGN 8u

/* A segment in the index. */
struct place {
    uint64_t offset; /* in the file */
    struct trace_segment segment;
};

/* A lane and how far it was read. */
struct lane {
    const struct place *next; /* borrowed from the index */
    const struct place *end;
    uint8_t *bytes; /* owned: of the segment being read */
    uint32_t size;
    uint32_t used;
    uint32_t left; /* records */
    struct trace_cursor cursor;
    struct trace_record record; /* the one whose turn it is */
};

struct trace_reader {
    int fd; /* owned */
    uint64_t size;
    struct trace_header header;
    char *text;           /* owned */
    char *last_words;     /* owned */
    struct place *places; /* owned: by lane, then in the file's order */
    size_t nplaces;
    size_t room;
    struct lane *lanes; /* owned */
    size_t nlanes;
    struct lane **heap; /* owned: [0] has the lowest sequence */
    size_t nheap;
    bool started;
    uint64_t indexed; /* where the index goes on: the chunk that was the last one */
    uint64_t intact;  /* stretches of damage before that */
    uint64_t since;   /* segments written before that are not read */
    uint64_t unread;  /* records that could not be read, since it was last started over */
    struct trace_coverage coverage;
};

/* --- The header ------------------------------------------------------------ */

static uint64_t
checksum(const void *header, size_t header_size, const void *bytes, size_t size)
{
    XXH3_state_t state;

    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, header, header_size);
    XXH3_64bits_update(&state, bytes, size);
    return XXH3_64bits_digest(&state);
}

static int
refuse(const char *path, int error, const char *why, struct failure *failure)
{
    return failure_set(failure, error, FAILURE_NAME " %s", path, why);
}

/* The header's own fields; the file has at least that many bytes. */
static int
check_header(const struct trace_header *header, const char *path, struct failure *failure)
{
    if (memcmp(header->magic, TRACE_MAGIC, sizeof(header->magic)) != 0)
        return refuse(path, -EPROTO, "is no trace: give a file that vkvm run --trace has written",
                      failure);
    if (header->version == 0 || header->version > TRACE_VERSION)
        return failure_set(failure, -ENOTSUP,
                           FAILURE_NAME " is a trace of format %u, and this vkvm reads up to %u: "
                                        "read it with the vkvm that wrote it",
                           path, header->version, TRACE_VERSION);
    return 0;
}

/* The text behind the header, if the two are what was written. */
static int
read_text(struct trace_reader *reader)
{
    struct trace_header plain = reader->header;
    size_t size = plain.text_size;

    plain.checksum = 0;
    if (size > TRACE_CHUNK - sizeof(plain))
        size = 0;
    reader->text = calloc(1, size + 1);
    if (reader->text == NULL)
        return -ENOMEM;
    if (size != plain.text_size || plain.chunk_size != TRACE_CHUNK ||
        file_read_at(reader->fd, reader->text, size, sizeof(plain)) != 0 ||
        checksum(&plain, sizeof(plain), reader->text, size) != reader->header.checksum) {
        reader->coverage.header_damaged = true;
        reader->text[0] = '\0';
    }
    return 0;
}

static int
read_header(struct trace_reader *reader, const char *path, struct failure *failure)
{
    int error = file_read_at(reader->fd, &reader->header, sizeof(reader->header), 0);

    if (error == -ENODATA && reader->size == 0)
        return refuse(path, -EPROTO, "is no trace: it is empty", failure);
    if (error == -ENODATA && file_read_at(reader->fd, &reader->header, 8, 0) == 0 &&
        memcmp(reader->header.magic, TRACE_MAGIC, 8) == 0)
        return refuse(path, -ENODATA, "is a trace cut off within its header: nothing can be read",
                      failure);
    if (error == -ENODATA)
        memset(&reader->header, 0, sizeof(reader->header)); /* what there is of it is no header */
    else if (error != 0)
        return failure_set(failure, error, "cannot read " FAILURE_NAME ": %s", path,
                           strerror(-error));
    error = check_header(&reader->header, path, failure);
    if (error == 0 && read_text(reader) != 0)
        return failure_set(failure, -ENOMEM, "out of memory for the trace's header");
    if (error == 0 && !reader->coverage.header_damaged) {
        reader->coverage.first = reader->header.started;
        reader->coverage.keeps_last = reader->header.keep_last != 0;
    }
    return error;
}

/* --- The index ------------------------------------------------------------- */

/* The bytes of one chunk; `size` is less at the file's end. */
struct chunk {
    uint64_t offset;
    uint64_t number; /* of the newest segment found */
    size_t size;
    bool last; /* the file ends with it */
    uint8_t bytes[TRACE_CHUNK];
};

enum found {
    FOUND_SEGMENT,
    FOUND_DAMAGE, /* a segment's header, and not what it was when it was written */
    FOUND_CUT,    /* ... of which the rest is behind the file's end */
    FOUND_NOTHING
};

static bool
segment_whole(const struct trace_segment *segment, const uint8_t *bytes)
{
    struct trace_segment plain = *segment;

    plain.checksum = 0;
    return checksum(&plain, sizeof(plain), bytes, plain.size) == segment->checksum;
}

/* What stands at `at` of the chunk. */
static enum found
look_at(const struct chunk *chunk, size_t at, struct trace_segment *segment)
{
    size_t left = chunk->size - at;
    size_t room;

    if (left < sizeof(*segment))
        return FOUND_NOTHING;
    memcpy(segment, chunk->bytes + at, sizeof(*segment));
    if (segment->magic != TRACE_SEGMENT_MAGIC)
        return FOUND_NOTHING;
    room = TRACE_CHUNK - at - sizeof(*segment);
    if (segment->size > room || (segment->kind == TRACE_SEGMENT_RECORDS &&
                                 segment->nrecords > segment->size / TRACE_RECORD_MIN))
        return FOUND_DAMAGE;
    if (segment->size > left - sizeof(*segment))
        return chunk->last ? FOUND_CUT : FOUND_DAMAGE;
    if (!segment_whole(segment, chunk->bytes + at + sizeof(*segment)))
        return FOUND_DAMAGE;
    return FOUND_SEGMENT;
}

static int
add_place(struct trace_reader *reader, uint64_t offset, const struct trace_segment *segment)
{
    if (reader->nplaces == reader->room) {
        size_t room = reader->room == 0 ? 64 : 2 * reader->room;
        struct place *places = reallocarray(reader->places, room, sizeof(*places));

        if (places == NULL)
            return -ENOMEM;
        reader->places = places;
        reader->room = room;
    }
    reader->places[reader->nplaces++] = (struct place){ .offset = offset, .segment = *segment };
    return 0;
}

/* Of the segments found from `first` on, those of the chunk's last use. */
static void
keep_newest(struct trace_reader *reader, size_t first, uint64_t number)
{
    size_t kept = first;

    for (size_t i = first; i < reader->nplaces; i++) {
        if (reader->places[i].segment.chunk == number)
            reader->places[kept++] = reader->places[i];
    }
    reader->nplaces = kept;
}

/* Where the next segment can begin: the next multiple of 8 that is not 0. */
static size_t
skip_zeros(const struct chunk *chunk, size_t at)
{
    uint64_t word = 0;

    for (; at + sizeof(word) <= chunk->size; at += SEGMENT_ALIGN) {
        memcpy(&word, chunk->bytes + at, sizeof(word));
        if (word != 0)
            return at;
    }
    return chunk->size;
}

/*
 * What is no segment is passed over eight bytes at a time, so that one damaged length does not take
 * the rest of the chunk with it.  A stretch of it counts once; in a file whose chunks are used in
 * turns it is no damage, but what an earlier use has left.
 */
static int
index_chunk(struct trace_reader *reader, struct chunk *chunk)
{
    bool in_turns = reader->header.keep_last != 0 || reader->coverage.header_damaged;
    bool in_damage = false;
    size_t first = reader->nplaces;
    struct trace_segment segment;
    enum found found;
    int error;

    chunk->number = 0;
    for (size_t at = skip_zeros(chunk, 0); at < chunk->size; at = skip_zeros(chunk, at)) {
        found = look_at(chunk, at, &segment);
        if (found == FOUND_SEGMENT) {
            error = add_place(reader, chunk->offset + at, &segment);
            if (error != 0)
                return error;
            if (segment.chunk > chunk->number)
                chunk->number = segment.chunk;
            at +=
                (sizeof(segment) + segment.size + SEGMENT_ALIGN - 1) & ~(size_t)(SEGMENT_ALIGN - 1);
            in_damage = false;
            continue;
        }
        if (found == FOUND_CUT)
            reader->coverage.cut = true;
        else if (!in_damage && (found == FOUND_DAMAGE ? segment.chunk >= chunk->number : !in_turns))
            reader->coverage.damaged++;
        if (found == FOUND_CUT)
            break;
        in_damage = true;
        at += SEGMENT_ALIGN;
    }
    keep_newest(reader, first, chunk->number);
    return 0;
}

static int
read_chunk(struct trace_reader *reader, struct chunk *chunk)
{
    uint64_t left = reader->size - chunk->offset;
    int error;

    chunk->size = left < TRACE_CHUNK ? (size_t)left : TRACE_CHUNK;
    chunk->last = left <= TRACE_CHUNK;
    error = file_read_at(reader->fd, chunk->bytes, chunk->size, chunk->offset);
    if (error == -ENODATA) { /* it was made shorter meanwhile */
        reader->coverage.cut = true;
        chunk->size = 0;
        error = 0;
    }
    return error;
}

static int
index_file(struct trace_reader *reader)
{
    struct chunk *chunk = malloc(sizeof(*chunk));
    int error = chunk == NULL ? -ENOMEM : 0;

    for (uint64_t at = reader->indexed; error == 0 && at < reader->size; at += TRACE_CHUNK) {
        chunk->offset = at;
        if (reader->header.keep_last == 0) {
            reader->indexed = at;
            reader->intact = reader->coverage.damaged;
        }
        error = read_chunk(reader, chunk);
        if (error == 0)
            error = index_chunk(reader, chunk);
    }
    free(chunk);
    return error;
}

/* --- What the index says ---------------------------------------------------- */

/* Read a segment's bytes, once more checked: the file may be in use. */
static bool
load_bytes(const struct trace_reader *reader, const struct place *place, uint8_t *bytes)
{
    return file_read_at(reader->fd, bytes, place->segment.size,
                        place->offset + sizeof(place->segment)) == 0 &&
           segment_whole(&place->segment, bytes);
}

static int
read_last_words(struct trace_reader *reader)
{
    const struct place *last = NULL;

    for (size_t i = 0; i < reader->nplaces; i++) {
        const struct place *place = &reader->places[i];

        if (place->segment.kind == TRACE_SEGMENT_TEXT &&
            (last == NULL || place->segment.written >= last->segment.written))
            last = place;
    }
    reader->last_words = calloc(1, last != NULL ? last->segment.size + 1 : 1);
    if (reader->last_words == NULL)
        return -ENOMEM;
    if (last != NULL) {
        reader->coverage.ended = load_bytes(reader, last, (uint8_t *)reader->last_words);
        if (!reader->coverage.ended)
            reader->last_words[0] = '\0';
    }
    return 0;
}

static int
compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;

    if (a->segment.lane != b->segment.lane)
        return a->segment.lane < b->segment.lane ? -1 : 1;
    if (a->segment.chunk != b->segment.chunk)
        return a->segment.chunk < b->segment.chunk ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Leave segments that hold records; sum up. */
static void
sum_up(struct trace_reader *reader)
{
    struct trace_coverage *coverage = &reader->coverage;
    size_t kept = 0;

    coverage->segments = reader->nplaces;
    for (size_t i = 0; i < reader->nplaces; i++) {
        const struct trace_segment *segment = &reader->places[i].segment;

        if (segment->total > coverage->total)
            coverage->total = segment->total;
        if (segment->written > coverage->last)
            coverage->last = segment->written;
        if (segment->kind != TRACE_SEGMENT_RECORDS)
            continue;
        coverage->records += segment->nrecords;
        reader->places[kept++] = reader->places[i];
    }
    reader->nplaces = kept;
    if (coverage->total < coverage->records)
        coverage->total = coverage->records;
}

/* The places are by lane now: what each lane's last segment says it has lost is all of it. */
static int
make_lanes(struct trace_reader *reader)
{
    for (size_t i = 0; i < reader->nplaces; i++) {
        const struct trace_segment *segment = &reader->places[i].segment;

        if (i + 1 == reader->nplaces || segment[0].lane != reader->places[i + 1].segment.lane) {
            reader->coverage.lost += segment->lost;
            reader->nlanes++;
        }
    }
    if (reader->nlanes == 0)
        return 0;
    reader->lanes = calloc(reader->nlanes, sizeof(reader->lanes[0]));
    reader->heap = calloc(reader->nlanes, sizeof(struct lane *));
    return reader->lanes == NULL || reader->heap == NULL ? -ENOMEM : 0;
}

/* All that the index is for, from reader->indexed on. */
static int
index_all(struct trace_reader *reader)
{
    int error = index_file(reader);

    if (error == 0)
        error = read_last_words(reader);
    if (error != 0)
        return error;
    sum_up(reader);
    if (reader->nplaces != 0)
        qsort(reader->places, reader->nplaces, sizeof(reader->places[0]), compare_places);
    return make_lanes(reader);
}

int
trace_reader_open(const char *path, struct trace_reader **readerp, struct failure *failure)
{
    struct trace_reader *reader = calloc(1, sizeof(*reader));
    int error;

    if (reader == NULL)
        return failure_set(failure, -ENOMEM, "out of memory for a trace");
    error = file_open(path, O_RDONLY, &reader->fd, &reader->size, failure);
    if (error != 0) {
        free(reader);
        return error;
    }
    error = read_header(reader, path, failure);
    if (error == 0) {
        reader->indexed = TRACE_CHUNK;
        error = index_all(reader);
        if (error != 0)
            failure_set(failure, error, "cannot read " FAILURE_NAME ": %s", path, strerror(-error));
    }
    if (error != 0) {
        trace_reader_close(reader);
        return error;
    }
    *readerp = reader;
    return 0;
}

static void
free_lanes(struct trace_reader *reader)
{
    for (size_t i = 0; reader->lanes != NULL && i < reader->nlanes; i++)
        free(reader->lanes[i].bytes);
    free(reader->lanes);
    free(reader->heap);
    reader->lanes = NULL;
    reader->heap = NULL;
    reader->nlanes = reader->nheap = 0;
}

/* Forget what the chunks from reader->indexed on had: they are read again. */
static void
forget_newest(struct trace_reader *reader)
{
    size_t kept = 0;

    for (size_t i = 0; i < reader->nplaces; i++) {
        if (reader->places[i].offset < reader->indexed)
            reader->places[kept++] = reader->places[i];
    }
    reader->nplaces = kept;
    reader->unread = 0;
    reader->coverage = (struct trace_coverage){ .first = reader->coverage.first,
                                                .damaged = reader->intact,
                                                .keeps_last = reader->coverage.keeps_last,
                                                .header_damaged = reader->coverage.header_damaged };
}

int
trace_reader_refresh(struct trace_reader *reader)
{
    struct trace_header header;
    struct stat status;

    if (fstat(reader->fd, &status) != 0)
        return -errno;
    if ((uint64_t)status.st_size < reader->size ||
        file_read_at(reader->fd, &header, sizeof(header), 0) != 0 ||
        memcmp(&header, &reader->header, sizeof(header)) != 0)
        return -ESTALE;
    reader->size = (uint64_t)status.st_size;
    free_lanes(reader);
    free(reader->last_words);
    reader->last_words = NULL;
    forget_newest(reader);
    trace_reader_rewind(reader);
    return index_all(reader);
}

void
trace_reader_since(struct trace_reader *reader, uint64_t written)
{
    reader->since = written;
    trace_reader_rewind(reader);
}

void
trace_reader_close(struct trace_reader *reader)
{
    free_lanes(reader);
    free(reader->places);
    free(reader->text);
    free(reader->last_words);
    close(reader->fd);
    free(reader);
}

/* --- Records ---------------------------------------------------------------- */

/* What is left of the lane's segment cannot be read. */
static void
give_up(struct trace_reader *reader, struct lane *lane)
{
    reader->coverage.records -= lane->left;
    reader->unread += lane->left;
    lane->left = 0;
}

/*
 * The lane's next segment, with the buffer made large enough.
 * Returns 1; 0 when there is none; -ENOMEM.
 */
static int
lane_load(struct trace_reader *reader, struct lane *lane)
{
    const struct trace_segment *segment;
    uint8_t *bytes;

    if (lane->next == lane->end)
        return 0;
    segment = &lane->next->segment;
    bytes = realloc(lane->bytes, (size_t)segment->size + 1);
    if (bytes == NULL)
        return -ENOMEM;
    lane->bytes = bytes;
    lane->size = segment->size;
    lane->used = 0;
    lane->left = segment->nrecords;
    lane->cursor = (struct trace_cursor){ .sequence = segment->base_sequence,
                                          .time = segment->base_time,
                                          .gpa = segment->base_gpa };
    if (!load_bytes(reader, lane->next, bytes)) {
        give_up(reader, lane);
        reader->coverage.damaged++;
    }
    lane->next++;
    return 1;
}

/* The lane's next record to lane->record.  Returns 1; 0 at its end; -ENOMEM. */
static int
lane_step(struct trace_reader *reader, struct lane *lane)
{
    ssize_t size;
    int found;

    for (;;) {
        while (lane->left == 0) {
            found = lane_load(reader, lane);
            if (found <= 0)
                return found;
        }
        size = trace_record_decode(&lane->cursor, lane->bytes + lane->used, lane->size - lane->used,
                                   &lane->record);
        if (size > 0) {
            lane->used += (uint32_t)size;
            lane->left--;
            return 1;
        }
        give_up(reader, lane);
        reader->coverage.undecodable++;
    }
}

static void
heap_down(struct trace_reader *reader, size_t i)
{
    struct lane **heap = reader->heap;

    for (;;) {
        size_t least = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < reader->nheap; child++) {
            if (heap[child]->record.sequence < heap[least]->record.sequence)
                least = child;
        }
        if (least == i)
            return;
        struct lane *lane = heap[i];
        heap[i] = heap[least];
        heap[least] = lane;
        i = least;
    }
}

/* Each lane at its first record. */
static int
start(struct trace_reader *reader)
{
    const struct place *place = reader->places;
    int found;

    reader->started = true;
    reader->nheap = 0;
    for (size_t i = 0; i < reader->nlanes; i++) {
        struct lane *lane = &reader->lanes[i];
        uint32_t number = place->segment.lane;

        while (place < reader->places + reader->nplaces && place->segment.lane == number &&
               place->segment.written < reader->since)
            place++;
        lane->next = place;
        while (place < reader->places + reader->nplaces && place->segment.lane == number)
            place++;
        lane->end = place;
        lane->left = 0;
        found = lane_step(reader, lane);
        if (found < 0)
            return found;
        if (found > 0)
            reader->heap[reader->nheap++] = lane;
    }
    for (size_t i = reader->nheap; i-- > 0;)
        heap_down(reader, i);
    return 0;
}

void
trace_reader_rewind(struct trace_reader *reader)
{
    reader->started = false;
    reader->coverage.undecodable = 0;
    reader->coverage.records += reader->unread;
    reader->unread = 0;
}

int
trace_reader_next(struct trace_reader *reader, struct trace_record *record)
{
    int found = reader->started ? 0 : start(reader);

    if (found < 0 || reader->nheap == 0)
        return found;
    *record = reader->heap[0]->record;
    found = lane_step(reader, reader->heap[0]);
    if (found < 0)
        return found;
    if (found == 0)
        reader->heap[0] = reader->heap[--reader->nheap];
    heap_down(reader, 0);
    return 1;
}

void
trace_reader_coverage(const struct trace_reader *reader, struct trace_coverage *coverage)
{
    *coverage = reader->coverage;
}

const char *
trace_reader_text(const struct trace_reader *reader)
{
    return reader->text;
}

const char *
trace_reader_last_words(const struct trace_reader *reader)
{
    return reader->last_words;
}
