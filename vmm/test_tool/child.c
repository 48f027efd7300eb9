/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork and exec.  The runner has one thread, so the new process may call anything before it execs; why
 * it could not comes back through a pipe that exec closes.
 */
#include "vmm/test_tool/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHELL "/bin/sh"

/* The words behind it: the setup, then the program and its words. */
static const char setup_script[] = "setup=$1; shift; (eval \"$setup\") || "
                                   "{ echo \"vkvm: the test's setup failed: run it by hand in an "
                                   "empty directory\" >&2; exit 125; }; "
                                   "exec \"$@\"";

/* --- The new process ------------------------------------------------------- */

static void
restore_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static char **
add_setup(const struct child_request *request)
{
    size_t n = 0;
    char **argv;

    while (request->argv[n] != NULL)
        n++;
    argv = calloc(n + 6, sizeof(*argv));
    if (argv == NULL)
        return NULL;
    argv[0] = strdup(SHELL);
    argv[1] = strdup("-c");
    argv[2] = strdup(setup_script);
    argv[3] = strdup("sh");
    argv[4] = strdup(request->setup);
    memcpy(argv + 5, request->argv, n * sizeof(*argv));
    return argv;
}

/* Returns only if it cannot be: errno. */
static int
become(const struct child_request *request, int output, pid_t parent)
{
    char *const *argv = request->argv;
    int null;

    restore_signals();
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return errno;
    if (getppid() != parent)
        return ESRCH;
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0)
        return errno;
    if (request->directory != NULL && chdir(request->directory) != 0)
        return errno;
    if (request->setup != NULL)
        argv = add_setup(request);
    if (argv != NULL)
        execv(argv[0], argv);
    return errno;
}

/* --- The runner ------------------------------------------------------------ */

/* Returns 0 when it has become what it shall be, or -errno. */
static int
wait_for_exec(int pipe)
{
    int error = 0;
    ssize_t n;

    do
        n = read(pipe, &error, sizeof(error));
    while (n < 0 && errno == EINTR);
    return n == sizeof(error) ? -error : 0;
}

/* All but exec: returns the process, or -1 with errno. */
static pid_t
fork_child(const struct child_request *request, int output, int status)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        int error = become(request, output, parent);
        (void)!write(status, &error, sizeof(error));
        _exit(127);
    }
    if (pid > 0)
        setpgid(pid, pid); /* whoever is first */
    return pid;
}

static void
close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
    }
}

int
child_start(struct child *child, const struct child_request *request, struct failure *failure)
{
    int output[2] = { -1, -1 }, status[2] = { -1, -1 };
    int error = 0;

    *child = (struct child){ .pidfd = -1, .output = -1 };
    if (pipe2(output, O_CLOEXEC) != 0 || pipe2(status, O_CLOEXEC) != 0 ||
        fcntl(output[0], F_SETFL, O_NONBLOCK) != 0)
        error = -errno;
    if (error == 0) {
        child->pid = fork_child(request, output[1], status[1]);
        error = child->pid < 0 ? -errno : 0;
    }
    if (error == 0) {
        close(status[1]);
        status[1] = -1;
        error = wait_for_exec(status[0]);
        child->pidfd = error == 0 ? pidfd_open(child->pid, 0) : -1;
        if (error == 0 && child->pidfd < 0)
            error = -errno;
        if (error != 0) {
            child_signal(child, SIGKILL);
            (void)!waitpid(child->pid, NULL, 0);
        }
    }
    if (error == 0) {
        child->output = output[0];
        output[0] = -1;
    } else {
        *child = (struct child){ .pidfd = -1, .output = -1 };
        failure_set(failure, error, "cannot start " FAILURE_NAME ": %s", request->argv[0],
                    strerror(-error));
    }
    close_pair(output);
    close_pair(status);
    return error;
}

void
child_signal(const struct child *child, int signal)
{
    if (child->pid > 0)
        kill(-child->pid, signal);
}

int
child_reap(struct child *child)
{
    int status = 0;

    child_signal(child,
                 SIGKILL); /* it is no more, and keeps the group's number until it is waited for */
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(child->pidfd);
    child->pidfd = -1;
    child->pid = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void
child_close(struct child *child)
{
    if (child->output >= 0)
        close(child->output);
    child->output = -1;
}
