/* SPDX-License-Identifier: BSD-2-Clause */
/* Mechanism: handle_userfault() wakes the descriptor's wait queue, on which each
 * epoll registration is an entry, after the message is readable and before it sleeps. */
#include "vmm/kvm/delay_line.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

/* epoll knows a registration by descriptor and file: each needs a descriptor of its own. */
static bool
add_entry(struct delay_line *line, int uffd)
{
    struct epoll_event event = { .events = EPOLLIN };
    int fd = fcntl(uffd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return false;
    if (epoll_ctl(line->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return false;
    }
    line->duplicates[line->length++] = fd;
    return true;
}

void
delay_line_init(struct delay_line *line, int uffd, unsigned length)
{
    line->length = 0;
    line->epoll_fd = length == 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (line->epoll_fd < 0)
        return;
    while (line->length < length && line->length < DELAY_LINE_MAX)
        if (!add_entry(line, uffd))
            break;
}

void
delay_line_fini(struct delay_line *line)
{
    for (unsigned i = 0; i < line->length; i++)
        close(line->duplicates[i]);
    if (line->epoll_fd >= 0)
        close(line->epoll_fd);
    line->length = 0;
    line->epoll_fd = -1;
}
