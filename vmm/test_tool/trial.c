/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three sources of the loop: the pipe, the end of the process, the clock.  The end of the process is the
 * end of the attempt, whoever else has the pipe open by then.
 */
#include "vmm/test_tool/trial.h"

#include "vmm/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000u
#define CHUNK 65536u
#define CHUNKS_AT_END 64u /* a pipe holds less, unless somebody goes on writing */
#define TAIL 2048u        /* for reports */

/* --- Files ----------------------------------------------------------------- */

static char *
copy_if_there(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? strdup(path) : NULL;
}

static void
keep_console(struct trial *trial)
{
    const char *path = trial->place.console;
    FILE *to = fopen(path, "we");
    int error = to == NULL ? errno : 0;

    if (to != NULL) {
        transcript_write(&trial->console, to);
        if (ferror(to) != 0 || fflush(to) != 0)
            error = errno != 0 ? errno : EIO;
        if (fclose(to) != 0 && error == 0)
            error = errno;
    }
    if (error != 0)
        test_result_set(trial->request.result, VERDICT_ERROR,
                        "its console cannot be kept as %.400s: %s", path, strerror(error));
    trial->request.result->console = copy_if_there(path);
}

static void
note_files(struct trial *trial)
{
    struct test_result *result = trial->request.result;
    char tail[TAIL];

    transcript_last(&trial->console, tail, sizeof(tail));
    result->tail = strdup(tail);
    if (trial->request.keep)
        keep_console(trial);
    result->stats = copy_if_there(trial->place.stats);
    result->trace = copy_if_there(trial->place.trace);
}

/* --- The end --------------------------------------------------------------- */

static void
close_output(struct trial *trial)
{
    event_source_remove(trial->output);
    trial->output = NULL;
    child_close(&trial->child);
}

/* Returns whether more may come. */
static bool
take_chunk(struct trial *trial)
{
    char chunk[CHUNK];
    ssize_t n;

    if (trial->child.output < 0)
        return false;
    n = read(trial->child.output, chunk, sizeof(chunk));
    if (n > 0)
        transcript_take(&trial->console, chunk, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void
judge(struct trial *trial, int status)
{
    const struct verdict_ending ending = {
        .status = status,
        .timeout_ms = trial->request.timeout_ms,
        .overdue = trial->overdue,
        .stats = trial->place.stats,
    };

    transcript_end(&trial->console);
    trial->request.result->duration_ns = clock_now_ns() - trial->start_ns;
    if (!trial->stopped)
        verdict_judge(&trial->watch, &ending);
    note_files(trial);
}

static void
release(struct trial *trial)
{
    close_output(trial);
    event_source_remove(trial->ended);
    event_source_remove(trial->timer);
    trial->ended = trial->timer = NULL;
    verdict_end(&trial->watch);
    transcript_fini(&trial->console);
    place_clear(&trial->place);
    trial->running = false;
}

static void
on_ended(void *context, unsigned events)
{
    struct trial *trial = context;
    int status;

    (void)events;
    for (unsigned i = 0; i < CHUNKS_AT_END && take_chunk(trial); i++)
        continue;
    event_source_remove(trial->ended);
    trial->ended = NULL;
    status = child_reap(&trial->child);
    judge(trial, status);
    release(trial);
    trial->done(trial->context, trial);
}

static void
on_output(void *context, unsigned events)
{
    struct trial *trial = context;
    char chunk[CHUNK];
    ssize_t n;

    /* A failed source is told once, and what the pipe holds is to be read then. */
    do {
        n = read(trial->child.output, chunk, sizeof(chunk));
        if (n > 0)
            transcript_take(&trial->console, chunk, (size_t)n);
    } while ((events & EVENT_FAILED) != 0 && n > 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_output(trial);
}

static void
on_time(void *context)
{
    struct trial *trial = context;

    child_signal(&trial->child, trial->overdue || trial->stopped ? SIGKILL : SIGTERM);
    if (!trial->stopped)
        trial->overdue = true;
    event_timer_set(trial->timer, TRIAL_GRACE_MS * (uint64_t)NS_PER_MS, 0);
}

/* --- The start ------------------------------------------------------------- */

void
trial_init(struct trial *trial, struct event_loop *loop, trial_done_fn *done, void *context)
{
    *trial = (struct trial){ .loop = loop, .done = done, .context = context };
}

void
trial_fini(struct trial *trial)
{
    place_fini(&trial->place);
}

int
trial_place(struct trial *trial, const struct places *places, const char *name, unsigned number,
            struct failure *failure)
{
    place_fini(&trial->place);
    return place_make(&trial->place, places, name, number, failure);
}

static int
add_sources(struct trial *trial)
{
    int error = event_loop_add_fd(trial->loop, trial->child.output, EVENT_READ, on_output, trial,
                                  &trial->output);

    if (error == 0)
        error = event_loop_add_fd(trial->loop, trial->child.pidfd, EVENT_READ, on_ended, trial,
                                  &trial->ended);
    if (error == 0)
        error = event_loop_add_timer(trial->loop, on_time, trial, &trial->timer);
    return error;
}

static uint64_t
realtime_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The process runs: watch it. */
static int
watch(struct trial *trial, struct failure *failure)
{
    unsigned ms = trial->request.timeout_ms;
    int error = add_sources(trial);

    if (error != 0) {
        child_signal(&trial->child, SIGKILL);
        child_reap(&trial->child);
        return failure_set(failure, error, "cannot watch the test: %s", strerror(-error));
    }
    if (!trial->request.test->program)
        ms += TRIAL_GRACE_MS; /* vkvm ends itself before */
    event_timer_set(trial->timer, ms * (uint64_t)NS_PER_MS, 0);
    trial->running = true;
    return 0;
}

int
trial_start(struct trial *trial, const struct trial_request *request, struct failure *failure)
{
    const struct child_request child = {
        .argv = request->argv,
        .directory = trial->place.files,
        .setup = request->test->setup,
    };
    int error;

    trial->request = *request;
    trial->overdue = trial->stopped = false;
    trial->output = trial->ended = trial->timer = NULL;
    request->result->begin_ns = realtime_ns();
    trial->start_ns = clock_now_ns();
    if (transcript_init(&trial->console, verdict_line, &trial->watch) != 0)
        return failure_set(failure, -ENOMEM, "no memory for its console");
    error = verdict_begin(&trial->watch, request->test, request->result);
    if (error != 0) {
        transcript_fini(&trial->console);
        return failure_set(failure, error, "no memory for its output's expression");
    }
    error = child_start(&trial->child, &child, failure);
    if (error == 0)
        error = watch(trial, failure);
    if (error != 0)
        release(trial);
    return error;
}

void
trial_stop(struct trial *trial)
{
    if (!trial->running)
        return;
    child_signal(&trial->child, trial->stopped ? SIGKILL : SIGTERM);
    trial->stopped = true;
    event_timer_set(trial->timer, TRIAL_GRACE_MS * (uint64_t)NS_PER_MS, 0);
}
