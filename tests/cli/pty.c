/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run a command on a terminal of its own, press keys, and look at the terminal's modes.
 *
 *   pty [-k CODE]... COMMAND [ARGUMENT]...
 *
 *   -k  a key to press, by its code (3 is Ctrl-C), when the command has switched line
 *       editing off; the next one when it has done so again
 *
 * The command is a shell's foreground job: it stops at Ctrl-Z, and is continued at once.
 * What it writes goes to standard output, and in the end a line "modes: ...":
 *
 *   untouched  line editing was never off
 *   restored   it was, and the modes are what they were, at the end and at every stop
 *   changed    they are not
 *
 * Exits as the command did (128 + N for signal N).
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS_MAX 16

struct session {
    int master, slave; /* the terminal's ends */
    struct termios before;
    unsigned char keys[KEYS_MAX];
    unsigned nkeys, pressed;
    pid_t command;
    bool was_raw; /* line editing was off at some time ... */
    bool raw;     /* ... and was when we last looked */
    bool changed; /* the modes were not the old ones when they should have been */
};

static void
check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "pty: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void
open_terminal(struct session *s)
{
    check(openpty(&s->master, &s->slave, NULL, NULL, NULL) == 0, "openpty");
    check(tcgetattr(s->slave, &s->before) == 0, "tcgetattr");
}

/* Be what a shell is: the leader of the terminal's session, and no part of its foreground. */
static void
lead_session(const struct session *s)
{
    check(setsid() >= 0, "setsid");
    check(ioctl(s->slave, TIOCSCTTY, 0) == 0, "TIOCSCTTY");
    signal(SIGTTOU, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

_Noreturn static void
run_command(const struct session *s, char **argv)
{
    setpgid(0, 0);
    tcsetpgrp(s->slave, getpid());
    signal(SIGTTOU, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    for (int fd = 0; fd <= 2; fd++)
        dup2(s->slave, fd);
    close(s->master);
    close(s->slave);
    execvp(argv[0], argv);
    _exit(127);
}

static void
start_command(struct session *s, char **argv)
{
    s->command = fork();
    check(s->command >= 0, "fork");
    if (s->command == 0)
        run_command(s, argv);
    setpgid(s->command, s->command);
    tcsetpgrp(s->slave, s->command);
}

/* Only what the command was told to leave alone is compared: padding is nobody's. */
static bool
same_modes(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof a->c_cc) == 0;
}

static void
expect_old_modes(struct session *s)
{
    struct termios now;

    check(tcgetattr(s->slave, &now) == 0, "tcgetattr");
    if (!same_modes(&now, &s->before))
        s->changed = true;
    s->raw = false;
}

/* Press the next key when line editing has gone off. */
static void
look(struct session *s)
{
    struct termios now;
    bool raw;

    check(tcgetattr(s->slave, &now) == 0, "tcgetattr");
    raw = (now.c_lflag & ICANON) == 0;
    if (raw && !s->raw) {
        s->was_raw = true;
        if (s->pressed < s->nkeys)
            check(write(s->master, &s->keys[s->pressed++], 1) == 1, "write");
    }
    s->raw = raw;
}

/* Pass on what the command has written. */
static void
copy_output(const struct session *s)
{
    struct pollfd p = { .fd = s->master, .events = POLLIN };
    char bytes[4096];
    ssize_t n;

    while (poll(&p, 1, 1) > 0 && (n = read(s->master, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)n, stdout);
}

/* Until the command ends; returns its wait status. */
static int
attend(struct session *s)
{
    int status;

    for (;;) {
        pid_t pid = waitpid(s->command, &status, WUNTRACED | WNOHANG);

        check(pid >= 0, "waitpid");
        if (pid != 0)
            expect_old_modes(s);
        if (pid != 0 && !WIFSTOPPED(status))
            return status;
        if (pid != 0)
            kill(-s->command, SIGCONT);
        look(s);
        copy_output(s);
    }
}

static int
session(struct session *s, char **argv)
{
    int status;

    lead_session(s);
    start_command(s, argv);
    status = attend(s);
    copy_output(s);
    printf("modes: %s\n", s->changed ? "changed" : s->was_raw ? "restored" : "untouched");
    fflush(stdout);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
usage(void)
{
    fputs("usage: pty [-k CODE]... COMMAND [ARGUMENT]...\n", stderr);
    return 2;
}

int
main(int argc, char **argv)
{
    struct session s = { .nkeys = 0 };
    int c, status;
    pid_t leader;

    while ((c = getopt(argc, argv, "+k:")) != -1) {
        if (c != 'k' || s.nkeys == KEYS_MAX)
            return usage();
        s.keys[s.nkeys++] = (unsigned char)atoi(optarg);
    }
    if (optind == argc)
        return usage();
    open_terminal(&s);
    /* A process that leads a group already cannot lead a session. */
    leader = fork();
    check(leader >= 0, "fork");
    if (leader == 0)
        exit(session(&s, argv + optind));
    check(waitpid(leader, &status, 0) == leader, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
