/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of vkvm-trace's verbs: one table gives parser and help their contents.
 */
#ifndef TOOL_OPTIONS_H
#define TOOL_OPTIONS_H

#include "vmm/cli/cli.h"
#include "vmm/trace/trace_names.h"

/* Which verbs an option belongs to. */
#define TOOL_REPORT 0x01u
#define TOOL_DUMP 0x02u
#define TOOL_HEATMAP 0x04u
#define TOOL_DIFF 0x08u
#define TOOL_WSET 0x10u
#define TOOL_CANON 0x20u
#define TOOL_TOP 0x40u
#define TOOL_CHECK 0x80u
#define TOOL_ALL 0xffu

#define TOOL_MAX_FILES 2

/* Exit status of diff: the traces differ by more than they may. */
#define TOOL_DIFFERENT 1

/* Which records are wanted.  Without one of its options each is. */
struct tool_filter {
    bool has_vcpu, has_gpa, has_access, has_outcome, has_since, has_until;
    unsigned vcpu;
    uint64_t gpa_start, gpa_end; /* [start, end) */
    unsigned access;
    unsigned outcomes[TRACE_OUTCOMES]; /* 1: wanted */
    uint64_t since, until;             /* ns from the recording's begin */
    const char *symbol;                /* NULL = any; a shell pattern */
};

struct tool_options {
    const char *files[TOOL_MAX_FILES]; /* borrowed from argv, as all names here */
    unsigned nfiles;
    struct tool_filter filter;
    const char *format;  /* NULL = the verb's first */
    const char *symbols; /* NULL = what the trace's header names */
    bool has_kaslr;
    uint64_t kaslr;
    const char *output; /* NULL = standard output */
    const char *kind;   /* heatmap: count, latency, outcome */
    unsigned top;       /* rows of a list */
    unsigned width, height;
    uint64_t window;    /* ns; 0 = none */
    unsigned tolerance; /* per cent */
    unsigned rounds;    /* top: pictures; 0 = until it is ended */
    bool sets;          /* canon: without the order */
    bool portable;      /* canon: without what host and compiler decide */
    bool notes;         /* canon: with region and symbol */
    bool json;
    bool help;
};

struct tool_verb;

/*
 * Parse argv[1..argc) of the verb.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int tool_options_parse(const struct tool_verb *verb, int argc, char **argv,
                       struct tool_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

/* Usage and the verb's options with their meanings. */
void tool_options_help(const struct tool_verb *verb, FILE *to);

#endif
