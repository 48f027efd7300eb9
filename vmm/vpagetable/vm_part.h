/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every fault of every thread would write to is there VM_PARTS times, a cache line or more
 * apart: a thread uses its own part, and whoever wants the whole looks at all of them.
 *
 * A thread's part follows from its number, so that threads that are made one after the other have
 * different ones, and one function can take what another one lets go of.  Which one it is decides
 * about speed alone.
 */
#ifndef VM_PART_H
#define VM_PART_H

#include <unistd.h>

#define VM_PARTS 8u

/* Bytes between what belongs to different parts, wherever they begin. */
#define VM_PART_GAP 64u

/* The calling thread's part, below VM_PARTS. */
static inline unsigned
vm_part(void)
{
    static _Thread_local unsigned part = VM_PARTS;

    if (part == VM_PARTS)
        part = (unsigned)gettid() % VM_PARTS;
    return part;
}

#endif
