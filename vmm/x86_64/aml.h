/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * As much of ACPI's machine language as a DSDT without methods needs.
 *
 * Source: ACPI Specification 6.4, chapter 20 (AML), 6.4 (resource descriptors).
 */
#ifndef AML_H
#define AML_H

#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *bytes; /* borrowed */
    size_t room;
    size_t size; /* bytes written; what does not fit is an error of the caller's */
};

void aml_init(struct aml *aml, uint8_t *bytes, size_t room);

/* Name (\state, Package () {type, type, 0, 0}): a sleep state; `state` has four letters. */
void aml_sleep_state(struct aml *aml, const char *state, uint8_t type);

/*
 * A device in \_SB with that hardware id and number, 0 to 255, with registers in memory below 4 GiB
 * and a level-triggered interrupt.
 */
void aml_memory_device(struct aml *aml, const char *hid, uint8_t number, uint32_t start,
                       uint32_t size, uint32_t line);

#endif
