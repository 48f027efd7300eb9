/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests of addresses without memory expect.
 */
#ifndef GUEST_REFUSED_H
#define GUEST_REFUSED_H

#include "guest/lib/access.h"
#include "guest/lib/test.h"

/* A load and a store are refused, each with one fault for want of a page. */
static inline void
expect_refused(uint64_t address)
{
    struct access_fault fault;

    (void)access_load(address, &fault);
    EXPECT(access_faulted_with(&fault, 0), "load 0x%lx: count %u error 0x%lx", address, fault.count,
           fault.error);
    access_store(address, 1, &fault);
    EXPECT(access_faulted_with(&fault, VKVM_PF_WRITE), "store 0x%lx: count %u error 0x%lx", address,
           fault.count, fault.error);
}

#endif
