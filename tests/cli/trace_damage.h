/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Damaged traces, another one for each seed: made by chance, by accident or with intent.
 *
 *   seed % 5   0  records that are whole, with values that no VM has
 *              1  records whose bytes were changed, and the checksum made to fit
 *              2  segments' headers so
 *              3  the texts so
 *              4  bits and stretches anywhere, and cuts, with checksums that do not fit
 */
#ifndef TRACE_DAMAGE_H
#define TRACE_DAMAGE_H

#include "tests/unit/trace_rig.h"

/* Fill the rig with the trace of that seed. */
void trace_damage_fill(struct trace_rig *rig, unsigned seed);

#endif
