/* SPDX-License-Identifier: BSD-2-Clause */
/* See gdb_listen.h.  Names are not resolved: that could take long, and change. */
#include "vmm/gdb/gdb_listen.h"

#include "vmm/base/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static bool
is_path(const char *text)
{
    return strchr(text, '/') != NULL;
}

static int
refuse(const char *text, struct failure *failure)
{
    return failure_set(failure, -EINVAL,
                       "--gdb=" FAILURE_NAME " is no place to listen: give a port from 0 to 65535, "
                       "127.0.0.1:PORT, [::1]:PORT or the path of a Unix socket with a slash in it",
                       text);
}

/* Digits alone, 0 to 65535. */
static bool
parse_port(const char *text, uint16_t *port)
{
    unsigned long value;

    if (*text == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 5)
        return false;
    value = strtoul(text, NULL, 10);
    *port = (uint16_t)value;
    return value <= 65535;
}

static bool
parse_tcp(const char *text, union address *address, socklen_t *size)
{
    const char *colon = strrchr(text, ':');
    char host[64] = "127.0.0.1";
    uint16_t port;
    size_t n = colon == NULL ? 0 : (size_t)(colon - text);

    memset(address, 0, sizeof(*address));
    if (!parse_port(colon == NULL ? text : colon + 1, &port) || n >= sizeof(host))
        return false;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        memcpy(host, text + 1, n - 2);
        host[n - 2] = '\0';
        address->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
        *size = sizeof(address->v6);
        return inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1;
    }
    if (colon != NULL) {
        memcpy(host, text, n);
        host[n] = '\0';
    }
    address->v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
    *size = sizeof(address->v4);
    return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1;
}

static bool
parse_path(const char *text, union address *address, socklen_t *size)
{
    memset(address, 0, sizeof(*address));
    address->local.sun_family = AF_UNIX;
    *size = sizeof(address->local);
    if (strlen(text) >= sizeof(address->local.sun_path))
        return false;
    strcpy(address->local.sun_path, text);
    return true;
}

static int
parse(const char *text, union address *address, socklen_t *size, struct failure *failure)
{
    if (is_path(text) ? parse_path(text, address, size) : parse_tcp(text, address, size))
        return 0;
    if (is_path(text))
        return failure_set(failure, -EINVAL,
                           "--gdb=" FAILURE_NAME " is too long for a Unix socket: give at most %zu "
                           "bytes",
                           text, sizeof(address->local.sun_path) - 1);
    return refuse(text, failure);
}

int
gdb_listen_check(const char *text, struct failure *failure)
{
    union address address;
    socklen_t size;

    return parse(text, &address, &size, failure);
}

/* A socket that an earlier process left behind: nobody listens there. */
static void
remove_stale(const union address *address, socklen_t size)
{
    struct stat st;
    int fd;

    if (lstat(address->local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, &address->any, size) != 0 && errno == ECONNREFUSED)
        (void)unlink(address->local.sun_path);
    close(fd);
}

/* Returns a descriptor that listens, or -errno. */
static int
open_socket(const union address *address, socklen_t size)
{
    const int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd < 0)
        return -errno;
    if (address->any.sa_family == AF_UNIX)
        remove_stale(address, size);
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &address->any, size) == 0 && listen(fd, 4) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}

/* With the port that a 0 became. */
static void
tell_where(struct gdb_listen *at, const char *text)
{
    union address address = { .any.sa_family = AF_UNSPEC };
    socklen_t size = sizeof(address);
    char host[INET6_ADDRSTRLEN];

    if (at->path != NULL) {
        snprintf(at->where, sizeof(at->where), "%s", text);
    } else if (getsockname(at->fd, &address.any, &size) != 0) {
        at->where[0] = '\0';
    } else if (address.any.sa_family == AF_INET6) {
        snprintf(at->where, sizeof(at->where), "[%s]:%u",
                 inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host)),
                 ntohs(address.v6.sin6_port));
    } else {
        snprintf(at->where, sizeof(at->where), "%s:%u",
                 inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host)),
                 ntohs(address.v4.sin_port));
    }
}

int
gdb_listen_open(const char *text, struct gdb_listen *at, struct failure *failure)
{
    union address address = { .any.sa_family = AF_UNSPEC };
    socklen_t size = 0;
    int error = parse(text, &address, &size, failure);

    if (error != 0)
        return error;
    *at = (struct gdb_listen){ .fd = open_socket(&address, size) };
    if (at->fd < 0)
        return failure_set(failure, at->fd, "cannot listen for gdb at " FAILURE_NAME ": %s%s", text,
                           limits_explain(at->fd).text,
                           at->fd == -EADDRINUSE ? ": give --gdb another port or path" : "");
    if (is_path(text)) {
        at->path = strdup(text);
        if (at->path == NULL) {
            gdb_listen_close(at);
            return failure_set(failure, -ENOMEM, "no memory for the name of gdb's socket");
        }
    }
    tell_where(at, text);
    return 0;
}

void
gdb_listen_close(struct gdb_listen *at)
{
    if (at->fd >= 0)
        close(at->fd);
    if (at->path != NULL)
        (void)unlink(at->path);
    free(at->path);
    *at = (struct gdb_listen){ .fd = -1 };
}
