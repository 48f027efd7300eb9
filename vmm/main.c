/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkvm: `vkvm VERB ...`.  The verbs are rows of a table; each lives in its own
 * file under vmm/cli.
 */
#include "guest/include/vkvm_abi.h"
#include "vmm/cli/cli.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/cli/cmd_test.h"
#include "vmm/cli/cmd_trace.h"
#include "vmm/cli/cmd_walk.h"
#include "vmm/vm/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &cmd_run,
    &cmd_test,
    &cmd_trace,
    &cmd_walk,
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct cli_command *
find_command(const char *name)
{
    for (size_t i = 0; i < NCOMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static void
print_usage(FILE *to)
{
    fputs("usage: vkvm VERB [options] ...\n"
          "       vkvm help VERB\n"
          "       vkvm --version\n\nverbs:\n",
          to);
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(to, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
}

static int
usage_error(const char *what, const char *word)
{
    struct failure failure = { .message = "" };
    int status =
        failure_set(&failure, CLI_USAGE, "%s " FAILURE_NAME ": see 'vkvm --help'", what, word);

    cli_complain(failure.message);
    return status;
}

static int
run_help(int argc, char **argv)
{
    const struct cli_command *command;

    if (argc < 2) {
        print_usage(stdout);
        return CLI_OK;
    }
    if (argc > 2)
        return usage_error("unexpected", argv[2]);
    command = find_command(argv[1]);
    if (command == NULL)
        return usage_error("unknown verb", argv[1]);
    command->help(stdout);
    return CLI_OK;
}

static int
run_version(int argc, char **argv)
{
    if (argc > 1)
        return usage_error("unexpected", argv[1]);
    printf("vkvm %s, guest ABI %d\n", VKVM_VERSION, VKVM_ABI_VERSION);
    if (sandbox_absence() != NULL)
        printf("no sandbox: %s\n", sandbox_absence());
    return CLI_OK;
}

static int
dispatch(int argc, char **argv)
{
    const struct cli_command *command;
    const char *word = argc > 1 ? argv[1] : NULL;

    if (word == NULL) {
        cli_complain("no verb given: see 'vkvm --help'");
        return CLI_USAGE;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return run_help(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0)
        return run_version(argc - 1, argv + 1);
    command = find_command(word);
    if (command == NULL)
        return usage_error(word[0] == '-' ? "unknown option" : "unknown verb", word);
    return command->run(argc - 1, argv + 1);
}

/*
 * A standard stream that is closed must not become some other file that is opened, which would
 * then get what is printed.  What stands in its place fails as the closed one would.
 */
static void
keep_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_PATH | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int
main(int argc, char **argv)
{
    int status;

    keep_streams();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    status = dispatch(argc, argv);

    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_complain("cannot write to standard output: is the disk full?");
        if (status == CLI_OK)
            status = CLI_FAILED;
    }
    exit(status);
}
