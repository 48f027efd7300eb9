/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of calls.
 *
 * Besides these rows clone3, whose flags a filter cannot see, answers ENOSYS to all: the C library
 * uses clone then.  All else is refused.
 */
#include "vmm/vm/sandbox_table.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define LOOP SANDBOX_BIT(SANDBOX_LOOP)
#define VCPU SANDBOX_BIT(SANDBOX_VCPU)
#define FAULT SANDBOX_BIT(SANDBOX_FAULT)
#define PAGEOUT SANDBOX_BIT(SANDBOX_PAGEOUT)
#define DISK SANDBOX_BIT(SANDBOX_DISK)
#define TRACE SANDBOX_BIT(SANDBOX_TRACE)
#define ALL (LOOP | VCPU | FAULT | PAGEOUT | DISK | TRACE)

#define ALWAYS 0, 0, 0

/* An ioctl's number holds the letter of what it is for. */
#define IOCTL_LETTER 0xff00u
#define IOCTL_KVM 0xae00u
#define IOCTL_USERFAULTFD 0xaa00u
#define WHOLE 0xffffffffu
#define POINTER UINT64_MAX

#define CLONE_OF_A_THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define OPEN_CHANGES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* clang-format off */
const struct sandbox_row sandbox_table[] = {
    /* The guest, and its memory's faults. */
    { SYS_ioctl, LOOP | VCPU | DISK, 1, IOCTL_LETTER, IOCTL_KVM },
    { SYS_ioctl, ALL, 1, IOCTL_LETTER, IOCTL_USERFAULTFD },
    /* Waiting. */
    { SYS_futex, ALL, ALWAYS },
    { SYS_poll, ALL, ALWAYS },
    { SYS_ppoll, ALL, ALWAYS },
    { SYS_epoll_wait, LOOP, ALWAYS },
    { SYS_epoll_pwait, LOOP, ALWAYS },
    { SYS_epoll_ctl, LOOP | VCPU | FAULT, ALWAYS },
    /* A delay line, and a core for a vCPU and its fault thread: chosen while the VM runs. */
    { SYS_epoll_create1, FAULT, ALWAYS },
    { SYS_sched_setaffinity, FAULT, ALWAYS },
    /* Memory: windows, the frame store, malloc.  Nothing becomes executable. */
    { SYS_mmap, ALL, 2, PROT_EXEC, 0 },
    { SYS_mprotect, ALL, 2, PROT_EXEC, 0 },
    { SYS_munmap, ALL, ALWAYS },
    { SYS_mremap, ALL, ALWAYS },
    { SYS_madvise, ALL, ALWAYS },
    { SYS_msync, ALL, ALWAYS },
    { SYS_brk, ALL, ALWAYS },
    /* Files that are open: swap, mapped files, disks, standard streams. */
    { SYS_read, ALL, ALWAYS },
    { SYS_write, ALL, ALWAYS },
    { SYS_readv, ALL, ALWAYS },
    { SYS_writev, ALL, ALWAYS },
    { SYS_pread64, ALL, ALWAYS },
    { SYS_pwrite64, ALL, ALWAYS },
    { SYS_preadv, ALL, ALWAYS },
    { SYS_pwritev, ALL, ALWAYS },
    { SYS_lseek, ALL, ALWAYS },
    { SYS_fallocate, ALL, ALWAYS },
    { SYS_fsync, ALL, ALWAYS },
    { SYS_fdatasync, ALL, ALWAYS },
    { SYS_fstat, ALL, ALWAYS },
    { SYS_newfstatat, ALL, ALWAYS },
    { SYS_fcntl, ALL, ALWAYS },
    { SYS_close, ALL, ALWAYS },
    /* A block device's discard. */
    { SYS_ioctl, ALL, 1, WHOLE, BLKDISCARD },
    { SYS_ioctl, ALL, 1, WHOLE, BLKZEROOUT },
    /* For reading only: what is full is looked up in /proc when something fails (limits.h). */
    { SYS_openat, ALL, 2, OPEN_CHANGES, O_RDONLY },
    { SYS_prlimit64, ALL, 2, POINTER, 0 }, /* asks, sets nothing */
    { SYS_geteuid, ALL, ALWAYS },
    { SYS_sysinfo, ALL, ALWAYS },
    /* Time and chance. */
    { SYS_clock_gettime, ALL, ALWAYS },
    { SYS_clock_nanosleep, ALL, ALWAYS },
    { SYS_nanosleep, ALL, ALWAYS },
    { SYS_gettimeofday, ALL, ALWAYS },
    { SYS_getrandom, ALL, ALWAYS },
    { SYS_timerfd_settime, LOOP | VCPU, ALWAYS },
    { SYS_timer_create, VCPU, ALWAYS },
    { SYS_timer_settime, VCPU, ALWAYS },
    { SYS_timer_delete, VCPU, ALWAYS },
    /* Threads and their signals. */
    { SYS_clone, LOOP | FAULT, 0, CLONE_OF_A_THREAD, CLONE_OF_A_THREAD },
    { SYS_set_robust_list, ALL, ALWAYS },
    { SYS_rseq, ALL, ALWAYS },
    { SYS_gettid, ALL, ALWAYS },
    { SYS_getpid, ALL, ALWAYS },
    { SYS_tgkill, ALL, 0, WHOLE, SANDBOX_OWN_PID },
    { SYS_sched_yield, ALL, ALWAYS },
    { SYS_sched_getaffinity, ALL, ALWAYS },
    { SYS_rt_sigprocmask, ALL, ALWAYS },
    { SYS_rt_sigaction, ALL, ALWAYS },
    { SYS_rt_sigreturn, ALL, ALWAYS },
    { SYS_rt_sigtimedwait, LOOP, ALWAYS },
    { SYS_restart_syscall, ALL, ALWAYS },
    { SYS_exit, ALL, ALWAYS },
    { SYS_exit_group, ALL, ALWAYS },
    { SYS_kill, LOOP, 0, WHOLE, 0 }, /* the own job: it is stopped as Ctrl-Z does it */
    /* Threads lay their own kind's filter upon what they start with. */
    { SYS_seccomp, ALL, 0, WHOLE, SECCOMP_SET_MODE_FILTER },
    /* The terminal: who has it, its modes.  Not TIOCSTI, which types into the user's shell. */
    { SYS_ioctl, ALL, 1, WHOLE, TCGETS },
    { SYS_ioctl, ALL, 1, WHOLE, TCSETS },
    { SYS_ioctl, ALL, 1, WHOLE, TIOCGPGRP },
    { SYS_getpgrp, ALL, ALWAYS },
    /* A debugger's connection on a socket that listens already; a network disk's, which is made. */
    { SYS_accept, LOOP, ALWAYS },
    { SYS_accept4, LOOP, ALWAYS },
    { SYS_recvfrom, LOOP | DISK, ALWAYS },
    { SYS_sendto, LOOP | DISK, ALWAYS },
    { SYS_recvmsg, LOOP | DISK, ALWAYS },
    { SYS_sendmsg, LOOP | DISK, ALWAYS },
    { SYS_shutdown, LOOP | DISK, ALWAYS },
    { SYS_setsockopt, LOOP | DISK, ALWAYS },
    { SYS_getsockopt, LOOP | DISK, ALWAYS },
    { SYS_getsockname, LOOP, ALWAYS },
    { SYS_getpeername, LOOP, ALWAYS },
    { SYS_unlink, LOOP, ALWAYS }, /* the socket's name, at the end */
};
/* clang-format on */

const size_t sandbox_table_rows = sizeof(sandbox_table) / sizeof(sandbox_table[0]);
