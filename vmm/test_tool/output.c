/* SPDX-License-Identifier: BSD-2-Clause */
/* mkostemp, and rename at the end. */
#include "vmm/test_tool/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
cannot_write(const struct output *output, int error, struct failure *failure)
{
    const char *name = output->path == NULL ? "standard output" : output->path;

    return failure_set(failure, error,
                       "cannot write a report to " FAILURE_NAME
                       ": %s: make room, or give another file",
                       name, strerror(-error));
}

/* What may be replaced: a plain file, or nothing yet. */
static bool
is_plain(const char *path)
{
    struct stat status;

    return lstat(path, &status) != 0 || S_ISREG(status.st_mode);
}

/* As open would make it, which mkostemp does not. */
static int
set_mode(int fd)
{
    mode_t mask = umask(0);

    umask(mask);
    return fchmod(fd, 0666 & ~mask);
}

static int
open_temporary(struct output *output)
{
    int fd;

    if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
        output->temporary = NULL;
        return -ENOMEM;
    }
    fd = mkostemp(output->temporary, O_CLOEXEC);
    if (fd < 0 || set_mode(fd) != 0 || (output->to = fdopen(fd, "w")) == NULL) {
        int error = -errno;

        if (fd >= 0) {
            close(fd);
            unlink(output->temporary);
        }
        free(output->temporary);
        output->temporary = NULL;
        return error;
    }
    unlink(output->path);
    return 0;
}

int
output_open(struct output *output, const char *path, bool whole, struct failure *failure)
{
    int error = 0;

    *output = (struct output){ .path = path };
    if (path == NULL) {
        output->to = stdout;
    } else if (whole && is_plain(path)) {
        error = open_temporary(output);
    } else {
        output->to = fopen(path, "we");
        error = output->to == NULL ? -errno : 0;
    }
    return error == 0 ? 0 : cannot_write(output, error, failure);
}

/* Returns 0, or -errno. */
static int
flush(FILE *to)
{
    int error = 0;

    errno = 0;
    if (fflush(to) != 0 || ferror(to) != 0)
        error = errno != 0 ? -errno : -EIO;
    if (to != stdout && fclose(to) != 0 && error == 0)
        error = errno != 0 ? -errno : -EIO;
    return error;
}

int
output_close(struct output *output, bool good, struct failure *failure)
{
    int error = flush(output->to);

    if (output->temporary != NULL) {
        if (good && error == 0 && rename(output->temporary, output->path) != 0)
            error = -errno;
        if (!good || error != 0)
            unlink(output->temporary);
    }
    free(output->temporary);
    output->temporary = NULL;
    output->to = NULL;
    return error == 0 ? 0 : cannot_write(output, error, failure);
}
