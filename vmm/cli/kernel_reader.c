/* SPDX-License-Identifier: BSD-2-Clause */
/* See kernel_reader.h. */
#include "vmm/cli/kernel_reader.h"

#include "vmm/base/clock.h"
#include "vmm/cli/beside.h"
#include "vmm/kvm/thread_ids.h"
#include "vmm/x86_64/arch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long it may take to begin, ns. */
#define ANSWER_NS 10000000000u

/* The reader's own process.  What the library prints is nobody's. */
static void
become_reader(int socket)
{
    char program[] = "vkvm-trace", verb[] = TRACE_KERNEL_VERB;
    char *const argv[] = { program, verb, NULL };
    int nothing = open("/dev/null", O_RDWR);

    if (nothing >= 0 && dup2(socket, STDIN_FILENO) >= 0 && dup2(nothing, STDOUT_FILENO) >= 0 &&
        dup2(nothing, STDERR_FILENO) >= 0)
        (void)beside_exec("trace", argv);
    _exit(1);
}

/*
 * A child's child: its end need not be waited for, which the sandbox would not let vkvm.
 * Returns 0 or -errno.
 */
static int
spawn(int socket)
{
    pid_t child = fork();
    int status;

    if (child < 0)
        return -errno;
    if (child == 0) {
        child = fork();
        if (child == 0)
            become_reader(socket);
        _exit(child < 0 ? 1 : 0);
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return status == 0 ? 0 : -EAGAIN;
}

/* Read a line, byte by byte, since what follows it is not ours.  Returns false without one. */
static bool
read_line(int socket, char line[TRACE_KERNEL_LINE_MAX])
{
    uint64_t until = clock_now_ns() + ANSWER_NS;
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    size_t length = 0;

    while (length < TRACE_KERNEL_LINE_MAX) {
        uint64_t now = clock_now_ns();
        if (now >= until || poll(&readable, 1, (int)((until - now) / 1000000) + 1) < 0)
            return false;
        if ((readable.revents & (POLLIN | POLLHUP)) == 0)
            continue;
        if (read(socket, &line[length], 1) != 1)
            return false;
        if (line[length] == '\n') {
            line[length] = '\0';
            return true;
        }
        length++;
    }
    return false;
}

/* Returns whether it reads; else `why` is filled. */
static bool
begin(int sockets[2], char why[TRACE_KERNEL_LINE_MAX])
{
    int error = spawn(sockets[1]);

    /* So that its end is seen here. */
    close(sockets[1]);
    if (error != 0)
        snprintf(why, TRACE_KERNEL_LINE_MAX, "no process can be made: %s", strerror(-error));
    else if (!read_line(sockets[0], why))
        snprintf(why, TRACE_KERNEL_LINE_MAX,
                 "vkvm-trace does not answer: is it beside vkvm or in ../libexec/vkvm?");
    else
        return strcmp(why, TRACE_KERNEL_READY) == 0;
    return false;
}

void
kernel_reader_start(struct kernel_reader *reader)
{
    int sockets[2];

    reader->fd = 0;
    if (arch_kvm_is_software()) {
        snprintf(reader->why, sizeof(reader->why),
                 "this host's KVM works without a second stage and has no event of its faults");
        return;
    }
    if (!thread_ids_are_unique(THREAD_IDS_NAMESPACE)) {
        snprintf(reader->why, sizeof(reader->why),
                 "vkvm runs in a PID namespace, whose thread ids are not the kernel's");
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        snprintf(reader->why, sizeof(reader->why), "no socket can be made: %s", strerror(errno));
        return;
    }
    if (begin(sockets, reader->why))
        reader->fd = sockets[0];
    else
        close(sockets[0]);
}

void
kernel_reader_stop(struct kernel_reader *reader)
{
    if (reader->fd != 0)
        close(reader->fd);
    reader->fd = 0;
}
