/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for the end: three descriptors that become readable, for the end itself, a signal and
 * the timeout.
 */
#include "vmm/vm/vm_watch.h"

#include "vmm/vm/vm_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Block the signals that would end or stop the process, but for those it was told to ignore. */
static void
block_signals(struct vm_watch *watch)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
    struct sigaction action;
    sigset_t blocked;
    size_t i;

    sigemptyset(&watch->signals);
    for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&watch->signals, signals[i]);
    }
    /* SIGPIPE: write says EPIPE instead. */
    blocked = watch->signals;
    sigaddset(&blocked, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &watch->saved_mask);
}

/* Forget what arrived too late to matter, so that it does not end the process now. */
static void
unblock_signals(struct vm_watch *watch)
{
    const struct timespec now = { 0 };
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (sigtimedwait(&watch->signals, NULL, &now) > 0 || sigtimedwait(&pipe, NULL, &now) > 0)
        continue;
    (void)pthread_sigmask(SIG_SETMASK, &watch->saved_mask, NULL);
}

static int
start_timer(unsigned timeout_ms, int *fdp)
{
    const struct itimerspec when = {
        .it_value = { .tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L },
    };
    int fd, ret;

    *fdp = -1;
    if (timeout_ms == 0)
        return 0;
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (timerfd_settime(fd, 0, &when, NULL) != 0) {
        ret = -errno;
        close(fd);
        return ret;
    }
    *fdp = fd;
    return 0;
}

int
vm_watch_start(struct vm_watch *watch, unsigned timeout_ms)
{
    block_signals(watch);
    watch->timer_fd = -1;
    watch->signal_fd = signalfd(-1, &watch->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (watch->signal_fd < 0)
        return -errno;
    return start_timer(timeout_ms, &watch->timer_fd);
}

void
vm_watch_stop(struct vm_watch *watch)
{
    if (watch->timer_fd >= 0)
        close(watch->timer_fd);
    if (watch->signal_fd >= 0)
        close(watch->signal_fd);
    unblock_signals(watch);
}

/*
 * As SIGTSTP does to who does not block it.  Not by SIGSTOP: that would also stop a process that
 * no shell is there to continue, the leader of a session or an init, for ever.
 */
static void
stop_self(void)
{
    sigset_t stop;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    (void)raise(SIGTSTP);
    (void)pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
}

/*
 * Ctrl-Z: the terminal is the shell's while the process is stopped.  A vCPU that waits in
 * KVM_RUN for a fault thread cannot stop before it has its answer, and the shell waits until
 * all threads have stopped: so the vCPUs come out first.
 */
static void
stop_process(struct vm *vm)
{
    if (vm_pause(vm, VCPU_PAUSE_STOP) != 0)
        return;
    console_restore(&vm->console);
    stop_self();
    console_raw(&vm->console);
    vm_resume(vm, VCPU_PAUSE_STOP);
}

static void
take_signal(struct vm *vm, const struct vm_watch *watch)
{
    struct signalfd_siginfo info;

    if (read(watch->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGTSTP)
        stop_process(vm);
    else
        vm_end(vm, VM_END_INTERRUPTED, (int)info.ssi_signo, "ended by signal %u (%s)",
               info.ssi_signo, strsignal((int)info.ssi_signo));
}

void
vm_watch_wait(const struct vm_watch *watch, struct vm *vm)
{
    struct pollfd fds[] = {
        { .fd = vm->ended_fd, .events = POLLIN },
        { .fd = watch->signal_fd, .events = POLLIN },
        { .fd = watch->timer_fd, .events = POLLIN },
    };

    while ((fds[0].revents & POLLIN) == 0) {
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0) {
            if (errno != EINTR)
                vm_end(vm, VM_END_FAILED, 0, "poll: %s", strerror(errno));
            continue;
        }
        if ((fds[1].revents & POLLIN) != 0)
            take_signal(vm, watch);
        if ((fds[2].revents & POLLIN) != 0)
            vm_end(vm, VM_END_TIMEOUT, 0, "not done after %u ms: give it more time by --timeout",
                   vm->config.timeout_ms);
    }
}
