/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few x86 instructions C has no words for.  Ring 0 unless said.
 */
#ifndef GUEST_X86_H
#define GUEST_X86_H

#include <stdint.h>

#define RFLAGS_ONE 0x2u /* always set */
#define RFLAGS_IOPL3 0x3000u
#define RFLAGS_AC 0x40000u
#define RFLAGS_ARITHMETIC 0xcd5u /* CF PF AF ZF SF DF OF */

static inline uint64_t
x86_read_cr3(void)
{
    uint64_t value;

    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

/* Any ring: the current privilege level, 0 or 3. */
static inline unsigned
x86_cpl(void)
{
    uint16_t cs;

    __asm__ volatile("mov %%cs, %0" : "=r"(cs));
    return cs & 3;
}

/* Any ring: cycles of the time-stamp counter. */
static inline uint64_t
x86_read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

/* Any ring: inside a spin loop. */
static inline void
x86_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

/* Stop this vCPU for good: no interrupt exists that could wake it. */
static inline _Noreturn void
x86_halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

#endif
