/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a thread of each kind may call: each filter against the table it was made of, and what must
 * stay refused in a process of its own.
 */
#include "vmm/vm/sandbox.h"

#include "tests/unit/sanitized.h"
#include "vmm/vm/sandbox_filters.h"
#include "vmm/vm/sandbox_table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    enum sandbox_thread kind;
    const char *name;
} kinds[] = {
    { SANDBOX_LOOP, "event loop's thread" }, { SANDBOX_VCPU, "vCPU thread" },
    { SANDBOX_FAULT, "fault thread" },       { SANDBOX_PAGEOUT, "page-out thread" },
    { SANDBOX_DISK, "disk thread" },         { SANDBOX_TRACE, "trace thread" },
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))
_Static_assert(NKINDS == SANDBOX_KINDS, "every kind");

static bool
there_is_no_sandbox(void)
{
    return sandbox_absence() != NULL;
}

/* --- the filters ------------------------------------------------------------- */

/* What the kernel does with a filter: Documentation/networking/filter.rst. */
static uint32_t
run_filter(const struct sandbox_filter *filter, const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (unsigned pc = 0; pc < filter->length; pc++) {
        const struct sock_filter *at = &filter->code[pc];

        switch (at->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            cr_assert_leq(at->k + sizeof(a), sizeof(*data));
            memcpy(&a, (const char *)data + at->k, sizeof(a));
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= at->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += at->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= at->k ? at->jt : at->jf;
            break;
        case BPF_RET | BPF_K:
            return at->k;
        default:
            cr_assert_fail("instruction %x", at->code);
        }
    }
    cr_assert_fail("the filter has no end");
    return 0;
}

/* What the table says. */
static uint32_t
expected_action(unsigned kind, const struct seccomp_data *data)
{
    for (size_t i = 0; i < sandbox_table_rows; i++) {
        const struct sandbox_row *row = &sandbox_table[i];

        if (row->call == data->nr && (row->kinds & SANDBOX_BIT(kind)) != 0 &&
            (data->args[row->argument] & row->mask) == row->value)
            return SECCOMP_RET_ALLOW;
    }
    return data->nr == SYS_clone3 ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_TRAP;
}

static void
compare(unsigned kind, int call, unsigned argument, uint64_t value)
{
    struct seccomp_data data = { .nr = call, .arch = AUDIT_ARCH_X86_64 };
    uint32_t action;

    data.args[argument] = value;
    action = run_filter(&sandbox_filters[kind], &data);
    cr_assert_eq(action, expected_action(kind, &data), "%s: call %d, argument %u = %llx: %x",
                 kinds[kind].name, call, argument, (unsigned long long)value, action);
}

/* Each bit of the argument, beside what a row wants of it and beside zeros. */
static void
compare_arguments(unsigned kind, const struct sandbox_row *row, int call)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        compare(kind, call, row->argument, row->value ^ 1ull << bit);
        compare(kind, call, row->argument, (row->value | ~row->mask) ^ 1ull << bit);
        compare(kind, call, row->argument, 1ull << bit);
    }
    compare(kind, call, row->argument, row->value);
}

Test(sandbox, a_filter_allows_what_its_rows_allow_and_nothing_else)
{
    if (there_is_no_sandbox())
        return;
    for (unsigned kind = 0; kind < NKINDS; kind++) {
        for (int call = -1; call < 1024; call++)
            compare(kind, call, 0, 0);
        for (size_t i = 0; i < sandbox_table_rows; i++)
            compare_arguments(kind, &sandbox_table[i], sandbox_table[i].call);
    }
}

Test(sandbox, calls_of_other_architectures_are_refused)
{
    if (there_is_no_sandbox())
        return;
    for (unsigned kind = 0; kind < NKINDS; kind++) {
        const struct seccomp_data i386 = { .nr = 3, .arch = AUDIT_ARCH_I386 };
        const struct seccomp_data x32 = { .nr = 0x40000000 | SYS_read, .arch = AUDIT_ARCH_X86_64 };

        cr_expect_eq(run_filter(&sandbox_filters[kind], &i386), SECCOMP_RET_TRAP);
        cr_expect_eq(run_filter(&sandbox_filters[kind], &x32), SECCOMP_RET_TRAP);
    }
}

/* --- threads ----------------------------------------------------------------- */

/* Do it in a confined child; returns the wait status, and what it said. */
static int
confined(enum sandbox_thread kind, void (*call)(void), char said[512])
{
    struct failure failure;
    int fds[2], status;
    ssize_t n;
    pid_t child;

    cr_assert_eq(pipe(fds), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        if (!there_is_no_sandbox() && (sandbox_prepare(&failure) != 0 || sandbox_enter(kind) != 0))
            _exit(99);
        call();
        _exit(0);
    }
    close(fds[1]);
    n = read(fds[0], said, 511);
    said[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

/* The call is refused in a thread of every kind but `but`, and told. */
static void
expect_refused(const char *name, void (*call)(void), unsigned but)
{
    char said[512], expected[128];

    if (there_is_no_sandbox())
        return;
    for (size_t i = 0; i < NKINDS; i++) {
        int status = confined(kinds[i].kind, call, said);

        if ((SANDBOX_BIT(kinds[i].kind) & but) != 0)
            continue;
        snprintf(expected, sizeof(expected),
                 "vkvm: sandbox: system call %s refused in the %s: ", name, kinds[i].name);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 125, "%s, %s: status %x", name,
                  kinds[i].name, (unsigned)status);
        cr_expect_eq(strncmp(said, expected, strlen(expected)), 0, "%s: %s", kinds[i].name, said);
        cr_expect_eq(strchr(said, '\n'), said + strlen(said) - 1, "one line: %s", said);
    }
}

static void
expect_allowed(const char *name, void (*call)(void))
{
    char said[512];

    for (size_t i = 0; i < NKINDS; i++)
        cr_expect_eq(confined(kinds[i].kind, call, said), 0, "%s, %s: %s", name, kinds[i].name,
                     said);
}

static void
call_socket(void)
{
    (void)!socket(AF_INET, SOCK_STREAM, 0);
}

static void
call_execve(void)
{
    char *const none[] = { NULL };

    (void)!execve("/bin/true", none, none);
}

static void
call_fork(void)
{
    (void)!syscall(SYS_fork);
}

static void
call_clone_of_a_process(void)
{
    (void)!syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void
call_ptrace(void)
{
    (void)!syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void
call_open_to_write(void)
{
    (void)!open("/dev/null", O_WRONLY);
}

static void
call_open_to_create(void)
{
    (void)!open("/tmp/vkvm-sandbox", O_RDONLY | O_CREAT, 0600);
}

static void
call_mmap_to_execute(void)
{
    (void)!mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void
call_mprotect_to_execute(void)
{
    static char page[8192] __attribute__((aligned(4096)));

    (void)!mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void
call_kvm(void)
{
    (void)!ioctl(-1, 0xae80, 0); /* KVM_RUN */
}

static void
call_accept(void)
{
    (void)!accept(-1, NULL, NULL);
}

static void
call_push_back_a_key(void)
{
    (void)!ioctl(-1, TIOCSTI, "x");
}

static void
call_kill(void)
{
    (void)!kill(1, 0);
}

static void
call_tgkill(void)
{
    (void)!syscall(SYS_tgkill, 1, 1, 0);
}

static void
call_prlimit(void)
{
    struct rlimit limit;

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void
call_old_numbers(void)
{
    (void)!syscall(0x40000000 | SYS_read, -1, NULL, 0); /* x32's */
}

Test(sandbox, what_no_thread_needs_is_refused_and_told)
{
    expect_refused("socket", call_socket, 0);
    expect_refused("execve", call_execve, 0);
    expect_refused("fork", call_fork, 0);
    expect_refused("ptrace", call_ptrace, 0);
    expect_refused("1073741824", call_old_numbers, 0);
}

Test(sandbox, a_thread_may_be_made_and_a_process_not)
{
    expect_refused("clone", call_clone_of_a_process, 0);
}

Test(sandbox, files_are_opened_only_to_be_read)
{
    expect_refused("openat", call_open_to_write, 0);
    expect_refused("openat", call_open_to_create, 0);
}

Test(sandbox, no_memory_becomes_executable)
{
    expect_refused("mmap", call_mmap_to_execute, 0);
    expect_refused("mprotect", call_mprotect_to_execute, 0);
}

Test(sandbox, neither_faults_nor_page_out_talk_to_kvm)
{
    expect_refused("ioctl", call_kvm,
                   SANDBOX_BIT(SANDBOX_LOOP) | SANDBOX_BIT(SANDBOX_VCPU) |
                       SANDBOX_BIT(SANDBOX_DISK));
}

Test(sandbox, only_the_loop_takes_connections)
{
    expect_refused("accept", call_accept, SANDBOX_BIT(SANDBOX_LOOP));
}

Test(sandbox, nobody_types_into_the_terminal_or_kills_another_process)
{
    expect_refused("ioctl", call_push_back_a_key, 0);
    expect_refused("kill", call_kill, 0);
    expect_refused("tgkill", call_tgkill, 0);
}

Test(sandbox, no_limit_is_changed)
{
    expect_refused("prlimit64", call_prlimit, 0);
}

static void *
do_nothing(void *argument)
{
    return argument;
}

static void
use_threads(void)
{
    pthread_t thread;
    void *result;

    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, &result) != 0)
        _exit(1);
}

static void
use_memory(void)
{
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p, 4096, PROT_NONE) != 0 || munmap(p, 1 << 20) != 0)
        _exit(1);
}

static void
use_proc(void)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    char byte;

    if (fd < 0 || read(fd, &byte, 1) != 1 || close(fd) != 0)
        _exit(1);
}

/* On nothing: only the filters are meant. */
static void
use_a_block_device(void)
{
    uint64_t range[2] = { 0, 4096 };

    (void)!ioctl(-1, BLKDISCARD, range);
    (void)!ioctl(-1, BLKZEROOUT, range);
    (void)!fallocate(-1, 0, 0, 4096);
    (void)!fdatasync(-1);
    (void)!pwrite(-1, range, sizeof(range), 0);
}

static void
use_a_socket(void)
{
    char byte = 0;

    (void)!recv(-1, &byte, 1, 0);
    (void)!send(-1, &byte, 1, 0);
    (void)!shutdown(-1, SHUT_RDWR);
}

static void
enter_again(void)
{
    if (sandbox_enter(SANDBOX_FAULT) != 0)
        _exit(1);
}

Test(sandbox, what_every_thread_needs_is_allowed)
{
    expect_allowed("memory", use_memory);
    expect_allowed("/proc", use_proc);
    expect_allowed("a block device", use_a_block_device);
    expect_allowed("a further filter", enter_again);
}

/* The thread sanitizer makes no thread behind a fork. */
Test(sandbox, some_make_threads, .disabled = SANITIZED)
{
    char said[512];

    cr_expect_eq(confined(SANDBOX_LOOP, use_threads, said), 0, "%s", said);
    cr_expect_eq(confined(SANDBOX_FAULT, use_threads, said), 0, "%s", said);
    cr_expect(there_is_no_sandbox() || confined(SANDBOX_VCPU, use_threads, said) != 0);
}

Test(sandbox, a_network_disk_and_a_debugger_use_sockets_that_they_have)
{
    char said[512];

    cr_expect_eq(confined(SANDBOX_LOOP, use_a_socket, said), 0, "%s", said);
    cr_expect_eq(confined(SANDBOX_DISK, use_a_socket, said), 0, "%s", said);
    cr_expect(there_is_no_sandbox() || confined(SANDBOX_FAULT, use_a_socket, said) != 0);
}

Test(sandbox, what_is_built_without_libseccomp_or_with_a_sanitizer_says_so_and_confines_nothing)
{
    struct failure failure;
    bool without = sandbox_filters[0].code == NULL;

    cr_expect_eq(there_is_no_sandbox(), SANITIZED || without);
    if (!there_is_no_sandbox())
        return;
    cr_expect_str_eq(sandbox_absence(),
                     SANITIZED ? "built with a sanitizer" : "built without libseccomp");
    cr_expect_eq(sandbox_prepare(&failure), 0);
    for (unsigned kind = 0; kind < NKINDS; kind++)
        cr_expect_eq(sandbox_enter(kind), 0);
    cr_expect_eq(syscall(SYS_seccomp, UINT_MAX, 0, NULL), -1);
    cr_expect_eq(errno, EINVAL, "it still goes to the kernel");
}

static void
raise_it(void)
{
    (void)raise(SIGSYS);
}

Test(sandbox, sigsys_from_outside_is_a_signal_as_ever)
{
    char said[512];
    int status;

    if (there_is_no_sandbox())
        return;
    for (size_t i = 0; i < NKINDS; i++) {
        status = confined(kinds[i].kind, raise_it, said);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s", kinds[i].name);
        cr_expect_str_empty(said);
    }
}
