/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving work to the other vCPUs.  An image that wants it says
 *
 *     void guest_secondary(unsigned cpu) { smp_serve(cpu); }
 *
 * without which they halt at start.
 */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include <stdint.h>

/* A secondary vCPU: run what smp_start hands out, for ever, in ring 0. */
_Noreturn void smp_serve(unsigned cpu);

/*
 * Make secondary vCPU `cpu` (1 .. n-1) run function(argument), in ring 0 (it
 * may ring3_call).  Waits until the vCPU is free, not until it is done.
 */
void smp_start(unsigned cpu, uint64_t (*function)(uint64_t argument), uint64_t argument);

/* Wait until the vCPU is done; returns the function's result. */
uint64_t smp_wait(unsigned cpu);

#endif
