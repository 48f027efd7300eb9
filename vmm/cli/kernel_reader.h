/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The process that reads the kernel's events for a trace: vkvm-trace, with a socket to it
 * (vmm/trace/trace_kernel.h).
 */
#ifndef KERNEL_READER_H
#define KERNEL_READER_H

#include "vmm/trace/trace_kernel.h"

struct kernel_reader {
    int fd;                          /* owned: the socket; 0 = none */
    char why[TRACE_KERNEL_LINE_MAX]; /* ... and why there is none */
};

/*
 * Start it and wait, some seconds at most, until it says that events are recorded.  It is nobody's
 * child, and ends when the socket is closed.
 * Before the first thread is made.
 */
void kernel_reader_start(struct kernel_reader *reader);

/* May be called without one. */
void kernel_reader_stop(struct kernel_reader *reader);

#endif
