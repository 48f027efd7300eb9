/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks of NBD servers.
 *
 * A command is begun, and the connection served in short pieces of time until the command is
 * complete or the disk is stopped.  One that was left so still knows its buffer: who stops a disk
 * closes it before he frees what he gave to it.  A connection that broke stays so, and every
 * later command fails: the guest sees I/O errors.
 *
 * Source: libnbd(3); the NBD protocol.
 */
#include "vmm/device/disk_nbd.h"

#if __has_include(<libnbd.h>)

#include "vmm/base/clock.h"
#include "vmm/base/limits.h"

#include <dlfcn.h>
#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libnbd.so.0"

/* While the server does not answer, look this often whether the disk was stopped. */
#define POLL_MS 10

/* Used if the server names none: what every server must take (NBD protocol, block sizes). */
#define REQUEST_MAX ((uint64_t)32 << 20)

/* What is used of the library; the list is of names without nbd_. */
#define CALLS(call)                                                                               \
    call(create) call(close) call(get_error) call(get_errno) call(aio_connect_uri) call(poll)     \
        call(aio_is_connecting) call(aio_is_negotiating) call(aio_is_ready) call(get_size)        \
            call(get_block_size) call(is_read_only) call(can_flush) call(can_trim) call(can_zero) \
                call(aio_pread) call(aio_pwrite) call(aio_flush) call(aio_trim) call(aio_zero)    \
                    call(aio_command_completed)

#define MEMBER(name) __typeof__(nbd_##name) *name;
#define NAME(name) "nbd_" #name,

struct calls {
    CALLS(MEMBER)
};

static const char *const call_names[] = { CALLS(NAME) };

struct disk_nbd {
    struct disk disk;          /* first */
    void *library;             /* (c) owned: stays loaded */
    struct calls nbd;          /* (c) */
    struct nbd_handle *handle; /* (c) owned; NULL = none yet */
    uint64_t request_max;      /* (c) bytes of a read or write */
    bool can_flush;            /* (c) */
    bool can_trim;             /* (c) */
    bool can_zero;             /* (c) */
};

static struct disk_nbd *
nbd_of(struct disk *disk)
{
    return (struct disk_nbd *)disk;
}

/* The errno of the library's latest failure. */
static int
last_error(const struct disk_nbd *nbd)
{
    int error = nbd->nbd.get_errno();

    return error > 0 ? -error : -EIO;
}

/* --- Commands --------------------------------------------------------------- */

/* Serve the connection until the command is complete.  `cookie` < 0: it could not be begun. */
static int
await(struct disk_nbd *nbd, int64_t cookie)
{
    int done;

    if (cookie < 0)
        return last_error(nbd);
    while ((done = nbd->nbd.aio_command_completed(nbd->handle, (uint64_t)cookie)) == 0) {
        if (atomic_load(&nbd->disk.stopped))
            return -ECANCELED;
        if (nbd->nbd.poll(nbd->handle, POLL_MS) < 0)
            return last_error(nbd);
    }
    return done < 0 ? last_error(nbd) : 0;
}

static size_t
part_of(const struct disk_nbd *nbd, size_t size)
{
    return size < nbd->request_max ? size : (size_t)nbd->request_max;
}

static int
nbd_read(struct disk *disk, void *to, size_t size, uint64_t offset)
{
    struct disk_nbd *nbd = nbd_of(disk);
    char *bytes = to;
    int error = 0;

    while (size != 0 && error == 0) {
        size_t part = part_of(nbd, size);

        error = await(nbd,
                      nbd->nbd.aio_pread(nbd->handle, bytes, part, offset, NBD_NULL_COMPLETION, 0));
        bytes += part;
        size -= part;
        offset += part;
    }
    return error;
}

static int
nbd_write(struct disk *disk, const void *from, size_t size, uint64_t offset)
{
    struct disk_nbd *nbd = nbd_of(disk);
    const char *bytes = from;
    int error = 0;

    while (size != 0 && error == 0) {
        size_t part = part_of(nbd, size);

        error = await(nbd, nbd->nbd.aio_pwrite(nbd->handle, bytes, part, offset,
                                               NBD_NULL_COMPLETION, 0));
        bytes += part;
        size -= part;
        offset += part;
    }
    return error;
}

/* A server that has no such command writes through. */
static int
nbd_flush_disk(struct disk *disk)
{
    struct disk_nbd *nbd = nbd_of(disk);

    return nbd->can_flush ? await(nbd, nbd->nbd.aio_flush(nbd->handle, NBD_NULL_COMPLETION, 0)) : 0;
}

static int
nbd_discard(struct disk *disk, uint64_t size, uint64_t offset)
{
    struct disk_nbd *nbd = nbd_of(disk);

    return await(nbd, nbd->nbd.aio_trim(nbd->handle, size, offset, NBD_NULL_COMPLETION, 0));
}

static int
write_zeros(struct disk *disk, uint64_t size, uint64_t offset)
{
    static const char zeros[64 << 10];
    int error = 0;

    while (size != 0 && error == 0) {
        size_t part = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);

        error = nbd_write(disk, zeros, part, offset);
        size -= part;
        offset += part;
    }
    return error;
}

static int
nbd_zero_range(struct disk *disk, uint64_t size, uint64_t offset, bool unmap)
{
    struct disk_nbd *nbd = nbd_of(disk);

    if (!nbd->can_zero)
        return write_zeros(disk, size, offset);
    return await(nbd, nbd->nbd.aio_zero(nbd->handle, size, offset, NBD_NULL_COMPLETION,
                                        unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
}

/* The library stays loaded: unloading it would unload what it made for all threads. */
static void
nbd_close_disk(struct disk *disk)
{
    struct disk_nbd *nbd = nbd_of(disk);

    if (nbd->handle != NULL)
        nbd->nbd.close(nbd->handle);
    free(nbd);
}

static const struct disk_ops nbd_ops = {
    .read = nbd_read,
    .write = nbd_write,
    .flush = nbd_flush_disk,
    .discard = nbd_discard,
    .zero = nbd_zero_range,
    .close = nbd_close_disk,
};

/* --- Opening ---------------------------------------------------------------- */

static int
load_library(struct disk_nbd *nbd, struct failure *failure)
{
    void **calls = (void **)&nbd->nbd;

    _Static_assert(sizeof(nbd->nbd) == sizeof(call_names), "as many names as calls");
    nbd->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (nbd->library == NULL)
        return failure_set(failure, -ENOTSUP,
                           "disks of NBD servers need libnbd: %s: install it (libnbd0)", dlerror());
    for (size_t i = 0; i < sizeof(call_names) / sizeof(call_names[0]); i++) {
        calls[i] = dlsym(nbd->library, call_names[i]);
        if (calls[i] == NULL)
            return failure_set(failure, -ENOTSUP, "libnbd has no %s: install a newer one",
                               call_names[i]);
    }
    return 0;
}

static int
set_library_failure(const struct disk_nbd *nbd, const struct disk_config *config,
                    const char *remedy, struct failure *failure)
{
    return failure_set(failure, last_error(nbd), "disk " FAILURE_NAME ": %.300s: %s", config->name,
                       nbd->nbd.get_error(), remedy);
}

static int
connect_server(struct disk_nbd *nbd, const struct disk_config *config, struct failure *failure)
{
    uint64_t deadline = clock_now_ns() + DISK_NBD_CONNECT_SECONDS * UINT64_C(1000000000);
    const char *remedy = "is the server there, and the export's name right?";

    nbd->handle = nbd->nbd.create();
    if (nbd->handle == NULL || nbd->nbd.aio_connect_uri(nbd->handle, config->name) < 0)
        return set_library_failure(nbd, config, remedy, failure);
    while (nbd->nbd.aio_is_connecting(nbd->handle) > 0 ||
           nbd->nbd.aio_is_negotiating(nbd->handle) > 0) {
        if (clock_now_ns() >= deadline)
            return failure_set(failure, -ETIMEDOUT,
                               "disk " FAILURE_NAME ": the server does not answer within %u s: %s",
                               config->name, DISK_NBD_CONNECT_SECONDS, remedy);
        if (nbd->nbd.poll(nbd->handle, POLL_MS) < 0)
            return set_library_failure(nbd, config, remedy, failure);
    }
    if (nbd->nbd.aio_is_ready(nbd->handle) <= 0)
        return set_library_failure(nbd, config, remedy, failure);
    return 0;
}

/* What the server said about itself and the export. */
static int
ask_server(struct disk_nbd *nbd, const struct disk_config *config, struct failure *failure)
{
    struct disk *disk = &nbd->disk;
    int64_t size = nbd->nbd.get_size(nbd->handle);
    int64_t block = nbd->nbd.get_block_size(nbd->handle, LIBNBD_SIZE_MINIMUM);
    int64_t most = nbd->nbd.get_block_size(nbd->handle, LIBNBD_SIZE_MAXIMUM);

    if (size <= 0 || size % (int64_t)DISK_SECTOR != 0 || block > (int64_t)DISK_BLOCK_MAX)
        return failure_set(failure, -EINVAL,
                           "disk " FAILURE_NAME
                           " has %lld bytes, which are no whole sectors of 512, "
                           "or blocks of more than 4096: have its server offer another",
                           config->name, (long long)size);
    if (!config->read_only && nbd->nbd.is_read_only(nbd->handle) != 0)
        return failure_set(failure, -EROFS,
                           "disk " FAILURE_NAME " can only be read, says its server: add ,ro",
                           config->name);
    disk->size = (uint64_t)size;
    disk->block_size = block > (int64_t)DISK_SECTOR ? (uint32_t)block : DISK_SECTOR;
    nbd->request_max = most > 0 ? (uint64_t)most : REQUEST_MAX;
    nbd->can_flush = nbd->nbd.can_flush(nbd->handle) > 0;
    nbd->can_trim = nbd->nbd.can_trim(nbd->handle) > 0;
    nbd->can_zero = nbd->nbd.can_zero(nbd->handle) > 0;
    disk->discards = config->discard && !config->read_only && nbd->can_trim;
    return 0;
}

int
disk_nbd_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
{
    struct disk_nbd *nbd = calloc(1, sizeof(*nbd));
    int error;

    if (nbd == NULL)
        return failure_set(failure, -ENOMEM, "no memory for a disk: %s",
                           limits_explain(ENOMEM).text);
    nbd->disk.ops = &nbd_ops;
    nbd->disk.read_only = config->read_only;
    error = load_library(nbd, failure);
    if (error == 0)
        error = connect_server(nbd, config, failure);
    if (error == 0)
        error = ask_server(nbd, config, failure);
    if (error != 0)
        nbd_close_disk(&nbd->disk);
    else
        *diskp = &nbd->disk;
    return error;
}

#else

#include <errno.h>

int
disk_nbd_open(const struct disk_config *config, struct disk **diskp, struct failure *failure)
{
    (void)diskp;
    return failure_set(failure, -ENOTSUP,
                       "disk " FAILURE_NAME ": built without libnbd: install libnbd-dev and build "
                       "again",
                       config->name);
}

#endif
