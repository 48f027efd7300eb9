/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command verbs share: exit statuses, how errors are printed, the verb table's type.
 */
#ifndef CLI_H
#define CLI_H

#include "vmm/base/failure.h"
#include "vmm/base/size_text.h"

#include <stdio.h>

#define VKVM_VERSION "0.1.0"

/* Exit statuses other than a guest's own; documented in docs/vkvm.1. */
enum cli_status {
    CLI_OK = 0,
    CLI_USAGE = 2,
    CLI_CRASHED = 70, /* the guest did something that ends only itself */
    CLI_RESET = 75,   /* the guest wants to be started again */
    CLI_TIMEOUT = 124,
    CLI_FAILED = 125,       /* vkvm or the host */
    CLI_NOT_LOADABLE = 126, /* image or device tree */
    CLI_NOT_FOUND = 127,    /* image */
    CLI_SIGNAL_BASE = 128   /* plus the signal's number */
};

/*
 * Print "vkvm: MESSAGE" as exactly one line on standard error: control
 * characters, which names from the outside may hold, come out as \xNN.
 */
void cli_complain(const char *message);

/*
 * What is wrong with `word`, which getopt_long answered with c, ':' or '?', and optopt.
 * `option` is the long option that optopt stands for, or NULL.  Returns CLI_USAGE with *failure filled.
 */
int cli_bad_option(const char *verb, int c, const char *word, const char *option,
                   struct failure *failure);

/* A verb of the command line. */
struct cli_command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
    void (*help)(FILE *to);
};

/* The exit status for what image_open, image_load and the device tree's functions return. */
int cli_load_status(int error);

#endif
