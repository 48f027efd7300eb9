/* SPDX-License-Identifier: BSD-2-Clause */
/* What host_failure.c and its mini guest exchange: a list of commands, ended by OP_EXIT. */
#ifndef FAILURE_GUEST_H
#define FAILURE_GUEST_H

#define COMMANDS 0x180000
#define GUEST_TOLD 0x181000
#define GUEST_ANSWER 0x182000

#define OP_EXIT 0
#define OP_STORE 1 /* count pages from address on */
#define OP_LOAD 2
#define OP_CALL \
    3             /* doorbell: number in result, then its result; arguments: address, count, \
                     then what is in wrong, faults and cr2 */
#define OP_TELL 4 /* write count to GUEST_TOLD, wait until GUEST_ANSWER has it */

/* Offsets in struct command. */
#define COMMAND_OP 0
#define COMMAND_ADDRESS 8
#define COMMAND_COUNT 16
#define COMMAND_RESULT 24
#define COMMAND_WRONG 32
#define COMMAND_FAULTS 40
#define COMMAND_CR2 48
#define COMMAND_ERROR 56
#define COMMAND_SIZE 64

#ifndef __ASSEMBLER__
#include <stdint.h>

struct command {
    uint64_t op;
    uint64_t address;
    uint64_t count;
    int64_t result;
    uint64_t wrong;  /* pages with another value */
    uint64_t faults; /* #PF */
    uint64_t cr2;    /* of the last one */
    uint64_t error;
};
_Static_assert(sizeof(struct command) == COMMAND_SIZE, "as host_failure.S reads it");
#endif

#endif
