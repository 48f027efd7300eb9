/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The filters that tools/sandbox_filters.c made of the table of calls (sandbox_table.h) when vkvm was
 * built, and the names of system calls; without libseccomp it is sandbox_none.c.
 */
#ifndef SANDBOX_FILTERS_H
#define SANDBOX_FILTERS_H

#include "vmm/vm/sandbox.h"

#include <linux/filter.h>
#include <stddef.h>

/* Room for the name of a call and its end. */
#define SANDBOX_CALL_NAME 32

/* The longest filter, in instructions. */
#define SANDBOX_FILTER_MAX 512

/* Stands in a filter for the process's id, which is put in its place; no id is that large. */
#define SANDBOX_OWN_PID 0x7fff5049u

struct sandbox_filter {
    const struct sock_filter *code; /* NULL: built without libseccomp */
    unsigned short length;          /* in instructions */
};

extern const struct sandbox_filter sandbox_filters[SANDBOX_KINDS];

/* By number; "" where there is none of that number. */
extern const char sandbox_call_names[][SANDBOX_CALL_NAME];
extern const size_t sandbox_ncalls;

#endif
