/* SPDX-License-Identifier: BSD-2-Clause */
/* Every limit of the host is named, with its remedy, and only where it can be the cause. */
#include "vmm/base/limits.h"

#include "tests/unit/sanitized.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A kernel that tells what a test writes down.  Each test is a process of its own. */
static char kernel[64];
static char proc[96], cgroup[96];
static struct limits_source source = { proc, cgroup };

static void
make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
}

static void
kernel_tells(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", kernel, name);
    make_directories(path);
    f = fopen(path, "we");
    cr_assert(f != NULL, "%s", path);
    fputs(text, f);
    fclose(f);
}

static void
set_limit(int which, rlim_t value)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit((__rlimit_resource_t)which, &limit), 0);
    limit.rlim_cur = value;
    cr_assert_eq(setrlimit((__rlimit_resource_t)which, &limit), 0);
}

static void
kernel_init(void)
{
    snprintf(kernel, sizeof(kernel), "/tmp/vkvm-limits.XXXXXX");
    cr_assert(mkdtemp(kernel) != NULL);
    snprintf(proc, sizeof(proc), "%s/proc", kernel);
    snprintf(cgroup, sizeof(cgroup), "%s/cgroup", kernel);
    kernel_tells("proc/self/maps", "a\nb\nc\n");
    kernel_tells("proc/sys/vm/max_map_count", "65530\n");
    kernel_tells("proc/sys/vm/overcommit_memory", "0\n");
    kernel_tells("proc/sys/kernel/threads-max", "1000\n");
    kernel_tells("proc/loadavg", "0.00 0.01 0.05 1/234 5678\n");
    set_limit(RLIMIT_AS, RLIM_INFINITY);
    set_limit(RLIMIT_DATA, RLIM_INFINITY);
}

static void
kernel_fini(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", kernel);
    cr_assert_eq(system(command), 0);
}

static void
expect(const struct limits_reason *reason, const char *text)
{
    cr_expect(strstr(reason->text, text) != NULL, "\"%s\" is not in \"%s\"", text, reason->text);
}

static void
expect_exactly(int error, bool for_thread, const char *text)
{
    struct limits_reason reason = limits_explain_from(&source, error, for_thread);

    cr_expect_str_eq(reason.text, text);
}

TestSuite(limits, .init = kernel_init, .fini = kernel_fini);

Test(limits, an_error_that_no_limit_makes_is_told_alone)
{
    expect_exactly(-ENOENT, false, "No such file or directory");
    expect_exactly(ENOENT, true, "No such file or directory");
    expect_exactly(-EAGAIN, false, "Resource temporarily unavailable");
}

Test(limits, a_shortage_without_a_limit_is_the_hosts)
{
    const char *text =
        "Cannot allocate memory: the host has none left: free some, or give the VM less";

    expect_exactly(-ENOMEM, false, text);
    expect_exactly(-ENOMEM, true, text);
}

Test(limits, each_limit_of_the_process_is_named_with_its_remedy, .disabled = SANITIZED)
{
    struct limits_reason reason;

    set_limit(RLIMIT_FSIZE, 1 << 20);
    set_limit(RLIMIT_NOFILE, 100);
    expect_exactly(-EFBIG, false,
                   "File too large: RLIMIT_FSIZE is 1M: raise it (ulimit -f unlimited)");
    expect_exactly(-EMFILE, false,
                   "Too many open files: RLIMIT_NOFILE is 100: raise it (ulimit -n)");
    set_limit(RLIMIT_AS, (rlim_t)4 << 30);
    expect_exactly(-ENOMEM, false,
                   "Cannot allocate memory: RLIMIT_AS is 4G: raise it (ulimit -v unlimited)");
    set_limit(RLIMIT_DATA, (rlim_t)1 << 30);
    reason = limits_explain(ENOMEM);
    expect(&reason, "RLIMIT_AS is 4G");
    expect(&reason, "; RLIMIT_DATA is 1G: raise it (ulimit -d unlimited)");
}

/* Root may have any number of threads. */
Test(limits, the_number_of_a_users_threads_is_named_unless_root_asks)
{
    struct limits_reason reason;

    set_limit(RLIMIT_NPROC, 50);
    if (geteuid() == 0) {
        reason = limits_explain_from(&source, EAGAIN, true);
        cr_expect(strstr(reason.text, "RLIMIT_NPROC") == NULL, "%s", reason.text);
        cr_assert_eq(chmod(kernel, 0755), 0);
        cr_assert_eq(seteuid(65534), 0);
    }
    reason = limits_explain_from(&source, EAGAIN, true);
    expect(&reason, "Resource temporarily unavailable: RLIMIT_NPROC is 50: raise it (ulimit -u)");
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}

Test(limits, limits_of_the_host_are_named_when_they_are_nearly_reached)
{
    struct limits_reason reason;

    expect_exactly(
        ENFILE, false,
        "Too many open files in system: fs.file-max is reached: raise it (sysctl fs.file-max)");
    kernel_tells("proc/sys/vm/max_map_count", "3\n");
    expect_exactly(ENOMEM, false,
                   "Cannot allocate memory: vm.max_map_count is 3 and 3 mappings are there: "
                   "raise it (sysctl vm.max_map_count=12)");
    kernel_tells("proc/sys/vm/overcommit_memory", "2\n");
    reason = limits_explain_from(&source, ENOMEM, false);
    expect(&reason, "; vm.overcommit_memory is 2: set it to 0 or 1");
    kernel_tells("proc/loadavg", "0.00 0.01 0.05 1/999 5678\n");
    reason = limits_explain_from(&source, EAGAIN, true);
    expect(&reason, "kernel.threads-max is 1000: raise it (sysctl kernel.threads-max=2000)");
}

/* A group whose own limit is far, in one whose limit is near, in each version's place. */
static void
nest_groups(const char *root, const char *max, const char *used)
{
    char name[128];

    snprintf(name, sizeof(name), "cgroup%s/outer/inner/%s", root, max);
    kernel_tells(name, "1000000\n");
    snprintf(name, sizeof(name), "cgroup%s/outer/inner/%s", root, used);
    kernel_tells(name, "7\n");
    snprintf(name, sizeof(name), "cgroup%s/outer/%s", root, max);
    kernel_tells(name, "100\n");
    snprintf(name, sizeof(name), "cgroup%s/outer/%s", root, used);
    kernel_tells(name, "99\n");
}

static void
expect_group(int error, bool for_thread, const char *max)
{
    struct limits_reason reason = limits_explain_from(&source, error, for_thread);
    char text[160];

    expect(&reason, max);
    snprintf(text, sizeof(text), "/outer is 100, used 99: raise it");
    expect(&reason, text);
}

Test(limits, a_full_control_group_is_named_whoever_of_its_ancestors_it_is)
{
    kernel_tells("proc/self/cgroup", "0::/outer/inner\n");
    nest_groups("", "memory.max", "memory.current");
    nest_groups("", "pids.max", "pids.current");
    expect_group(ENOMEM, false, "memory.max of the control group");
    expect_group(EAGAIN, true, "pids.max of the control group");
}

Test(limits, a_full_control_group_of_the_old_kind_too)
{
    kernel_tells("proc/self/cgroup", "4:cpu,memory:/outer/inner\n3:pids:/outer/inner\n0::/\n");
    nest_groups("/memory", "memory.limit_in_bytes", "memory.usage_in_bytes");
    nest_groups("/pids", "pids.max", "pids.current");
    expect_group(ENOMEM, false, "memory.limit_in_bytes of the control group");
    expect_group(EAGAIN, true, "pids.max of the control group");
}

Test(limits, a_control_group_without_a_limit_or_with_room_is_not_named)
{
    kernel_tells("proc/self/cgroup", "0::/a\n");
    kernel_tells("cgroup/a/memory.max", "max\n");
    kernel_tells("cgroup/a/memory.current", "100\n");
    kernel_tells("cgroup/a/pids.max", "100\n");
    kernel_tells("cgroup/a/pids.current", "3\n");
    expect_exactly(EAGAIN, true,
                   "Resource temporarily unavailable: the host has none left: free some, or give "
                   "the VM less");
}

Test(limits, the_line_is_cut_where_it_would_be_too_long, .disabled = SANITIZED)
{
    char group[600];
    struct limits_reason reason;

    memset(group, 'x', sizeof(group));
    memcpy(group, "0::/", 4);
    for (size_t i = 200; i < sizeof(group); i += 200)
        group[i] = '/';
    group[sizeof(group) - 1] = '\0';
    kernel_tells("proc/self/cgroup", group);
    set_limit(RLIMIT_AS, (rlim_t)4 << 30);
    reason = limits_explain_from(&source, ENOMEM, false);
    expect(&reason, "RLIMIT_AS is 4G");
}
