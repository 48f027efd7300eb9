/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole runs of vkvm, from exec to exit, and what the least of a VM costs here. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 512

static void
program_path(char *path, const char *name)
{
    if (snprintf(path, PATH_SIZE, "%s/%s", bench_programs, name) >= PATH_SIZE)
        bench_fail(bench_programs, "the path is too long");
}

/* Run it without output; its standard error goes to that descriptor.  Returns its exit status. */
static int
run(const char *const *argv, int error_fd)
{
    posix_spawn_file_actions_t actions;
    char *copy[8] = { NULL };
    int status = -1;
    pid_t pid;

    for (unsigned i = 0; argv[i] != NULL; i++) {
        copy[i] = strdup(argv[i]);
        if (copy[i] == NULL)
            bench_fail(argv[0], strerror(ENOMEM));
    }

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1, 0);
    posix_spawn_file_actions_adddup2(&actions, error_fd, 2);
    if (posix_spawn(&pid, argv[0], &actions, NULL, copy, environ) != 0 ||
        waitpid(pid, &status, 0) != pid)
        bench_fail(argv[0], "did not run");
    posix_spawn_file_actions_destroy(&actions);
    for (unsigned i = 0; copy[i] != NULL; i++)
        free(copy[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What is run: an image, and arguments of the guest's. */
static const struct {
    const char *image;
    const char *arguments[2]; /* NULL = none */
} programs[] = {
    { "guest/hello.elf", { NULL, NULL } },
    { "guest/vkernel.elf", { "only=fork", "fork=vpte" } },
    { "guest/vkernel.elf", { "only=fork", "fork=copy" } },
};

/* Milliseconds of `vkvm run IMAGE [-- ARGUMENTS]`; `a`: which. */
static double
measure_program(const struct bench_row *row)
{
    char vkvm[PATH_SIZE], image[PATH_SIZE];
    const char *argv[] = { vkvm, "run", image, NULL, NULL, NULL, NULL };
    double start;

    if (bench_programs == NULL)
        return BENCH_NONE;
    program_path(vkvm, "vkvm");
    program_path(image, programs[row->a].image);
    if (programs[row->a].arguments[0] != NULL) {
        argv[3] = "--";
        argv[4] = programs[row->a].arguments[0];
        argv[5] = programs[row->a].arguments[1];
    }
    start = bench_now_ns();
    if (run(argv, 2) != 0)
        bench_fail(row->name, "failed");
    return (bench_now_ns() - start) / 1e6;
}

/* --- The VM alone --------------------------------------------------------------- */

/* A number of the report. */
static double
report_number(const char *report, const char *name)
{
    const char *at = strstr(report, name);

    if (at == NULL)
        bench_fail(name, "the report does not have it");
    return strtod(at + strlen(name), NULL);
}

/* Milliseconds from the making of the VM to its end, as vkvm's report has them. */
static double
measure_vm(const struct bench_row *row)
{
    static char report[1 << 16];
    char vkvm[PATH_SIZE], image[PATH_SIZE], memory[32];
    const char *argv[] = { vkvm, "run", "--json", memory, image, NULL };
    FILE *to = tmpfile();
    size_t n;

    if (bench_programs == NULL)
        return BENCH_NONE;
    if (to == NULL)
        bench_fail("a temporary file", strerror(errno));
    program_path(vkvm, "vkvm");
    program_path(image, programs[0].image);
    snprintf(memory, sizeof(memory), "--memory=%luM", (unsigned long)row->a);
    if (run(argv, fileno(to)) != 0)
        bench_fail(row->name, "failed");
    rewind(to);
    n = fread(report, 1, sizeof(report) - 1, to);
    report[n] = '\0';
    fclose(to);
    return (report_number(report, "\"create_us\":") + report_number(report, "\"run_us\":")) / 1e3;
}

/* What a VM of the floor consists of. */
struct floor_vm {
    int kvm, vm, vcpu;
    uint8_t *memory;
    size_t memory_size;
    struct kvm_run *run;
    size_t run_size;
};

/* The first instruction leaves: OUT 0xE9, AL, in real mode. */
static void
floor_begin(struct floor_vm *floor)
{
    struct kvm_sregs sregs;
    const struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };

    memcpy(floor->memory + 0x1000, "\xe6\xe9", 2);
    if (ioctl(floor->vcpu, KVM_GET_SREGS, &sregs) < 0)
        bench_fail("KVM_GET_SREGS", strerror(errno));
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (ioctl(floor->vcpu, KVM_SET_SREGS, &sregs) < 0 ||
        ioctl(floor->vcpu, KVM_SET_REGS, &regs) < 0)
        bench_fail("a vCPU's registers", strerror(errno));
}

static void
floor_make(struct floor_vm *floor)
{
    struct kvm_userspace_memory_region region = { .memory_size = floor->memory_size,
                                                  .userspace_addr = (uintptr_t)floor->memory };

    floor->vm = ioctl(floor->kvm, KVM_CREATE_VM, 0);
    if (floor->vm < 0 || ioctl(floor->vm, KVM_SET_TSS_ADDR, 0xfffbd000) < 0 ||
        ioctl(floor->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        bench_fail("a VM", strerror(errno));
    floor->vcpu = ioctl(floor->vm, KVM_CREATE_VCPU, 0);
    floor->run = floor->vcpu < 0 ? MAP_FAILED
                                 : mmap(NULL, floor->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                                        floor->vcpu, 0);
    if (floor->run == MAP_FAILED)
        bench_fail("a vCPU", strerror(errno));
}

/* Milliseconds from KVM_CREATE_VM to a first exit, with `a` MiB of memory in one slot. */
static double
measure_floor(const struct bench_row *row)
{
    struct floor_vm floor = { .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC),
                              .memory_size = row->a << 20 };
    double start, taken;
    int size = floor.kvm < 0 ? -1 : ioctl(floor.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (size < 0)
        bench_fail("/dev/kvm", strerror(errno));
    floor.run_size = (size_t)size;
    floor.memory = mmap(NULL, floor.memory_size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (floor.memory == MAP_FAILED)
        bench_fail("a guest's memory", strerror(errno));
    start = bench_now_ns();
    floor_make(&floor);
    floor_begin(&floor);
    if (ioctl(floor.vcpu, KVM_RUN, 0) < 0 || floor.run->exit_reason != KVM_EXIT_IO)
        bench_fail("the first exit", "did not come");
    taken = (bench_now_ns() - start) / 1e6;
    munmap(floor.run, floor.run_size);
    close(floor.vcpu);
    close(floor.vm);
    close(floor.kvm);
    munmap(floor.memory, floor.memory_size);
    return taken;
}

static const struct bench_row rows[] = {
    { "hello image, whole process", measure_program, 0, 0 },
    { "... its VM alone, made and run, 64 MiB", measure_vm, 64, 0 },
    { "floor: a VM made, to its first exit, 64 MiB", measure_floor, 64, 0 },
    { "VM alone, 8 GiB", measure_vm, 8192, 0 },
    { "floor, 8 GiB", measure_floor, 8192, 0 },
};

static const struct bench_ratio ratios[] = {
    { "hello image, whole process (ms)", 0, BENCH_NO_BASE, 3 },
    { "VM alone / floor, 64 MiB", 1, 2, 1.5 },
    { "VM alone / floor, 8 GiB", 3, 4, 1.5 },
};

const struct bench_group bench_process_group = {
    .name = "process",
    .title = "start to end of vkvm, milliseconds",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};

static const struct bench_row fork_rows[] = {
    { "fork by vptes of the guest kernel", measure_program, 1, 0 },
    { "fork by the host's virtual copy", measure_program, 2, 0 },
};

static const struct bench_ratio fork_ratios[] = {
    { "by the host's copy / by vptes", 1, 0, 0 },
};

const struct bench_group bench_fork_group = {
    .name = "fork",
    .title = "vkernel's fork program, start to end of vkvm, ms",
    .rows = fork_rows,
    .nrows = 2,
    .ratios = fork_ratios,
    .nratios = 1,
    .max_rounds = 3,
};
