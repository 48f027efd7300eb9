/* SPDX-License-Identifier: BSD-2-Clause */
/* Unpacking: each method that is built in gives back what went in, or says that it is damaged. */
#include "vmm/boot/unpack.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
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

#if defined(HAVE_LIBLZ4) || defined(HAVE_LIBLZMA) || defined(HAVE_LIBZSTD)
#define PLAIN_SIZE 100000u
#define PACKED_MAX 200000u
#define TRAILER 4u

static uint8_t plain[PLAIN_SIZE], packed[PACKED_MAX];

static void
fill_plain(void)
{
    for (size_t i = 0; i < PLAIN_SIZE; i++)
        plain[i] = (uint8_t)(i / 7 + i % 13);
}

/* Behind the compressed bytes; returns the size of all. */
static size_t
add_trailer(size_t size, uint32_t claimed)
{
    memcpy(packed + size, &claimed, sizeof(claimed));
    return size + TRAILER;
}

static int
unpack_packed(size_t size, struct unpacked *unpacked, struct failure *failure)
{
    int fd = memfd_create("packed", MFD_CLOEXEC), error;

    cr_assert(eq(i64, write(fd, packed, size), (ssize_t)size));
    error = unpack(fd, 0, size, unpacked, failure);
    close(fd);
    return error;
}

static void
expect_plain(size_t size)
{
    struct failure failure = { 0 };
    struct unpacked unpacked;

    cr_assert(eq(int, unpack_packed(size, &unpacked, &failure), 0), "%s", failure.message);
    cr_assert(eq(u64, unpacked.size, PLAIN_SIZE));
    cr_expect(memcmp(unpacked.bytes, plain, PLAIN_SIZE) == 0);
    unpacked_free(&unpacked);
}

static void
expect_damaged(size_t size)
{
    struct failure failure = { 0 };
    struct unpacked unpacked;
    int error = unpack_packed(size, &unpacked, &failure);

    cr_expect(eq(int, error, -ENOEXEC), "%s", failure.message);
    if (error == 0)
        unpacked_free(&unpacked);
}

/* `size` compressed bytes: sound, cut short, with a wrong size behind them. */
static void
check_method(size_t size)
{
    expect_plain(add_trailer(size, PLAIN_SIZE));
    expect_damaged(add_trailer(size, PLAIN_SIZE + 1));
    expect_damaged(add_trailer(size, PLAIN_SIZE - 1));
    expect_damaged(add_trailer(size, 0));
    expect_damaged(add_trailer(size, UINT32_MAX));
    expect_damaged(add_trailer(size / 2, PLAIN_SIZE));
}
#endif

#ifdef HAVE_LIBLZMA
Test(unpack, xz_gives_back_what_went_in)
{
    size_t size = 0;

    fill_plain();
    cr_assert(eq(int,
                 (int)lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, plain, PLAIN_SIZE, packed,
                                              &size, PACKED_MAX),
                 LZMA_OK));
    check_method(size);
}
#endif

#ifdef HAVE_LIBZSTD
Test(unpack, zstd_gives_back_what_went_in)
{
    fill_plain();
    check_method(ZSTD_compress(packed, PACKED_MAX, plain, PLAIN_SIZE, 3));
}
#endif

#ifdef HAVE_LIBLZ4
#define LZ4_BLOCK ((size_t)8 << 20)

/* One block behind its size, at packed + at; returns where it ends. */
static size_t
add_lz4_block(const uint8_t *from, size_t size, size_t at)
{
    uint32_t n = (uint32_t)LZ4_compress_default((const char *)from, (char *)packed + at + sizeof(n),
                                                (int)size, (int)(PACKED_MAX - at - sizeof(n)));

    memcpy(packed + at, &n, sizeof(n));
    return at + sizeof(n) + n;
}

static size_t
begin_lz4(void)
{
    memcpy(packed, "\x02\x21\x4c\x18", 4);
    return 4;
}

Test(unpack, lz4_gives_back_what_went_in)
{
    fill_plain();
    check_method(add_lz4_block(plain, PLAIN_SIZE, begin_lz4()));
}

/* As a kernel of more than 8 MiB has. */
Test(unpack, lz4_blocks_come_where_they_belong)
{
    size_t size = 2 * LZ4_BLOCK + PLAIN_SIZE, at = begin_lz4();
    uint8_t *big = malloc(size);
    struct failure failure = { 0 };
    struct unpacked unpacked;

    cr_assert(big != NULL);
    for (size_t i = 0; i < size; i++)
        big[i] = (uint8_t)(i >> 16);
    for (size_t done = 0; done < size; done += LZ4_BLOCK)
        at = add_lz4_block(big + done, size - done < LZ4_BLOCK ? size - done : LZ4_BLOCK, at);
    at = add_trailer(at, (uint32_t)size);
    cr_assert(eq(int, unpack_packed(at, &unpacked, &failure), 0), "%s", failure.message);
    cr_expect(memcmp(unpacked.bytes, big, size) == 0);
    unpacked_free(&unpacked);
    packed[8] ^= 0x80; /* of the first block's data */
    expect_damaged(at);
    free(big);
}

Test(unpack, lz4_blocks_that_are_not_full_are_damaged)
{
    size_t at;

    fill_plain();
    at = add_lz4_block(plain, PLAIN_SIZE / 2, begin_lz4());
    at = add_lz4_block(plain + PLAIN_SIZE / 2, PLAIN_SIZE / 2, at);
    expect_damaged(add_trailer(at, PLAIN_SIZE));
}
#endif

Test(unpack, a_method_is_known_by_its_first_bytes)
{
    cr_expect(strcmp(unpack_method((const uint8_t *)"\xfd"
                                                    "7zXZ\0\0\0"),
                     "XZ") == 0);
    cr_expect(strcmp(unpack_method((const uint8_t *)"\x28\xb5\x2f\xfd\0\0\0\0"), "ZSTD") == 0);
    cr_expect(unpack_method((const uint8_t *)"\177ELF\0\0\0\0") == NULL);
}
