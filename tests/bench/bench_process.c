/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole runs of vkvm, from exec to exit. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 512

static void
program_path(char *path, const char *name)
{
    if (snprintf(path, PATH_SIZE, "%s/%s", bench_programs, name) >= PATH_SIZE)
        bench_fail(bench_programs, "the path is too long");
}

/* Run it without output.  Returns its exit status. */
static int
run(const char *const *argv)
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
    if (run(argv) != 0)
        bench_fail(row->name, "failed");
    return (bench_now_ns() - start) / 1e6;
}

static const struct bench_row rows[] = {
    { "hello image, whole process", measure_program, 0, 0 },
};

static const struct bench_ratio ratios[] = {
    { "hello image, whole process (ms)", 0, BENCH_NO_BASE, 5 },
};

const struct bench_group bench_process_group = {
    .name = "process",
    .title = "start to end of vkvm, milliseconds",
    .rows = rows,
    .nrows = 1,
    .ratios = ratios,
    .nratios = 1,
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
