/* SPDX-License-Identifier: BSD-2-Clause */
/* `vkvm test ...` becomes vkvm-test. */
#include "vmm/cli/cmd_test.h"

#include "vmm/cli/beside.h"

static int
run_test(int argc, char **argv)
{
    (void)argc;
    return beside_become("test", argv);
}

/* What the options are is vkvm-test's to say. */
static void
help_test(FILE *to)
{
    char verb[] = "test", option[] = "--help";
    char *argv[] = { verb, option, NULL };

    fflush(to);
    if (to == stdout)
        (void)beside_exec("test", argv);
    fputs("usage: vkvm test [options] [SUITE | DIRECTORY]...\n\n"
          "Run suites of guest tests: see 'vkvm test --help'.\n",
          to);
}

const struct cli_command cmd_test = {
    .name = "test",
    .summary = "run suites of guest tests",
    .run = run_test,
    .help = help_test,
};
