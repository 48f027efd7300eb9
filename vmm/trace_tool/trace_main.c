/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkvm-trace: what `vkvm trace` runs.  It is a program of its own, so that vkvm need not be linked with
 * what only pictures and symbols need.
 */
#include "vmm/trace/trace_kernel.h"
#include "vmm/trace_tool/kernel_events.h"
#include "vmm/trace_tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct tool_verb *const verbs[] = {
    &trace_report_verb, &trace_dump_verb,  &trace_heatmap_verb, &trace_diff_verb,
    &trace_wset_verb,   &trace_canon_verb, &trace_top_verb,     &trace_check_verb,
};

static const struct tool_verb *
find_verb(const char *name)
{
    for (size_t i = 0; i < COUNT(verbs); i++) {
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    }
    return NULL;
}

static void
print_usage(FILE *to)
{
    fputs("usage: vkvm trace VERB [options] FILE\n"
          "       vkvm trace VERB --help\n\n"
          "Read what `vkvm run --trace FILE` has recorded.\n\nverbs:\n",
          to);
    for (size_t i = 0; i < COUNT(verbs); i++)
        fprintf(to, "  %-8s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\nexit status: 0, or\n"
          "    1  diff: the traces differ   125  vkvm or the host failed\n"
          "    2  wrong usage               126  FILE is no trace, or could be read in part only\n"
          "                                 127  FILE not found\n",
          to);
}

/* --output must not be a trace that is read: it would be gone. */
static bool
is_input(const struct tool_options *options, const struct stat *output)
{
    struct stat status;

    for (unsigned i = 0; i < options->nfiles; i++) {
        if (stat(options->files[i], &status) == 0 && status.st_dev == output->st_dev &&
            status.st_ino == output->st_ino)
            return true;
    }
    return false;
}

/* Where the result goes, or NULL with *failure filled. */
static FILE *
open_output(const struct tool_options *options, struct failure *failure)
{
    struct stat status;
    FILE *to;

    if (options->output == NULL)
        return stdout;
    if (stat(options->output, &status) == 0 && is_input(options, &status)) {
        failure_set(failure, CLI_USAGE,
                    "--output=" FAILURE_NAME " is the trace itself: give another file",
                    options->output);
        return NULL;
    }
    to = fopen(options->output, "we");
    if (to == NULL)
        failure_set(failure, CLI_FAILED, "cannot write --output=" FAILURE_NAME ": %s",
                    options->output, strerror(errno));
    return to;
}

/* Also what was left in the stream's buffer counts. */
static int
close_output(FILE *to, const struct tool_options *options, int status, struct failure *failure)
{
    bool failed = ferror(to) != 0;

    failed |= (to == stdout ? fflush(to) : fclose(to)) != 0;
    if (failed && (status == CLI_OK || status == TOOL_DIFFERENT))
        return failure_set(failure, CLI_FAILED, "cannot write " FAILURE_NAME ": is the disk full?",
                           options->output != NULL ? options->output : "standard output");
    return status;
}

static int
run_verb(const struct tool_verb *verb, const struct tool_options *options, struct failure *failure)
{
    FILE *to = open_output(options, failure);

    if (to == NULL)
        return failure->code;
    return close_output(to, options, verb->run(options, to, failure), failure);
}

static int
run(int argc, char **argv, struct failure *failure)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    const struct tool_verb *verb = word != NULL ? find_verb(word) : NULL;
    struct tool_options options;
    int status;

    if (word != NULL && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
        print_usage(stdout);
        return CLI_OK;
    }
    if (word == NULL)
        return failure_set(failure, CLI_USAGE, "trace: no verb given: see 'vkvm trace --help'");
    if (verb == NULL)
        return failure_set(failure, CLI_USAGE,
                           "trace: unknown verb " FAILURE_NAME ": see 'vkvm trace --help'", word);
    status = tool_options_parse(verb, argc - 1, argv + 1, &options, failure);
    if (status != CLI_OK)
        return status;
    if (options.help) {
        tool_options_help(verb, stdout);
        return CLI_OK;
    }
    return run_verb(verb, &options, failure);
}

int
main(int argc, char **argv)
{
    struct failure failure = { .message = "" };
    int status;

    if (argc == 2 && strcmp(argv[1], TRACE_KERNEL_VERB) == 0)
        exit(kernel_events_serve());
    status = run(argc, argv, &failure);

    if (failure.message[0] != '\0')
        cli_complain(failure.message);
    if (fflush(stdout) != 0 && status == CLI_OK)
        status = CLI_FAILED;
    exit(status);
}
