/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands are quick or are ended; what they print beyond the room is read and dropped. */
#include "vmm/test_tool/shell.h"

#include "vmm/base/clock.h"
#include "vmm/test_tool/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS 1000000000u

/* kvm-unit-tests' conditions are bash's. */
static const char *
shell_path(void)
{
    return access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
}

/* Read what is there.  Returns whether more may come. */
static bool
take_output(struct child *child, char *output, size_t size, size_t *length)
{
    char dropped[512];
    bool full = *length + 1 >= size;
    ssize_t n = full ? read(child->output, dropped, sizeof(dropped))
                     : read(child->output, output + *length, size - 1 - *length);

    if (n > 0 && !full)
        *length += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Until it has ended.  Returns whether it did in time. */
static bool
wait_for(struct child *child, char *output, size_t size, size_t *length)
{
    const uint64_t end = clock_now_ns() + SHELL_SECONDS * (uint64_t)SECOND_NS;
    bool open = true;

    for (;;) {
        struct pollfd fds[] = { { .fd = child->pidfd, .events = POLLIN },
                                { .fd = open ? child->output : -1, .events = POLLIN } };
        uint64_t now = clock_now_ns();

        if (now >= end)
            return false;
        (void)!poll(fds, 2, (int)((end - now) / 1000000 + 1));
        if (fds[1].revents != 0)
            open = take_output(child, output, size, length);
        else if (fds[0].revents != 0)
            return true;
    }
}

int
shell_run(const char *command, char *output, size_t size, size_t *length, int *status,
          struct failure *failure)
{
    char shell[16], option[] = "-c", text[4096];
    char *argv[] = { shell, option, text, NULL };
    const struct child_request request = { .argv = argv };
    struct child child;
    bool done;
    int error;

    *length = 0;
    if (strlen(command) >= sizeof(text))
        return failure_set(failure, -E2BIG, "a command of the shell's is too long: shorten it");
    strcpy(shell, shell_path());
    strcpy(text, command);
    error = child_start(&child, &request, failure);
    if (error != 0)
        return error;
    done = wait_for(&child, output, size, length);
    child_close(&child);
    *status = child_reap(&child);
    if (size > 0)
        output[*length] = '\0';
    if (!done)
        return failure_set(failure, -ETIMEDOUT, "not done after %u s: %.200s", SHELL_SECONDS,
                           command);
    return 0;
}
