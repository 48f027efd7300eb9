/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of `vkvm run`.
 *
 * Each option is a row of run_table: name, placeholder, setter, help.  getopt_long
 * gets its own table from it, with the row's number as the value, so that an
 * option cannot be parsed without being documented.
 */
#include "vmm/cli/options.h"

#include "vmm/cli/disk_options.h"
#include "vmm/cli/inject_options.h"
#include "vmm/cli/map_options.h"
#include "vmm/cli/value.h"
#include "vmm/device/escape.h"
#include "vmm/gdb/gdb_listen.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* getopt_long's value for row i of the table: clear of characters and of its own 1, ':' and '?'. */
#define ROW_BASE 0x100

static int
set_window(struct run_options *options, const char *value, struct failure *failure)
{
    return map_options_window(&options->config, value, failure);
}

static int
set_map(struct run_options *options, const char *value, struct failure *failure)
{
    return map_options_file(&options->config, value, failure);
}

static int
set_inject(struct run_options *options, const char *value, struct failure *failure)
{
    return inject_options_add(&options->config.inject, value, failure);
}

static int
set_memory(struct run_options *options, const char *value, struct failure *failure)
{
    uint64_t size;
    int status =
        value_pages("--memory", value, OPTIONS_MEMORY_MIN, OPTIONS_MEMORY_MAX, &size, failure);

    if (status == CLI_OK)
        machine_set_memory(&options->config.machine, size);
    options->has_memory = true;
    return status;
}

static int
set_cpus(struct run_options *options, const char *value, struct failure *failure)
{
    options->has_cpus = true;
    return value_count("--cpus", value, 1, MACHINE_MAX_VCPUS, &options->config.machine.nvcpus,
                       failure);
}

static int
set_cpu(struct run_options *options, const char *value, struct failure *failure)
{
    switch (cpu_features_add(&options->config.features, value)) {
    case 0:
        return CLI_OK;
    case -EINVAL:
        return failure_set(failure, CLI_USAGE,
                           "--cpu=" FAILURE_NAME " says neither on nor off: give FEATURE=on or "
                           "FEATURE=off",
                           value);
    case -ENOENT:
        return failure_set(failure, CLI_USAGE,
                           "--cpu=" FAILURE_NAME " is unknown: give a name as /proc/cpuinfo has it",
                           value);
    default:
        return failure_set(failure, CLI_USAGE, "--cpu is given more than %u times",
                           CPU_FEATURE_CHOICES);
    }
}

static int
set_exact_faults(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->config.exact_faults = true;
    return CLI_OK;
}

static int
set_ram(struct run_options *options, const char *value, struct failure *failure)
{
    return value_pages("--ram", value, OPTIONS_RAM_MIN, OPTIONS_RAM_MAX, &options->host.ram_budget,
                       failure);
}

static int
set_swap(struct run_options *options, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "--swap= has no name: give a file or block device");
    options->host.swap = value;
    return CLI_OK;
}

static int
set_disk(struct run_options *options, const char *value, struct failure *failure)
{
    return disk_options_add(&options->config.machine, value, failure);
}

static int
set_reporting(struct run_options *options, const char *value, struct failure *failure)
{
    static const char *const names[] = {
        [REPORTING_AUTO] = "auto",
        [REPORTING_ON] = "on",
        [REPORTING_OFF] = "off",
    };

    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            options->reporting = (enum free_page_reporting)i;
            return CLI_OK;
        }
    }
    return failure_set(failure, CLI_USAGE,
                       "--free-page-reporting=" FAILURE_NAME " is unknown: give auto, on or off",
                       value);
}

static int
set_dtb(struct run_options *options, const char *value, struct failure *failure)
{
    (void)failure;
    options->dtb = value;
    return CLI_OK;
}

static int
set_dump_dtb(struct run_options *options, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE,
                           "--dump-dtb= has no name: give a file, or - for standard output");
    options->dump_dtb = value;
    return CLI_OK;
}

static int
set_fdt(struct run_options *options, const char *value, struct failure *failure)
{
    (void)failure;
    options->fdt = value;
    return CLI_OK;
}

static int
set_fdt_overlay(struct run_options *options, const char *value, struct failure *failure)
{
    (void)failure;
    options->fdt_overlay = value;
    return CLI_OK;
}

static int
set_append(struct run_options *options, const char *value, struct failure *failure)
{
    return boot_options_append(&options->boot, value, failure);
}

static int
set_initrd(struct run_options *options, const char *value, struct failure *failure)
{
    return boot_options_initrd(&options->boot, value, failure);
}

static int
set_module(struct run_options *options, const char *value, struct failure *failure)
{
    return boot_options_module(&options->boot, value, failure);
}

static int
set_load(struct run_options *options, const char *value, struct failure *failure)
{
    return boot_options_load(&options->boot, value, failure);
}

static int
set_entry(struct run_options *options, const char *value, struct failure *failure)
{
    return boot_options_entry(&options->boot, value, failure);
}

static int
set_no_unpack(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->boot.no_unpack = true;
    return CLI_OK;
}

static int
set_timeout(struct run_options *options, const char *value, struct failure *failure)
{
    int result = value_seconds(value, &options->config.timeout_ms);

    if (result == -ERANGE)
        return failure_set(failure, CLI_USAGE,
                           "--timeout=" FAILURE_NAME " is too long: give at most 4294967 seconds",
                           value);
    if (result != 0)
        return failure_set(failure, CLI_USAGE,
                           "--timeout=" FAILURE_NAME " is not a time: give seconds like 10 or 0.5",
                           value);
    return CLI_OK;
}

static int
set_stats(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->stats = true;
    return CLI_OK;
}

static int
set_json(struct run_options *options, const char *value, struct failure *failure)
{
    if (value != NULL && *value == '\0')
        return failure_set(failure, CLI_USAGE, "--json= has no name: give --json or --json=FILE");
    options->json = true;
    options->json_file = value;
    return CLI_OK;
}

static int
set_prefault(struct run_options *options, const char *value, struct failure *failure)
{
    return value_count("--prefault", value, 0, VM_PREFAULT_MAX, &options->host.prefault_pages,
                       failure);
}

static int
set_no_fast_fault(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->host.fast_fault = false;
    return CLI_OK;
}

static int
set_superpages(struct run_options *options, const char *value, struct failure *failure)
{
    if (strcmp(value, "auto") != 0 && strcmp(value, "off") != 0)
        return failure_set(failure, CLI_USAGE,
                           "--superpages=" FAILURE_NAME " is unknown: give auto or off", value);
    options->host.superpages = strcmp(value, "auto") == 0;
    return CLI_OK;
}

static int
set_no_sandbox(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->host.sandbox = false;
    return CLI_OK;
}

static int
set_fault_threads(struct run_options *options, const char *value, struct failure *failure)
{
    return value_count("--fault-threads", value, 1, OPTIONS_FAULT_THREADS_MAX,
                       &options->config.fault_threads, failure);
}

static int
set_placement(struct run_options *options, const char *value, struct failure *failure)
{
    static const char *const names[] = {
        [FAULT_PLACE_AUTO] = "auto",
        [FAULT_PLACE_SPIN] = "spin",
        [FAULT_PLACE_SPIN_SHORT] = "spin-short",
        [FAULT_PLACE_SPIN_BARE] = "spin-bare",
        [FAULT_PLACE_BLOCK] = "block",
        [FAULT_PLACE_SAME_CORE] = "same-core",
    };

    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            options->config.placement = (enum fault_placement)i;
            return CLI_OK;
        }
    }
    return failure_set(failure, CLI_USAGE,
                       "--placement=" FAILURE_NAME " is unknown: give auto, spin, spin-short, "
                       "spin-bare, block or same-core",
                       value);
}

/* KEY is the character that is pressed with Ctrl, alone or as people write it: a, ^a, Ctrl-a. */
static int
set_escape(struct run_options *options, const char *value, struct failure *failure)
{
    const char *key = value;

    options->config.escape = ESCAPE_NONE;
    if (strcmp(value, "none") == 0)
        return CLI_OK;
    if (strncasecmp(key, "ctrl-", 5) == 0)
        key += 5;
    else if (key[0] == '^' && key[1] != '\0')
        key++;
    if (key[0] != '\0' && key[1] == '\0' &&
        ((key[0] >= 'a' && key[0] <= 'z') || (key[0] >= 'A' && key[0] <= '_'))) {
        options->config.escape = (uint8_t)(key[0] & 0x1f);
        return CLI_OK;
    }
    return failure_set(failure, CLI_USAGE,
                       "--escape=" FAILURE_NAME " is no key: give a letter or one of [\\]^_, "
                       "which is pressed with Ctrl, or none",
                       value);
}

static int
set_gdb(struct run_options *options, const char *value, struct failure *failure)
{
    options->gdb = value;
    return gdb_listen_check(value, failure) == 0 ? CLI_OK : CLI_USAGE;
}

static int
set_gdb_wait(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->gdb_wait = true;
    return CLI_OK;
}

static int
set_trace(struct run_options *options, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return failure_set(failure, CLI_USAGE, "--trace= has no name: give a file");
    options->config.trace.path = value;
    return CLI_OK;
}

/* SIZE, or SIZE,first or SIZE,last. */
static int
set_trace_limit(struct run_options *options, const char *value, struct failure *failure)
{
    size_t size = strcspn(value, ",");
    const char *keep = value[size] == '\0' ? "first" : value + size + 1;
    char number[32];

    if (strcmp(keep, "first") != 0 && strcmp(keep, "last") != 0)
        return failure_set(failure, CLI_USAGE,
                           "--trace-limit=" FAILURE_NAME " keeps neither the first nor the last "
                           "records: give SIZE,first or SIZE,last",
                           value);
    options->config.trace.keep_last = strcmp(keep, "last") == 0;
    snprintf(number, sizeof(number), "%.*s", (int)size, value);
    return value_pages("--trace-limit", number, TRACE_LIMIT_MIN, OPTIONS_TRACE_LIMIT_MAX,
                       &options->config.trace.limit, failure);
}

static int
set_trace_regs(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->config.trace.registers = true;
    return CLI_OK;
}

static int
set_trace_kernel(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->trace_kernel = true;
    return CLI_OK;
}

static int
set_trace_off(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->config.trace.off = true;
    return CLI_OK;
}

static int
set_help(struct run_options *options, const char *value, struct failure *failure)
{
    (void)value;
    (void)failure;
    options->help = true;
    return CLI_OK;
}

#define STRING(x) #x
#define STRING_OF(x) STRING(x)

static const struct {
    const char *name;
    int has_argument;
    const char *placeholder; /* as the help shows it */
    int (*set)(struct run_options *options, const char *value, struct failure *failure);
    const char *help;
} run_table[] = {
    { "memory", required_argument, "SIZE", set_memory,
      "guest memory from address 0, 4M to 1T (default 64M)" },
    { "cpus", required_argument, "N", set_cpus,
      "virtual CPUs, 1 to " STRING_OF(MACHINE_MAX_VCPUS) " (default 1)" },
    { "cpu", required_argument, "FEATURE=on|off", set_cpu,
      "have a processor feature, named as in /proc/cpuinfo, or do without; may be\n"
      "repeated" },
    { "exact-faults", no_argument, "", set_exact_faults,
      "report each fault of a PC by the vCPU and access that made it; an idle guest then\n"
      "looks busy to the host (chosen when there is a window)" },
    { "ram", required_argument, "SIZE", set_ram,
      "most host memory for guest pages, 1M or more (default: no limit)" },
    { "swap", required_argument, "FILE", set_swap,
      "page out to this file, which is made if missing and grows, or block device;\n"
      "what it has in it is lost" },
    { "window", required_argument, "gpa=A,size=S[,format=F][,root=V][,prot=P]", set_window,
      "a virtual page table at [A, A+S), from 0x1000000000 on; may be repeated;\n"
      "F is vpte64 (default) or vpte32, V the root entry (default 0: invalid\n"
      "until the guest sets one), P letters of rwx (default rwx)" },
    { "map", required_argument, "gpa=A,size=S,file=F,private|shared[,ro]", set_map,
      "map a file at [A, A+S), where a window could be; may be repeated; what the\n"
      "guest writes goes to the file (shared) or stays in the VM (private);\n"
      "ro: the guest cannot write" },
    { "dtb", required_argument, "FILE", set_dtb,
      "the machine is what this device tree describes; what other options say goes\n"
      "before it or is added to it" },
    { "dump-dtb", required_argument, "FILE", set_dump_dtb,
      "write the device tree that describes the machine to FILE, or - for standard\n"
      "output, and run nothing" },
    { "fdt", required_argument, "FILE", set_fdt,
      "give the guest this device tree instead of the built one" },
    { "fdt-overlay", required_argument, "FILE", set_fdt_overlay,
      "apply this overlay to the device tree" },
    { "append", required_argument, "TEXT", set_append,
      "the command line of a kernel; what follows -- is put behind it" },
    { "initrd", required_argument, "FILE", set_initrd, "the initial RAM disk of a kernel" },
    { "module", required_argument, "FILE[,ARGS]", set_module,
      "a module for a multiboot or PVH image; may be repeated" },
    { "disk", required_argument, "FILE[,ro][,discard]", set_disk,
      "a virtio disk for a kernel: a file or block device, or nbd://HOST[:PORT][/EXPORT],\n"
      "nbd+unix:///[EXPORT]?socket=PATH; ro: it is only read, discard: what the guest\n"
      "discards takes no room any more; may be repeated" },
    { "free-page-reporting", required_argument, "auto|on|off", set_reporting,
      "whether a kernel can report free memory, which then takes no host memory and no\n"
      "swap (default auto: with --ram)" },
    { "load", required_argument, "ADDRESS", set_load,
      "IMAGE is a file without headers, and belongs there" },
    { "entry", required_argument, "ADDRESS[,real|protected|long]", set_entry,
      "... and starts there, in this mode (default: where it is loaded, real below\n"
      "1M, else protected)" },
    { "no-unpack", no_argument, "", set_no_unpack,
      "a compressed kernel unpacks itself in the guest" },
    { "timeout", required_argument, "SECONDS", set_timeout,
      "end the run after this time, exit status 124 (default 0: never)" },
    { "gdb", required_argument, "[ADDRESS:]PORT|PATH", set_gdb,
      "let gdb attach at a TCP port, of 127.0.0.1 unless ADDRESS is given, or at a\n"
      "Unix socket, whose PATH has a slash" },
    { "gdb-wait", no_argument, "", set_gdb_wait,
      "with --gdb: the guest does not run before gdb has attached and continued" },
    { "stats", no_argument, "", set_stats, "print a report to standard error at the end" },
    { "json", optional_argument, "FILE", set_json,
      "write the report as one line of JSON to standard error or FILE" },
    { "prefault", required_argument, "N", set_prefault,
      "most neighbour pages entered per fault, 0 to " STRING_OF(
          VM_PREFAULT_MAX) " (default " STRING_OF(VM_PREFAULT_DEFAULT) ")" },
    { "no-fast-fault", no_argument, "", set_no_fast_fault, "prefault makes no zero-filled pages" },
    { "superpages", required_argument, "auto|off", set_superpages,
      "map 2 MiB at once where the guest writes memory in order (default auto)" },
    { "fault-threads", required_argument, "N", set_fault_threads,
      "threads that serve faults, 1 to " STRING_OF(
          OPTIONS_FAULT_THREADS_MAX) " (default: chosen)" },
    { "placement", required_argument, "auto|HOW", set_placement,
      "how fault threads wait: spin, spin-short, spin-bare (on other cores), block or\n"
      "same-core (bound to the vCPU's); auto, the default, measures which is best here" },
    { "escape", required_argument, "KEY|none", set_escape,
      "the escape key on a terminal, a letter that is pressed with Ctrl (default a):\n"
      "Ctrl-a x ends the VM, Ctrl-a c is a monitor, Ctrl-a h help; none: Ctrl-C ends\n"
      "the VM" },
    { "trace", required_argument, "FILE", set_trace,
      "record every fault in this file, for `vkvm trace`; SIGUSR1 switches that off and\n"
      "on; implies --exact-faults" },
    { "trace-limit", required_argument, "SIZE[,first|last]", set_trace_limit,
      "most bytes of that file, 1M or more, and which records it keeps (default first)" },
    { "trace-regs", no_argument, "", set_trace_regs,
      "with --trace: record RIP, CPL, CR3 and the linear address of each vCPU's faults" },
    { "trace-kernel", no_argument, "", set_trace_kernel,
      "with --trace: record the kernel's own events of these faults too (as root)" },
    { "trace-off", no_argument, "", set_trace_off,
      "with --trace: recording begins with the first SIGUSR1" },
    { "inject", required_argument, "gpa=A-B[,access=rwx][,nth=N[+]],do=eio|delay:T|deny",
      set_inject,
      "what happens to accesses of the guest to [A, B), to the Nth fault of that kind\n"
      "or from it on (N+, default 1+): it fails as an unreadable file does (eio), is\n"
      "refused (deny), or takes T longer, 5ms, 200us or 1s; may be repeated" },
    { "no-sandbox", no_argument, "", set_no_sandbox,
      "for debugging: let the threads make any system call" },
    { "help", no_argument, "", set_help, "print this help (also -h)" },
};

static void
fill_long_options(struct option *longs)
{
    for (size_t i = 0; i < COUNT(run_table); i++)
        longs[i] = (struct option){ .name = run_table[i].name,
                                    .has_arg = run_table[i].has_argument,
                                    .val = ROW_BASE + (int)i };
    longs[COUNT(run_table)] = (struct option){ .name = NULL };
}

static int
set_image(struct run_options *options, const char *name, struct failure *failure)
{
    if (options->image != NULL)
        return failure_set(failure, CLI_USAGE,
                           "unexpected " FAILURE_NAME ": put the guest's arguments after --", name);
    if (*name == '\0')
        return failure_set(failure, CLI_USAGE, "the image's name is empty: give a file");
    options->image = name;
    return CLI_OK;
}

/* getopt_long's answer for one word of the command line. */
static int
take_word(struct run_options *options, int c, char **argv, struct failure *failure)
{
    if (c >= ROW_BASE)
        return run_table[c - ROW_BASE].set(options, optarg, failure);
    if (c == 1)
        return set_image(options, optarg, failure);
    if (c == 'h')
        return set_help(options, NULL, failure);
    return cli_bad_option("run", c, argv[optind - 1],
                          optopt >= ROW_BASE ? run_table[optopt - ROW_BASE].name : NULL, failure);
}

static void
set_defaults(struct run_options *options)
{
    *options = (struct run_options){
        .host = {
            .prefault_pages = VM_PREFAULT_DEFAULT,
            .fast_fault = true,
            .superpages = true,
            .sandbox = true,
        },
        .config = {
            .placement = FAULT_PLACE_AUTO,
            .escape = OPTIONS_ESCAPE_DEFAULT,
        },
    };
    machine_init(&options->config.machine);
    machine_set_memory(&options->config.machine, OPTIONS_MEMORY_DEFAULT);
}

int
options_parse_run(int argc, char **argv, struct run_options *options, struct failure *failure)
{
    struct option longs[COUNT(run_table) + 1];
    int c, status;

    set_defaults(options);
    fill_long_options(longs);
    optind = 0; /* glibc: start over, so that it can be called again */
    opterr = 0;
    /* "-": words that are no options come in their order, as 1; ":": missing values come as ':'. */
    while ((c = getopt_long(argc, argv, "-:h", longs, NULL)) != -1) {
        status = take_word(options, c, argv, failure);
        if (status != CLI_OK)
            return status;
    }
    if (options->image == NULL && !options->help)
        return failure_set(failure, CLI_USAGE,
                           "no image given: use 'vkvm run [options] IMAGE [-- ARGS]'");
    if (options->gdb_wait && options->gdb == NULL)
        return failure_set(failure, CLI_USAGE,
                           "--gdb-wait waits for ever without --gdb: say where gdb attaches");
    if (options->config.trace.path == NULL &&
        (options->config.trace.limit != 0 || options->config.trace.off ||
         options->config.trace.registers || options->trace_kernel))
        return failure_set(failure, CLI_USAGE,
                           "--trace-limit, --trace-off, --trace-regs and --trace-kernel are of no "
                           "use without --trace: say which file");
    if (options->dump_dtb != NULL && (options->json || options->stats || options->gdb != NULL ||
                                      options->config.inject.nrules != 0))
        return failure_set(
            failure, CLI_USAGE,
            "--dump-dtb runs nothing: leave --json, --stats, --gdb and --inject out");
    status = map_options_check(&options->config, failure);
    if (status == CLI_OK)
        status = boot_options_check(&options->boot, failure);
    if (status != CLI_OK)
        return status;
    options->arguments = argv + optind;
    options->narguments = (size_t)(argc - optind);
    return CLI_OK;
}

/* An option's row: the flag, then its help, each line indented. */
static void
help_row(FILE *to, size_t i)
{
    const char *separator = run_table[i].has_argument == required_argument   ? " "
                            : run_table[i].has_argument == optional_argument ? "[="
                                                                             : "";

    fprintf(to, "  --%s%s%s%s\n      ", run_table[i].name, separator, run_table[i].placeholder,
            run_table[i].has_argument == optional_argument ? "]" : "");
    for (const char *p = run_table[i].help; *p != '\0'; p++) {
        putc(*p, to);
        if (*p == '\n')
            fputs("      ", to);
    }
    putc('\n', to);
}

void
options_help_run(FILE *to)
{
    fputs("usage: vkvm run [options] IMAGE [-- ARGS]\n\n"
          "Run IMAGE as a guest: an ELF executable made for vkvm, a Linux kernel (bzImage),\n"
          "an ELF file with a PVH note or a multiboot header.  ARGS reach it in the device\n"
          "tree or on its command line.  A SIZE is in bytes or ends in K, M, G or T.\n\n"
          "options:\n",
          to);
    for (size_t i = 0; i < COUNT(run_table); i++)
        help_row(to, i);
    fputs("\nexit status: the guest's own, or\n"
          "    2  wrong usage              125  vkvm or the host failed\n"
          "   70  the guest crashed        126  image or device tree cannot be loaded\n"
          "   75  the guest reset itself   127  image not found\n"
          "  124  timeout                  128+N  ended by signal N\n"
          "A guest may exit with any of these itself; --json tells them apart (\"end\").\n",
          to);
}
