/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unpacking with zlib, liblzma, liblz4 and libzstd.
 *
 * A method is a row of the table: how its data begins, and the function of the library that has
 * it.  All sizes are known before: the data lies in a buffer, the result in memory of the size that
 * the data claims, whose pages are all there before the first byte is unpacked, so that a lack of
 * memory is an error and not a signal.
 *
 * Sources: Linux Documentation/x86/boot.rst (payload_offset), scripts/Makefile.lib (size_append);
 * LZ4 frame format, "legacy frame"; RFC 1952.
 */
#include "vmm/boot/unpack.h"

#include "vmm/base/file.h"
#include "vmm/base/limits.h"
#include "vmm/base/workers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef HAVE_LIBLZ4
#include <lz4.h>
#endif
#ifdef HAVE_LIBLZMA
#include <lzma.h>
#endif
#ifdef HAVE_LIBZSTD
#include <zstd.h>
#endif
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

/* What the last four bytes are. */
#define TRAILER_SIZE 4u

/* What is unpacked, and into what. */
struct packed {
    const uint8_t *from;
    size_t from_size; /* without the trailer */
    uint8_t *to;
    size_t to_size;
};

static uint32_t
get_u32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* --- Methods: do exactly to_size bytes come out? ------------------------------ */

#ifdef HAVE_ZLIB
/* With the header and trailer of gzip; the trailer's last four bytes are ours. */
static bool
unpack_gzip(const struct packed *p)
{
    z_stream stream = {
        .next_in = (Bytef *)(uintptr_t)p->from, /* which zlib does not write to */
        .avail_in = (uInt)(p->from_size + TRAILER_SIZE),
        .next_out = p->to,
        .avail_out = (uInt)p->to_size,
    };
    bool done;

    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
        return false;
    done = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.total_out == p->to_size;
    (void)inflateEnd(&stream);
    return done;
}
#else
#define unpack_gzip NULL
#endif

#ifdef HAVE_LIBLZMA
static bool
unpack_xz(const struct packed *p)
{
    uint64_t memory = UNPACK_MAX;
    size_t in = 0, out = 0;

    return lzma_stream_buffer_decode(&memory, 0, NULL, p->from, &in, p->from_size, p->to, &out,
                                     p->to_size) == LZMA_OK &&
           out == p->to_size;
}
#else
#define unpack_xz NULL
#endif

#ifdef HAVE_LIBLZ4
/*
 * The legacy frame: a magic number, then blocks, each behind its size.  What comes out of a block
 * is LZ4_BLOCK_SIZE bytes, or what is left of them: so where it belongs is known, and threads take
 * one block after the other.
 */
#define LZ4_BLOCK_SIZE ((size_t)8 << 20)
#define LZ4_MAX_BLOCKS (UNPACK_MAX / LZ4_BLOCK_SIZE)
#define LZ4_MAX_THREADS 8

struct lz4_frame {
    const struct packed *packed;
    size_t nblocks;
    struct {
        size_t from, size; /* in packed->from */
    } blocks[LZ4_MAX_BLOCKS];
    _Atomic size_t next;  /* block that nobody has taken */
    _Atomic bool damaged; /* one of them */
};

/* Find the blocks; false: they are not what the sizes say. */
static bool
lz4_survey(const struct packed *p, struct lz4_frame *frame)
{
    size_t at = sizeof(uint32_t), size;

    frame->packed = p;
    while (p->from_size - at >= sizeof(uint32_t)) {
        size = get_u32(p->from + at);
        at += sizeof(uint32_t);
        if (size > p->from_size - at || frame->nblocks == LZ4_MAX_BLOCKS)
            return false;
        frame->blocks[frame->nblocks].from = at;
        frame->blocks[frame->nblocks++].size = size;
        at += size;
    }
    return frame->nblocks == (p->to_size + LZ4_BLOCK_SIZE - 1) / LZ4_BLOCK_SIZE;
}

static bool
lz4_unpack_block(const struct lz4_frame *frame, size_t block)
{
    const struct packed *p = frame->packed;
    size_t to = block * LZ4_BLOCK_SIZE, left = p->to_size - to;
    size_t size = left < LZ4_BLOCK_SIZE ? left : LZ4_BLOCK_SIZE;

    return LZ4_decompress_safe((const char *)p->from + frame->blocks[block].from,
                               (char *)p->to + to, (int)frame->blocks[block].size,
                               (int)size) == (int)size;
}

static void
lz4_unpack_blocks(void *argument)
{
    struct lz4_frame *frame = argument;
    size_t block;

    while ((block = atomic_fetch_add(&frame->next, 1)) < frame->nblocks) {
        if (!lz4_unpack_block(frame, block))
            atomic_store(&frame->damaged, true);
    }
}

/* Without threads it takes longer, no more. */
static bool
unpack_lz4(const struct packed *p)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct lz4_frame frame = { 0 };
    struct workers *workers;

    if (!lz4_survey(p, &frame))
        return false;
    if (cpus > LZ4_MAX_THREADS)
        cpus = LZ4_MAX_THREADS;
    if (frame.nblocks > 1 && cpus > 1 && workers_create((unsigned)cpus - 1, &workers) == 0) {
        while (workers_begin(workers, lz4_unpack_blocks, &frame) == 0)
            ;
        lz4_unpack_blocks(&frame);
        workers_destroy(workers);
    } else {
        lz4_unpack_blocks(&frame);
    }
    return !atomic_load(&frame.damaged);
}
#else
#define unpack_lz4 NULL
#endif

#ifdef HAVE_LIBZSTD
static bool
unpack_zstd(const struct packed *p)
{
    return ZSTD_decompress(p->to, p->to_size, p->from, p->from_size) == p->to_size;
}
#else
#define unpack_zstd NULL
#endif

static const struct method {
    const char *name;
    const char *magic;
    size_t magic_size;
    bool (*unpack)(const struct packed *packed);
    const char *package; /* what to install before building; NULL = vkvm does not know the method */
} methods[] = {
    { "gzip", "\x1f\x8b", 2, unpack_gzip, "zlib1g-dev" },
    { "XZ",
      "\xfd"
      "7zXZ\0",
      6, unpack_xz, "liblzma-dev" },
    { "LZ4", "\x02\x21\x4c\x18", 4, unpack_lz4, "liblz4-dev" },
    { "ZSTD", "\x28\xb5\x2f\xfd", 4, unpack_zstd, "libzstd-dev" },
    { "bzip2", "BZh", 3, NULL, NULL },
    { "LZMA", "\x5d\0\0", 3, NULL, NULL },
    { "LZO", "\x89LZO", 4, NULL, NULL },
};

static const struct method *
find_method(const uint8_t *bytes)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (memcmp(bytes, methods[i].magic, methods[i].magic_size) == 0)
            return &methods[i];
    }
    return NULL;
}

const char *
unpack_method(const uint8_t magic[UNPACK_MAGIC_SIZE])
{
    const struct method *method = find_method(magic);

    return method == NULL ? NULL : method->name;
}

/* --- The result --------------------------------------------------------------- */

/* Room for the result, all of it there. */
static int
create_result(uint64_t size, struct unpacked *unpacked, struct failure *failure)
{
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error = bytes == MAP_FAILED ? -errno : 0;

    if (error == 0) {
        (void)madvise(bytes, size, MADV_HUGEPAGE); /* faster, where there are huge pages */
        /* Linux before 5.14 does not know it. */
        if (madvise(bytes, size, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
            error = -errno;
            munmap(bytes, size);
        }
    }
    if (error != 0)
        return failure_set(failure, error,
                           "there is no room for the %llu MiB that come out of it: %s",
                           (unsigned long long)(size >> 20), limits_explain(error).text);
    *unpacked = (struct unpacked){ .bytes = bytes, .size = size };
    return 0;
}

void
unpacked_free(struct unpacked *unpacked)
{
    if (unpacked->bytes != NULL)
        munmap(unpacked->bytes, unpacked->size);
    *unpacked = (struct unpacked){ 0 };
}

static int
unpack_by(const struct method *method, struct packed *packed, struct unpacked *unpacked,
          struct failure *failure)
{
    int error = create_result(packed->to_size, unpacked, failure);

    if (error != 0)
        return error;
    packed->to = unpacked->bytes;
    if (method->unpack(packed))
        return 0;
    unpacked_free(unpacked);
    return failure_set(failure, -ENOEXEC, "its %s data is damaged: copy it again", method->name);
}

static int
check_size(uint64_t size, struct failure *failure)
{
    if (size >= UNPACK_MAGIC_SIZE + TRAILER_SIZE && size <= UNPACK_MAX)
        return 0;
    return failure_set(failure, -ENOEXEC, "it has %llu compressed bytes: copy it again",
                       (unsigned long long)size);
}

/* Bytes of a size that is checked. */
static int
unpack_checked(const uint8_t *bytes, size_t size, struct unpacked *unpacked,
               struct failure *failure)
{
    const struct method *method = find_method(bytes);
    struct packed packed = {
        .from = bytes,
        .from_size = size - TRAILER_SIZE,
        .to_size = get_u32(bytes + size - TRAILER_SIZE),
    };

    if (method == NULL)
        return failure_set(failure, -ENOTSUP,
                           "it is not compressed in a way that vkvm knows: "
                           "unpack it yourself");
    if (method->package == NULL)
        return failure_set(failure, -ENOTSUP,
                           "it is compressed with %s, which vkvm cannot unpack: "
                           "unpack it yourself",
                           method->name);
    if (method->unpack == NULL)
        return failure_set(failure, -ENOTSUP,
                           "it is compressed with %s, and vkvm is built without its library: "
                           "install %s and build vkvm again",
                           method->name, method->package);
    if (packed.to_size == 0 || packed.to_size > UNPACK_MAX)
        return failure_set(failure, -ENOEXEC,
                           "its %s data says that %zu bytes come out of it: copy it again",
                           method->name, packed.to_size);
    return unpack_by(method, &packed, unpacked, failure);
}

int
unpack_bytes(const uint8_t *bytes, size_t size, struct unpacked *unpacked, struct failure *failure)
{
    int error = check_size(size, failure);

    return error != 0 ? error : unpack_checked(bytes, size, unpacked, failure);
}

int
unpack(int fd, uint64_t offset, uint64_t size, struct unpacked *unpacked, struct failure *failure)
{
    uint8_t *bytes;
    int error = check_size(size, failure);

    if (error != 0)
        return error;
    bytes = malloc(size);
    if (bytes == NULL)
        return failure_set(failure, -ENOMEM, "there is no memory to read it");
    error = file_read_at(fd, bytes, size, offset);
    if (error != 0)
        error = failure_set(failure, -ENOEXEC, "it cannot be read: %s: copy it again",
                            error == -ENODATA ? "it became shorter" : strerror(-error));
    else
        error = unpack_checked(bytes, size, unpacked, failure);
    free(bytes);
    return error;
}
