/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Laying filters upon threads, and telling what they refuse.
 *
 * Source: Documentation/userspace-api/seccomp_filter.rst.
 */
#include "vmm/vm/sandbox.h"

#include "vmm/device/terminal.h"
#include "vmm/vm/sandbox_filters.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* vmm/cli/cli.h's status for what vkvm itself cannot do. */
#define EXIT_REFUSED 125

/* --- a refused call --------------------------------------------------------- */

static const char *const kind_names[SANDBOX_KINDS] = {
    [SANDBOX_LOOP] = "event loop's", [SANDBOX_VCPU] = "vCPU", [SANDBOX_FAULT] = "fault",
    [SANDBOX_PAGEOUT] = "page-out",  [SANDBOX_DISK] = "disk", [SANDBOX_TRACE] = "trace",
};

/* NULL: the thread's filter is that of the thread that made it. */
static _Thread_local const char *own_name;

/* A call that the names do not know: its number, in text. */
static const char *
number_text(unsigned number, char text[16])
{
    char *at = text + 15;

    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return at;
}

static const char *
call_name(int call, char text[16])
{
    if ((size_t)call < sandbox_ncalls && sandbox_call_names[call][0] != '\0')
        return sandbox_call_names[call];
    return number_text((unsigned)call, text);
}

/* In a signal handler: no locks, no memory. */
static void
say(const char *const *words)
{
    char line[256];
    size_t n = 0;

    for (; *words != NULL; words++) {
        for (const char *p = *words; *p != '\0' && n < sizeof(line); p++)
            line[n++] = *p;
    }
    (void)!write(STDERR_FILENO, line, n);
}

/* Sent by somebody, it ends the process as SIGSYS does; by the filter, as an error of ours. */
static void
on_refused(int signal, siginfo_t *info, void *context)
{
    char number[16];
    const char *const words[] = { "vkvm: sandbox: system call ",
                                  call_name(info->si_syscall, number),
                                  " refused in ",
                                  own_name != NULL ? "the " : "a ",
                                  own_name != NULL ? own_name : "worker",
                                  " thread: --no-sandbox runs without, please report it\n",
                                  NULL };

    (void)context;
    terminal_restore_now();
    if (info->si_code <= 0) {
        (void)raise(signal);
        return;
    }
    say(words);
    _exit(EXIT_REFUSED);
}

/* --- entering --------------------------------------------------------------- */

const char *
sandbox_absence(void)
{
    if (SANITIZED)
        return "built with a sanitizer";
    return sandbox_filters[0].code == NULL ? "built without libseccomp" : NULL;
}

int
sandbox_prepare(struct failure *failure)
{
    const uint32_t trap = SECCOMP_RET_TRAP;
    struct sigaction action = { .sa_sigaction = on_refused,
                                .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };

    if (sandbox_absence() != NULL)
        return 0;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGTTOU);
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || sigaction(SIGSYS, &action, NULL) != 0)
        return failure_set(failure, -ENOSYS,
                           "no sandbox: this kernel has no seccomp filters; --no-sandbox keeps "
                           "this line away");
    return 0;
}

/* The filter, with the process's id in its place. */
static struct sock_fprog
make_program(const struct sandbox_filter *filter, struct sock_filter code[SANDBOX_FILTER_MAX])
{
    const uint32_t own = (uint32_t)getpid();

    for (unsigned i = 0; i < filter->length; i++) {
        code[i] = filter->code[i];
        if (code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && code[i].k == SANDBOX_OWN_PID)
            code[i].k = own;
    }
    return (struct sock_fprog){ .len = filter->length, .filter = code };
}

int
sandbox_enter(enum sandbox_thread kind)
{
    struct sock_filter code[SANDBOX_FILTER_MAX];
    struct sock_fprog program;

    if (sandbox_absence() != NULL)
        return 0;
    program = make_program(&sandbox_filters[kind], code);
    own_name = kind_names[kind];
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) !=
        0)
        return -errno;
    return 0;
}
