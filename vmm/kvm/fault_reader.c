/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errnos that are tried again: EAGAIN and EINTR, of read and poll.  The first says that there is no
 * message (any more), and the thread sleeps in poll before it asks again; the second comes at most
 * once for each signal.
 */
#include "vmm/kvm/fault_reader.h"

#include "vmm/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Bounds of the time a thread spins.  The shortest is longer than a vCPU takes from being
 * woken to its next fault, so that a storm is noticed at its second fault. */
#define SPIN_MIN_NS 50000u
#define SPIN_MAX_NS 200000u

/* Looks that are tried: all but the first few are undisturbed. */
#define LOOKS 16u

/* Messages after which a way of spinning is judged, and how many of them may be late. */
#define SPIN_JUDGED 64u
#define SPIN_LATE_MAX 16u

/* Sleep until there is a message or a reason to look up.  Returns 0 or -errno. */
static int
wait_for_message(const struct fault_reader *reader)
{
    struct pollfd fds[2] = {
        { .fd = reader->uffd, .events = POLLIN },
        { .fd = reader->stop_fd, .events = POLLIN },
    };
    int timeout = atomic_load(reader->nfailing) != 0 ? FAULT_LOOK_MS : -1;

    if (poll(fds, 2, timeout) < 0 && errno != EINTR)
        return -errno;
    if ((fds[0].revents & (POLLERR | POLLNVAL)) != 0)
        return -EIO;
    return 0;
}

/*
 * Read one message.  Returns 0, or -errno; -EAGAIN when there is none.
 * Only one: for a second the kernel would take the wait queue's lock again, which
 * the thread that sent the first holds while it walks the delay line.
 */
static int
read_message(const struct fault_reader *reader, struct uffd_msg *msg)
{
    ssize_t n = read(reader->uffd, msg, sizeof(*msg));

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n == sizeof(*msg) ? 0 : -EIO;
}

static bool
is_ending(const struct fault_reader *reader)
{
    return atomic_load_explicit(reader->ending, memory_order_relaxed);
}

/* One look for a message while spinning.  Returns as read_message. */
static int
look_for_message(const struct fault_reader *reader, struct uffd_msg *msg)
{
    struct pollfd fd = { .fd = reader->uffd, .events = POLLIN };

    if (reader->spin_polls && poll(&fd, 1, 0) == 0)
        return -EAGAIN;
    return read_message(reader, msg);
}

/* A message was found by a look that took so long. */
static void
judge_spinning(struct fault_reader *reader, uint64_t ns)
{
    reader->spin_found++;
    reader->spin_late += ns > FAULT_LATE_NS;
    if (reader->spin_found < SPIN_JUDGED)
        return;
    if (reader->spin_late > SPIN_LATE_MAX)
        reader->spin_polls = !reader->spin_polls;
    reader->spin_found = 0;
    reader->spin_late = 0;
}

/* Spin for a message.  Returns as read_message: -EAGAIN when the time was up. */
static int
spin_for_message(struct fault_reader *reader, struct uffd_msg *msg)
{
    uint64_t start = clock_now_ns();
    uint64_t now = start, before;
    int error;

    do {
        before = now;
        error = look_for_message(reader, msg);
        now = clock_now_ns();
    } while (error == -EAGAIN && !is_ending(reader) && now - start < reader->spin_ns);
    if (error == 0)
        judge_spinning(reader, now - before);
    if (error == -EAGAIN)
        reader->spin_ns = reader->spin_ns / 2 > SPIN_MIN_NS ? reader->spin_ns / 2 : SPIN_MIN_NS;
    else
        reader->spin_ns = reader->spin_ns * 2 < SPIN_MAX_NS ? reader->spin_ns * 2 : SPIN_MAX_NS;
    return error;
}

uint64_t
fault_reader_look_ns(int uffd)
{
    struct pollfd fd = { .fd = uffd, .events = POLLIN };
    uint64_t before = clock_now_ns(), shortest = UINT64_MAX, now;

    for (unsigned i = 0; i < LOOKS; i++) {
        (void)poll(&fd, 1, 0);
        now = clock_now_ns();
        shortest = now - before < shortest ? now - before : shortest;
        before = now;
    }
    return shortest;
}

void
fault_reader_init(struct fault_reader *reader, int uffd, int stop_fd, bool spin,
                  const _Atomic bool *ending, const _Atomic unsigned *nfailing)
{
    *reader = (struct fault_reader){ .uffd = uffd,
                                     .stop_fd = stop_fd,
                                     .spin = spin,
                                     .ending = ending,
                                     .nfailing = nfailing,
                                     .spin_ns = SPIN_MIN_NS };
}

int
fault_reader_next(struct fault_reader *reader, struct uffd_msg *msg)
{
    int error = reader->spin ? spin_for_message(reader, msg) : read_message(reader, msg);

    if (error != -EAGAIN || is_ending(reader))
        return error;
    error = wait_for_message(reader);
    return error != 0 ? error : -EAGAIN;
}
