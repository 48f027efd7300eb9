/* SPDX-License-Identifier: BSD-2-Clause */
/* /proc/self/exe says where this program is, however it was called. */
#include "vmm/cli/beside.h"

#include "vmm/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
beside_find(const char *const *places, char path[BESIDE_PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *slash;

    if (length < 0)
        return -errno;
    path[length] = '\0';
    slash = strrchr(path, '/');
    for (; slash != NULL && *places != NULL; places++) {
        snprintf(slash, (size_t)(path + BESIDE_PATH_MAX - slash), "%s", *places);
        if (access(path, F_OK) == 0)
            return 0;
        if (errno != ENOENT && errno != ENOTDIR)
            return -errno;
    }
    return -ENOENT;
}

int
beside_exec(const char *name, char *const *argv)
{
    char path[BESIDE_PATH_MAX], here[32], installed[64];
    const char *const places[] = { here, installed, NULL };
    int error;

    snprintf(here, sizeof(here), "/vkvm-%s", name);
    snprintf(installed, sizeof(installed), "/../libexec/vkvm/vkvm-%s", name);
    error = beside_find(places, path);
    if (error != 0)
        return error;
    execv(path, argv);
    return -errno;
}

int
beside_become(const char *name, char **argv)
{
    struct failure failure = { .message = "" };
    int error;

    fflush(stdout);
    error = beside_exec(name, argv);
    failure_set(&failure, CLI_FAILED, "cannot run vkvm-%s: %s", name,
                error == -ENOENT ? "it is neither beside vkvm nor in ../libexec/vkvm: install it"
                                 : strerror(-error));
    cli_complain(failure.message);
    return CLI_FAILED;
}
