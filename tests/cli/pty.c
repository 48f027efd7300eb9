/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run a command on a terminal of its own, press keys, and look at the terminal's modes.
 *
 *   pty [-b] [-g] [-w MS] [-k CODE | -s SIGNAL | -t SIGNAL]... COMMAND [ARGUMENT]...
 *
 *   -b  start the command in the background (`&`), and bring it to the foreground (`fg`) later
 *   -g  let it go on in the background (`bg`) when it stops for the first time, then `fg`
 *   -w  wait so many milliseconds before it is continued after its first stop
 *   -k  keys to press, by their codes (3 is Ctrl-C), with commas between them: all at once
 *   -s  a signal to send to the command, by its number
 *   -t  one to send to a thread of it that is not its first
 *
 * Each of the last three is done when the command has switched line editing off; the next one when
 * it has done so again.
 *
 * The command is a shell's foreground job: it stops at Ctrl-Z, and is continued at once.  In the
 * background it must leave the modes and a line that is typed to the shell alone, and not be
 * stopped.  What it writes goes to standard output, and in the end a line "modes: ...":
 *
 *   untouched  line editing was never off
 *   restored   it was, and the modes are what they were, at the end and at every stop
 *   changed    they are not, or were changed in the background
 *   stopped    it was stopped in the background
 *   stolen     it read what was typed to the shell
 *
 * Exits as the command did (128 + N for signal N).
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACTIONS_MAX 16

/* How long a command is watched in the background. */
#define BACKGROUND_MS 300

struct action {
    char option; /* k, s, t */
    const char *value;
};

struct session {
    int master, slave; /* the terminal's ends */
    struct termios before;
    struct action actions[ACTIONS_MAX];
    unsigned nactions, done;
    bool background; /* it starts there */
    bool bg;         /* it goes on there after its first stop */
    int wait_ms;     /* before it is continued for the first time */
    pid_t command;
    bool was_raw;      /* line editing was off at some time ... */
    bool raw;          /* ... and was when we last looked */
    const char *wrong; /* the first thing that should not have been; NULL = nothing */
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
    const struct rlimit no_core = { 0, 0 };

    setrlimit(RLIMIT_CORE, &no_core);
    setpgid(0, 0);
    if (!s->background)
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
    if (!s->background)
        tcsetpgrp(s->slave, s->command);
}

/* Only what the command was told to leave alone is compared: padding is nobody's. */
static bool
same_modes(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

static void
is_wrong(struct session *s, const char *what)
{
    if (s->wrong == NULL)
        s->wrong = what;
}

static void
expect_old_modes(struct session *s)
{
    struct termios now;

    check(tcgetattr(s->slave, &now) == 0, "tcgetattr");
    if (!same_modes(&now, &s->before))
        is_wrong(s, "changed");
    s->raw = false;
}

/* The command's second thread: KVM's own, which comes later, takes no signals. */
static pid_t
other_thread(const struct session *s)
{
    char path[64];
    struct dirent *entry;
    pid_t thread = s->command, id;
    DIR *tasks;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)s->command);
    tasks = opendir(path);
    check(tasks != NULL, path);
    while ((entry = readdir(tasks)) != NULL) {
        id = atoi(entry->d_name);
        if (id > s->command && (thread == s->command || id < thread))
            thread = id;
    }
    closedir(tasks);
    return thread;
}

/* All keys in one piece, as a paste comes. */
static void
press(const struct session *s, const char *codes)
{
    unsigned char keys[256];
    ssize_t n = 0;
    char *end;

    for (const char *p = codes; n < (ssize_t)sizeof(keys); p = end + 1) {
        keys[n++] = (unsigned char)strtoul(p, &end, 10);
        if (*end != ',')
            break;
    }
    check(write(s->master, keys, (size_t)n) == n, "write");
}

static void
act(const struct session *s, const struct action *action)
{
    int signal = atoi(action->value);

    if (action->option == 'k')
        press(s, action->value);
    else if (action->option == 's')
        check(kill(s->command, signal) == 0, "kill");
    else
        check(tgkill(s->command, other_thread(s), signal) == 0, "tgkill");
}

/* Do the next action when line editing has gone off. */
static void
look(struct session *s)
{
    struct termios now;
    bool raw;

    check(tcgetattr(s->slave, &now) == 0, "tcgetattr");
    raw = (now.c_lflag & ICANON) == 0;
    if (raw && !s->raw) {
        s->was_raw = true;
        if (s->done < s->nactions)
            act(s, &s->actions[s->done++]);
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

    while (poll(&p, 1, 1) > 0 && (n = read(s->master, bytes, sizeof(bytes))) > 0)
        fwrite(bytes, 1, (size_t)n, stdout);
}

/* The command runs in the background while a line is typed to the shell; then it comes forward. */
static void
watch_background(struct session *s)
{
    struct pollfd p = { .fd = s->slave, .events = POLLIN };
    char line[16];
    int status;

    tcsetpgrp(s->slave, getpid());
    if (s->bg)
        kill(-s->command, SIGCONT);
    check(write(s->master, "shell\n", 6) == 6, "write");
    for (int i = 0; i < BACKGROUND_MS / 10; i++) {
        if (waitpid(s->command, &status, WUNTRACED | WNOHANG) != 0)
            is_wrong(s, "stopped");
        expect_old_modes(s);
        copy_output(s);
        poll(NULL, 0, 10);
    }
    if (poll(&p, 1, 0) != 1 || read(s->slave, line, sizeof(line)) != 6)
        is_wrong(s, "stolen");
    s->background = s->bg = false;
    tcsetpgrp(s->slave, s->command);
}

/* Until the command ends; returns its wait status. */
static int
attend(struct session *s)
{
    int status;

    if (s->background)
        watch_background(s);
    for (;;) {
        pid_t pid = waitpid(s->command, &status, WUNTRACED | WNOHANG);

        check(pid >= 0, "waitpid");
        if (pid != 0)
            expect_old_modes(s);
        if (pid != 0 && !WIFSTOPPED(status))
            return status;
        if (pid != 0)
            poll(NULL, 0, s->wait_ms);
        s->wait_ms = pid != 0 ? 0 : s->wait_ms;
        if (pid != 0 && s->bg)
            watch_background(s);
        else if (pid != 0)
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
    printf("modes: %s\n", s->wrong != NULL ? s->wrong : s->was_raw ? "restored" : "untouched");
    fflush(stdout);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
usage(void)
{
    fputs(
        "usage: pty [-b] [-g] [-w MS] [-k CODE | -s SIGNAL | -t SIGNAL]... COMMAND [ARGUMENT]...\n",
        stderr);
    return 2;
}

/* Returns false for what is no option. */
static bool
take_option(struct session *s, int option)
{
    switch (option) {
    case 'b':
        s->background = true;
        return true;
    case 'g':
        s->bg = true;
        return true;
    case 'w':
        s->wait_ms = atoi(optarg);
        return true;
    case 'k':
    case 's':
    case 't':
        if (s->nactions == ACTIONS_MAX)
            return false;
        s->actions[s->nactions++] = (struct action){ (char)option, optarg };
        return true;
    default:
        return false;
    }
}

int
main(int argc, char **argv)
{
    struct session s = { .nactions = 0 };
    int option, status;
    pid_t leader;

    while ((option = getopt(argc, argv, "+bgk:s:t:w:")) != -1) {
        if (!take_option(&s, option))
            return usage();
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
