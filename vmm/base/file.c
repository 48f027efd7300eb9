/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Input files.
 */
#include "vmm/base/file.h"

#include "vmm/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
check_regular(const char *path, int fd, uint64_t *size, struct failure *failure)
{
    struct stat st;
    int error;

    if (fstat(fd, &st) != 0) {
        error = -errno;
        return failure_set(failure, error, "cannot examine " FAILURE_NAME ": %s", path,
                           limits_explain(error).text);
    }
    if (S_ISDIR(st.st_mode))
        return failure_set(failure, -EISDIR, FAILURE_NAME " is a directory: give a file", path);
    if (!S_ISREG(st.st_mode))
        return failure_set(failure, -EINVAL,
                           FAILURE_NAME " is not a regular file: copy its contents to one", path);
    *size = (uint64_t)st.st_size;
    return 0;
}

int
file_open(const char *path, int flags, int *fdp, uint64_t *size, struct failure *failure)
{
    /* O_NONBLOCK: opening a FIFO without a writer must not hang. */
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error;

    if (fd < 0) {
        error = -errno;
        if (error == -ENOENT || error == -ENOTDIR)
            return failure_set(failure, -ENOENT, FAILURE_NAME ": no such file: check the name",
                               path);
        return failure_set(failure, error, "cannot open " FAILURE_NAME ": %s", path,
                           limits_explain(error).text);
    }
    error = check_regular(path, fd, size, failure);
    if (error != 0) {
        close(fd);
        return error;
    }
    *fdp = fd;
    return 0;
}

int
file_read_at(int fd, void *to, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, (char *)to + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        done += (size_t)n;
    }
    return 0;
}
