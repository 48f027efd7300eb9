/* SPDX-License-Identifier: BSD-2-Clause */
/* The file pager: preadv and pwritev between the file and the direct map; see page_io.h. */
#include "vmm/pager/file_pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_pager {
    int fd;                         /* (c) owned */
    unsigned flags;                 /* (c) FILE_PAGER_* */
    uint64_t offset;                /* (c) of page 0, bytes */
    const struct file_pager_io *io; /* (c) borrowed */
    _Atomic int error;              /* (a) negative errno of the latest failure */
};

static off_t
host_size(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 ? -1 : st.st_size;
}

static const struct file_pager_io host_io = {
    .read = preadv,
    .write = pwritev,
    .size = host_size,
};

static struct file_pager *
pager_of(const struct vm_object *object)
{
    return object->handle;
}

/* Do the flags let dirty pages go to the file? */
static bool
flags_write(unsigned flags)
{
    return (flags & (FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY)) == FILE_PAGER_SHARED;
}

static uint64_t
pages_of(uint64_t size)
{
    return (size >> PAGE_SHIFT) + ((size & PAGE_MASK) != 0);
}

/*
 * How many bytes the file has from page pindex on.
 * Returns 0, or -errno, which is noted.
 */
static int
pager_bytes_from(struct file_pager *pager, vm_pindex_t pindex, uint64_t *bytes)
{
    uint64_t start = pager->offset + (pindex << PAGE_SHIFT);
    off_t size = pager->io->size(pager->fd);

    if (size < 0) {
        int error = -errno;

        atomic_store(&pager->error, error);
        return error;
    }
    *bytes = (uint64_t)size > start ? (uint64_t)size - start : 0;
    return 0;
}

/*
 * Every page of the object is the file's: one beyond the file's end, or of a file whose
 * size is unknown, must not turn into zeros; getpages will report the failure.
 */
static bool
file_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    uint64_t behind = 0;
    uint64_t room = 0;
    uint64_t bytes = 0;

    if ((before != NULL || after != NULL) && pindex < object->size &&
        pager_bytes_from(pager_of(object), pindex, &bytes) == 0 && bytes != 0) {
        behind = pindex;
        room = pages_of(bytes) - 1;
        if (room > object->size - pindex - 1)
            room = object->size - pindex - 1;
    }
    if (before != NULL)
        *before = behind < FILE_PAGER_CLUSTER ? (unsigned)behind : FILE_PAGER_CLUSTER;
    if (after != NULL)
        *after = room < FILE_PAGER_CLUSTER ? (unsigned)room : FILE_PAGER_CLUSTER;
    return pindex < object->size;
}

/*
 * Prepare the transfer of `count` pages: clip it to the file's end; done[] is
 * true for the pages of which the file has a byte.
 * Returns the number of these pages, or -errno with done[] all false.
 */
static int
transfer_init(struct page_io *io, struct file_pager *pager, struct vm_page **m, unsigned count,
              bool *done)
{
    vm_pindex_t pindex = vm_page_pindex(m[0]);
    uint64_t size = 0;
    unsigned present;
    int error;

    *io = (struct page_io){ .fd = pager->fd, .m = m, .done = done };
    memset(done, 0, count * sizeof(*done));
    error = pager_bytes_from(pager, pindex, &size);
    if (error != 0)
        return error;
    io->start = pager->offset + (pindex << PAGE_SHIFT);
    io->size = size < (uint64_t)count << PAGE_SHIFT ? size : (uint64_t)count << PAGE_SHIFT;
    present = (unsigned)pages_of(io->size);
    for (unsigned i = 0; i < present; i++)
        done[i] = true;
    return (int)present;
}

static void
note_error(struct file_pager *pager, int error)
{
    if (error != 0)
        atomic_store(&pager->error, error);
}

/* After a read: zero the rest of a short last page, and forget pages beyond the end. */
static void
read_finish(const struct page_io *io, unsigned present)
{
    uint64_t skip = io->size & PAGE_MASK;
    uint64_t pages = pages_of(io->size);

    if (skip != 0 && io->done[pages - 1])
        memset((uint8_t *)vm_page_address(io->m[pages - 1]) + skip, 0, PAGE_SIZE - skip);
    for (uint64_t i = pages; i < present; i++)
        io->done[i] = false;
}

static enum vm_pager_result
file_getpages(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage,
              bool *done)
{
    struct file_pager *pager = pager_of(object);
    struct page_io io;
    int present = transfer_init(&io, pager, m, count, done);

    if (present < 0)
        return VM_PAGER_ERROR;
    for (int i = 0; i < present; i++)
        vm_page_flag_clear(m[i], VM_PAGE_ZERO);
    io.call = pager->io->read;
    page_io_run(&io);
    note_error(pager, io.error);
    read_finish(&io, (unsigned)present);
    if (done[reqpage])
        return VM_PAGER_OK;
    if (reqpage >= pages_of(io.size))
        note_error(pager, -ENXIO);
    return VM_PAGER_ERROR;
}

/*
 * Dirty is cleared before the bytes are taken and set again if that fails, so
 * that a page modified meanwhile is still dirty afterwards.
 */
static void
write_pages(struct page_io *io, unsigned present)
{
    for (unsigned i = 0; i < present; i++)
        atomic_store(&io->m[i]->dirty, 0);
    page_io_run(io);
    for (unsigned i = 0; i < present; i++) {
        if (!io->done[i])
            vm_page_dirty(io->m[i]);
    }
}

static enum vm_pager_result
file_putpages(struct vm_object *object, struct vm_page **m, unsigned count, bool *done)
{
    struct file_pager *pager = pager_of(object);
    struct page_io io;
    unsigned i = 0;
    int present;

    if (!flags_write(pager->flags)) {
        memset(done, 0, count * sizeof(*done));
        return VM_PAGER_FAIL;
    }
    present = transfer_init(&io, pager, m, count, done);
    if (present < 0)
        return VM_PAGER_ERROR;
    io.call = pager->io->write;
    io.end = -EIO;
    write_pages(&io, (unsigned)present);
    note_error(pager, io.error);
    while (i < count && done[i])
        i++;
    if (i == count)
        return VM_PAGER_OK;
    if (i == (unsigned)present)
        note_error(pager, -ENXIO);
    return VM_PAGER_ERROR;
}

static void
pager_destroy(struct file_pager *pager)
{
    close(pager->fd);
    free(pager);
}

static void
file_dealloc(struct vm_object *object)
{
    pager_destroy(pager_of(object));
}

static const struct vm_pager_ops file_pager_ops = {
    .name = "file",
    .haspage = file_haspage,
    .getpages = file_getpages,
    .putpages = file_putpages,
    .error = file_pager_error,
    .dealloc = file_dealloc,
};

/* May the descriptor be read, and be written where `writes` asks for it? */
static int
check_descriptor(int fd, bool writes)
{
    struct stat st;
    int mode = fcntl(fd, F_GETFL);

    if (mode < 0)
        return -errno;
    if ((mode & O_PATH) != 0)
        return -EBADF;
    if ((mode & O_ACCMODE) == O_WRONLY || (writes && (mode & O_ACCMODE) != O_RDWR))
        return -EACCES;
    if (writes && (mode & O_APPEND) != 0)
        return -EINVAL;
    if (fstat(fd, &st) != 0)
        return -errno;
    return S_ISREG(st.st_mode) ? 0 : -ENODEV;
}

/* Check the range, and find its length where it goes up to the file's end (0 is left to
 * vm_object_create to refuse). */
static int
check_range(struct file_pager *pager, uint64_t *npages)
{
    uint64_t room = INT64_MAX;
    uint64_t bytes = 0;
    int error;

    if (pager->offset > room)
        return -EOVERFLOW;
    room -= pager->offset;
    if (*npages == 0) {
        error = pager_bytes_from(pager, 0, &bytes);
        if (error != 0)
            return error;
        *npages = pages_of(bytes);
    }
    return *npages > room >> PAGE_SHIFT ? -EOVERFLOW : 0;
}

static int
pager_new(int fd, uint64_t offset, unsigned flags, const struct file_pager_io *io,
          struct file_pager **pagerp)
{
    struct file_pager *pager = malloc(sizeof(*pager));

    if (pager == NULL)
        return -ENOMEM;
    *pager = (struct file_pager){ .flags = flags, .offset = offset, .io = io };
    pager->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (pager->fd < 0) {
        int error = -errno;

        free(pager);
        return error;
    }
    *pagerp = pager;
    return 0;
}

int
file_pager_create_io(struct vm_system *sys, int fd, uint64_t offset, uint64_t npages,
                     unsigned flags, const struct file_pager_io *io, struct vm_object **objectp)
{
    struct file_pager *pager = NULL;
    struct vm_object *object;
    int error;

    if ((flags & ~(FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY)) != 0)
        return -EINVAL;
    error = check_descriptor(fd, flags_write(flags));
    if (error == 0)
        error = pager_new(fd, offset, flags, io, &pager);
    if (error != 0)
        return error;
    error = check_range(pager, &npages);
    if (error == 0)
        error = vm_object_create(sys, OBJT_FILE, npages, &file_pager_ops, pager, &object);
    if (error != 0) {
        pager_destroy(pager);
        return error;
    }
    if (flags_write(flags))
        object->flags |= OBJ_WRITEBACK;
    *objectp = object;
    return 0;
}

int
file_pager_create(struct vm_system *sys, int fd, uint64_t offset, uint64_t npages, unsigned flags,
                  struct vm_object **objectp)
{
    return file_pager_create_io(sys, fd, offset, npages, flags, &host_io, objectp);
}

int
file_pager_open(struct vm_system *sys, const char *path, uint64_t offset, uint64_t npages,
                unsigned flags, struct vm_object **objectp)
{
    /* Opening a FIFO must not wait for its other end; regular files ignore the flag. */
    int fd =
        open(path, (flags_write(flags) ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error;

    if (fd < 0)
        return -errno;
    error = file_pager_create(sys, fd, offset, npages, flags, objectp);
    close(fd);
    return error;
}

vm_prot_t
file_pager_max_protection(const struct vm_object *object)
{
    if ((pager_of(object)->flags & FILE_PAGER_READ_ONLY) != 0)
        return VM_PROT_READ | VM_PROT_EXECUTE;
    return VM_PROT_ALL;
}

int
file_pager_error(const struct vm_object *object)
{
    return atomic_load(&pager_of(object)->error);
}
