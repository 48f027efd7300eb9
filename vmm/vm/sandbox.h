/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox: what the threads of a running VM may ask of the kernel.
 *
 * Devices, debugger and images take apart data that others made.  Once all files are open each
 * thread lays a seccomp filter upon itself, by its kind: one table in sandbox.c.  A call that is
 * not in it ends the process with one line that names the call and the kind, and exit status 125;
 * the terminal is restored.
 *
 * A thread starts with the filter of the one that makes it, so its own kind's calls must be
 * among that one's.  docs/sandbox.md tells what is allowed and what is not kept out.
 *
 * Built with a sanitizer there is no sandbox: its runtime makes calls of its own.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "vmm/base/failure.h"

#include <stdbool.h>

/* Bits, so that a row of the table may be of several. */
enum sandbox_thread {
    SANDBOX_LOOP = 0x1,   /* vm_run's own: the event loop, gdb, and what comes after the end */
    SANDBOX_VCPU = 0x2,   /* the guest's calls and most devices */
    SANDBOX_FAULT = 0x4,  /* fault threads, and the workers that they make */
    SANDBOX_PAGEOUT = 0x8 /* the host's; also made before the files are open */
};

/*
 * Prepare the process: threads made from now on gain no rights, and a refused call is told.
 * Before the first thread is made.
 * Returns 0, or -errno with *failure filled, one line: there are no filters here (-ENOSYS).
 */
int sandbox_prepare(struct failure *failure) __attribute__((warn_unused_result));

/*
 * Confine the calling thread, for good.
 * Returns 0; -errno when the kernel refused, and nothing changed (-ENOMEM, -EACCES without
 * sandbox_prepare).
 */
int sandbox_enter(enum sandbox_thread kind) __attribute__((warn_unused_result));

#endif
