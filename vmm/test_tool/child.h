/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process that a test is run by.
 *
 * It has a process group of its own, so that a key on the terminal reaches the runner alone and nothing
 * of a test is left behind, and it dies with the runner's thread.  What it prints, on both streams, comes
 * through one pipe; its standard input is empty.
 */
#ifndef CHILD_H
#define CHILD_H

#include "vmm/base/failure.h"

#include <sys/types.h>

struct child {
    pid_t pid;  /* 0 = none */
    int pidfd;  /* owned: can be read when it ended */
    int output; /* owned: the pipe, which a read does not wait for; -1 = closed */
};

struct child_request {
    char *const *argv;     /* argv[0] is a path */
    const char *directory; /* where it runs; NULL = here */
    const char *setup; /* a command of the shell's, before it; NULL = none.  Fails: status 125 */
};

/*
 * Start it.  Returns 0; with *failure filled -errno: it cannot be started.
 */
int child_start(struct child *child, const struct child_request *request, struct failure *failure)
    __attribute__((warn_unused_result));

/* Send a signal to all of its group. */
void child_signal(const struct child *child, int signal);

/*
 * It ended, as pidfd says: end what is left of its group, and take its status.
 * Returns what an exit status of a shell's would be: its own, or 128 + the signal.
 */
int child_reap(struct child *child);

/* Close the pipe. */
void child_close(struct child *child);

#endif
