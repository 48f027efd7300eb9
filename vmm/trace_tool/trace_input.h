/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace as the verbs read it: the records that are wanted, in order, each with what is known
 * besides: the region of its address, the registers of its fault, the symbol there.
 */
#ifndef TRACE_INPUT_H
#define TRACE_INPUT_H

#include "vmm/trace/trace_reader.h"
#include "vmm/trace_tool/tool_options.h"
#include "vmm/trace_tool/trace_kernel_events.h"
#include "vmm/trace_tool/trace_symbols.h"

#define TRACE_REGION_NAME 32

struct trace_region {
    uint64_t start, end; /* [start, end) */
    char name[TRACE_REGION_NAME];
};

struct trace_input {
    struct trace_reader *reader; /* owned */
    struct tool_filter filter;
    struct trace_region *regions; /* owned: by address */
    size_t nregions;
    struct trace_registers *registers; /* owned: by fault */
    size_t nregisters;
    struct trace_kernel_events kernel;
    struct trace_symbols *symbols; /* owned; NULL = none */
    uint64_t lstar;                /* as a record has it; 0 = none does */
    uint64_t started;              /* what times are counted from */
    const char *path;              /* borrowed */
    /* Progress, for a terminal. */
    uint64_t done, all;
    uint64_t told; /* when it was last told */
};

struct trace_event {
    struct trace_record record;
    uint64_t time; /* ns since the recording's begin */
    size_t region; /* its number; nregions and above: trace_input_region */
    const struct trace_registers *registers; /* NULL = unknown */
    const struct trace_registers *kernel;    /* a vCPU's fault: the kernel's event of it, or NULL */
    const char *symbol;                      /* NULL = unknown */
    uint64_t symbol_start;                   /* its address, where the guest has it */
};

/*
 * Open options->files[index] and read what belongs together.
 * Returns CLI_OK; CLI_FAILED, CLI_NOT_LOADABLE or CLI_NOT_FOUND with *failure filled.
 */
int trace_input_open(struct trace_input *input, const struct tool_options *options, unsigned index,
                     struct failure *failure) __attribute__((warn_unused_result));

/*
 * The file is being written: what has come since, and only what was written in the last `newest` ns of
 * it.
 * Returns 0; -ESTALE, -ENOMEM, -EIO as trace_reader_refresh: close it.
 */
int trace_input_refresh(struct trace_input *input, const struct tool_options *options,
                        uint64_t newest) __attribute__((warn_unused_result));

void trace_input_close(struct trace_input *input);

/* The next record that is wanted.  Returns 1 with *event; 0 at the end; -ENOMEM. */
int trace_input_next(struct trace_input *input, struct trace_event *event)
    __attribute__((warn_unused_result));

/* Are only some records wanted? */
bool trace_input_filtered(const struct trace_input *input);

/* The region's name; beyond those of the header "other", or "window" for one that the guest made. */
const char *trace_input_region(const struct trace_input *input, size_t region);

/* The number of the region that has the address. */
size_t trace_input_region_at(const struct trace_input *input, uint64_t gpa);

/* Does the trace have registers, its own or the kernel's? */
bool trace_input_has_registers(const struct trace_input *input);

/* Does the event have an address, and which. */
bool trace_event_gpa(const struct trace_event *event, uint64_t *gpa);

/*
 * What became of reading, once all is read.
 * Returns CLI_OK; CLI_NOT_LOADABLE with *failure filled: a part could not be read, and how much.
 */
int trace_input_verdict(const struct trace_input *input, int error, struct failure *failure);

/* "all of N records" or "N of M records: why". */
void trace_input_scope(const struct trace_input *input, char *text, size_t size);

#endif
