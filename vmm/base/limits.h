/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host's limits: which of them made a call fail, and how it is raised.  For the line that
 * a person reads; every errno of mmap, ftruncate, memfd_create, open, clone and their like
 * that gets there goes through here.
 *
 * A limit is named if it can have been the cause: one that is set for this process, or one
 * that every process has and that is nearly reached.  The limits are looked at when the
 * error is told, with neither heap nor more than one descriptor.
 */
#ifndef LIMITS_H
#define LIMITS_H

#include <stdbool.h>

struct limits_reason {
    char text[512]; /* no newline; cut where the limits in force are many */
};

/* Where the kernel tells about limits: /proc and /sys/fs/cgroup, but in tests. */
struct limits_source {
    const char *proc;
    const char *cgroup;
};

/*
 * What a failed call means, from its errno, negative or not:
 *     "Cannot allocate memory: RLIMIT_AS is 4G: raise it (ulimit -v)".
 * The errno's own text alone where no limit has to do with it.
 */
struct limits_reason limits_explain(int error);

/* The same of a thread that could not be made: EAGAIN means another limit than elsewhere. */
struct limits_reason limits_explain_thread(int error);

/*
 * What stands behind a fault's cause (vm_fault_info): the errno's own text where the cause has a
 * remedy of its own ("... used up: raise --ram"), else as limits_explain.
 */
struct limits_reason limits_explain_cause(const char *cause, int error);

/* The first two, with another source. */
struct limits_reason limits_explain_from(const struct limits_source *source, int error,
                                         bool for_thread);

#endif
