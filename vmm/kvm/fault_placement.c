/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault_placement.h. */
#include "vmm/kvm/fault_placement.h"

#include "vmm/kvm/fault_reader.h"

#include <sched.h>

/* A fault thread that spins serves this many vCPUs. */
#define VCPUS_PER_THREAD 4u

unsigned
fault_placement_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

bool
fault_placement_spins(const struct fault_service_config *config, unsigned cores, uint64_t look_ns)
{
    return config->placement == FAULT_PLACE_SPIN ||
           (config->placement == FAULT_PLACE_AUTO && cores > config->nvcpus &&
            look_ns <= FAULT_LATE_NS);
}

unsigned
fault_placement_nthreads(const struct fault_service_config *config, bool spin, unsigned cores)
{
    if (config->nthreads != 0)
        return config->nthreads;
    if (spin)
        return (config->nvcpus + VCPUS_PER_THREAD - 1) / VCPUS_PER_THREAD;
    return config->nvcpus < cores ? config->nvcpus : cores;
}
