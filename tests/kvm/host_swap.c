/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm run` whose swap device fails as a disk does, with a guest that has most of its memory there:
 *
 *   host_swap bad-blocks|late-writes|full [GUEST ARGUMENT]...
 *
 *   bad-blocks   every eighth page of the device cannot be read
 *   late-writes  the first writes fail, later ones do not
 *   full         nothing can be written behind the first 2 MiB
 *
 * The guest is lost_swap.elf; the exit status is vkvm run's.
 */
#include "vmm/base/failure.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/vpagetable/vm_types.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define BAD_EVERY 8
#define FAILING_WRITES 64u
#define ROOM ((off_t)2 << 20)
#define OWN_WORDS 7
#define WORDS_MAX 8

static enum {
    BAD_BLOCKS,
    LATE_WRITES,
    FULL
} fault;

/* NOLINTBEGIN(bugprone-reserved-identifier): --wrap's names */
ssize_t __real_preadv(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __real_pwritev(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int n, off_t offset);

/* Up to the first page that is bad, as a disk does; each part of `iov` is a page. */
ssize_t
__wrap_preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
    int good = 0;

    if (fault != BAD_BLOCKS)
        return __real_preadv(fd, iov, n, offset);
    while (good < n && (offset / PAGE_SIZE + good) % BAD_EVERY != BAD_EVERY - 1)
        good++;
    if (good != 0)
        return __real_preadv(fd, iov, good, offset);
    errno = EIO;
    return -1;
}

ssize_t
__wrap_pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    static _Atomic unsigned nwrites;

    if (fault == LATE_WRITES && nwrites++ < FAILING_WRITES) {
        errno = EIO;
        return -1;
    }
    if (fault == FULL && offset + n * (off_t)PAGE_SIZE > ROOM) {
        errno = ENOSPC;
        return -1;
    }
    return __real_pwritev(fd, iov, n, offset);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static bool
choose(const char *name)
{
    static const char *const names[] = { "bad-blocks", "late-writes", "full" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            fault = i;
            return true;
        }
    }
    return false;
}

/* Beside the folder that this program is in. */
static void
find_guest(const char *program, char path[PATH_MAX])
{
    const char *slash = strrchr(program, '/');

    snprintf(path, PATH_MAX, "%.*s/../guest/tests/lost_swap.elf",
             slash == NULL ? 1 : (int)(slash - program), slash == NULL ? "." : program);
}

int
main(int argc, char **argv)
{
    char guest[PATH_MAX];
    static char own[][16] = { "run", "--stats", "--memory=64M", "--ram=4M", "--swap=swap" };
    static char dashes[] = "--";
    char *words[OWN_WORDS + WORDS_MAX + 1] = {
        own[0], own[1], own[2], own[3], own[4], guest, dashes
    };

    if (argc < 2 || argc - 2 > WORDS_MAX || !choose(argv[1])) {
        fputs("usage: host_swap bad-blocks|late-writes|full [GUEST ARGUMENT]...\n", stderr);
        return 2;
    }
    find_guest(argv[0], guest);
    memcpy(words + OWN_WORDS, argv + 2, (size_t)(argc - 2) * sizeof(*argv));
    return cmd_run.run(OWN_WORDS + argc - 2, words);
}
