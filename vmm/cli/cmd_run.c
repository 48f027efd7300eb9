/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm run`.
 *
 * Everything that can be refused without a VM is looked at before one is made:
 * options, the report's file, the image, what it is told.  After that only the host or
 * the guest can fail.
 */
#include "vmm/cli/cmd_run.h"

#include "vmm/boot/fdt.h"
#include "vmm/boot/image.h"
#include "vmm/boot/pc_start.h"
#include "vmm/cli/dtb.h"
#include "vmm/cli/kernel_reader.h"
#include "vmm/cli/monitor.h"
#include "vmm/cli/options.h"
#include "vmm/cli/report.h"
#include "vmm/cli/run_files.h"
#include "vmm/doorbell/doorbell.h"
#include "vmm/gdb/gdb.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/x86_64/arch.h"
#include "vmm/x86_64/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* One `vkvm run`. */
struct run {
    struct run_options options;
    struct dtb dtb; /* what --dtb names */
    bool dumped;    /* the description is out, and nothing is to run */
    struct image image;
    struct vm_fdt fdt;
    gpa_t fdt_place;
    struct gdb *gdb;    /* owned; NULL = no debugger can attach */
    struct pc_start pc; /* of an image that wants one */
    struct arch_start start;
    struct kernel_reader kernel; /* of the kernel's events, for a trace */
    FILE *json;                  /* owned unless it is stderr; NULL = not wanted */
    struct vm_host *host;        /* owned; NULL = none yet */
    struct vm *vm;               /* owned; NULL = none yet */
    bool started;                /* the VM ran: outcome is its own and report is filled */
    bool told;                   /* ... and its message is out */
    struct vm_outcome outcome;
    struct vm_report report;
    struct failure failure;
};

static int
read_dtb(struct run *run)
{
    return dtb_read(&run->dtb, &run->options, &run->failure);
}

static int
check_files(struct run *run)
{
    return run_files_check(&run->options, &run->failure);
}

static int
open_json(struct run *run)
{
    const struct run_options *options = &run->options;

    if (!options->json)
        return CLI_OK;
    run->json = options->json_file == NULL ? stderr : fopen(options->json_file, "we");
    if (run->json == NULL)
        return failure_set(&run->failure, CLI_FAILED,
                           "cannot write " FAILURE_NAME ": %s: give --json another file",
                           options->json_file, strerror(errno));
    return CLI_OK;
}

static int
open_image(struct run *run)
{
    struct machine *machine = &run->options.config.machine;
    uint64_t size =
        machine->kind == MACHINE_PC ? machine_low_end(machine) : machine_memory_size(machine);
    const struct image_request request = {
        .path = run->options.image,
        .vkernel = { .memory = "--memory",
                     .low = arch_boot_end(),
                     .memory_size = machine_low_end(machine),
                     .memory_size_max = OPTIONS_IMAGE_MAX },
        .pc = { .memory = "memory below a PC's devices",
                .memory_size = size < MACHINE_PC_HOLE_START ? size : MACHINE_PC_HOLE_START,
                .memory_size_max = MACHINE_PC_HOLE_START },
        .flat = run->options.boot.flat,
        .no_unpack = run->options.boot.no_unpack,
    };
    int error = image_open(&request, &run->image, &run->failure);

    if (error == 0)
        error = dtb_make_kind(&run->options, image_wants_pc(&run->image), &run->failure);
    return cli_load_status(error);
}

/* The tree before an overlay: a file's, or built. */
static int
make_base_fdt(struct run *run)
{
    const struct run_options *options = &run->options;
    const struct vm_fdt_config config = {
        .machine = &options->config.machine,
        .reserved = gpa_to_u64(arch_boot_end()),
        .arguments = options->arguments,
        .narguments = options->narguments,
    };
    int error;

    if (options->fdt == NULL)
        return vm_fdt_build(&config, &run->fdt, &run->failure);
    error = vm_fdt_load(options->fdt, &run->fdt, &run->failure);
    if (error == 0)
        error =
            vm_fdt_set_arguments(&run->fdt, options->arguments, options->narguments, &run->failure);
    return error;
}

static int
make_fdt(struct run *run)
{
    const struct run_options *options = &run->options;
    int error = make_base_fdt(run);

    if (error == 0 && options->fdt_overlay != NULL)
        error = vm_fdt_apply_overlay(&run->fdt, options->fdt_overlay, &run->failure);
    if (error == 0)
        error = vm_fdt_place(&run->fdt, arch_boot_end(), machine_low_end(&options->config.machine),
                             &run->image, &run->fdt_place, &run->failure);
    return cli_load_status(error);
}

/* Nothing tells an image of vkvm's own about these. */
static int
refuse_pc_options(struct run *run)
{
    const struct boot_options *boot = &run->options.boot;
    const char *option = boot->append != NULL   ? "--append"
                         : boot->initrd != NULL ? "--initrd"
                         : boot->nmodules != 0  ? "--module"
                                                : NULL;

    if (run->options.config.machine.ndisks != 0)
        return failure_set(&run->failure, CLI_USAGE,
                           "--disk is for a PC's kernels, and " FAILURE_NAME
                           " is an image of vkvm's own kind, whose machine has no interrupts: map "
                           "the file into its memory by --map",
                           run->options.image);

    if (run->options.reporting == REPORTING_ON)
        return failure_set(&run->failure, CLI_USAGE,
                           "--free-page-reporting=on is for a PC's kernels, and " FAILURE_NAME
                           " is an image of vkvm's own kind: leave it out",
                           run->options.image);
    if (option == NULL)
        return CLI_OK;
    return failure_set(&run->failure, CLI_USAGE,
                       "%s is for kernels, and " FAILURE_NAME " is an image of vkvm's own kind, "
                       "which gets its arguments behind --",
                       option, run->options.image);
}

static int
make_pc_start(struct run *run)
{
    const struct run_options *options = &run->options;
    const struct pc_start_config config = {
        .machine = &options->config.machine,
        .image = &run->image,
        .path = options->image,
        .append = options->boot.append == NULL ? "" : options->boot.append,
        .arguments = options->arguments,
        .narguments = options->narguments,
        .initrd = options->boot.initrd,
        .nmodules = options->boot.nmodules,
        .modules = options->boot.modules,
        .rsdp = machine_find_device(&options->config.machine, MACHINE_ACPI_PM) == NULL
                    ? 0
                    : ACPI_RSDP_GPA,
    };

    if (options->fdt != NULL || options->fdt_overlay != NULL)
        return failure_set(
            &run->failure, CLI_USAGE,
            "--fdt and --fdt-overlay are for images of vkvm's own kind: " FAILURE_NAME
            " is told by other means",
            options->image);
    return cli_load_status(pc_start_open(&config, &run->pc, &run->failure));
}

/* What the image is told, and where that lies. */
static int
make_start(struct run *run)
{
    int status;

    if (image_wants_pc(&run->image)) {
        status = make_pc_start(run);
        run->start = run->pc.start;
        return status;
    }
    status = refuse_pc_options(run);
    if (status == CLI_OK)
        status = make_fdt(run);
    run->start = (struct arch_start){
        .protocol = run->image.protocol,
        .entry = run->image.entry,
        .info = run->fdt_place,
    };
    return status;
}

static int
dump_dtb(struct run *run)
{
    if (run->options.dump_dtb == NULL)
        return CLI_OK;
    run->dumped = true;
    return dtb_dump(&run->options, &run->failure);
}

static void
warn(void *context, const char *message)
{
    (void)context;
    cli_complain(message);
}

static int
open_gdb(struct run *run)
{
    const struct run_options *options = &run->options;

    if (options->gdb == NULL)
        return CLI_OK;
    if (gdb_open(options->gdb, options->gdb_wait, warn, NULL, &run->gdb, &run->failure) != 0)
        return CLI_FAILED;
    run->options.config.debug = &gdb_debug_ops;
    run->options.config.debugger = run->gdb;
    return CLI_OK;
}

/* A trace without the kernel's events is one all the same. */
static int
start_kernel_reader(struct run *run)
{
    struct vm_trace_config *trace = &run->options.config.trace;
    char message[TRACE_KERNEL_LINE_MAX + 64];

    if (!run->options.trace_kernel)
        return CLI_OK;
    kernel_reader_start(&run->kernel);
    trace->kernel_fd = run->kernel.fd;
    if (run->kernel.fd != 0)
        return CLI_OK;
    trace->kernel = run->kernel.why;
    snprintf(message, sizeof(message), "the trace will be without the kernel's events: %s",
             run->kernel.why);
    cli_complain(message);
    return CLI_OK;
}

static void
tell_end(struct run *run, const struct vm_outcome *outcome)
{
    if (outcome->end == VM_END_GUEST || run->told)
        return;
    cli_complain(outcome->message);
    run->told = true;
}

static void
on_ended(void *context, const struct vm_outcome *outcome)
{
    tell_end(context, outcome);
}

static int
create_host(struct run *run)
{
    run->options.host.warn = warn;
    if (vm_host_create(&run->options.host, &run->host, &run->failure) == 0)
        return CLI_OK;
    run->host = NULL;
    return CLI_FAILED;
}

/* Known before anything runs, and told at once. */
static int
check_host(struct run *run)
{
    if (!run->image.linux_kernel || !arch_kvm_is_software()) {
        if (run->image.remark[0] != '\0')
            cli_complain(run->image.remark);
        return CLI_OK;
    }
    return failure_set(&run->failure, CLI_FAILED,
                       FAILURE_NAME
                       " is Linux, which this host's KVM cannot run, since it emulates "
                       "a guest's ring 0 (the processor has neither VMX nor SVM): run it in the "
                       "NPT lane (make npt; tests/npt/lane.sh)",
                       run->options.image);
}

static int
create_vm(struct run *run)
{
    run->options.config.warn = warn;
    run->options.config.guest = &doorbell_guest_ops;
    run->options.config.ended = on_ended;
    run->options.config.ended_context = run;
    run->options.config.monitor = monitor_line;
    run->options.config.trace.program = "vkvm " VKVM_VERSION;
    run->options.config.trace.image = run->options.image;
    run->options.config.trace.build_id = run->image.build_id;
    run->options.config.trace.build_id_size = run->image.build_id_size;
    if (vm_create(run->host, &run->options.config, &run->vm, &run->failure) == 0)
        return CLI_OK;
    run->vm = NULL;
    return CLI_FAILED;
}

static enum vm_result
write_map(void *context, gpa_t gpa, const void *from, size_t size, struct vm_fault_info *info)
{
    return vm_map_write(context, gpa, from, size, info);
}

/* A kernel runs over most of its image at once, and each few pages of it would be a message. */
static void
map_image(struct run *run)
{
    const struct image_segment *segment = run->image.segments;

    for (unsigned i = 0; i < run->image.nsegments; i++, segment++)
        vm_fault_ahead(vm_map_of(run->vm), gpa_trunc_page(segment->start),
                       gpa_add(segment->start, segment->file_size));
}

static int
load_vm(struct run *run)
{
    const struct guest_memory memory = { .write = write_map, .context = vm_map_of(run->vm) };
    int error = image_load(&run->image, &memory, &run->failure);

    if (error == 0 && image_wants_pc(&run->image))
        map_image(run);
    image_close(&run->image);
    if (error == 0 && image_wants_pc(&run->image))
        error = pc_start_load(&run->pc, &memory, &run->failure);
    else if (error == 0)
        error = guest_memory_write(&memory, run->fdt_place, run->fdt.data, run->fdt.size,
                                   "the device tree", &run->failure);
    return cli_load_status(error);
}

static int
start_vm(struct run *run)
{
    if (vm_set_start(run->vm, &run->start, &run->failure) != 0)
        return CLI_FAILED;
    vm_run(run->vm, &run->outcome);
    run->started = true;
    vm_report_get(run->vm, &run->report);
    return CLI_OK;
}

/* The steps of a run, in their order; the first that fails ends it, as does a description's dump. */
static int
run_steps(struct run *run)
{
    static int (*const steps[])(struct run *) = {
        read_dtb, check_files,         open_json,   open_image, make_start, dump_dtb,
        open_gdb, start_kernel_reader, create_host, check_host, create_vm,  load_vm,
        start_vm,
    };
    int status = CLI_OK;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == CLI_OK && !run->dumped;
         i++)
        status = steps[i](run);
    return status;
}

/* What goes wrong before a VM runs is reported as an outcome too. */
static void
set_failed_outcome(struct run *run)
{
    run->outcome = (struct vm_outcome){ .end = VM_END_FAILED };
    snprintf(run->outcome.message, sizeof(run->outcome.message), "%.*s",
             (int)sizeof(run->outcome.message) - 1, run->failure.message);
}

/* Returns 0, or CLI_FAILED with *failure filled when the JSON could not be written. */
static int
write_json(struct run *run, int status)
{
    bool failed;

    report_json(run->json, &run->outcome, status, run->started ? &run->report : NULL);
    failed = fflush(run->json) != 0 || ferror(run->json);
    if (run->json != stderr)
        failed |= fclose(run->json) != 0;
    run->json = NULL;
    if (failed)
        return failure_set(&run->failure, CLI_FAILED,
                           "cannot write the JSON report: is the disk full?");
    return CLI_OK;
}

/* A rule that nothing came to has tested nothing. */
static void
tell_idle_rules(const struct vm_report *report)
{
    struct failure failure = { .message = "" };

    for (unsigned i = 0; i < report->ninjections; i++) {
        const struct vm_injection_report *rule = &report->injections[i];

        if (rule->injected != 0)
            continue;
        failure_set(&failure, CLI_OK,
                    "--inject " FAILURE_NAME " did nothing: %" PRIu64 " faults were of that kind",
                    rule->text, rule->matched);
        cli_complain(failure.message);
    }
}

/* The one line of error, the reports; returns the exit status. */
static int
conclude(struct run *run, int status)
{
    if (run->started) {
        status = report_exit_status(&run->outcome);
        tell_end(run, &run->outcome);
        tell_idle_rules(&run->report);
        if (run->options.stats)
            report_text(stderr, &run->outcome, status, &run->report);
    } else if (status != CLI_OK) {
        set_failed_outcome(run);
        cli_complain(run->failure.message);
    }
    if (run->json != NULL && write_json(run, status) != CLI_OK) {
        cli_complain(run->failure.message);
        status = CLI_FAILED;
    }
    return status;
}

static int
run_image(int argc, char **argv)
{
    struct run run = { .image = { .fd = -1 } };
    int status = options_parse_run(argc, argv, &run.options, &run.failure);

    if (status != CLI_OK) {
        cli_complain(run.failure.message);
        return status;
    }
    if (run.options.help) {
        options_help_run(stdout);
        return CLI_OK;
    }
    status = conclude(&run, run_steps(&run));
    if (run.vm != NULL)
        vm_destroy(run.vm);
    if (run.host != NULL)
        vm_host_destroy(run.host);
    kernel_reader_stop(&run.kernel);
    gdb_close(run.gdb);
    vm_fdt_fini(&run.fdt);
    dtb_fini(&run.dtb);
    pc_start_close(&run.pc);
    image_close(&run.image);
    return status;
}

const struct cli_command cmd_run = {
    .name = "run",
    .summary = "run a guest image",
    .run = run_image,
    .help = options_help_run,
};
