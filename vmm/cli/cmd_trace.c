/* SPDX-License-Identifier: BSD-2-Clause */
/* `vkvm trace ...` becomes vkvm-trace. */
#include "vmm/cli/cmd_trace.h"

#include "vmm/cli/beside.h"

static int
run_trace(int argc, char **argv)
{
    (void)argc;
    return beside_become("trace", argv);
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
