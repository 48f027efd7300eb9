/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A job is a test and which repetition of it.  Its states:
 *
 *   WAITING --> RUNNING --> PARKED --> DONE
 *      ^           |           |
 *      +-----------+-----------+      another attempt
 *
 * PARKED is what is compared with a test that has not ended yet.  A job that cannot run goes from WAITING
 * to DONE, with its verdict.  One call, advance, moves all that can be moved; it follows every event.
 */
#include "vmm/test_tool/runner.h"

#include "vmm/base/clock.h"
#include "vmm/test_tool/arena.h"
#include "vmm/test_tool/condition.h"
#include "vmm/test_tool/suite_expect.h"
#include "vmm/test_tool/suite_text.h"
#include "vmm/test_tool/trial.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROGRESS_NS 250000000u

enum job_state {
    JOB_WAITING,
    JOB_RUNNING,
    JOB_PARKED,
    JOB_DONE
};

struct job {
    const struct suite_test *test;
    unsigned repeat;
    bool compares; /* its expectations name other tests */
    enum job_state state;
    unsigned attempt;
    struct test_result result;
    char *stats; /* owned: kept behind the result, for others to compare with; NULL = none */
};

struct runner {
    const struct runner_request *request;
    struct failure *failure;
    struct event_loop *loop;
    struct event_source *signals, *progress;
    struct places places;
    struct arena *arena; /* of the children's words */
    size_t njobs;
    struct job *jobs;     /* owned, in the order of their start */
    struct trial *trials; /* owned: request->jobs of them */
    struct job **running; /* owned: what each attempt is at; NULL = nothing */
    size_t nrunning;
    size_t nparked;
    size_t first; /* no job before this one waits */
    bool no_more; /* start nothing */
    struct report_totals totals;
    uint64_t start_ns;
};

/* --- Reports --------------------------------------------------------------- */

static void
tell_progress(void *context)
{
    struct runner *runner = context;
    const struct report_totals *totals = &runner->totals;
    struct report_progress progress = {
        .total = runner->njobs,
        .failed = totals->results[VERDICT_FAIL] + totals->results[VERDICT_ERROR],
        .nrunning = runner->nrunning,
        .elapsed_ns = clock_now_ns() - runner->start_ns,
    };
    uint64_t oldest = UINT64_MAX;

    for (int i = 0; i < VERDICTS; i++)
        progress.done += totals->results[i];
    for (unsigned i = 0; i < runner->request->jobs; i++) {
        if (runner->running[i] != NULL && runner->trials[i].start_ns < oldest) {
            oldest = runner->trials[i].start_ns;
            progress.running = runner->running[i]->result.name;
        }
    }
    for (size_t i = 0; i < runner->request->nreporters; i++) {
        struct reporter *reporter = runner->request->reporters[i];

        if (reporter->ops->progress != NULL)
            reporter->ops->progress(reporter, &progress);
    }
}

static void
tell_test_begin(const struct runner *runner, const struct job *job)
{
    for (size_t i = 0; i < runner->request->nreporters; i++) {
        struct reporter *reporter = runner->request->reporters[i];

        if (reporter->ops->test_begin != NULL)
            reporter->ops->test_begin(reporter, job->test, job->repeat);
    }
}

static void
count_result(struct report_totals *totals, const struct test_result *result)
{
    totals->results[result->verdict]++;
    totals->flaky += result->flaky;
    for (size_t i = 0; i < result->nsubtests; i++)
        totals->subtests[result->subtests[i].verdict]++;
}

/* The job's result is what it is. */
static void
finish(struct runner *runner, struct job *job)
{
    struct test_result *result = &job->result;

    if (result->verdict == VERDICT_PASS && result->nattempts > 0)
        result->flaky = true;
    job->state = JOB_DONE;
    count_result(&runner->totals, result);
    for (size_t i = 0; i < runner->request->nreporters; i++) {
        struct reporter *reporter = runner->request->reporters[i];

        if (reporter->ops->test_end != NULL)
            reporter->ops->test_end(reporter, result);
    }
    if (runner->request->fail_fast && result->verdict != VERDICT_PASS &&
        result->verdict != VERDICT_SKIP)
        runner->no_more = true;
    job->stats = result->stats;
    result->stats = NULL;
    test_result_fini(result);
}

/* --- What a result is compared with ---------------------------------------- */

static struct job *
find_job(struct runner *runner, const char *name)
{
    for (size_t i = 0; i < runner->njobs; i++) {
        if (strcmp(runner->jobs[i].test->name, name) == 0)
            return &runner->jobs[i];
    }
    return NULL;
}

static const char *
stats_of(void *context, const char *name)
{
    const struct job *job = find_job(context, name);

    return job == NULL ? NULL : job->stats;
}

static bool
needs_wait(const struct runner *runner, const struct job *job)
{
    for (size_t i = 0; job->compares && i < runner->njobs; i++) {
        const struct job *other = &runner->jobs[i];

        if (other->state != JOB_DONE && expect_needs(job->test, other->test))
            return true;
    }
    return false;
}

/* Of a test that passed otherwise, its faults. */
static void
check_faults(struct runner *runner, struct job *job)
{
    const struct expect_run run = { .stats_of = stats_of, .context = runner };
    struct test_result *result = &job->result;

    if (result->verdict != VERDICT_PASS)
        return;
    if (job->test->nexpectations != 0)
        expect_check(job->test, &run, result);
    if (job->test->golden != NULL)
        golden_check(job->test, runner->request->bless, result);
}

/* --- Attempts -------------------------------------------------------------- */

/* What came of an attempt goes behind those before.  Returns whether there was memory. */
static bool
note_attempt(struct test_result *result)
{
    struct attempt *grown =
        reallocarray(result->attempts, result->nattempts + 1, sizeof(*result->attempts));

    if (grown == NULL)
        return false;
    result->attempts = grown;
    result->attempts[result->nattempts++] = (struct attempt){ .verdict = result->verdict,
                                                              .reason = result->reason,
                                                              .duration_ns = result->duration_ns };
    result->reason = NULL;
    return true;
}

/* The same test anew: name and attempts stay. */
static void
renew(struct job *job)
{
    struct test_result *old = &job->result;
    struct test_result fresh = {
        .test = old->test,
        .name = old->name,
        .repeat = old->repeat,
        .exit_status = -1,
        .nattempts = old->nattempts,
        .attempts = old->attempts,
    };

    old->name = NULL;
    old->attempts = NULL;
    old->nattempts = 0;
    test_result_fini(old);
    job->result = fresh;
}

/* Its attempt is over and judged but for its faults. */
static void
settle(struct runner *runner, struct job *job)
{
    enum verdict verdict;

    check_faults(runner, job);
    verdict = job->result.verdict;
    if ((verdict == VERDICT_FAIL || verdict == VERDICT_ERROR) && !runner->no_more &&
        job->attempt < runner->request->retries && note_attempt(&job->result)) {
        renew(job);
        job->attempt++;
        job->state = JOB_WAITING;
        if ((size_t)(job - runner->jobs) < runner->first)
            runner->first = (size_t)(job - runner->jobs);
        return;
    }
    finish(runner, job);
}

static char *
timeout_text(struct arena *arena, unsigned ms)
{
    return arena_printf(arena, "--timeout=%u.%03u", ms / 1000, ms % 1000);
}

/* Words of a child while they are put together. */
struct words {
    char **argv;
    size_t n;
};

static void
add_words(struct words *words, char *const *from)
{
    while (*from != NULL)
        words->argv[words->n++] = *from++;
}

/* A trace of our own takes this much disk at most. */
#define TRACE_LIMIT "--trace-limit=64M,last"

/* vkvm run's options that are the runner's, before the test's own: the last one counts. */
static void
add_options(struct runner *runner, const struct job *job, const struct place *place, unsigned ms,
            struct words *words)
{
    const struct runner_request *request = runner->request;
    bool needed = expect_wants_trace(job->test);
    char *own[8] = { NULL };
    size_t n = 0;

    own[n++] = arena_printf(runner->arena, "%s", request->vkvm);
    own[n++] = arena_printf(runner->arena, "run");
    own[n++] = arena_printf(runner->arena, "--json=%s", place->stats);
    own[n++] = timeout_text(runner->arena, ms);
    if (needed || request->trace)
        own[n++] = arena_printf(runner->arena, "--trace=%s", place->trace);
    if (needed) /* for the symbol of a difference */
        own[n++] = arena_printf(runner->arena, "--trace-regs");
    if (!needed && request->trace)
        own[n++] = arena_printf(runner->arena, TRACE_LIMIT);
    add_words(words, own);
    add_words(words, job->test->options);
}

/* The words of an attempt, in the arena; NULL with *failure filled. */
static char **
make_argv(struct runner *runner, const struct job *job, const struct place *place, unsigned ms,
          struct failure *failure)
{
    char *image[] = { arena_printf(runner->arena, "%s", job->test->image), NULL };
    char *dashes[] = { arena_printf(runner->arena, "--"), NULL };
    char **arguments = condition_arguments(runner->arena, job->test, failure);
    struct words words = { .n = 0 };

    if (arguments == NULL)
        return NULL;
    words.argv = arena_alloc(runner->arena, (suite_text_count(job->test->options) +
                                             suite_text_count(arguments) + 16) *
                                                sizeof(*words.argv));
    if (words.argv != NULL && !job->test->program)
        add_options(runner, job, place, ms, &words);
    if (words.argv != NULL) {
        add_words(&words, image);
        if (!job->test->program && arguments[0] != NULL)
            add_words(&words, dashes);
        add_words(&words, arguments);
    }
    if (words.argv == NULL || arena_failed(runner->arena)) {
        failure_set(failure, -ENOMEM, "no memory for its words");
        return NULL;
    }
    return words.argv;
}

static unsigned
timeout_of(const struct runner *runner, const struct suite_test *test)
{
    if (runner->request->timeout_ms != 0)
        return runner->request->timeout_ms;
    return test->timeout_ms != 0 ? test->timeout_ms : RUNNER_TIMEOUT_MS;
}

/* Returns 0; with *failure filled -errno. */
static int
start_trial(struct runner *runner, struct trial *trial, struct job *job, struct failure *failure)
{
    struct trial_request request = {
        .test = job->test,
        .result = &job->result,
        .number = job->attempt,
        .timeout_ms = timeout_of(runner, job->test),
        .keep = runner->places.kept,
    };
    int error = trial_place(trial, &runner->places, job->result.name, job->attempt, failure);

    if (error != 0)
        return error;
    request.argv = make_argv(runner, job, &trial->place, request.timeout_ms, failure);
    if (request.argv == NULL)
        return failure->code != 0 ? failure->code : -ENOMEM;
    return trial_start(trial, &request, failure);
}

/* --- Moving on ------------------------------------------------------------- */

/* Start the job with a free attempt, or end it at once. */
static void
start_job(struct runner *runner, unsigned slot, struct job *job)
{
    struct failure failure = { .message = "" };
    char reason[CONDITION_REASON];
    enum verdict verdict;

    if (job->attempt == 0)
        tell_test_begin(runner, job);
    verdict = job->attempt == 0 ? condition_check(job->test, reason) : VERDICT_PASS;
    if (verdict != VERDICT_PASS) {
        test_result_set(&job->result, verdict, "%s", reason);
        finish(runner, job);
        return;
    }
    if (start_trial(runner, &runner->trials[slot], job, &failure) != 0) {
        test_result_set(&job->result, VERDICT_ERROR, "%s", failure.message);
        settle(runner, job);
        return;
    }
    job->state = JOB_RUNNING;
    runner->running[slot] = job;
    runner->nrunning++;
}

static struct job *
next_waiting(struct runner *runner)
{
    while (runner->first < runner->njobs && runner->jobs[runner->first].state != JOB_WAITING)
        runner->first++;
    return runner->first < runner->njobs ? &runner->jobs[runner->first] : NULL;
}

static void
start_waiting(struct runner *runner)
{
    for (unsigned slot = 0; slot < runner->request->jobs && !runner->no_more;) {
        struct job *job = next_waiting(runner);

        if (job == NULL)
            return;
        if (runner->running[slot] == NULL)
            start_job(runner, slot, job);
        if (runner->running[slot] != NULL)
            slot++;
    }
}

/* Settle what waits no longer, or everything if nothing else can happen.  Returns whether there was something. */
static bool
settle_parked(struct runner *runner, bool all)
{
    for (size_t i = 0; runner->nparked != 0 && i < runner->njobs; i++) {
        struct job *job = &runner->jobs[i];

        if (job->state == JOB_PARKED && (all || !needs_wait(runner, job))) {
            runner->nparked--;
            settle(runner, job);
            return true;
        }
    }
    return false;
}

static void
advance(struct runner *runner)
{
    do {
        while (settle_parked(runner, false))
            continue;
        start_waiting(runner);
    } while (runner->nrunning == 0 && settle_parked(runner, true));
    if (runner->nrunning == 0)
        event_loop_stop(runner->loop);
}

static void
on_trial_done(void *context, struct trial *trial)
{
    struct runner *runner = context;
    size_t slot = (size_t)(trial - runner->trials);
    struct job *job = runner->running[slot];

    runner->running[slot] = NULL;
    runner->nrunning--;
    if (trial->stopped) {
        job->state = JOB_WAITING; /* it has no verdict: it counts as not run */
    } else {
        job->state = JOB_PARKED;
        runner->nparked++;
    }
    advance(runner);
}

static void
on_signal(void *context, int signal)
{
    struct runner *runner = context;

    runner->totals.interrupted = signal;
    runner->no_more = true;
    for (unsigned i = 0; i < runner->request->jobs; i++)
        trial_stop(&runner->trials[i]);
    advance(runner);
}

/* --- The run --------------------------------------------------------------- */

static int
no_memory(struct failure *failure)
{
    return failure_set(failure, -ENOMEM, "no memory for the run");
}

static int
make_job(struct job *job, const struct suite_test *test, unsigned repeat, struct failure *failure)
{
    char name[SUITE_NAME_MAX + 32];

    snprintf(name, sizeof(name), "%s", test->name);
    if (repeat > 0)
        snprintf(name, sizeof(name), "%s #%u", test->name, repeat + 1);
    *job = (struct job){ .test = test, .repeat = repeat, .compares = expect_compares(test) };
    job->result = (struct test_result){ .test = test, .repeat = repeat, .exit_status = -1 };
    job->result.name = strdup(name);
    return job->result.name == NULL ? no_memory(failure) : 0;
}

/* All tests once, then all again; or in another order. */
static int
make_jobs(struct runner *runner)
{
    const struct selection *selection = runner->request->selection;
    size_t n = selection->ntests * runner->request->repeat;
    size_t *order = calloc(n + 1, sizeof(*order));
    int error = 0;

    runner->jobs = calloc(n + 1, sizeof(*runner->jobs));
    if (runner->jobs == NULL || order == NULL) {
        free(order);
        return no_memory(runner->failure);
    }
    if (runner->request->shuffle)
        select_shuffle(order, n, runner->request->seed);
    for (size_t i = 0; i < n && error == 0; i++) {
        size_t which = runner->request->shuffle ? order[i] : i;

        error = make_job(&runner->jobs[i], selection->tests[which % selection->ntests],
                         (unsigned)(which / selection->ntests), runner->failure);
        runner->njobs++;
    }
    free(order);
    return error;
}

static int
make_trials(struct runner *runner)
{
    unsigned n = runner->request->jobs;

    runner->trials = calloc(n, sizeof(*runner->trials));
    runner->running = calloc(n, sizeof(struct job *));
    runner->arena = arena_create();
    if (runner->trials == NULL || runner->running == NULL || runner->arena == NULL)
        return no_memory(runner->failure);
    for (unsigned i = 0; i < n; i++)
        trial_init(&runner->trials[i], runner->loop, on_trial_done, runner);
    return 0;
}

static int
make_sources(struct runner *runner, const sigset_t *signals)
{
    int error = event_loop_create(&runner->loop);

    if (error != 0)
        runner->loop = NULL;
    if (error == 0)
        error = event_loop_add_signals(runner->loop, signals, on_signal, runner, &runner->signals);
    if (error == 0)
        error = event_loop_add_timer(runner->loop, tell_progress, runner, &runner->progress);
    if (error != 0)
        return failure_set(runner->failure, error, "cannot wait for tests: %s", strerror(-error));
    event_timer_set(runner->progress, PROGRESS_NS, PROGRESS_NS);
    return 0;
}

static uint64_t
realtime_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
tell_begin(const struct runner *runner)
{
    const struct runner_request *request = runner->request;
    const struct report_plan plan = {
        .nresults = runner->njobs,
        .ntests = request->selection->ntests,
        .nfiltered = request->selection->nfiltered,
        .tests = request->selection->tests,
        .repeat = request->repeat,
        .jobs = request->jobs,
        .shuffled = request->shuffle,
        .seed = request->seed,
        .begin_ns = realtime_ns(),
        .program = request->program,
    };

    for (size_t i = 0; i < request->nreporters; i++) {
        if (request->reporters[i]->ops->begin != NULL)
            request->reporters[i]->ops->begin(request->reporters[i], &plan);
    }
}

/* Every reporter ends; the first error counts. */
static int
tell_end(struct runner *runner)
{
    int error = 0;

    for (size_t i = 0; i < runner->njobs; i++)
        runner->totals.not_run += runner->jobs[i].state != JOB_DONE;
    runner->totals.filtered = runner->request->selection->nfiltered;
    runner->totals.duration_ns = clock_now_ns() - runner->start_ns;
    for (size_t i = 0; i < runner->request->nreporters; i++) {
        struct reporter *reporter = runner->request->reporters[i];
        int result = reporter->ops->end(reporter, &runner->totals);

        reporter->ended = result == 0;
        if (error != 0 || result == 0)
            continue;
        error = result;
        if (runner->failure->message[0] == '\0')
            failure_set(runner->failure, result,
                        "cannot write a report to " FAILURE_NAME
                        ": %s: make room, or give another file",
                        reporter->path == NULL ? "standard output" : reporter->path,
                        strerror(-result));
    }
    return error;
}

/* Nothing more is to be prepared. */
static int
run(struct runner *runner)
{
    int error, end;

    runner->start_ns = clock_now_ns();
    tell_begin(runner);
    advance(runner);
    error = event_loop_run(runner->loop);
    if (error != 0)
        failure_set(runner->failure, error, "cannot wait for tests: %s", strerror(-error));
    end = tell_end(runner);
    return error != 0 ? error : end;
}

static void
release(struct runner *runner)
{
    event_source_remove(runner->signals);
    event_source_remove(runner->progress);
    for (unsigned i = 0; runner->trials != NULL && i < runner->request->jobs; i++)
        trial_fini(&runner->trials[i]);
    for (size_t i = 0; i < runner->njobs; i++) {
        test_result_fini(&runner->jobs[i].result);
        free(runner->jobs[i].stats);
    }
    if (runner->loop != NULL)
        event_loop_destroy(runner->loop);
    arena_destroy(runner->arena);
    free(runner->trials);
    free(runner->running);
    free(runner->jobs);
    places_fini(&runner->places);
}

int
runner_run(const struct runner_request *request, struct report_totals *totals,
           struct failure *failure)
{
    struct runner runner = { .request = request, .failure = failure };
    sigset_t signals;
    int error;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    error = places_init(&runner.places, request->out, failure);
    if (error == 0)
        error = make_sources(&runner, &signals);
    if (error == 0)
        error = make_trials(&runner);
    if (error == 0)
        error = make_jobs(&runner);
    if (error == 0)
        error = run(&runner);
    *totals = runner.totals;
    release(&runner);
    return error;
}
