/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A format of `vkvm trace dump`: functions that are given the records one after the other.
 */
#ifndef TRACE_DUMP_H
#define TRACE_DUMP_H

#include "vmm/trace_tool/trace_input.h"

#include <stdio.h>

struct trace_dump {
    FILE *to;                        /* borrowed */
    const struct trace_input *input; /* borrowed */
    void *state;                     /* the format's: from `begin` to `end` */
};

struct trace_dump_format {
    const char *name;
    bool binary;
    /* Each returns 0 or -ENOMEM.  `end` is called also after an error, if `begin` succeeded. */
    int (*begin)(struct trace_dump *dump); /* NULL = nothing */
    int (*event)(struct trace_dump *dump, const struct trace_event *event);
    int (*end)(struct trace_dump *dump); /* NULL = nothing */
};

extern const struct trace_dump_format trace_dump_text;
extern const struct trace_dump_format trace_dump_jsonl;
extern const struct trace_dump_format trace_dump_csv;
extern const struct trace_dump_format trace_dump_folded;
extern const struct trace_dump_format trace_dump_chrome;
extern const struct trace_dump_format trace_dump_perfetto;

/* Who an event is of: "vcpu0", "monitor"; and in which mode it was: "user", "kernel", "unknown". */
const char *trace_event_who(const struct trace_event *event, char text[32]);
const char *trace_event_mode(const struct trace_event *event);

/* How long it took, ns; 0 for what is a moment. */
uint64_t trace_event_duration(const struct trace_event *event);

/* Its name in pictures: a fault's outcome, else its kind. */
const char *trace_event_title(const struct trace_event *event);

/* A bits and M bits that a fault's walk has set, and how often it started over. */
unsigned trace_fault_a_set(const struct trace_fault *fault);
unsigned trace_fault_m_set(const struct trace_fault *fault);
unsigned trace_fault_retries(const struct trace_fault *fault);

#endif
