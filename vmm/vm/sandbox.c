/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of calls, and a filter made from it.
 *
 * A filter looks at its rows one after the other: those of a call, perhaps with a condition on an
 * argument's low 32 bits, which is all the kernel looks at of these.  It is made here and not by
 * libseccomp: a list of comparisons is no reason for a dependency and its optimizer at each start.
 * The kernel keeps the answer for calls without a condition (Linux 5.11), so their order does not
 * matter.
 *
 * Source: Documentation/userspace-api/seccomp_filter.rst.
 */
#include "vmm/vm/sandbox.h"

#include "vmm/device/terminal.h"
#include "vmm/vm/syscall_names.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_IS_OFF true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_IS_OFF true
#endif
#endif
#ifndef SANDBOX_IS_OFF
#define SANDBOX_IS_OFF false
#endif

#define LOOP SANDBOX_LOOP
#define VCPU SANDBOX_VCPU
#define ALL (SANDBOX_LOOP | SANDBOX_VCPU | SANDBOX_FAULT | SANDBOX_PAGEOUT)

/* An ioctl's number holds the letter of what it is for. */
#define IOCTL_MASK 0xff00u
#define IOCTL_KVM 0xae00u
#define IOCTL_USERFAULTFD 0xaa00u

#define CLONE_OF_A_THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define OPEN_CHANGES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* A row: the call is allowed if (argument & mask) == value; mask 0: always. */
struct row {
    unsigned call;
    unsigned kinds; /* enum sandbox_thread */
    unsigned argument;
    unsigned mask;
    unsigned value;
};

static const struct row rows[] = {
    /* What is called most. */
    { SYS_ioctl, LOOP | VCPU, 1, IOCTL_MASK, IOCTL_KVM },
    { SYS_ioctl, ALL, 1, IOCTL_MASK, IOCTL_USERFAULTFD },
    { SYS_futex, ALL, 0, 0, 0 },
    { SYS_read, ALL, 0, 0, 0 },
    { SYS_write, ALL, 0, 0, 0 },
    { SYS_poll, ALL, 0, 0, 0 },
    { SYS_ppoll, ALL, 0, 0, 0 },
    { SYS_epoll_wait, ALL, 0, 0, 0 },
    { SYS_epoll_pwait, ALL, 0, 0, 0 },
    { SYS_epoll_ctl, ALL, 0, 0, 0 },
    /* Memory: windows, the frame store, malloc.  Nothing becomes executable. */
    { SYS_mmap, ALL, 2, PROT_EXEC, 0 },
    { SYS_mprotect, ALL, 2, PROT_EXEC, 0 },
    { SYS_munmap, ALL, 0, 0, 0 },
    { SYS_mremap, ALL, 0, 0, 0 },
    { SYS_madvise, ALL, 0, 0, 0 },
    { SYS_msync, ALL, 0, 0, 0 },
    { SYS_mincore, ALL, 0, 0, 0 },
    { SYS_brk, ALL, 0, 0, 0 },
    { SYS_membarrier, ALL, 0, 0, 0 },
    /* Files that are open: swap, mapped files, disks, standard streams. */
    { SYS_readv, ALL, 0, 0, 0 },
    { SYS_writev, ALL, 0, 0, 0 },
    { SYS_pread64, ALL, 0, 0, 0 },
    { SYS_pwrite64, ALL, 0, 0, 0 },
    { SYS_preadv, ALL, 0, 0, 0 },
    { SYS_pwritev, ALL, 0, 0, 0 },
    { SYS_preadv2, ALL, 0, 0, 0 },
    { SYS_pwritev2, ALL, 0, 0, 0 },
    { SYS_lseek, ALL, 0, 0, 0 },
    { SYS_fallocate, ALL, 0, 0, 0 },
    { SYS_ftruncate, ALL, 0, 0, 0 },
    { SYS_fsync, ALL, 0, 0, 0 },
    { SYS_fdatasync, ALL, 0, 0, 0 },
    { SYS_sync_file_range, ALL, 0, 0, 0 },
    { SYS_fstat, ALL, 0, 0, 0 },
    { SYS_newfstatat, ALL, 0, 0, 0 },
    { SYS_fcntl, ALL, 0, 0, 0 },
    { SYS_close, ALL, 0, 0, 0 },
    /* For reading only: what is full is looked up in /proc when something fails (limits.h). */
    { SYS_openat, ALL, 2, OPEN_CHANGES, O_RDONLY },
    { SYS_getrlimit, ALL, 0, 0, 0 },
    { SYS_prlimit64, ALL, 2, ~0u, 0 }, /* asks, sets nothing */
    { SYS_geteuid, ALL, 0, 0, 0 },
    { SYS_getuid, ALL, 0, 0, 0 },
    { SYS_sysinfo, ALL, 0, 0, 0 },
    { SYS_uname, ALL, 0, 0, 0 },
    /* Time and chance. */
    { SYS_clock_gettime, ALL, 0, 0, 0 },
    { SYS_clock_nanosleep, ALL, 0, 0, 0 },
    { SYS_nanosleep, ALL, 0, 0, 0 },
    { SYS_gettimeofday, ALL, 0, 0, 0 },
    { SYS_getrandom, ALL, 0, 0, 0 },
    { SYS_timerfd_create, LOOP, 0, 0, 0 },
    { SYS_timerfd_settime, ALL, 0, 0, 0 },
    { SYS_eventfd2, LOOP | VCPU, 0, 0, 0 },
    { SYS_timer_create, VCPU, 0, 0, 0 },
    { SYS_timer_settime, VCPU, 0, 0, 0 },
    { SYS_timer_delete, VCPU, 0, 0, 0 },
    /* Threads and their signals.  clone3 hides its flags, so the C library must do without. */
    { SYS_clone, ALL, 0, CLONE_OF_A_THREAD, CLONE_OF_A_THREAD },
    { SYS_set_robust_list, ALL, 0, 0, 0 },
    { SYS_rseq, ALL, 0, 0, 0 },
    { SYS_gettid, ALL, 0, 0, 0 },
    { SYS_getpid, ALL, 0, 0, 0 },
    { SYS_tgkill, ALL, 0, 0, 0 },
    { SYS_sched_yield, ALL, 0, 0, 0 },
    { SYS_sched_getaffinity, ALL, 0, 0, 0 },
    { SYS_sched_setaffinity, ALL, 0, 0, 0 },
    { SYS_rt_sigprocmask, ALL, 0, 0, 0 },
    { SYS_rt_sigaction, ALL, 0, 0, 0 },
    { SYS_rt_sigreturn, ALL, 0, 0, 0 },
    { SYS_rt_sigpending, ALL, 0, 0, 0 },
    { SYS_rt_sigtimedwait, ALL, 0, 0, 0 },
    { SYS_sigaltstack, ALL, 0, 0, 0 },
    { SYS_restart_syscall, ALL, 0, 0, 0 },
    { SYS_exit, ALL, 0, 0, 0 },
    { SYS_exit_group, ALL, 0, 0, 0 },
    { SYS_kill, LOOP, 1, ~0u, SIGTSTP }, /* the whole job, as Ctrl-Z does it */
    /* Threads lay their own kind's filter upon what they start with. */
    { SYS_seccomp, ALL, 0, ~0u, SECCOMP_SET_MODE_FILTER },
    /* The terminal: who has it, its modes.  Not TIOCSTI, which types into the user's shell. */
    { SYS_ioctl, ALL, 1, ~0u, TCGETS },
    { SYS_ioctl, ALL, 1, ~0u, TCSETS },
    { SYS_ioctl, ALL, 1, ~0u, TIOCGPGRP },
    { SYS_getpgrp, ALL, 0, 0, 0 },
    /* A debugger's connection on a socket that listens already; a network disk's. */
    { SYS_accept, LOOP, 0, 0, 0 },
    { SYS_accept4, LOOP, 0, 0, 0 },
    { SYS_recvfrom, ALL, 0, 0, 0 },
    { SYS_sendto, ALL, 0, 0, 0 },
    { SYS_recvmsg, ALL, 0, 0, 0 },
    { SYS_sendmsg, ALL, 0, 0, 0 },
    { SYS_shutdown, ALL, 0, 0, 0 },
    { SYS_setsockopt, LOOP, 0, 0, 0 },
    { SYS_getsockopt, LOOP, 0, 0, 0 },
    { SYS_getsockname, LOOP, 0, 0, 0 },
    { SYS_getpeername, LOOP, 0, 0, 0 },
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

/* --- a refused call --------------------------------------------------------- */

static _Thread_local enum sandbox_thread own_kind;

static const char *
kind_name(enum sandbox_thread kind)
{
    switch (kind) {
    case SANDBOX_LOOP:
        return "event loop's";
    case SANDBOX_VCPU:
        return "vCPU";
    case SANDBOX_FAULT:
        return "fault";
    case SANDBOX_PAGEOUT:
        return "page-out";
    }
    return "worker";
}

static const char *
call_name(int call)
{
    switch (call) {
#define NAME_CASE(name) \
    case SYS_##name:    \
        return #name;
        SYSCALL_NAMES(NAME_CASE)
#undef NAME_CASE
    default:
        return "unknown";
    }
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
    const char *const words[] = { "vkvm: sandbox: system call ",
                                  call_name(info->si_syscall),
                                  " refused in the ",
                                  kind_name(own_kind),
                                  " thread: --no-sandbox runs without, please report it\n",
                                  NULL };

    (void)context;
    terminal_restore_now();
    if (info->si_code <= 0) {
        (void)raise(signal);
        return;
    }
    say(words);
    _exit(125);
}

/* --- the filter ------------------------------------------------------------- */

/* The most instructions of a filter: what begins and ends it, and six for each row. */
#define PROGRAM_MAX (8 + 6 * NROWS)

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short n;
};

static void
emit(struct program *program, struct sock_filter instruction)
{
    program->code[program->n++] = instruction;
}

#define LOAD(field) \
    (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define EQUAL(value, skip) \
    (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define SKIP(n) (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, (n))
#define RETURN(action) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (action))

/* A is the call's number, before and behind. */
static void
emit_row(struct program *program, const struct row *row)
{
    struct sock_filter load = LOAD(args);

    if (row->mask == 0) {
        emit(program, EQUAL(row->call, 1));
        emit(program, RETURN(SECCOMP_RET_ALLOW));
        return;
    }
    load.k += row->argument * (unsigned)sizeof(uint64_t); /* the low half comes first */
    emit(program, EQUAL(row->call, 5));
    emit(program, load);
    emit(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, row->mask));
    emit(program, EQUAL(row->value, 1));
    emit(program, RETURN(SECCOMP_RET_ALLOW));
    emit(program, LOAD(nr));
}

static void
make_program(struct program *program, enum sandbox_thread kind)
{
    program->n = 0;
    emit(program, LOAD(arch));
    emit(program, EQUAL(AUDIT_ARCH_X86_64, 1)); /* else: what the numbers mean is unknown */
    emit(program, SKIP(1));
    emit(program, RETURN(SECCOMP_RET_TRAP));
    emit(program, LOAD(nr));
    for (size_t i = 0; i < NROWS; i++) {
        if ((rows[i].kinds & kind) != 0)
            emit_row(program, &rows[i]);
    }
    emit(program, EQUAL(SYS_clone3, 1));
    emit(program, RETURN(SECCOMP_RET_ERRNO | ENOSYS));
    emit(program, RETURN(SECCOMP_RET_TRAP));
}

int
sandbox_prepare(struct failure *failure)
{
    const unsigned trap = SECCOMP_RET_TRAP;
    struct sigaction action = { .sa_sigaction = on_refused,
                                .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };

    if (SANDBOX_IS_OFF)
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

int
sandbox_enter(enum sandbox_thread kind)
{
    struct program program;
    struct sock_fprog filter = { .filter = program.code };

    if (SANDBOX_IS_OFF)
        return 0;
    make_program(&program, kind);
    filter.len = program.n;
    own_kind = kind;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter) != 0)
        return -errno;
    return 0;
}
