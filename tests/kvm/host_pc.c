/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PC under KVM: interrupts, the serial port on standard input and output, further processors, and
 * the ways it ends.  Mini guests: host_pc.S, started as our own images are.
 */
#include "tests/kvm/vm_rig.h"
#include "vmm/x86_64/layout.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

GUEST(guest_hello);
GUEST(guest_echo);
GUEST(guest_timer);
GUEST(guest_line);
GUEST(guest_smp);
GUEST(guest_off);
GUEST(guest_reset);
GUEST(guest_triple);
GUEST(guest_idle);
GUEST(guest_dead);
GUEST(guest_drop);
GUEST(guest_touch);
GUEST(guest_file);

/* Standard input and output as a test wants them, and as they were. */
struct redirection {
    int saved[2];
    int output; /* read end of a pipe */
};

static struct vm_config
pc_config(void)
{
    struct vm_config config = default_config();

    config.guest = NULL;
    machine_make_pc(&config.machine);
    return config;
}

/* Input comes from `in`, whose owner this becomes; output goes to a pipe. */
static void
redirect(struct redirection *r, int in)
{
    int ends[2];

    fflush(stdout);
    if (pipe(ends) != 0)
        die("pipe", strerror(errno));
    for (int i = 0; i < 2; i++)
        r->saved[i] = dup(i);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(ends[1], STDOUT_FILENO) < 0)
        die("dup2", strerror(errno));
    close(in);
    close(ends[1]);
    r->output = ends[0];
}

/* Put back what was.  Returns how much output there was, a NUL behind it. */
static size_t
restore(struct redirection *r, char *output, size_t size)
{
    ssize_t n;

    for (int i = 0; i < 2; i++) {
        (void)dup2(r->saved[i], i);
        close(r->saved[i]);
    }
    n = read(r->output, output, size - 1);
    close(r->output);
    output[n < 0 ? 0 : n] = '\0';
    return n < 0 ? 0 : (size_t)n;
}

static int
pipe_with(const char *input, size_t size)
{
    int ends[2];

    if (pipe(ends) != 0 || write(ends[1], input, size) != (ssize_t)size)
        die("pipe", strerror(errno));
    close(ends[1]);
    return ends[0];
}

static int
file_with(const char *input, size_t size)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd < 0 || pwrite(fd, input, size, 0) != (ssize_t)size)
        die("memfd_create", strerror(errno));
    return fd;
}

static void
a_pc_writes_to_standard_output_and_ends_by_the_debug_port(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome;
    struct redirection r;
    char output[64];

    redirect(&r, open("/dev/null", O_RDONLY | O_CLOEXEC));
    outcome = run_guest(&config, guest_hello, guest_hello_end);
    restore(&r, output, sizeof(output));
    expect_exit(v, &outcome, 0x15 << 1 | 1);
    CHECK(v, strcmp(output, "hello, PC\n") == 0, "it said \"%s\"", output);
}

/* More than the FIFO holds. */
static void
check_echo(struct verdict *v, int (*input)(const char *input, size_t size))
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome;
    struct redirection r;
    char text[1001], output[1100];

    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = (char)('a' + i % 26);
    text[sizeof(text) - 1] = '.';
    redirect(&r, input(text, sizeof(text)));
    outcome = run_guest(&config, guest_echo, guest_echo_end);
    expect_exit(v, &outcome, 1);
    CHECK_EQ(v, restore(&r, output, sizeof(output)), sizeof(text));
    CHECK(v, memcmp(output, text, sizeof(text)) == 0, "it echoed something else");
}

static void
input_from_a_pipe_interrupts_a_halted_guest(struct verdict *v)
{
    check_echo(v, pipe_with);
}

static void
input_from_a_file_interrupts_a_halted_guest(struct verdict *v)
{
    check_echo(v, file_with);
}

static void
the_timer_interrupts_a_halted_guest(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome = run_guest(&config, guest_timer, guest_timer_end);

    expect_exit(v, &outcome, 1);
}

static void
the_test_device_raises_a_line(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome = run_guest(&config, guest_line, guest_line_end);

    expect_exit(v, &outcome, 5 << 1 | 1);
}

static void
the_first_vcpu_starts_another_and_cpuid_says_how_many_there_are(struct verdict *v)
{
    struct vm_config config = pc_config();
    struct vm_outcome outcome;
    uint32_t values[5];
    struct vm *vm;

    config.machine.nvcpus = 3;
    vm = make_vm(&config, guest_smp, guest_smp_end);
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 1);
    get(vm, GUEST_RECORD, values, sizeof(values));
    CHECK_EQ(v, values[2] >> 16, 3);
    CHECK_EQ(v, values[3] >> 21 & 1, 1); /* x2APIC */
    CHECK_EQ(v, values[4], 3);
    destroy_vm(vm);
}

static void
acpi_switches_the_machine_off(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome = run_guest(&config, guest_off, guest_off_end);

    expect_exit(v, &outcome, 0);
}

static void
the_acpi_tables_stand_where_systems_look_for_them(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm *vm = make_vm(&config, guest_off, guest_off_end);
    char signature[8];
    uint64_t xsdt;

    get(vm, ACPI_RSDP_GPA, signature, sizeof(signature));
    CHECK(v, memcmp(signature, "RSD PTR ", 8) == 0, "no RSDP");
    get(vm, ACPI_RSDP_GPA + 24, &xsdt, sizeof(xsdt));
    get(vm, xsdt, signature, 4);
    CHECK(v, memcmp(signature, "XSDT", 4) == 0, "no XSDT at 0x%" PRIx64, xsdt);
    destroy_vm(vm);
}

static void
a_reset_and_a_triple_fault_end_the_vm_with_a_word_of_their_own(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome = run_guest(&config, guest_reset, guest_reset_end);

    expect_end(v, &outcome, VM_END_RESET, "reset itself by port 0xcf9");
    outcome = run_guest(&config, guest_triple, guest_triple_end);
    expect_end(v, &outcome, VM_END_RESET, "triple fault: rip 0x");
}

static void
a_dropped_page_keeps_its_data_and_memory_that_is_not_there_is_ones(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm *vm = make_vm(&config, guest_drop, guest_drop_end);
    struct vm_outcome outcome = run_vm(vm);
    uint64_t values[3];

    expect_exit(v, &outcome, 1);
    get(vm, GUEST_RECORD, values, sizeof(values));
    CHECK_EQ(v, values[0], 77);
    CHECK_EQ(v, values[1], UINT64_MAX);
    CHECK_EQ(v, values[2], 0x55);
    CHECK_EQ(v, vm_meter_get(&vm->map.meter, v_inval), 1);
    destroy_vm(vm);
}

/* Its exits are many and want none, and each would cost it a look for interrupts besides. */
static void
kvm_does_not_copy_a_pcs_registers_at_each_exit(struct verdict *v)
{
    const struct vm_config config = pc_config();
    struct vm_outcome outcome;
    struct vm *vm = make_vm(&config, guest_drop, guest_drop_end);

    outcome = run_vm(vm);
    expect_exit(v, &outcome, 1);
    CHECK(v, vm->vcpus[0].run->kvm_valid_regs == 0, "it copies them");
    destroy_vm(vm);
}

#define TOUCHED UINT64_C(0x800000)
#define TOUCHED_PAGES 512u

/* Interrupts on, pages read and written; every page its own fault.  Returns the foreign messages. */
static uint64_t
touch(struct verdict *v, bool exact)
{
    const struct vm_host_config host = { .prefault_pages = 0 };
    struct vm_config config = pc_config();
    struct vm_outcome outcome;
    struct vm_report report;
    struct vm *vm;

    config.exact_faults = exact;
    config.machine.nvcpus = 2; /* fewer fault threads than vCPUs, where cores are scarce */
    vm = make_vm_on(make_host(&host), &config, guest_touch, guest_touch_end);
    outcome = run_vm(vm);
    vm_report_get(vm, &report);
    expect_exit(v, &outcome, 1);
    printf("    exact %d: %" PRIu64 " messages, %" PRIu64 " foreign\n", exact,
           report.faults.messages, report.faults.foreign);
    destroy_vm(vm);
    return report.faults.foreign;
}

static void
no_fault_is_foreign_when_they_are_to_be_exact(struct verdict *v)
{
    (void)touch(v, false);
    CHECK_EQ(v, touch(v, true), 0);
}

#define FILE_PAGES 16u

/* A private mapping of a file, whose pages' first words are 1 and on. */
static void
check_reads_copy_nothing(struct verdict *v)
{
    struct vm_config config = pc_config();
    char path[] = "/tmp/vkvm-host-pc-XXXXXX";
    int fd = mkstemp(path);
    struct vm_outcome outcome;
    uint64_t values[2];
    struct vm *vm;

    for (uint64_t i = 0; i < FILE_PAGES; i++) {
        const uint64_t word = i + 1;

        if (pwrite(fd, &word, sizeof(word), (off_t)(i * PAGE_SIZE)) != sizeof(word))
            die("pwrite", strerror(errno));
    }
    if (ftruncate(fd, FILE_PAGES * PAGE_SIZE) != 0)
        die("ftruncate", strerror(errno));
    config.machine.nfiles = 1;
    config.machine.files[0] = (struct machine_file){ .start = gpa_from_u64(VKVM_WINDOW_BASE),
                                                     .size = FILE_PAGES * PAGE_SIZE,
                                                     .path = path,
                                                     .path_size = sizeof(path) - 1 };
    vm = make_vm(&config, guest_file, guest_file_end);
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 1);
    get(vm, GUEST_RECORD, values, sizeof(values));
    CHECK_EQ(v, values[0], FILE_PAGES * (FILE_PAGES + 1) / 2);
    CHECK_EQ(v, values[1], FILE_PAGES + 1);
    CHECK_EQ(v, vm_meter_get(&vm->map.meter, v_cow_faults), 2);
    destroy_vm(vm);
    close(fd);
    unlink(path);
}

static void
a_read_with_interrupts_on_copies_no_page(struct verdict *v)
{
    check_reads_copy_nothing(v);
}

/* There a thread id may be a vCPU's and, at the same time, one of the kernel's. */
static void
a_read_copies_no_page_in_another_pid_namespace_either(struct verdict *v)
{
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWPID) != 0)
            _exit(errno == EPERM ? 0 : 1);
        child = fork();
        if (child == 0) {
            check_reads_copy_nothing(v);
            no_fault_is_foreign_when_they_are_to_be_exact(v);
            _exit(v->failures != 0);
        }
        _exit(waitpid(child, &status, 0) == child && status == 0 ? 0 : 1);
    }
    CHECK(v, waitpid(child, &status, 0) == child && status == 0, "status 0x%x", status);
}

static double
processor_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void
a_halted_guest_takes_no_processor_and_ends_when_its_time_is_up(struct verdict *v)
{
    struct vm_config config = pc_config();
    struct vm_outcome outcome;
    double before, took;
    struct vm *vm;

    config.timeout_ms = 400;
    config.machine.nvcpus = 2;
    vm = make_vm(&config, guest_idle, guest_idle_end);
    before = processor_seconds();
    outcome = run_vm(vm);
    took = processor_seconds() - before;
    expect_end(v, &outcome, VM_END_TIMEOUT, "not done");
    CHECK(v, took < 0.2, "it took %.3f s of 0.4 s", took);
    destroy_vm(vm);
    outcome = run_guest(&config, guest_dead, guest_dead_end);
    expect_end(v, &outcome, VM_END_TIMEOUT, "not done");
}

static const struct test tests[] = {
    TEST(a_pc_writes_to_standard_output_and_ends_by_the_debug_port),
    TEST(input_from_a_pipe_interrupts_a_halted_guest),
    TEST(input_from_a_file_interrupts_a_halted_guest),
    TEST(the_timer_interrupts_a_halted_guest),
    TEST(the_test_device_raises_a_line),
    TEST(the_first_vcpu_starts_another_and_cpuid_says_how_many_there_are),
    TEST(acpi_switches_the_machine_off),
    TEST(the_acpi_tables_stand_where_systems_look_for_them),
    TEST(a_reset_and_a_triple_fault_end_the_vm_with_a_word_of_their_own),
    TEST(a_dropped_page_keeps_its_data_and_memory_that_is_not_there_is_ones),
    TEST(kvm_does_not_copy_a_pcs_registers_at_each_exit),
    TEST(no_fault_is_foreign_when_they_are_to_be_exact),
    TEST(a_read_with_interrupts_on_copies_no_page),
    TEST(a_read_copies_no_page_in_another_pid_namespace_either),
    TEST(a_halted_guest_takes_no_processor_and_ends_when_its_time_is_up),
};

int
main(int argc, char **argv)
{
    return run_tests("host_pc", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
