/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkvm-test: what `vkvm test` runs.  It is a program of its own, which runs guests by `vkvm run`, so
 * that nothing a guest does to its monitor is done to the runner.
 */
#include "vmm/cli/beside.h"
#include "vmm/test_tool/output.h"
#include "vmm/test_tool/runner.h"
#include "vmm/test_tool/suite_expect.h"
#include "vmm/test_tool/test_options.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_FAILED 1
#define ALL_SKIPPED 77

/* One run of the program. */
struct session {
    struct test_options options;
    struct suites suites;
    struct selection selection;
    struct reporter *reporters[TEST_OPTIONS_MANY + 1]; /* owned */
    struct output outputs[TEST_OPTIONS_MANY + 1];      /* ... and where they write */
    size_t nreporters;
    char vkvm[BESIDE_PATH_MAX];
    struct failure failure;
};

/* --- Suites ---------------------------------------------------------------- */

/* Where our own suites are, and their images: installed, or in a tree and the build in it. */
static int
find_own(const struct session *session, char suites[BESIDE_PATH_MAX], char images[BESIDE_PATH_MAX],
         struct suite_places *places)
{
    static const char *const there[] = { "/../../lib/vkvm/tests/engine.cfg",
                                         "/../guest/tests/engine.cfg",
                                         "/../../guest/tests/engine.cfg", NULL };
    static const char *const built[] = { "/guest/tests", NULL };
    int error = beside_find(there, suites);

    *places = (struct suite_places){ .images = session->options.images };
    if (error != 0)
        return error;
    *strrchr(suites, '/') = '\0';
    if (places->images == NULL && beside_find(built, images) == 0)
        places->images = images;
    return 0;
}

/* What is there when nobody names a suite. */
static int
add_own(struct session *session)
{
    char suites[BESIDE_PATH_MAX], images[BESIDE_PATH_MAX];
    struct suite_places places;

    if (find_own(session, suites, images, &places) != 0)
        return failure_set(&session->failure, -ENOENT,
                           "no suite is given, and none is installed: name a directory or a "
                           "configuration file");
    return suites_add(&session->suites, suites, &places, &session->failure);
}

/* A file or directory; or a name that is neither, of one of our own suites. */
static int
add_named(struct session *session, const char *name)
{
    struct suite_places places = { .images = session->options.images };
    char suites[BESIDE_PATH_MAX], images[BESIDE_PATH_MAX], path[BESIDE_PATH_MAX + 256];

    if (strchr(name, '/') == NULL && *name != '\0' && access(name, F_OK) != 0 &&
        find_own(session, suites, images, &places) == 0) {
        snprintf(path, sizeof(path), "%s/%.200s.cfg", suites, name);
        if (access(path, F_OK) == 0)
            return suites_add(&session->suites, path, &places, &session->failure);
        places = (struct suite_places){ .images = session->options.images };
    }
    return suites_add(&session->suites, name, &places, &session->failure);
}

static int
read_suites(struct session *session)
{
    int error = 0;

    if (session->options.suites[0] == NULL)
        error = add_own(session);
    for (char *const *suite = session->options.suites; error == 0 && *suite != NULL; suite++)
        error = add_named(session, *suite);
    return error == 0 ? CLI_OK : error == -ENOMEM ? CLI_FAILED : CLI_USAGE;
}

/* The expectations of all tests, also of those that do not run: what is wrong shows at once. */
static int
check_suites(struct session *session)
{
    for (size_t i = 0; i < session->suites.nsuites; i++) {
        const struct suite *suite = session->suites.suites[i];

        for (size_t j = 0; j < suite->ntests; j++) {
            if (expect_validate(&suite->tests[j], &session->suites, &session->failure) != 0)
                return CLI_USAGE;
        }
    }
    return CLI_OK;
}

static int
choose_tests(struct session *session)
{
    const struct select_request request = {
        .patterns = session->options.patterns,
        .npatterns = session->options.npatterns,
        .groups = session->options.groups,
        .ngroups = session->options.ngroups,
        .all = session->options.all,
    };

    if (select_tests(&session->suites, &request, &session->selection) != 0)
        return failure_set(&session->failure, CLI_FAILED, "no memory for the tests");
    if (session->selection.ntests == 0)
        return failure_set(&session->failure, CLI_USAGE,
                           "no test is chosen of %zu: see --list without --filter and --group",
                           session->selection.nfiltered);
    return CLI_OK;
}

/* --- Reports --------------------------------------------------------------- */

/* Can lines there be written anew? */
static bool
is_terminal(FILE *to)
{
    const char *kind = getenv("TERM");

    return isatty(fileno(to)) != 0 && kind != NULL && strcmp(kind, "dumb") != 0;
}

static int
open_report(struct session *session, const struct test_report *report)
{
    struct output *output = &session->outputs[session->nreporters];
    struct reporter *reporter = report->format->create();

    if (reporter == NULL)
        return failure_set(&session->failure, CLI_FAILED, "no memory for a report");
    if (output_open(output, report->file, report->format->whole, &session->failure) != 0) {
        reporter->ops->destroy(reporter);
        return CLI_FAILED;
    }
    reporter->to = output->to;
    reporter->path = output->path;
    reporter->terminal = is_terminal(output->to);
    session->reporters[session->nreporters++] = reporter;
    return CLI_OK;
}

static int
open_reports(struct session *session)
{
    int status = CLI_OK;

    for (size_t i = 0; status == CLI_OK && i < session->options.nreports; i++)
        status = open_report(session, &session->options.reports[i]);
    return status;
}

/* What could not be written before has been told already.  Returns the exit status, `status` if all is written. */
static int
close_reports(struct session *session, int status)
{
    for (size_t i = 0; i < session->nreporters; i++) {
        struct reporter *reporter = session->reporters[i];
        struct failure failure = { .message = "" };
        bool ended = reporter->ended;

        reporter->ops->destroy(reporter);
        if (output_close(&session->outputs[i], ended, &failure) != 0 && ended) {
            cli_complain(failure.message);
            status = CLI_FAILED;
        }
    }
    return status;
}

/* --- The run --------------------------------------------------------------- */

static int
list_tests(const struct session *session)
{
    for (size_t i = 0; i < session->selection.ntests; i++)
        printf("%s\n", session->selection.tests[i]->name);
    return CLI_OK;
}

static int
find_vkvm(struct session *session)
{
    static const char *const places[] = { "/vkvm", "/../../bin/vkvm", NULL };

    if (beside_find(places, session->vkvm) == 0)
        return CLI_OK;
    return failure_set(&session->failure, CLI_FAILED,
                       "vkvm is neither beside vkvm-test nor in ../../bin: install it");
}

static int
exit_status(const struct report_totals *totals)
{
    const size_t *results = totals->results;

    if (totals->interrupted != 0)
        return CLI_SIGNAL_BASE + totals->interrupted;
    if (results[VERDICT_FAIL] != 0 || results[VERDICT_ERROR] != 0 || totals->not_run != 0)
        return TEST_FAILED;
    return results[VERDICT_PASS] == 0 ? ALL_SKIPPED : CLI_OK;
}

static int
run_tests(struct session *session)
{
    const struct test_options *options = &session->options;
    const struct runner_request request = {
        .vkvm = session->vkvm,
        .suites = &session->suites,
        .selection = &session->selection,
        .reporters = session->reporters,
        .nreporters = session->nreporters,
        .jobs = options->jobs,
        .timeout_ms = options->timeout_ms,
        .repeat = options->repeat,
        .retries = options->retries,
        .shuffle = options->shuffle,
        .seed = options->seed,
        .fail_fast = options->fail_fast,
        .bless = options->bless,
        .trace = options->out != NULL && !options->no_trace,
        .out = options->out,
        .program = "vkvm " VKVM_VERSION,
    };
    struct report_totals totals;

    if (runner_run(&request, &totals, &session->failure) != 0)
        return CLI_FAILED;
    return exit_status(&totals);
}

static int
run(struct session *session, int argc, char **argv)
{
    int status = test_options_parse(argc, argv, &session->options, &session->failure);

    if (status == CLI_OK && session->options.help) {
        test_options_help(stdout);
        return CLI_OK;
    }
    if (status == CLI_OK)
        status = read_suites(session);
    if (status == CLI_OK)
        status = check_suites(session);
    if (status == CLI_OK)
        status = choose_tests(session);
    if (status != CLI_OK)
        return status;
    if (session->options.list)
        return list_tests(session);
    status = find_vkvm(session);
    if (status == CLI_OK)
        status = open_reports(session);
    return status == CLI_OK ? run_tests(session) : status;
}

int
main(int argc, char **argv)
{
    struct session session = { .failure = { .message = "" } };
    int status;

    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    signal(SIGPIPE, SIG_IGN); /* so is a reader that is gone */
    status = run(&session, argc, argv);
    if (session.failure.message[0] != '\0')
        cli_complain(session.failure.message);
    status = close_reports(&session, status);
    selection_fini(&session.selection);
    suites_fini(&session.suites);
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == CLI_OK) {
        cli_complain("cannot write to standard output: make room, or give another file");
        status = CLI_FAILED;
    }
    exit(status);
}
