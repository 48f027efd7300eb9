/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What vkernel and its processes agree on: the address space of a process and the
 * system calls.
 *
 *     USER_BASE                text and data of the programs (guest.ld: .user_*)
 *     USER_HEAP                grows upwards by grow()
 *     USER_MAPPINGS            map_shared(), map_private(), one behind the other
 *     USER_END - USER_STACK    stack
 *
 * A system call: `int $4` with the number in RAX and arguments in RDI, RSI, RDX; the result
 * comes in RAX, negative on failure.  All other registers are kept.
 */
#ifndef VKERNEL_ABI_H
#define VKERNEL_ABI_H

#include <stdint.h>

#define USER_BASE 0x40000000u /* guest.ld */
#define USER_SIZE 0x4000000u  /* 64 MiB: one window */
#define USER_END (USER_BASE + USER_SIZE)
#define USER_HEAP (USER_BASE + 0x400000u)
#define USER_MAPPINGS (USER_BASE + 0x2800000u)
#define USER_MAPPINGS_END (USER_END - 0x200000u) /* a large page of x86 has one or the other */
#define USER_STACK 0x10000u

enum vkernel_call {
    CALL_EXIT,        /* (status): no return */
    CALL_FORK,        /* -> 0 in the child, its pid in the parent */
    CALL_WAIT,        /* -> pid << 32 | status of a child that ended; waits for one */
    CALL_WRITE,       /* (text, size): to the console -> size */
    CALL_YIELD,       /* let others run */
    CALL_GETPID,      /* -> pid */
    CALL_GROW,        /* (npages): more zeroed heap -> its address */
    CALL_MAP_SHARED,  /* (key, npages): memory all mappings of `key` share -> address */
    CALL_MAP_PRIVATE, /* (key, npages): the same, but own writes are private -> address */
    CALL_SCAN,        /* (address, npages, struct scan_result *): look at A and M, clear them;
                         only mappings have any in a process forked by COPY (space.h) */
    CALL_TIMED        /* (cycles, npages, cycles): so long a fork took, and writing to the pages */
};

#define STATUS_KILLED 137 /* of a process the kernel ended */
#define BAD_DEEDS 9       /* processes that PROGRAM_BAD gets killed */

/* What the scanner found in a range. */
struct scan_result {
    uint64_t present; /* pages with a valid vpte */
    uint64_t hot;     /* of these: A was set since the last scan */
    uint64_t dirty;   /* of these: M was set since the last scan */
    uint64_t swapped; /* pages in the swap area */
};

enum vkernel_program {
    PROGRAM_SIEVE,
    PROGRAM_SORT,
    PROGRAM_FORK,
    PROGRAM_MAPPINGS,
    PROGRAM_SCAN,
    PROGRAM_STRESS,
    PROGRAM_BAD,
    PROGRAM_TIMES,
    PROGRAM_COUNT
};

#endif
