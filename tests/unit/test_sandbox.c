/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a thread of each kind may call, each in a process of its own.
 */
#include "vmm/vm/sandbox.h"

#include "tests/unit/sanitized.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    enum sandbox_thread kind;
    const char *name;
} kinds[] = {
    { SANDBOX_LOOP, "event loop's thread" },
    { SANDBOX_VCPU, "vCPU thread" },
    { SANDBOX_FAULT, "fault thread" },
    { SANDBOX_PAGEOUT, "page-out thread" },
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

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
        if (sandbox_prepare(&failure) != 0 || sandbox_enter(kind) != 0)
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

    if (SANITIZED)
        return; /* no sandbox then: sandbox.h */
    for (size_t i = 0; i < NKINDS; i++) {
        int status = confined(kinds[i].kind, call, said);

        if ((kinds[i].kind & but) != 0)
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
    expect_refused("unknown", call_old_numbers, 0);
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

Test(sandbox, only_the_loop_and_vcpus_talk_to_kvm)
{
    expect_refused("ioctl", call_kvm, SANDBOX_LOOP | SANDBOX_VCPU);
}

Test(sandbox, nobody_types_into_the_terminal_or_kills_another_process)
{
    expect_refused("ioctl", call_push_back_a_key, 0);
    expect_refused("kill", call_kill, 0);
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

static void
enter_again(void)
{
    if (sandbox_enter(SANDBOX_FAULT) != 0)
        _exit(1);
}

Test(sandbox, what_every_thread_needs_is_allowed)
{
    expect_allowed("threads", use_threads);
    expect_allowed("memory", use_memory);
    expect_allowed("/proc", use_proc);
    expect_allowed("a further filter", enter_again);
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

    if (SANITIZED)
        return;
    for (size_t i = 0; i < NKINDS; i++) {
        status = confined(kinds[i].kind, raise_it, said);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s", kinds[i].name);
        cr_expect_str_empty(said);
    }
}
