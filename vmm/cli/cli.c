/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the command verbs: errors, wrong options, input files, writes to guest memory.
 */
#include "vmm/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
cli_fail(struct cli_error *error, enum cli_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return status;
}

void
cli_complain(const char *message)
{
    static const char hex[] = "0123456789abcdef";
    char line[8 + 4 * sizeof(((struct cli_error *)0)->message)] = "vkvm: ";
    size_t n = strlen(line);

    for (const char *p = message; *p != '\0' && n < sizeof line - 6; p++) {
        unsigned char c = (unsigned char)*p;

        if (c >= 0x20 && c != 0x7f) {
            line[n++] = *p;
            continue;
        }
        line[n++] = '\\';
        line[n++] = 'x';
        line[n++] = hex[c >> 4];
        line[n++] = hex[c & 0xf];
    }
    line[n] = '\0';
    fprintf(stderr, "%s\n", line);
}

const char *
cli_size_text(uint64_t size, char text[CLI_SIZE_TEXT])
{
    static const char *const suffixes[] = { "", "K", "M", "G", "T" };
    unsigned i = 0;

    while (i < 4 && size != 0 && size % 1024 == 0) {
        size /= 1024;
        i++;
    }
    snprintf(text, CLI_SIZE_TEXT, "%llu%s", (unsigned long long)size, suffixes[i]);
    return text;
}

int
cli_bad_option(const char *verb, int c, const char *word, const char *option,
               struct cli_error *error)
{
    if (c == ':')
        return cli_fail(error, CLI_USAGE, "%.512s needs a value: see 'vkvm %s --help'", word, verb);
    if (option != NULL)
        return cli_fail(error, CLI_USAGE, CLI_NAME ": --%s takes no value", word, option);
    if (optopt != 0)
        return cli_fail(error, CLI_USAGE, "unknown option -%c: see 'vkvm %s --help'", optopt, verb);
    return cli_fail(error, CLI_USAGE,
                    "unknown or ambiguous option " CLI_NAME ": see 'vkvm %s --help'", word, verb);
}

static int
check_regular(const char *path, int fd, uint64_t *size, struct cli_error *error)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return cli_fail(error, CLI_NOT_LOADABLE, "cannot examine " CLI_NAME ": %s", path,
                        strerror(errno));
    if (S_ISDIR(st.st_mode))
        return cli_fail(error, CLI_NOT_LOADABLE, CLI_NAME " is a directory: give a file", path);
    if (!S_ISREG(st.st_mode))
        return cli_fail(error, CLI_NOT_LOADABLE,
                        CLI_NAME " is not a regular file: copy its contents to one", path);
    *size = (uint64_t)st.st_size;
    return CLI_OK;
}

int
cli_open_file(const char *path, int flags, int *fdp, uint64_t *size, struct cli_error *error)
{
    /* O_NONBLOCK: opening a FIFO without a writer must not hang. */
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int status;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return cli_fail(error, CLI_NOT_FOUND, CLI_NAME ": no such file: check the name", path);
    if (fd < 0)
        return cli_fail(error, CLI_NOT_LOADABLE, "cannot open " CLI_NAME ": %s", path,
                        strerror(errno));
    status = check_regular(path, fd, size, error);
    if (status != CLI_OK) {
        close(fd);
        return status;
    }
    *fdp = fd;
    return CLI_OK;
}

int
cli_open_input(const char *path, int *fdp, uint64_t *size, struct cli_error *error)
{
    return cli_open_file(path, O_RDONLY, fdp, size, error);
}

int
cli_read_at(int fd, void *to, size_t size, uint64_t offset)
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

int
cli_memory_write(const struct cli_memory *memory, gpa_t gpa, const void *from, size_t size,
                 const char *what, struct cli_error *error)
{
    struct vm_fault_info info = { .result = VM_OK };
    enum vm_result result = memory->write(memory->context, gpa, from, size, &info);

    if (result == VM_OK)
        return CLI_OK;
    if (result == VM_HOST_FAILURE)
        return cli_fail(error, CLI_FAILED, "cannot write %s to guest memory at 0x%llx: %s: %s",
                        what, (unsigned long long)info.gpa.value,
                        info.cause != NULL ? info.cause : "host failure", strerror(-info.error));
    return cli_fail(error, CLI_FAILED, "cannot write %s to guest memory at 0x%llx: %s", what,
                    (unsigned long long)gpa_to_u64(gpa), vm_result_name(result));
}
