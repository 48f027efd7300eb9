/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many fault threads there are, and whether they spin.  Internal to fault_service.c.
 */
#ifndef FAULT_PLACEMENT_H
#define FAULT_PLACEMENT_H

#include "vmm/kvm/fault_service.h"

/* Cores that this process may use. */
unsigned fault_placement_cores(void);

/*
 * Spinning takes a core that no vCPU needs, and looks that are quick (fault_reader_look_ns): a thread
 * whose looks take longer than the delay line is late for every message, and holds up who sends it.
 */
bool fault_placement_spins(const struct fault_service_config *config, unsigned cores,
                           uint64_t look_ns);

/*
 * Threads that block cost nothing while they do, and with one for each vCPU a fault is
 * served on the core that the vCPU has just left.
 */
unsigned fault_placement_nthreads(const struct fault_service_config *config, bool spin,
                                  unsigned cores);

#endif
