/* SPDX-License-Identifier: BSD-2-Clause */
/* Lanes, and the file that they are written to: complete, counted, bounded, readable at any time. */
#include "vmm/trace/trace_writer.h"

#include "tests/unit/trace_scan.h"
#include "vmm/trace/trace_format.h"
#include "vmm/trace/trace_lane.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4u
#define PATH_SIZE 64

/* A name in a folder that is there. */
static void
name_file(char *path)
{
    int fd;

    strcpy(path, "/tmp/vkvm-trace-XXXXXX");
    fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static struct trace *
create(const struct trace_config *config)
{
    struct failure failure;
    struct trace *trace = NULL;
    int error = trace_create(config, &trace, &failure);

    cr_assert(error == 0, "%s", failure.message);
    return trace;
}

/* Of varying length, so that blocks end anywhere. */
static void
put_one(struct trace *trace, struct trace_lane *lane, uint64_t i)
{
    struct trace_record record = {
        .kind = TRACE_PAGEOUT,
        .time = i * 1000,
        .who = TRACE_MONITOR,
        .pageout = { .object = 1, .pindex = i, .slot = i << i % 40 },
    };

    trace_put(trace, lane, &record);
}

/* --- lanes ----------------------------------------------------------------- */

Test(trace_lane, a_full_lane_counts_what_it_loses_and_keeps_the_rest)
{
    struct trace_lane *lane = aligned_alloc(64, sizeof(*lane));
    uint8_t *ring = calloc(1, TRACE_LANE_SIZE);
    struct trace_record record = { .kind = TRACE_LOST, .who = TRACE_MONITOR };
    struct trace_piece piece;
    uint64_t kept = 0, taken = 0;

    trace_lane_init(lane, ring);
    for (unsigned i = 0; i < 400000; i++) {
        record.time = i * UINT64_C(1000003);
        kept += trace_lane_put(lane, &record);
    }
    cr_expect(kept > 0 && kept < 400000);
    cr_expect(eq(u64, atomic_load(&lane->lost), 400000 - kept));
    while (trace_lane_peek(lane, &piece)) {
        taken += piece.nrecords;
        (void)trace_lane_take(lane, &piece);
    }
    cr_expect(eq(u64, taken, kept));
    cr_expect(trace_lane_put(lane, &record), "there is room again");
    cr_expect(trace_lane_peek(lane, &piece) && trace_lane_put(lane, &record));
    cr_expect(trace_lane_take(lane, &piece) == false, "what came meanwhile is for the next time");
    cr_expect(trace_lane_peek(lane, &piece) && piece.nrecords == 1);
    free(ring);
    free(lane);
}

struct pair {
    struct trace_lane *lane;
    uint64_t count;
    _Atomic bool done;
};

static void *
put_many(void *argument)
{
    struct pair *pair = argument;
    struct trace_record record = { .kind = TRACE_LOST, .who = TRACE_MONITOR };

    for (uint64_t i = 0; i < pair->count; i++) {
        record.sequence = i;
        record.time = i * i;
        record.lost.count = i << i % 50;
        while (!trace_lane_put(pair->lane, &record))
            sched_yield();
    }
    atomic_store(&pair->done, true);
    return NULL;
}

/* The taker finds the next record, whole, whenever it comes. */
Test(trace_lane, what_one_thread_puts_another_takes_in_order, .timeout = 120)
{
    struct pair pair = { aligned_alloc(64, sizeof(struct trace_lane)), 300000, false };
    uint8_t *ring = calloc(1, TRACE_LANE_SIZE);
    struct trace_piece piece;
    pthread_t thread;
    uint64_t next = 0;

    trace_lane_init(pair.lane, ring);
    cr_assert(pthread_create(&thread, NULL, put_many, &pair) == 0);
    while (next < pair.count) {
        if (!trace_lane_peek(pair.lane, &piece)) {
            sched_yield();
            continue;
        }
        struct trace_cursor cursor = piece.base;
        uint32_t done = 0;
        for (uint32_t i = 0; i < piece.nrecords; i++, next++) {
            struct trace_record record;
            ssize_t n =
                trace_record_decode(&cursor, piece.bytes + done, piece.size - done, &record);
            cr_assert(n > 0 && record.sequence == next && record.time == next * next &&
                      record.lost.count == next << next % 50);
            done += (uint32_t)n;
        }
        cr_assert(done == piece.size);
        (void)trace_lane_take(pair.lane, &piece);
    }
    pthread_join(thread, NULL);
    cr_expect(trace_lane_peek(pair.lane, &piece) == false);
    free(ring);
    free(pair.lane);
}

/* --- the file -------------------------------------------------------------- */

struct putter {
    struct trace *trace;
    struct trace_lane *lane; /* NULL: a spare one */
    uint64_t count;
};

static void *
put_all(void *argument)
{
    const struct putter *putter = argument;

    for (uint64_t i = 0; i < putter->count; i++)
        put_one(putter->trace, putter->lane, i);
    return NULL;
}

/* Which sequences were seen; a lane's own putter's records come in order. */
struct seen {
    uint8_t *sequence;
    uint64_t limit;
    uint64_t next[TRACE_SCAN_LANES];
    uint64_t twice;
    uint64_t disorder;
    uint64_t lowest;
    uint64_t highest;
};

static void
see(void *context, unsigned lane, const struct trace_record *record)
{
    struct seen *seen = context;

    cr_assert(record->sequence < seen->limit);
    seen->twice += seen->sequence[record->sequence]++;
    if (record->sequence < seen->lowest)
        seen->lowest = record->sequence;
    if (record->sequence > seen->highest)
        seen->highest = record->sequence;
    if (lane < THREADS)
        seen->disorder += record->pageout.pindex < seen->next[lane];
    seen->next[lane] = record->pageout.pindex + 1;
}

static void
scan(const char *path, struct trace_scan *to, struct seen *seen, uint64_t limit)
{
    *seen = (struct seen){ .sequence = calloc(1, limit), .limit = limit, .lowest = UINT64_MAX };
    trace_scan_file(path, to, see, seen);
    free(seen->sequence);
    cr_expect(eq(u64, seen->twice, 0));
    cr_expect(eq(u64, seen->disorder, 0));
    cr_expect(eq(u64, to->bad_records, 0));
}

Test(trace_writer, all_that_many_threads_put_is_in_the_file_or_counted_as_lost, .timeout = 120)
{
    char path[PATH_SIZE];
    const struct trace_config config = { .path = path, .nlanes = THREADS, .text = "a=b\n" };
    struct putter putters[THREADS + 2];
    pthread_t threads[THREADS + 2];
    struct trace_totals totals;
    struct trace_scan file;
    struct seen seen;
    struct trace *trace;

    name_file(path);
    trace = create(&config);
    for (unsigned i = 0; i < THREADS + 2; i++) {
        putters[i] = (struct putter){ trace, i < THREADS ? trace_get_lane(trace, i) : NULL, 50000 };
        cr_assert(pthread_create(&threads[i], NULL, put_all, &putters[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS + 2; i++)
        pthread_join(threads[i], NULL);
    trace_finish(trace, "v_vm_faults=7\n");
    trace_get_totals(trace, &totals);
    trace_destroy(trace);
    scan(path, &file, &seen, totals.records);
    cr_expect(eq(u64, totals.records, (THREADS + 2) * 50000));
    cr_expect(eq(u64, file.total, totals.records));
    cr_expect(eq(u64, file.records + trace_scan_lost(&file), totals.records));
    cr_expect(eq(u64, totals.lost, trace_scan_lost(&file)));
    cr_expect(eq(u64, file.bad_segments, 0));
    cr_expect(strcmp(file.text, "v_vm_faults=7\n") == 0);
    cr_expect(strcmp(file.header, "a=b\n") == 0);
    trace_scan_fini(&file);
    unlink(path);
}

/* Last words that do not fit behind the last records by chance. */
#define LAST_WORDS 12000u

static const char *
last_words(void)
{
    static char words[LAST_WORDS + 1];

    memset(words, 'w', LAST_WORDS);
    return words;
}

/* The writer has taken half of what the lane holds; the test's time-out ends a wait in vain. */
static void
await_room(const struct trace_lane *lane)
{
    const struct timespec moment = { .tv_nsec = 1000000 };

    while (atomic_load(&lane->mark.head) - atomic_load(&lane->tail) > TRACE_LANE_SIZE / 2)
        nanosleep(&moment, NULL);
}

/* Put more than a limit holds, not faster than it is written: nothing is lost for want of room. */
static void
fill(const char *path, bool keep_last, uint64_t count, struct trace_totals *totals)
{
    const struct trace_config config = {
        .path = path, .nlanes = 1, .text = "", .limit = TRACE_LIMIT_MIN, .keep_last = keep_last
    };
    struct trace *trace = create(&config);

    for (uint64_t i = 0; i < count; i++) {
        put_one(trace, trace_get_lane(trace, 0), i);
        if (i % 4096 == 0)
            await_room(trace_get_lane(trace, 0));
    }
    trace_finish(trace, last_words());
    trace_get_totals(trace, totals);
    trace_destroy(trace);
}

Test(trace_writer, a_limit_keeps_the_first_records_and_counts_the_others, .timeout = 60)
{
    char path[PATH_SIZE];
    struct trace_totals totals;
    struct trace_scan file;
    struct seen seen;

    name_file(path);
    fill(path, false, 300000, &totals);
    scan(path, &file, &seen, totals.records);
    cr_expect(le(u64, file.bytes, TRACE_LIMIT_MIN));
    cr_expect(eq(u64, seen.lowest, 0));
    cr_expect(eq(u64, file.total, 300000));
    cr_expect(lt(u64, file.records, 300000));
    cr_expect(eq(u64, file.records + trace_scan_lost(&file), file.total));
    cr_expect(file.text != NULL && strcmp(file.text, last_words()) == 0, "its place was kept");
    trace_scan_fini(&file);
    unlink(path);
}

Test(trace_writer, a_limit_keeps_the_last_records, .timeout = 60)
{
    char path[PATH_SIZE];
    struct trace_totals totals;
    struct trace_scan file;
    struct seen seen;

    name_file(path);
    fill(path, true, 300000, &totals);
    scan(path, &file, &seen, totals.records);
    cr_expect(le(u64, file.bytes, TRACE_LIMIT_MIN));
    cr_expect(eq(u64, seen.highest, 299999));
    cr_expect(eq(u64, seen.highest - seen.lowest + 1, file.records + trace_scan_lost(&file)));
    cr_expect(gt(u64, file.bytes, TRACE_LIMIT_MIN / 2));
    cr_expect(file.text != NULL && strcmp(file.text, last_words()) == 0);
    trace_scan_fini(&file);
    unlink(path);
}

static _Atomic unsigned warnings;
static _Atomic int warned_error;

static void
warn(void *context, const char *message, int error)
{
    (void)context;
    (void)message;
    atomic_fetch_add(&warnings, 1);
    atomic_store(&warned_error, error);
}

Test(trace_writer, a_file_that_cannot_grow_is_told_once_and_what_it_loses_is_counted, .timeout = 60)
{
    char path[PATH_SIZE];
    const struct trace_config config = { .path = path, .nlanes = 1, .text = "", .warn = warn };
    const struct rlimit small = { 300000, RLIM_INFINITY };
    struct trace_totals totals;
    struct trace_scan file;
    struct seen seen;
    struct trace *trace;

    name_file(path);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(setrlimit(RLIMIT_FSIZE, &small) == 0);
    trace = create(&config);
    for (uint64_t i = 0; i < 60000; i++)
        put_one(trace, trace_get_lane(trace, 0), i);
    trace_finish(trace, "");
    trace_get_totals(trace, &totals);
    trace_destroy(trace);
    scan(path, &file, &seen, 60000);
    cr_expect(eq(u32, warnings, 1));
    cr_expect(warned_error == -EFBIG || warned_error == -ENOSPC);
    cr_expect(eq(u64, totals.records, 60000));
    cr_expect(eq(u64, totals.lost, 60000 - file.records));
    cr_expect(gt(u64, file.records, 1000));
    trace_scan_fini(&file);
    unlink(path);
}

static void
expect_refused(const char *path, int error, const char *why)
{
    const struct trace_config config = { .path = path, .nlanes = 1, .text = "" };
    struct failure failure = { 0 };
    struct trace *trace;

    cr_expect(eq(int, trace_create(&config, &trace, &failure), error));
    cr_expect(strstr(failure.message, why) != NULL, "%s", failure.message);
    cr_expect(strstr(failure.message, "give --trace another file") != NULL);
}

Test(trace_writer, what_is_no_file_or_in_use_is_refused)
{
    char path[PATH_SIZE];
    int fd;

    name_file(path);
    fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0 && write(fd, "kept", 4) == 4);
    expect_refused(path, -EBUSY, "another VM");
    cr_expect(eq(long, lseek(fd, 0, SEEK_END), 4), "it was not touched");
    close(fd);
    unlink(path);
    expect_refused("/dev/null", -ENOTSUP, "no regular file");
    expect_refused("/tmp", -EISDIR, "directory");
    expect_refused("/nowhere/trace", -ENOENT, "No such file");
}

/* Records reach the file without anybody asking for it. */
Test(trace_writer, a_record_gets_into_the_file_by_itself, .timeout = 60)
{
    char path[PATH_SIZE];
    const struct trace_config config = { .path = path, .nlanes = 1, .text = "" };
    const struct timespec moment = { .tv_nsec = 10000000 };
    struct trace_scan file = { 0 };
    struct trace *trace;

    name_file(path);
    trace = create(&config);
    put_one(trace, trace_get_lane(trace, 0), 1);
    for (unsigned i = 0; i < 3000 && file.records == 0; i++) {
        nanosleep(&moment, NULL);
        trace_scan_fini(&file);
        trace_scan_file(path, &file, NULL, NULL);
    }
    cr_expect(eq(u64, file.records, 1));
    trace_scan_fini(&file);
    trace_destroy(trace);
    unlink(path);
}

/* --- killed ---------------------------------------------------------------- */

/* Put without end, at some pace. */
static void
put_until_killed(const char *path, unsigned seed)
{
    const struct trace_config config = { .path = path, .nlanes = 2, .text = "x=y\n" };
    struct trace *trace = create(&config);

    for (uint64_t i = 0;; i++) {
        put_one(trace, i % 3 == 2 ? NULL : trace_get_lane(trace, (unsigned)(i % 2)), i);
        if (i % (50 + seed * 7) == 0)
            usleep(100);
    }
}

static void
kill_at(const char *path, unsigned round)
{
    const struct timespec moment = { .tv_nsec = 5000000 + round * 1700000 };
    struct trace_scan file;
    struct stat status;
    pid_t child;

    cr_assert(truncate(path, 0) == 0);
    child = fork();
    cr_assert(child >= 0);
    if (child == 0)
        put_until_killed(path, round);
    while (stat(path, &status) == 0 && status.st_size == 0)
        usleep(100);
    nanosleep(&moment, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    trace_scan_file(path, &file, NULL, NULL);
    cr_expect(le(u64, file.bad_segments, 1));
    cr_expect(eq(u64, file.bad_records, 0));
    cr_expect(strcmp(file.header, "x=y\n") == 0);
    trace_scan_fini(&file);
}

Test(trace_writer, a_file_is_readable_at_whatever_moment_its_writer_is_killed, .timeout = 120)
{
    char path[PATH_SIZE];

    name_file(path);
    for (unsigned round = 0; round < 50; round++)
        kill_at(path, round);
    unlink(path);
}
