/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An image that is compressed as a whole, as Debian's Xen is: unpacked, then opened as what it is.
 */
#include "vmm/boot/image_format.h"
#include "vmm/boot/unpack.h"

static bool
probe(const struct image_check *check)
{
    return check->head_size >= UNPACK_MAGIC_SIZE && unpack_method(check->head) != NULL;
}

/* From here on the image is what comes out. */
static int
open_gzip(struct image_check *check)
{
    struct failure failure;
    int error;

    /* The others do not say in the file how much comes out. */
    if (!image_head_is(check, 0, "\x1f\x8b", 2))
        return IMAGE_REFUSE(check, "is compressed with %s: unpack it, and give what comes out",
                            unpack_method(check->head));
    error = unpack(check->image->fd, 0, check->file_size, &check->image->unpacked, &failure);
    if (error != 0)
        return IMAGE_REFUSE(check, "cannot be unpacked: %s", failure.message);
    error = image_check_file(check, check->image->unpacked.size);
    if (error == 0)
        error = image_check_plain(check);
    return error;
}

const struct image_format gzip_format = {
    .name = "compressed",
    .probe = probe,
    .open = open_gzip,
};
