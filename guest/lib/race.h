/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs at once.  An image that wants it serves smp.h on the others.
 */
#ifndef GUEST_RACE_H
#define GUEST_RACE_H

#include "guest/lib/smp.h"

#include <stdint.h>

/*
 * Run function(number of the vCPU) on every vCPU, in ring 3, beginning at the same time; returns the
 * sum of the results.  On vCPU 0, in ring 0.
 */
uint64_t race(uint64_t (*function)(uint64_t cpu));

#endif
