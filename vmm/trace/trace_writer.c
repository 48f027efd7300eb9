/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the lanes to the file.
 *
 *   writer_main                every 20 ms
 *     write_lanes
 *       trace_lane_peek          records of one lane
 *       write_segment            ... with a header and a checksum, at the place in the chunk
 *       trace_lane_take
 *
 * A segment that could not be written whole has a checksum that does not fit, and the next one is
 * written to the same place.  Its records are lost; each later segment of the lane says so.
 *
 * The last chunk of a file that keeps the first records is for what is said at the end.
 */
#include "vmm/trace/trace_writer.h"

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"
#include "vmm/trace/trace_format.h"
#include "vmm/trace/trace_lane.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* How long the writer sleeps, ms: when there was something, and when not. */
#define SLEEP_BUSY 20
#define SLEEP_IDLE 50

/* Lanes for threads without one. */
#define SPARE_LANES 8u

/* How often one without a lane looks for one that is free, before its record is lost. */
#define ACQUIRE_TRIES 64u

#define SEGMENT_ALIGN 8u

struct trace {
    struct trace_config config; /* (c) */
    int fd;                     /* (c) owned */
    int stop_fd;                /* (c) owned: eventfd, readable when the writer is to end */
    pthread_t writer;           /* (c) while `running` */
    bool running;               /* the creator's */
    unsigned nlanes;            /* (c) SPARE_LANES included */
    struct trace_lane *lanes;   /* (c) owned */
    uint8_t *rings;             /* (c) owned mapping */
    _Atomic uint64_t sequence;  /* (a) records made */
    _Atomic uint64_t unplaced;  /* (a) records lost for want of a lane */
    uint64_t nchunks;           /* (c) 0 = no limit */
    /* take: */
    uint64_t chunk;    /* number of the one that is written to, from 0 */
    uint32_t used;     /* bytes of it */
    bool full;         /* the limit is reached, and the first records are kept */
    bool warned;       /* of an error */
    uint64_t *dropped; /* owned: by lane, records that were not written */
    uint64_t *told;    /* owned: by lane, lost ones that the file tells of */
    uint64_t written;  /* records */
};

/* --- Segments -------------------------------------------------------------- */

static uint64_t
checksum(const struct trace_segment *segment, const void *bytes)
{
    XXH3_state_t state;

    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, segment, sizeof(*segment));
    XXH3_64bits_update(&state, bytes, segment->size);
    return XXH3_64bits_digest(&state);
}

/* Where chunk and place in it are in the file. */
static off_t
file_offset(const struct trace *trace)
{
    uint64_t place = trace->nchunks == 0 ? trace->chunk : trace->chunk % trace->nchunks;

    return (off_t)((place + 1) * TRACE_CHUNK + trace->used);
}

/* What the file's limit leaves for records. */
static bool
has_chunk(const struct trace *trace, uint64_t chunk, bool last_words)
{
    if (trace->nchunks == 0 || trace->config.keep_last)
        return true;
    return chunk + !last_words < trace->nchunks;
}

/* Find room for size bytes in a chunk.  Returns false at the limit. */
static bool
find_room(struct trace *trace, size_t size, bool last_words)
{
    if (trace->used + size > TRACE_CHUNK) {
        if (!has_chunk(trace, trace->chunk + 1, last_words))
            return false;
        trace->chunk++;
        trace->used = 0;
    }
    return has_chunk(trace, trace->chunk, last_words);
}

static int
write_whole(int fd, const struct iovec *parts, size_t size, off_t offset)
{
    ssize_t n = pwritev(fd, parts, 2, offset);

    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -ENOSPC;
}

/* The file cannot be written: the VM goes on. */
static void
warn_once(struct trace *trace, int error)
{
    if (trace->warned)
        return;
    trace->warned = true;
    if (trace->config.warn != NULL)
        trace->config.warn(trace->config.context,
                           "the trace cannot be written, and what it loses is counted", error);
}

/* Write a segment, whose header lacks the place and the checksum.  Returns whether it is there. */
static bool
write_segment(struct trace *trace, struct trace_segment *segment, const void *bytes,
              bool last_words)
{
    size_t size = sizeof(*segment) + segment->size;
    const struct iovec parts[] = { { segment, sizeof(*segment) },
                                   { (void *)(uintptr_t)bytes, segment->size } };
    int error;

    if (!find_room(trace, size, last_words)) {
        trace->full = true;
        return false;
    }
    segment->magic = TRACE_SEGMENT_MAGIC;
    segment->chunk = trace->chunk;
    segment->total = atomic_load_explicit(&trace->sequence, memory_order_relaxed);
    segment->written = clock_now_ns();
    segment->checksum = 0;
    segment->checksum = checksum(segment, bytes);
    error = write_whole(trace->fd, parts, size, file_offset(trace));
    if (error != 0) {
        warn_once(trace, error);
        return false;
    }
    trace->used += (uint32_t)((size + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN);
    return true;
}

/* --- Lanes ----------------------------------------------------------------- */

static uint64_t
lane_lost(const struct trace *trace, unsigned index)
{
    return atomic_load_explicit(&trace->lanes[index].lost, memory_order_relaxed) +
           trace->dropped[index];
}

/* A segment of a lane, with its losses. */
static bool
write_piece(struct trace *trace, unsigned index, const struct trace_piece *piece, bool last_words)
{
    uint64_t lost = lane_lost(trace, index);
    struct trace_segment segment = {
        .kind = TRACE_SEGMENT_RECORDS,
        .lane = index,
        .nrecords = piece->nrecords,
        .size = piece->size,
        .lost = lost,
        .base_sequence = piece->base.sequence,
        .base_time = piece->base.time,
        .base_gpa = piece->base.gpa,
    };

    if (!write_segment(trace, &segment, piece->bytes, last_words))
        return false;
    trace->told[index] = lost;
    trace->written += piece->nrecords;
    return true;
}

/* Write what the lane has now: no other lane waits for what is put meanwhile.  Returns whether there
 * was anything. */
static bool
write_lane(struct trace *trace, unsigned index)
{
    struct trace_lane *lane = &trace->lanes[index];
    struct trace_piece piece;
    bool any = false, more = true;

    while (more && trace_lane_peek(lane, &piece)) {
        any = true;
        if (trace->full || !write_piece(trace, index, &piece, false))
            trace->dropped[index] += piece.nrecords;
        more = trace_lane_take(lane, &piece);
    }
    return any;
}

static bool
write_lanes(struct trace *trace)
{
    bool any = false;

    for (unsigned i = 0; i < trace->nlanes; i++)
        any |= write_lane(trace, i);
    return any;
}

/* Losses that no segment tells of, since nothing came after them. */
static void
write_losses(struct trace *trace)
{
    const struct trace_piece nothing = { .bytes = (const uint8_t *)"" };

    trace->dropped[trace->nlanes - 1] += atomic_exchange(&trace->unplaced, 0);
    for (unsigned i = 0; i < trace->nlanes; i++)
        if (lane_lost(trace, i) != trace->told[i])
            (void)write_piece(trace, i, &nothing, true);
}

/* --- The writer ------------------------------------------------------------ */

static void *
writer_main(void *argument)
{
    struct trace *trace = argument;
    struct pollfd stop = { .fd = trace->stop_fd, .events = POLLIN };
    int sleep_ms = SLEEP_BUSY;

    if (trace->config.begins != NULL)
        trace->config.begins(trace->config.context);
    while (poll(&stop, 1, sleep_ms) <= 0)
        sleep_ms = write_lanes(trace) ? SLEEP_BUSY : SLEEP_IDLE;
    return NULL;
}

/* It takes no signals but those that it raises by an error of its own. */
static int
start_writer(struct trace *trace)
{
    static const int own[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };
    sigset_t blocked, saved;
    int error;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigdelset(&blocked, own[i]);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &saved);
    error = pthread_create(&trace->writer, NULL, writer_main, trace);
    (void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
    trace->running = error == 0;
    return -error;
}

static void
stop_writer(struct trace *trace)
{
    const uint64_t one = 1;

    if (!trace->running)
        return;
    if (write(trace->stop_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
    pthread_join(trace->writer, NULL);
    trace->running = false;
}

/* --- Making ---------------------------------------------------------------- */

static int
check_file(int fd)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOTSUP;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    return ftruncate(fd, 0) != 0 ? -errno : 0;
}

static int
refuse_file(const char *path, int error, struct failure *failure)
{
    const struct limits_reason reason = limits_explain(error);
    const char *why = error == -ENOTSUP ? "it is no regular file"
                      : error == -EBUSY ? "in use: another VM writes it"
                                        : reason.text;

    return failure_set(failure, error,
                       "cannot write the trace " FAILURE_NAME ": %s: give --trace another file",
                       path, why);
}

static int
open_file(struct trace *trace, struct failure *failure)
{
    int error;

    trace->fd =
        open(trace->config.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    error = trace->fd < 0 ? -errno : check_file(trace->fd);
    return error != 0 ? refuse_file(trace->config.path, error, failure) : 0;
}

static int
write_header(struct trace *trace, struct failure *failure)
{
    const char *text = trace->config.text;
    size_t room = TRACE_CHUNK - sizeof(struct trace_header);
    struct timespec now;
    struct trace_header header = {
        .magic = TRACE_MAGIC,
        .version = TRACE_VERSION,
        .chunk_size = TRACE_CHUNK,
        .limit = trace->config.limit,
        .keep_last = trace->config.keep_last,
        .text_size = (uint32_t)strnlen(text, room),
        .started = clock_now_ns(),
    };
    const struct iovec parts[] = { { &header, sizeof(header) },
                                   { (void *)(uintptr_t)text, header.text_size } };
    XXH3_state_t state;
    int error;

    clock_gettime(CLOCK_REALTIME, &now);
    header.started_realtime = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, &header, sizeof(header));
    XXH3_64bits_update(&state, text, header.text_size);
    header.checksum = XXH3_64bits_digest(&state);
    error = write_whole(trace->fd, parts, sizeof(header) + header.text_size, 0);
    return error != 0 ? refuse_file(trace->config.path, error, failure) : 0;
}

static int
make_lanes(struct trace *trace, struct failure *failure)
{
    size_t size = trace->nlanes * TRACE_LANE_SIZE;
    int error = 0;

    trace->lanes = aligned_alloc(alignof(struct trace_lane), trace->nlanes * sizeof(*trace->lanes));
    trace->dropped = calloc(trace->nlanes, sizeof(*trace->dropped));
    trace->told = calloc(trace->nlanes, sizeof(*trace->told));
    trace->rings = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (trace->rings == MAP_FAILED) {
        error = -errno;
        trace->rings = NULL;
    } else if (trace->lanes == NULL || trace->dropped == NULL || trace->told == NULL) {
        error = -ENOMEM;
    }
    if (error != 0)
        return failure_set(failure, error, "cannot make the trace's lanes: %s",
                           limits_explain(error).text);
    for (unsigned i = 0; i < trace->nlanes; i++)
        trace_lane_init(&trace->lanes[i], &trace->rings[i * TRACE_LANE_SIZE]);
    return 0;
}

static int
make(struct trace *trace, struct failure *failure)
{
    int error = open_file(trace, failure);

    if (error == 0)
        error = write_header(trace, failure);
    if (error == 0)
        error = make_lanes(trace, failure);
    if (error != 0)
        return error;
    trace->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = trace->stop_fd < 0 ? -errno : start_writer(trace);
    if (error != 0)
        return failure_set(failure, error, "cannot start the trace's thread: %s",
                           limits_explain_thread(error).text);
    return 0;
}

int
trace_create(const struct trace_config *config, struct trace **tracep, struct failure *failure)
{
    struct trace *trace = calloc(1, sizeof(*trace));
    int error;

    assert(config->limit == 0 || config->limit >= TRACE_LIMIT_MIN);
    if (trace == NULL)
        return failure_set(failure, -ENOMEM, "cannot make a trace: %s",
                           limits_explain(ENOMEM).text);
    trace->config = *config;
    trace->fd = -1;
    trace->stop_fd = -1;
    trace->nlanes = config->nlanes + SPARE_LANES;
    if (config->limit != 0)
        trace->nchunks = config->limit / TRACE_CHUNK - 1;
    error = make(trace, failure);
    if (error != 0)
        trace_destroy(trace);
    else
        *tracep = trace;
    return error;
}

void
trace_destroy(struct trace *trace)
{
    stop_writer(trace);
    if (trace->rings != NULL)
        munmap(trace->rings, trace->nlanes * TRACE_LANE_SIZE);
    if (trace->stop_fd >= 0)
        close(trace->stop_fd);
    if (trace->fd >= 0)
        close(trace->fd);
    free(trace->told);
    free(trace->dropped);
    free(trace->lanes);
    free(trace);
}

/* --- Recording ------------------------------------------------------------- */

struct trace_lane *
trace_get_lane(struct trace *trace, unsigned index)
{
    assert(index < trace->config.nlanes);
    return &trace->lanes[index];
}

/* A spare lane: any that nobody is just putting to. */
static struct trace_lane *
acquire_spare(struct trace *trace, uint64_t sequence)
{
    for (unsigned tries = 0; tries < ACQUIRE_TRIES; tries++) {
        for (unsigned i = 0; i < SPARE_LANES; i++) {
            struct trace_lane *lane =
                &trace->lanes[trace->config.nlanes + (sequence + i) % SPARE_LANES];
            if (trace_lane_acquire(lane))
                return lane;
        }
        sched_yield();
    }
    return NULL;
}

static void
put_spare(struct trace *trace, const struct trace_record *record)
{
    struct trace_lane *lane = acquire_spare(trace, record->sequence);

    if (lane == NULL) {
        atomic_fetch_add(&trace->unplaced, 1);
        return;
    }
    (void)trace_lane_put(lane, record);
    trace_lane_release(lane);
}

void
trace_put(struct trace *trace, struct trace_lane *lane, struct trace_record *record)
{
    record->sequence = atomic_fetch_add_explicit(&trace->sequence, 1, memory_order_relaxed);
    if (lane != NULL)
        (void)trace_lane_put(lane, record);
    else
        put_spare(trace, record);
}

void
trace_finish(struct trace *trace, const char *text)
{
    struct trace_segment segment = { .kind = TRACE_SEGMENT_TEXT };

    stop_writer(trace);
    (void)write_lanes(trace);
    write_losses(trace);
    segment.size = (uint32_t)strnlen(text, TRACE_CHUNK - sizeof(segment));
    (void)write_segment(trace, &segment, text, true);
}

void
trace_get_totals(const struct trace *trace, struct trace_totals *totals)
{
    struct stat status;

    totals->records = atomic_load(&trace->sequence);
    totals->lost = totals->records - trace->written;
    totals->bytes = fstat(trace->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}
