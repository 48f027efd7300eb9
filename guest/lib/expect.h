/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests expect of single accesses, and of the engine's counters:
 *
 *     struct vkvm_statistics since = counters_now();
 *
 *     expect_load(address, 7);
 *     EXPECT_COUNT(since, walks, == 1);
 */
#ifndef GUEST_EXPECT_H
#define GUEST_EXPECT_H

#include "guest/lib/access.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"

/* An 8-byte load takes no exception and finds `value`. */
static inline void
expect_load(uint64_t address, uint64_t value)
{
    struct access_fault fault;
    uint64_t is = access_load(address, &fault);

    EXPECT(fault.count == 0, "load 0x%lx: vector %u error 0x%lx", address, fault.vector,
           fault.error);
    EXPECT(fault.count != 0 || is == value, "load 0x%lx: 0x%lx, not 0x%lx", address, is, value);
}

/* An 8-byte store takes no exception. */
static inline void
expect_store(uint64_t address, uint64_t value)
{
    struct access_fault fault;

    access_store(address, value, &fault);
    EXPECT(fault.count == 0, "store 0x%lx: vector %u error 0x%lx", address, fault.vector,
           fault.error);
}

/* A load or a store takes one exception, with these error code bits (access_faulted_with). */
static inline void
expect_load_refused(uint64_t address, uint64_t error)
{
    struct access_fault fault;

    (void)access_load(address, &fault);
    EXPECT(access_faulted_with(&fault, error), "load 0x%lx: count %u error 0x%lx", address,
           fault.count, fault.error);
}

static inline void
expect_store_refused(uint64_t address, uint64_t error)
{
    struct access_fault fault;

    access_store(address, 1, &fault);
    EXPECT(access_faulted_with(&fault, error | VKVM_PF_WRITE), "store 0x%lx: count %u error 0x%lx",
           address, fault.count, fault.error);
}

/* A load and a store are refused, each with one exception for want of a page. */
static inline void
expect_refused(uint64_t address)
{
    expect_load_refused(address, 0);
    expect_store_refused(address, 0);
}

/*
 * The engine's counters (docs/guest-abi.md), but for what asking costs: the faults are those of
 * accesses.  A fault counts when it ends, which may be a little after its access went on; that is
 * waited for.  One vCPU at a time; others may go on faulting.
 */
struct vkvm_statistics counters_now(void);

/* EXPECT_COUNT(since, cow, >= 3): so much has a counter grown. */
#define EXPECT_COUNT(since, counter, ...)                              \
    do {                                                               \
        uint64_t grown_by = counters_now().counter - (since).counter;  \
        EXPECT(grown_by __VA_ARGS__, #counter ": %lu more", grown_by); \
    } while (0)

#endif
