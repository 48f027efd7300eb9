/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file pager: preadv and pwritev between the file and the direct map; see page_io.h.
 *
 * The pager of an object is on the system's list, by which others find the object, from before
 * anybody has the object until it is destroyed.  One that is found without a reference is being
 * destroyed, and perhaps still written back: whoever needs the file waits until it is gone.
 */
#include "vmm/pager/file_pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * An object has room for the whole file, so that whoever maps more of it later finds it there, if
 * the file is no larger than this part of the frame store.
 */
#define WHOLE_FILE_PART 16

/* What is one object: others for the same are shared. */
struct file_id {
    dev_t device;
    ino_t inode;
    uint64_t offset;                /* of page 0, bytes */
    const struct file_pager_io *io; /* borrowed */
};

struct file_pager {
    struct file_id id;
    LIST_ENTRY(file_pager) link; /* N */
    struct vm_object *object;    /* (c) borrowed: whose handle this is */
    int read_fd;                 /* (c) owned: the first one's; -1 if that is write_fd */
    _Atomic int write_fd; /* (a) owned: can be written too; -1 until somebody writes, N to change */
    _Atomic uint64_t size; /* (a) bytes of the file when it was last asked */
    _Atomic int error;     /* (a) negative errno of the latest failure */
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

/* How many of so many bytes of the file are from page pindex on. */
static uint64_t
bytes_from(const struct file_pager *pager, vm_pindex_t pindex, uint64_t size)
{
    uint64_t start = pager->id.offset + (pindex << PAGE_SHIFT);

    return size > start ? size - start : 0;
}

/*
 * Every page of the object is the file's: one beyond the file's end, or of a file whose
 * size is unknown, must not turn into zeros; getpages will report the failure.  The neighbours
 * are a guess, from what the file's size was at the latest transfer: getpages asks again.
 */
static bool
file_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    const struct file_pager *pager = pager_of(object);
    uint64_t behind = 0;
    uint64_t room = 0;
    uint64_t bytes =
        pindex < object->size ? bytes_from(pager, pindex, atomic_load(&pager->size)) : 0;

    if (bytes != 0) {
        behind = pindex;
        room = vm_min(pages_of(bytes), object->size - pindex) - 1;
    }
    if (before != NULL)
        *before = (unsigned)vm_min(behind, FILE_PAGER_CLUSTER);
    if (after != NULL)
        *after = (unsigned)vm_min(room, FILE_PAGER_CLUSTER);
    return pindex < object->size;
}

/*
 * The descriptor to read with: the one that can do more, once there is one, because some file
 * systems (overlays) copy a file when it is first opened for writing, and leave older readers
 * what it was.
 */
static int
pager_fd(struct file_pager *pager)
{
    int write_fd = atomic_load(&pager->write_fd);

    return write_fd >= 0 ? write_fd : pager->read_fd;
}

/* Ask for the file's size.  Returns 0, or -errno, which is noted. */
static int
pager_update_size(struct file_pager *pager)
{
    off_t size = pager->id.io->size(pager_fd(pager));
    int error = size < 0 ? -errno : 0;

    if (error != 0)
        atomic_store(&pager->error, error);
    else
        atomic_store(&pager->size, (uint64_t)size);
    return error;
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
    unsigned present;
    int error;

    *io = (struct page_io){ .m = m, .done = done };
    memset(done, 0, count * sizeof(*done));
    error = pager_update_size(pager);
    if (error != 0)
        return error;
    io->start = pager->id.offset + (pindex << PAGE_SHIFT);
    io->size =
        vm_min(bytes_from(pager, pindex, atomic_load(&pager->size)), (uint64_t)count << PAGE_SHIFT);
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
    io.fd = pager_fd(pager);
    io.call = pager->id.io->read;
    page_io_run(&io);
    note_error(pager, io.error);
    read_finish(&io, (unsigned)present);
    if (done[reqpage])
        return VM_PAGER_OK;
    if (reqpage >= pages_of(io.size))
        note_error(pager, -ENXIO);
    return VM_PAGER_ERROR;
}

/* The file's size is asked for afresh, and neither it nor a failure is noted. */
static enum vm_pager_result
file_peek(struct vm_object *object, vm_pindex_t pindex, void *page)
{
    struct file_pager *pager = pager_of(object);
    int fd = pager_fd(pager);
    off_t size = pager->id.io->size(fd);
    int got;

    if (size < 0 || bytes_from(pager, pindex, (uint64_t)size) == 0)
        return VM_PAGER_ERROR;
    got = page_io_peek(pager->id.io->read, fd, pager->id.offset + (pindex << PAGE_SHIFT), page);
    if (got <= 0)
        return VM_PAGER_ERROR;
    memset((uint8_t *)page + got, 0, PAGE_SIZE - (size_t)got);
    return VM_PAGER_OK;
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

    if (atomic_load(&pager->write_fd) < 0) {
        memset(done, 0, count * sizeof(*done));
        return VM_PAGER_FAIL;
    }
    present = transfer_init(&io, pager, m, count, done);
    if (present < 0)
        return VM_PAGER_ERROR;
    io.fd = atomic_load(&pager->write_fd);
    io.call = pager->id.io->write;
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
    int write_fd = atomic_load(&pager->write_fd);

    if (write_fd >= 0)
        close(write_fd);
    if (pager->read_fd >= 0)
        close(pager->read_fd);
    free(pager);
}

static void
file_dealloc(struct vm_object *object)
{
    struct file_pager *pager = pager_of(object);
    struct vm_system *sys = object->sys;

    vm_mutex_lock(&sys->files_lock);
    LIST_REMOVE(pager, link);
    vm_cond_broadcast(&sys->file_gone);
    vm_mutex_unlock(&sys->files_lock);
    pager_destroy(pager);
}

static const struct vm_pager_ops file_pager_ops = {
    .name = "file",
    .haspage = file_haspage,
    .getpages = file_getpages,
    .peek = file_peek,
    .putpages = file_putpages,
    .error = file_pager_error,
    .dealloc = file_dealloc,
};

/* May the descriptor be read, and be written where `writes` asks for it?  *id says what it is. */
static int
check_descriptor(int fd, bool writes, struct file_id *id)
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
    id->device = st.st_dev;
    id->inode = st.st_ino;
    return S_ISREG(st.st_mode) ? 0 : -ENODEV;
}

/*
 * Check the range, of *npages pages or up to the end of a file of `size` bytes.  *whole becomes
 * how many pages the file has there, at most what is reserved for a file without being asked for.
 */
static int
check_range(const struct vm_system *sys, const struct file_pager *pager, uint64_t *npages,
            uint64_t *whole)
{
    uint64_t room = INT64_MAX;
    uint64_t pages;

    if (pager->id.offset > room)
        return -EOVERFLOW;
    room = (room - pager->id.offset) >> PAGE_SHIFT;
    pages = pages_of(bytes_from(pager, 0, atomic_load(&pager->size)));
    if (*npages == 0)
        *npages = pages;
    if (*npages == 0)
        return -EINVAL;
    *whole = pages <= sys->store_pages / WHOLE_FILE_PART ? pages : 0;
    return *npages > room ? -EOVERFLOW : 0;
}

/* --- The objects that there are ------------------------------------------ */

static bool
same_file(const struct file_id *a, const struct file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->offset == b->offset &&
           a->io == b->io;
}

static struct file_pager *
file_find(struct vm_system *sys, const struct file_id *id) VM_REQUIRES(sys->files_lock)
{
    struct file_pager *pager;

    LIST_FOREACH (pager, &sys->files, link) {
        if (same_file(&pager->id, id))
            break;
    }
    return pager;
}

/* Count a reference of an object that is large enough.  -ESTALE: it has none any more. */
static int
object_ref_sized(struct vm_object *object, uint64_t npages)
{
    int error = 0;

    vm_mutex_lock(&object->lock);
    if (object->ref_count == 0)
        error = -ESTALE;
    else if (object->size < npages)
        error = -EFBIG;
    else
        object->ref_count++;
    vm_mutex_unlock(&object->lock);
    return error;
}

/* From now on dirty pages go to the file, by the descriptor that `from` has for it. */
static void
pager_set_writer(struct file_pager *pager, struct file_pager *from)
{
    struct vm_object *object = pager->object;
    int fd = atomic_load(&from->write_fd);

    if (fd < 0 || (pager != from && atomic_load(&pager->write_fd) >= 0))
        return;
    if (pager != from) {
        atomic_store(&from->write_fd, -1);
        atomic_store(&pager->write_fd, fd);
    }
    vm_mutex_lock(&object->lock);
    object->flags |= OBJ_WRITEBACK;
    vm_mutex_unlock(&object->lock);
}

/* The first object of its file; one of npages pages will do. */
static int
file_object_create(struct vm_system *sys, struct file_pager *pager, uint64_t npages, uint64_t whole)
    VM_REQUIRES(sys->files_lock)
{
    const struct vm_pager_ops *ops = &file_pager_ops;
    int error = vm_object_create(sys, OBJT_FILE, vm_max(npages, whole), ops, pager, &pager->object);

    if (error != 0 && whole > npages)
        error = vm_object_create(sys, OBJT_FILE, npages, ops, pager, &pager->object);
    if (error == 0)
        LIST_INSERT_HEAD(&sys->files, pager, link);
    return error;
}

/*
 * The object of the file that `made` is a pager for: if there is one, that, with what it lacks
 * of `made`; else one with `made` as its pager, of npages pages or as many as the whole file.
 */
static int
file_object(struct vm_system *sys, struct file_pager *made, uint64_t npages, uint64_t whole,
            struct vm_object **objectp) VM_REQUIRES(sys->files_lock)
{
    struct file_pager *pager;
    int error = -ESTALE;

    while ((pager = file_find(sys, &made->id)) != NULL &&
           (error = object_ref_sized(pager->object, npages)) == -ESTALE)
        vm_cond_wait(&sys->file_gone, &sys->files_lock);
    if (pager == NULL) {
        pager = made;
        error = file_object_create(sys, made, npages, whole);
    }
    if (error != 0)
        return error;
    pager_set_writer(pager, made);
    *objectp = pager->object;
    return 0;
}

/* --- Making -------------------------------------------------------------- */

/* A pager with a duplicate of the descriptor. */
static int
pager_new(int fd, bool writes, const struct file_id *id, struct file_pager **pagerp)
{
    struct file_pager *pager = malloc(sizeof(*pager));
    int error, own;

    if (pager == NULL)
        return -ENOMEM;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    error = own < 0 ? -errno : 0;
    *pager = (struct file_pager){
        .id = *id,
        .read_fd = writes ? -1 : own,
        .write_fd = writes ? own : -1,
    };
    if (error == 0)
        error = pager_update_size(pager);
    if (error != 0)
        pager_destroy(pager);
    else
        *pagerp = pager;
    return error;
}

int
file_pager_create_io(struct vm_system *sys, int fd, uint64_t offset, uint64_t npages,
                     unsigned flags, const struct file_pager_io *io, struct vm_object **objectp)
{
    struct file_id id = { .offset = offset, .io = io };
    struct vm_object *object = NULL;
    struct file_pager *pager = NULL;
    uint64_t whole = 0;
    int error;

    if ((flags & ~(FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY)) != 0)
        return -EINVAL;
    error = check_descriptor(fd, flags_write(flags), &id);
    if (error == 0)
        error = pager_new(fd, flags_write(flags), &id, &pager);
    if (error != 0)
        return error;
    error = check_range(sys, pager, &npages, &whole);
    if (error == 0) {
        vm_mutex_lock(&sys->files_lock);
        error = file_object(sys, pager, npages, whole, &object);
        vm_mutex_unlock(&sys->files_lock);
    }
    if (error != 0 || pager_of(object) != pager)
        pager_destroy(pager);
    if (error == 0)
        *objectp = object;
    return error;
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

int
file_pager_error(const struct vm_object *object)
{
    return atomic_load(&pager_of(object)->error);
}
