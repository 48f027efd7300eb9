/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands: a table.
 */
#include "vmm/cli/monitor.h"

#include "vmm/cli/report.h"
#include "vmm/vm/vm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static bool
do_pause(struct vm *vm, FILE *to)
{
    if (vm_pause_start(vm, VCPU_PAUSE_MONITOR) == -EALREADY)
        fputs("paused already: `cont` goes on\n", to);
    else
        fputs("paused: `cont` goes on\n", to);
    return true;
}

static bool
do_cont(struct vm *vm, FILE *to)
{
    (void)to;
    vm_resume(vm, VCPU_PAUSE_MONITOR);
    return false;
}

static bool
do_stats(struct vm *vm, FILE *to)
{
    struct vm_report report;

    vm_report_get(vm, &report);
    report_text(to, NULL, 0, &report);
    return true;
}

static bool
do_trace(struct vm *vm, FILE *to)
{
    bool on = vm_trace_switch(vm, true) == 0;

    if (on)
        fputs("tracing: `trace` again switches it off\n", to);
    else if (vm_trace_switch(vm, false) == 0)
        fputs("not tracing: `trace` again switches it on\n", to);
    else
        fputs("no file to trace to: run with --trace FILE, and --trace-off to begin later\n", to);
    return true;
}

static bool
do_quit(struct vm *vm, FILE *to)
{
    (void)to;
    vm_end(vm, VM_END_INTERRUPTED, SIGINT, "ended from the monitor");
    return false;
}

static bool do_help(struct vm *vm, FILE *to);

static const struct {
    const char *name;
    bool (*run)(struct vm *vm, FILE *to);
    const char *help;
} commands[] = {
    { "pause", do_pause, "no virtual CPU executes anything; devices and gdb are still served" },
    { "cont", do_cont, "go on, and give the keyboard back to the guest" },
    { "stats", do_stats, "what --stats prints, up to now" },
    { "trace", do_trace, "switch the recording of faults on or off (--trace)" },
    { "help", do_help, "this list" },
    { "quit", do_quit, "end the VM" },
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static bool
do_help(struct vm *vm, FILE *to)
{
    (void)vm;
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(to, "%-7s %s\n", commands[i].name, commands[i].help);
    return true;
}

bool
monitor_line(void *context, struct vm *vm, const char *line, FILE *to)
{
    size_t length;

    (void)context;
    line += strspn(line, " ");
    length = strcspn(line, " ");
    if (line[length + strspn(line + length, " ")] != '\0') {
        fputs("one word is enough: `help` lists them\n", to);
        return true;
    }
    if (length == 0)
        return true;
    for (size_t i = 0; i < NCOMMANDS; i++) {
        if (strlen(commands[i].name) == length && memcmp(commands[i].name, line, length) == 0)
            return commands[i].run(vm, to);
    }
    fprintf(to, "unknown command %.*s: `help` lists them\n", (int)length, line);
    return true;
}
