/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The modes are changed by one thread; a fault's handler, which may run in any thread at any
 * moment, reads what to restore.  So `saved` is complete before the terminal is published in
 * terminal_taken, and that before the modes change.
 */
#include "vmm/device/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a fault restores.  A handler has no other way to find it. */
static struct terminal *_Atomic terminal_taken;

void
terminal_init(struct terminal *terminal, int fd, bool all_keys)
{
    *terminal = (struct terminal){ .fd = fd, .all_keys = all_keys };
}

/* Safe in a signal handler. */
static bool
is_foreground(const struct terminal *terminal)
{
    return tcgetpgrp(terminal->fd) == getpgrp();
}

/* What the kernel keeps of the modes; padding is nobody's. */
static bool
same_modes(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

static struct termios
raw_modes(const struct termios *modes, bool all_keys)
{
    struct termios raw = *modes;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR);
    if (all_keys) {
        raw.c_lflag &= ~(tcflag_t)(ISIG | IEXTEN);
        raw.c_iflag &= ~(tcflag_t)(IXON | ISTRIP | BRKINT | PARMRK);
    }
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return raw;
}

static void
give_back(struct terminal *terminal)
{
    terminal->taken = false;
    atomic_store(&terminal_taken, NULL);
}

bool
terminal_take(struct terminal *terminal)
{
    struct terminal *nobody = NULL;
    struct termios now;

    if (!isatty(terminal->fd))
        return true;
    if (!is_foreground(terminal) || tcgetattr(terminal->fd, &now) != 0)
        return false;
    if (terminal->taken && same_modes(&now, &terminal->raw))
        return true;
    if (terminal->taken)
        give_back(terminal);
    terminal->saved = now;
    if (!atomic_compare_exchange_strong(&terminal_taken, &nobody, terminal))
        return true;
    terminal->taken = true;
    terminal->raw = raw_modes(&now, terminal->all_keys);
    if (tcsetattr(terminal->fd, TCSANOW, &terminal->raw) == 0 &&
        tcgetattr(terminal->fd, &terminal->raw) == 0)
        return true;
    terminal_restore(terminal);
    return false;
}

void
terminal_restore(struct terminal *terminal)
{
    if (!terminal->taken)
        return;
    if (is_foreground(terminal))
        (void)tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
    give_back(terminal);
}

int
terminal_open_output(int fd)
{
    char path[32];
    int own;

    if (!isatty(fd))
        return -ENOTTY;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        own = open("/dev/tty", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    return own;
}

void
terminal_restore_now(void)
{
    struct terminal *terminal = atomic_load(&terminal_taken);

    if (terminal != NULL && is_foreground(terminal))
        (void)tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
}

/*
 * Restore, and let the signal do what it does by default: an instruction that faulted does so
 * again; what was sent is sent again, and comes when this returns.
 */
static void
on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    terminal_restore_now();
    if (info->si_code <= 0)
        (void)raise(signal);
}

void
terminal_guard(void)
{
    static const int signals[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP };
    struct sigaction action = { .sa_sigaction = on_fault,
                                .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };
    struct sigaction old;

    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGTTOU);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (sigaction(signals[i], NULL, &old) == 0 && (old.sa_flags & SA_SIGINFO) == 0 &&
            old.sa_handler == SIG_DFL)
            (void)sigaction(signals[i], &action, NULL);
    }
}
