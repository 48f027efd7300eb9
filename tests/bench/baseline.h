/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The yardsticks of the benchmark: a monitor of the plainest kind, without vkvm.
 */
#ifndef BASELINE_H
#define BASELINE_H

#include "tests/bench/touch.h"

enum baseline_kind {
    BASELINE_KERNEL,    /* guest memory is a memfd mapping: the kernel pages on demand */
    BASELINE_TEXTBOOK,  /* userfaultfd, one thread on another core: read, copy one page, again */
    BASELINE_POPULATED, /* every page is there and writable: only KVM has work left */
    BASELINE_PROTECTED, /* the same, write-protected by userfaultfd: for reads */
    BASELINE_SWAPPED,   /* anonymous memory that was written to: the kernel swaps it */
    BASELINE_ZEROPAGE,  /* as TEXTBOOK, but runs of pages of zeros, as long as vkvm's */
    BASELINE_HUGE       /* as KERNEL, but anonymous memory of transparent huge pages */
};

/*
 * Run touch.S once in a fresh VM with `memory` bytes at GPA 0; addresses in *params
 * are guest-physical.  Fills params->begin and end.  Returns 0 or -errno.
 */
int baseline_run(enum baseline_kind kind, uint64_t memory, struct touch_params *params)
    __attribute__((warn_unused_result));

#endif
