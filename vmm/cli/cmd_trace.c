/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace ...` becomes vkvm-trace, which is found from where this program is: beside it in a
 * build, in ../libexec/vkvm when installed.
 */
#include "vmm/cli/cmd_trace.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static const char *const places[] = { "/" CMD_TRACE_PROGRAM,
                                      "/../libexec/vkvm/" CMD_TRACE_PROGRAM };

/* Does not return if it could run the program.  Returns an errno. */
static int
run_beside(const char *place, char *const *argv)
{
    char path[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
    char *slash;

    if (length < 0)
        return errno;
    path[length] = '\0';
    slash = strrchr(path, '/');
    if (slash == NULL)
        return ENOENT;
    strcpy(slash, place);
    execv(path, argv);
    return errno;
}

int
cmd_trace_exec(char *const *argv)
{
    int error = ENOENT;

    for (size_t i = 0; error == ENOENT && i < sizeof(places) / sizeof(places[0]); i++)
        error = run_beside(places[i], argv);
    return error;
}

static int
run_trace(int argc, char **argv)
{
    struct failure failure = { .message = "" };
    int error;

    (void)argc;
    fflush(stdout);
    error = cmd_trace_exec(argv);
    failure_set(&failure, CLI_FAILED, "cannot run " CMD_TRACE_PROGRAM ": %s",
                error == ENOENT ? "it is neither beside vkvm nor in ../libexec/vkvm: install it"
                                : strerror(error));
    cli_complain(failure.message);
    return CLI_FAILED;
}

/* What the verbs are is vkvm-trace's to say. */
static void
help_trace(FILE *to)
{
    fputs("usage: vkvm trace VERB [options] FILE\n\n"
          "Read what `vkvm run --trace FILE` has recorded: see 'vkvm trace --help'.\n",
          to);
}

const struct cli_command cmd_trace = {
    .name = "trace",
    .summary = "read what a run has recorded",
    .run = run_trace,
    .help = help_trace,
};
