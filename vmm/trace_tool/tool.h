/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkvm-trace: what the verbs that read a trace share.
 */
#ifndef TOOL_H
#define TOOL_H

#include "vmm/trace_tool/tool_options.h"

#include <stdio.h>

/* A verb: its result goes to `to`.  Returns the exit status, with *failure filled if it is not 0,
 * or 1 without for trace_diff. */
struct tool_verb {
    const char *name;
    const char *summary;
    const char *words; /* what it takes besides options, for its help */
    unsigned bit;      /* TOOL_*: in the options' table */
    unsigned nfiles;
    bool binary; /* it may write what is no text: not to a terminal */
    int (*run)(const struct tool_options *options, FILE *to, struct failure *failure);
};

extern const struct tool_verb trace_report_verb;
extern const struct tool_verb trace_dump_verb;
extern const struct tool_verb trace_heatmap_verb;
extern const struct tool_verb trace_diff_verb;
extern const struct tool_verb trace_wset_verb;
extern const struct tool_verb trace_canon_verb;
extern const struct tool_verb trace_top_verb;
extern const struct tool_verb trace_check_verb;

#endif
