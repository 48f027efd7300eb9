/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command verbs share: exit statuses, one-line errors, the verb table's
 * type, and how input files are opened and guest memory is written.
 */
#ifndef CLI_H
#define CLI_H

#include "vmm/vpagetable/vm_fault.h"

#include <stdio.h>

#define VKVM_VERSION "0.1.0"

/* Start-up page tables map guest-physical memory below this: see vkvm_abi.h. */
#define CLI_BOOT_MAP_END ((uint64_t)4 << 30)

/* Exit statuses other than a guest's own; documented in docs/vkvm.1. */
enum cli_status {
    CLI_OK = 0,
    CLI_USAGE = 2,
    CLI_CRASHED = 70, /* the guest did something that ends only itself */
    CLI_TIMEOUT = 124,
    CLI_FAILED = 125,       /* vkvm or the host */
    CLI_NOT_LOADABLE = 126, /* image or device tree */
    CLI_NOT_FOUND = 127,    /* image */
    CLI_SIGNAL_BASE = 128   /* plus the signal's number */
};

/* How file names are printed, cut so that the remedy behind them still fits. */
#define CLI_NAME "'%.512s'"

struct cli_error {
    char message[1024]; /* "cause: remedy" */
};

/* Fill *error.  Returns status, so that a caller can return the call. */
int cli_fail(struct cli_error *error, enum cli_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Print "vkvm: MESSAGE" as exactly one line on standard error: control
 * characters, which names from the outside may hold, come out as \xNN.
 */
void cli_complain(const char *message);

/* A size as options take it: with the largest of K M G T that leaves no remainder. */
#define CLI_SIZE_TEXT 24
const char *cli_size_text(uint64_t size, char text[CLI_SIZE_TEXT]);

/*
 * What is wrong with `word`, which getopt_long answered with c, ':' or '?', and optopt.
 * `option` is the long option that optopt stands for, or NULL.  Returns CLI_USAGE with *error filled.
 */
int cli_bad_option(const char *verb, int c, const char *word, const char *option,
                   struct cli_error *error);

/* A verb of the command line. */
struct cli_command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
    void (*help)(FILE *to);
};

/*
 * Open a regular file with open's flags O_RDONLY or O_RDWR.
 * Returns 0 with *fdp and *size; CLI_NOT_FOUND when there is none, else
 * CLI_NOT_LOADABLE (a directory, a device, forbidden), with *error filled.
 */
int cli_open_file(const char *path, int flags, int *fdp, uint64_t *size, struct cli_error *error)
    __attribute__((warn_unused_result));

/* cli_open_file for reading. */
int cli_open_input(const char *path, int *fdp, uint64_t *size, struct cli_error *error)
    __attribute__((warn_unused_result));

/* Read exactly size bytes at offset.  Returns 0 or -errno; -ENODATA when the file ends before. */
int cli_read_at(int fd, void *to, size_t size, uint64_t offset) __attribute__((warn_unused_result));

/* Where loaders put bytes: vm_map_write in a VM, an array in the unit tests. */
struct cli_memory {
    enum vm_result (*write)(void *context, gpa_t gpa, const void *from, size_t size,
                            struct vm_fault_info *info);
    void *context; /* borrowed */
};

/* Write to guest memory; `what` names the bytes.  Returns 0 or CLI_FAILED with *error filled. */
int cli_memory_write(const struct cli_memory *memory, gpa_t gpa, const void *from, size_t size,
                     const char *what, struct cli_error *error) __attribute__((warn_unused_result));

#endif
