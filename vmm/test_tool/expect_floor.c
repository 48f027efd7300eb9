/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor: what a fault costs without any paging of ours.
 *
 * Faults are the process's own, so UFFD_USER_MODE_ONLY will do, which needs no rights.
 */
#include "vmm/test_tool/expect_floor.h"

#include "vmm/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES 512u
#define PAGE 4096u

struct floor {
    int fd;
    unsigned char *pages; /* registered */
    int stop[2];          /* a pipe: the server ends when it is closed */
    int error;            /* the server's: it answered no more; read when it is joined */
    uint64_t samples[PAGES];
};

/* Returns 0, or -errno: nobody answers the fault. */
static int
answer(const struct floor *f)
{
    struct uffd_msg message;
    struct uffdio_zeropage zero = { .mode = 0 };
    ssize_t n = read(f->fd, &message, sizeof(message));

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n != sizeof(message))
        return n < 0 ? -errno : -EIO;
    zero.range.start = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
    zero.range.len = PAGE;
    return ioctl(f->fd, UFFDIO_ZEROPAGE, &zero) == 0 || errno == EEXIST ? 0 : -errno;
}

/* Whoever waits for a page gets the kernel's own. */
static void
give_up(struct floor *f, int error)
{
    struct uffdio_range range = { .start = (uintptr_t)f->pages, .len = PAGES * (uint64_t)PAGE };

    f->error = error;
    (void)!ioctl(f->fd, UFFDIO_UNREGISTER, &range);
}

static void *
serve(void *argument)
{
    struct floor *f = argument;
    struct pollfd wait[] = { { .fd = f->fd, .events = POLLIN },
                             { .fd = f->stop[0], .events = POLLIN } };
    int error = 0;

    while (error == 0) {
        wait[0].revents = wait[1].revents = 0;
        if (poll(wait, 2, -1) < 0 && errno != EINTR)
            error = -errno;
        if (wait[1].revents != 0)
            return NULL;
        if (error == 0 && wait[0].revents != 0)
            error = answer(f);
    }
    give_up(f, error);
    return NULL;
}

static int
compare(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;

    return *a < *b ? -1 : *a > *b;
}

static double
measure(struct floor *f)
{
    const size_t middle = PAGES / 2;

    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t begin = clock_now_ns();

        *(volatile unsigned char *)(f->pages + (size_t)i * PAGE);
        f->samples[i] = clock_now_ns() - begin;
    }
    qsort(f->samples, PAGES, sizeof(f->samples[0]), compare);
    return (double)f->samples[middle] / 1000;
}

static int
open_uffd(struct floor *f)
{
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register range = { .range = { .start = (uintptr_t)f->pages,
                                                .len = PAGES * (uint64_t)PAGE },
                                     .mode = UFFDIO_REGISTER_MODE_MISSING };

    f->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (f->fd < 0 || ioctl(f->fd, UFFDIO_API, &api) != 0 ||
        ioctl(f->fd, UFFDIO_REGISTER, &range) != 0)
        return -errno;
    return 0;
}

/* With everything there. */
static int
run(struct floor *f, double *us)
{
    pthread_t server;
    int error = pthread_create(&server, NULL, serve, f);

    if (error != 0)
        return -error;
    *us = measure(f);
    close(f->stop[1]);
    f->stop[1] = -1;
    error = -pthread_join(server, NULL);
    return error != 0 ? error : f->error;
}

int
expect_floor(double *us, struct failure *failure)
{
    struct floor f = { .fd = -1, .stop = { -1, -1 } };
    int error;

    f.pages = mmap(NULL, PAGES * (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    error = f.pages == MAP_FAILED || pipe2(f.stop, O_CLOEXEC) != 0 ? -errno : open_uffd(&f);
    if (error == 0)
        error = run(&f, us);
    if (error != 0)
        failure_set(failure, error, "floor cannot be measured: userfaultfd: %s", strerror(-error));
    for (unsigned i = 0; i < 2; i++) {
        if (f.stop[i] >= 0)
            close(f.stop[i]);
    }
    if (f.fd >= 0)
        close(f.fd);
    if (f.pages != MAP_FAILED)
        munmap(f.pages, PAGES * (size_t)PAGE);
    return error;
}
