/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single loads and stores whose faults are caught, for tests: what did this access do?
 *
 * The boot argument "ring=0" makes the accesses from ring 0, anything else from ring 3;
 * "deliver=ve" asks for #VE instead of #PF.  One vCPU at a time.
 */
#ifndef GUEST_ACCESS_H
#define GUEST_ACCESS_H

#include "guest/include/vkvm_abi.h"

#include <stdbool.h>
#include <stdint.h>

struct access_fault {
    unsigned count;  /* faults this access took; 0: none, the rest is meaningless */
    unsigned vector; /* of the last fault: TRAP_PF or TRAP_VE */
    uint64_t error;  /* #PF error code */
    uint64_t cr2;
    struct vkvm_ve_area ve; /* a copy */
};

/*
 * May repair the cause of a fault: true = try the access again, false = give it up.
 * Runs in ring 0.
 */
typedef bool access_repair_fn(void *context, const struct access_fault *fault);

/* Install the handlers and the delivery the boot arguments ask for.  Call first, on vCPU 0. */
void access_init(void);

/* Faults of later accesses are offered to repair(context); NULL: given up at once. */
void access_set_repair(access_repair_fn *repair, void *context);

/* Load and store 8 bytes.  A load that was given up returns 0. */
uint64_t access_load(uint64_t address, struct access_fault *fault);
void access_store(uint64_t address, uint64_t value, struct access_fault *fault);

/*
 * Did exactly one fault come with these error code bits (VKVM_PF_PRESENT, _WRITE, _RESERVED;
 * _USER is added by the ring)?  For #VE the qualification is checked for the access kind and the
 * result code for what the bits say.
 */
bool access_faulted_with(const struct access_fault *fault, uint64_t error);

#endif
