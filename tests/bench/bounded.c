/* SPDX-License-Identifier: BSD-2-Clause */
/* See bounded.h. */
#include "tests/bench/bounded.h"

#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_MOST 256
#define SWAP_PAGE 4096u

/* Where memory cgroups are made, and the file that bounds one: version 1, version 2. */
static const struct {
    const char *directory;
    const char *limit;
} hierarchies[] = {
    { "/sys/fs/cgroup/memory", "memory.limit_in_bytes" },
    { "/sys/fs/cgroup", "memory.max" },
};

/* --- Cgroups ------------------------------------------------------------- */

/* Write a number to a file of the group. */
static int
group_write(const char *group, const char *file, uint64_t value)
{
    char path[2 * PATH_MOST], text[32];
    int length = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
    int error = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", group, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (write(fd, text, (size_t)length) != length)
        error = -errno;
    close(fd);
    return error;
}

/* Make a bounded group; its folder's name goes to `group`. */
static int
group_make(char group[PATH_MOST], uint64_t bytes)
{
    int error = -ENOSYS;

    for (unsigned i = 0; i < sizeof(hierarchies) / sizeof(hierarchies[0]); i++) {
        snprintf(group, PATH_MOST, "%s/vkvm-bench-%d", hierarchies[i].directory, (int)getpid());
        if (mkdir(group, 0700) != 0) {
            error = -errno;
            continue;
        }
        error = group_write(group, hierarchies[i].limit, bytes);
        if (error == 0)
            return 0;
        rmdir(group);
    }
    return error;
}

/* The child's last process is gone, but perhaps not yet from the group. */
static void
group_remove(const char *group)
{
    for (unsigned i = 0; i < 100 && rmdir(group) != 0 && errno == EBUSY; i++)
        usleep(10000);
}

static _Noreturn void
child(const char *group, int to, double (*measure)(const void *context), const void *context)
{
    double figure;

    bench_check(group_write(group, "cgroup.procs", (uint64_t)getpid()), "entering a cgroup");
    figure = measure(context);
    _exit(write(to, &figure, sizeof(figure)) == sizeof(figure) ? 0 : 1);
}

int
bounded_run(uint64_t bytes, double (*measure)(const void *context), const void *context,
            double *figure)
{
    char group[PATH_MOST];
    int error = group_make(group, bytes);
    double result = 0;
    int ends[2], status = 0;
    bool got;
    pid_t pid;

    if (error != 0)
        return error;
    if (pipe(ends) != 0 || (pid = fork()) < 0)
        bench_fail("starting a process", strerror(errno));
    if (pid == 0)
        child(group, ends[1], measure, context);
    close(ends[1]);
    got = read(ends[0], &result, sizeof(result)) == sizeof(result);
    close(ends[0]);
    (void)waitpid(pid, &status, 0);
    group_remove(group);
    *figure = result;
    return got ? 0 : -ECHILD;
}

/* --- Swap ---------------------------------------------------------------- */

static bool
host_swaps(void)
{
    char line[256];
    unsigned lines = 0;
    FILE *file = fopen("/proc/swaps", "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        lines++;
    if (file != NULL)
        fclose(file);
    return lines > 1; /* the first one is the heading */
}

/* A file without holes that begins with what mkswap writes. */
static int
swap_make(const char *path, uint64_t bytes)
{
    static union {
        uint8_t bytes[SWAP_PAGE];
        uint32_t words[SWAP_PAGE / 4];
    } page;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int error = 0;

    if (fd < 0)
        return -errno;
    memset(&page, 0, sizeof(page));
    for (uint64_t at = 0; at < bytes && error == 0; at += SWAP_PAGE) {
        if (write(fd, &page, SWAP_PAGE) != SWAP_PAGE)
            error = -errno;
    }
    page.words[256] = 1; /* version, then the last page */
    page.words[257] = (uint32_t)(bytes / SWAP_PAGE) - 1;
    memcpy(&page.bytes[SWAP_PAGE - 10], "SWAPSPACE2", 10);
    if (error == 0 && (pwrite(fd, &page, SWAP_PAGE, 0) != SWAP_PAGE || fsync(fd) != 0))
        error = -errno;
    close(fd);
    return error;
}

int
bounded_swap_on(const char *path, uint64_t bytes)
{
    int error = host_swaps() ? -EBUSY : swap_make(path, bytes);

    if (error == 0 && swapon(path, 0) != 0)
        error = -errno;
    if (error != 0)
        unlink(path);
    return error;
}

void
bounded_swap_off(const char *path)
{
    if (swapoff(path) != 0)
        bench_fail("swapoff", strerror(errno));
    unlink(path);
}
