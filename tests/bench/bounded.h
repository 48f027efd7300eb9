/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A measurement in a process of its own that a memory cgroup bounds, and the kernel's own swap.
 */
#ifndef BOUNDED_H
#define BOUNDED_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Run `measure` in a child whose memory, page cache and page tables included, is at most so many
 * bytes, by a cgroup of version 1 or 2 that is gone afterwards.
 * Returns 0 and *figure; -ECHILD: the child ended without one, and said why unless the kernel
 * killed it for its memory; a negative errno of making the cgroup: it cannot be done here.
 */
int bounded_run(uint64_t bytes, double (*measure)(const void *context), const void *context,
                double *figure) __attribute__((warn_unused_result));

/*
 * Let the kernel swap to a new file of so many bytes; nothing else may swap meanwhile.
 * Returns 0; -EBUSY: the host swaps already; -errno of swapon and what it needs.
 */
int bounded_swap_on(const char *path, uint64_t bytes) __attribute__((warn_unused_result));

/* No swapping any more; the file is gone. */
void bounded_swap_off(const char *path);

#endif
