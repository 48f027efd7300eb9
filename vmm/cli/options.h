/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of `vkvm run`: one table gives parser and help their contents.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "vmm/boot/description.h"
#include "vmm/cli/boot_options.h"
#include "vmm/cli/cli.h"
#include "vmm/trace/trace_writer.h"
#include "vmm/vm/vm.h"
#include "vmm/vm/vm_host.h"

#define OPTIONS_MEMORY_MIN MACHINE_MEMORY_MIN
#define OPTIONS_MEMORY_MAX MACHINE_MEMORY_MAX
#define OPTIONS_IMAGE_MAX ((uint64_t)64 << 30) /* images lie below the windows */
#define OPTIONS_MEMORY_DEFAULT ((uint64_t)64 << 20)
#define OPTIONS_RAM_MIN DESCRIPTION_BUDGET_MIN
#define OPTIONS_RAM_MAX DESCRIPTION_BUDGET_MAX
#define OPTIONS_TRACE_LIMIT_MAX ((uint64_t)1 << 40)
#define OPTIONS_ESCAPE_DEFAULT 0x01 /* Ctrl-a */
#define OPTIONS_FAULT_THREADS_MAX 64

/* Whether a PC's guest can report free pages. */
enum free_page_reporting {
    REPORTING_AUTO, /* when memory has a budget, or the device tree says so */
    REPORTING_ON,
    REPORTING_OFF
};

struct run_options {
    struct vm_host_config host;
    struct vm_config config;
    struct boot_options boot;
    const char *image;      /* borrowed from argv, as all names here */
    char *const *arguments; /* what follows `--` */
    size_t narguments;
    const char *dtb;      /* describes the machine; NULL = the options do alone */
    const char *dump_dtb; /* where the description goes, instead of a run; "-" = standard output */
    bool has_memory;      /* --memory was given */
    bool has_cpus;        /* --cpus was given */
    enum free_page_reporting reporting;
    const char *fdt;         /* the guest's; NULL = built */
    const char *fdt_overlay; /* NULL = none */
    const char *gdb;         /* where a debugger can attach; NULL = nowhere */
    bool gdb_wait;
    bool stats;
    bool trace_kernel; /* record the kernel's events too */
    bool json;
    const char *json_file; /* NULL = standard error */
    bool help;             /* only help is wanted: image may be NULL */
};

/*
 * Parse argv[1..argc) of `vkvm run`; argv[0] is the verb.  Permutes nothing, opens nothing.
 * Returns 0; CLI_USAGE with *failure filled, *options is then undefined.
 */
int options_parse_run(int argc, char **argv, struct run_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

/* Usage and every option with its meaning. */
void options_help_run(FILE *to);

#endif
