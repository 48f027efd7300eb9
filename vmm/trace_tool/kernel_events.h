/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm-trace kernel-events`: the process that reads the kernel's events for a vkvm that runs
 * (trace_kernel.h says what it is told and what it answers).
 */
#ifndef KERNEL_EVENTS_H
#define KERNEL_EVENTS_H

/*
 * Serve the socket on standard input until vkvm ends it, or is gone.  What was made in tracefs is
 * removed again.
 * Returns the exit status.
 */
int kernel_events_serve(void);

#endif
