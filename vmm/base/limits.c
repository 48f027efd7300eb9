/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sources: setrlimit(2), proc(5), cgroups(7), Linux Documentation/admin-guide/sysctl/vm.rst and
 * Documentation/admin-guide/cgroup-v2.rst.
 */
#include "vmm/base/limits.h"

#include "vmm/base/size_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- The line ------------------------------------------------------------ */

struct telling {
    const struct limits_source *source;
    struct limits_reason reason;
    unsigned nlimits; /* named so far */
};

/* Add a limit and its remedy. */
static void __attribute__((format(printf, 2, 3))) tell(struct telling *t, const char *format, ...)
{
    size_t used = strlen(t->reason.text);
    size_t room = sizeof(t->reason.text) - used;
    va_list args;
    int n = snprintf(t->reason.text + used, room, "%s", t->nlimits++ == 0 ? ": " : "; ");

    if (n < 0 || (size_t)n >= room)
        return;
    va_start(args, format);
    vsnprintf(t->reason.text + used + n, room - (size_t)n, format, args);
    va_end(args);
}

/* --- What the kernel tells ----------------------------------------------- */

/* The beginning of a file as a string; false when it cannot be read. */
static bool
read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    if (n < 0)
        return false;
    text[n] = '\0';
    return true;
}

/* A file that holds one number; false for "max" too. */
static bool
read_number(const char *directory, const char *name, uint64_t *number)
{
    char path[PATH_MAX], text[32], *end;

    if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path) ||
        !read_text(path, text, sizeof(text)))
        return false;
    *number = strtoull(text, &end, 10);
    return end != text;
}

/* Is it used up, but for what others may have given back since the call failed? */
static bool
is_nearly(uint64_t used, uint64_t limit)
{
    return used >= limit - limit / 16;
}

/* --- Limits of the process ----------------------------------------------- */

static void
tell_rlimit(struct telling *t, int which, bool is_size, const char *name, const char *remedy)
{
    char text[SIZE_TEXT_MAX];
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    if (is_size)
        size_text(limit.rlim_cur, text);
    else
        snprintf(text, sizeof(text), "%" PRIu64, (uint64_t)limit.rlim_cur);
    tell(t, "%s is %s: raise it (%s)", name, text, remedy);
}

static uint64_t
count_mappings(const char *proc)
{
    char path[PATH_MAX], text[4096];
    uint64_t lines = 0;
    ssize_t n;
    int fd;

    if (snprintf(path, sizeof(path), "%s/self/maps", proc) >= (int)sizeof(path))
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while ((n = read(fd, text, sizeof(text))) > 0)
        for (ssize_t i = 0; i < n; i++)
            lines += text[i] == '\n';
    close(fd);
    return lines;
}

static void
tell_mappings(struct telling *t)
{
    uint64_t used = count_mappings(t->source->proc), limit;

    if (read_number(t->source->proc, "sys/vm/max_map_count", &limit) && is_nearly(used, limit))
        tell(t,
             "vm.max_map_count is %" PRIu64 " and %" PRIu64
             " mappings are there: raise it (sysctl vm.max_map_count=%" PRIu64 ")",
             limit, used, 4 * limit);
}

/* --- Limits of control groups -------------------------------------------- */

/* A control group's limit: its controller, and the files that tell it. */
struct cgroup_limit {
    const char *controller;
    const char *max[2]; /* of version 2, of version 1 */
    const char *used[2];
};

static const struct cgroup_limit cgroup_memory = {
    "memory",
    { "memory.max", "memory.limit_in_bytes" },
    { "memory.current", "memory.usage_in_bytes" },
};

static const struct cgroup_limit cgroup_pids = {
    "pids",
    { "pids.max", "pids.max" },
    { "pids.current", "pids.current" },
};

/* Look at a group and those around it, up to `root_length`, for one that is full. */
static void
tell_group(struct telling *t, const struct cgroup_limit *limit, unsigned version, char *group,
           size_t root_length)
{
    uint64_t max, used;
    char *slash;

    for (;;) {
        if (read_number(group, limit->max[version], &max) &&
            read_number(group, limit->used[version], &used) && is_nearly(used, max)) {
            tell(t, "%s of the control group %.128s is %" PRIu64 ", used %" PRIu64 ": raise it",
                 limit->max[version], group, max, used);
            return;
        }
        slash = strrchr(group, '/');
        if (slash == NULL || (size_t)(slash - group) < root_length)
            return;
        *slash = '\0';
    }
}

/* Is the controller in a comma-separated list? */
static bool
has_controller(const char *list, const char *controller)
{
    size_t length = strlen(controller);

    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == length && strncmp(list, controller, length) == 0)
            return true;
    return false;
}

/* One line of /proc/self/cgroup, "id:controllers:path"; no controllers = version 2. */
static void
tell_cgroup_line(struct telling *t, const struct cgroup_limit *limit, char *line)
{
    char group[PATH_MAX];
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    bool old;
    int root, n;

    if (path == NULL)
        return;
    *path++ = '\0';
    old = *++controllers != '\0';
    if (old && !has_controller(controllers, limit->controller))
        return;
    root = snprintf(group, sizeof(group), "%s%s%s", t->source->cgroup, old ? "/" : "",
                    old ? limit->controller : "");
    if (root < 0 || (size_t)root >= sizeof(group))
        return;
    n = snprintf(group + root, sizeof(group) - (size_t)root, "%s",
                 strcmp(path, "/") != 0 ? path : "");
    if (n >= 0 && (size_t)n < sizeof(group) - (size_t)root)
        tell_group(t, limit, old ? 1 : 0, group, (size_t)root);
}

static void
tell_cgroup(struct telling *t, const struct cgroup_limit *limit)
{
    char path[PATH_MAX], text[4096], *line, *rest = text;

    if (snprintf(path, sizeof(path), "%s/self/cgroup", t->source->proc) >= (int)sizeof(path) ||
        !read_text(path, text, sizeof(text)))
        return;
    while ((line = strsep(&rest, "\n")) != NULL)
        tell_cgroup_line(t, limit, line);
}

/* --- By errno ------------------------------------------------------------ */

static void
tell_memory(struct telling *t)
{
    uint64_t mode;

    tell_rlimit(t, RLIMIT_AS, true, "RLIMIT_AS", "ulimit -v unlimited");
    tell_rlimit(t, RLIMIT_DATA, true, "RLIMIT_DATA", "ulimit -d unlimited");
    tell_mappings(t);
    tell_cgroup(t, &cgroup_memory);
    if (read_number(t->source->proc, "sys/vm/overcommit_memory", &mode) && mode == 2)
        tell(t, "vm.overcommit_memory is 2: set it to 0 or 1, or raise vm.overcommit_ratio");
    if (t->nlimits == 0)
        tell(t, "the host has none left: free some, or give the VM less");
}

/* Threads of the host: the second number of "0.00 0.01 0.05 1/234 5678". */
static bool
count_threads(const char *proc, uint64_t *count)
{
    char path[PATH_MAX], text[128];
    const char *slash;

    if (snprintf(path, sizeof(path), "%s/loadavg", proc) >= (int)sizeof(path) ||
        !read_text(path, text, sizeof(text)))
        return false;
    slash = strchr(text, '/');
    if (slash != NULL)
        *count = strtoull(slash + 1, NULL, 10);
    return slash != NULL;
}

/* What a thread needs besides its stack.  RLIMIT_NPROC does not bind root. */
static void
tell_threads(struct telling *t)
{
    uint64_t used, limit;

    if (geteuid() != 0)
        tell_rlimit(t, RLIMIT_NPROC, false, "RLIMIT_NPROC", "ulimit -u");
    tell_cgroup(t, &cgroup_pids);
    if (count_threads(t->source->proc, &used) &&
        read_number(t->source->proc, "sys/kernel/threads-max", &limit) && is_nearly(used, limit))
        tell(t,
             "kernel.threads-max is %" PRIu64 ": raise it (sysctl kernel.threads-max=%" PRIu64 ")",
             limit, 2 * limit);
}

/* The C library says EAGAIN too when a stack finds no room. */
static void
tell_thread_failure(struct telling *t)
{
    tell_threads(t);
    if (t->nlimits == 0)
        tell_memory(t);
}

struct limits_reason
limits_explain_from(const struct limits_source *source, int error, bool for_thread)
{
    struct telling t = { .source = source };

    error = abs(error);
    snprintf(t.reason.text, sizeof(t.reason.text), "%s", strerror(error));
    if (error == ENOMEM)
        tell_memory(&t);
    else if (error == EAGAIN && for_thread)
        tell_thread_failure(&t);
    else if (error == EFBIG)
        tell_rlimit(&t, RLIMIT_FSIZE, true, "RLIMIT_FSIZE", "ulimit -f unlimited");
    else if (error == EMFILE)
        tell_rlimit(&t, RLIMIT_NOFILE, false, "RLIMIT_NOFILE", "ulimit -n");
    else if (error == ENFILE)
        tell(&t, "fs.file-max is reached: raise it (sysctl fs.file-max)");
    return t.reason;
}

static const struct limits_source limits_kernel = { "/proc", "/sys/fs/cgroup" };

struct limits_reason
limits_explain(int error)
{
    return limits_explain_from(&limits_kernel, error, false);
}

struct limits_reason
limits_explain_thread(int error)
{
    return limits_explain_from(&limits_kernel, error, true);
}

struct limits_reason
limits_explain_cause(const char *cause, int error)
{
    struct limits_reason reason;

    if (cause == NULL || strchr(cause, ':') == NULL)
        return limits_explain(error);
    snprintf(reason.text, sizeof(reason.text), "%s", strerror(error < 0 ? -error : error));
    return reason;
}
