/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox: what the threads of a running VM may ask of the kernel.
 *
 * Devices, debugger and images take apart data that others made.  Once all files are open each
 * thread lays a seccomp filter upon itself, by its kind; sandbox_table.c is the list of calls.  One
 * that is not in it ends the process with one line that names the call and the kind, and exit status
 * 125; the terminal is restored.
 *
 * A thread starts with the filter of the one that makes it, so its own kind's calls must be
 * among that one's.  docs/sandbox.md tells what is allowed and what is not kept out.
 *
 * Built without libseccomp there is no sandbox, nor with a sanitizer, whose runtime makes calls of
 * its own: sandbox_prepare and sandbox_enter do nothing then.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "vmm/base/failure.h"

enum sandbox_thread {
    SANDBOX_LOOP,    /* vm_run's own: the event loop, gdb, and what comes after the end */
    SANDBOX_VCPU,    /* the guest's calls and most devices */
    SANDBOX_FAULT,   /* fault threads, and the workers that they make */
    SANDBOX_PAGEOUT, /* the host's; also made before the files are open */
    SANDBOX_DISK,    /* a disk's requests, free page reports; made before the others are confined */
    SANDBOX_TRACE,   /* writes a trace; made before the others are confined */
    SANDBOX_KINDS
};

/* Why this program has no sandbox, in words ("built without libseccomp"); NULL: it has one. */
const char *sandbox_absence(void);

/*
 * Prepare the process: threads made from now on gain no rights, and a refused call is told.
 * Before the first thread is made.
 * Returns 0, or -errno with *failure filled, one line: the kernel has no filters (-ENOSYS).
 */
int sandbox_prepare(struct failure *failure) __attribute__((warn_unused_result));

/*
 * Confine the calling thread, for good.
 * Returns 0; -errno when the kernel refused, and nothing changed (-ENOMEM, -EACCES without
 * sandbox_prepare).
 */
int sandbox_enter(enum sandbox_thread kind) __attribute__((warn_unused_result));

#endif
