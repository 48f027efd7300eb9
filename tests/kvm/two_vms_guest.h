/* SPDX-License-Identifier: BSD-2-Clause */
/* What host_two_vms.c and its mini guest exchange: a list of commands. */
#ifndef TWO_VMS_GUEST_H
#define TWO_VMS_GUEST_H

#define COMMANDS 0x180000
#define GUEST_TOLD 0x181000
#define GUEST_ANSWER 0x182000

#define OP_EXIT 0  /* with status seed */
#define OP_STORE 1 /* page i from address on gets seed + i */
#define OP_LOAD 2  /* ... has it, or counts in wrong */
#define OP_TELL 3  /* write seed to GUEST_TOLD, wait until GUEST_ANSWER has it */
#define OP_CRASH 4 /* a triple fault */

/* Offsets in struct command. */
#define COMMAND_OP 0
#define COMMAND_ADDRESS 8
#define COMMAND_COUNT 16
#define COMMAND_SEED 24
#define COMMAND_WRONG 32
#define COMMAND_SIZE 40

#ifndef __ASSEMBLER__
#include <stdint.h>

struct command {
    uint64_t op;
    uint64_t address;
    uint64_t count;
    uint64_t seed;
    uint64_t wrong;
};
_Static_assert(sizeof(struct command) == COMMAND_SIZE, "as host_two_vms.S reads it");
#endif

#endif
