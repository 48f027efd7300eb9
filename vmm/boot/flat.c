/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file without headers, whose place the user says: a boot sector, a piece of assembly.
 */
#include "vmm/boot/image_format.h"

/* What a real-mode start can reach with its code segment. */
#define REAL_MODE_END 0x100000u

int
flat_open(struct image_check *check)
{
    const struct image_flat *flat = &check->request->flat;
    const struct image_segment segment = {
        .start = gpa_from_u64(flat->load),
        .size = check->file_size,
        .file_size = check->file_size,
    };
    int error;

    check->image->format = "flat";
    check->image->protocol = flat->protocol;
    if (check->file_size == 0)
        return IMAGE_REFUSE_PLAIN(check, "is empty: give a file with code in it");
    if (flat->protocol == ARCH_PROTOCOL_FLAT16 && flat->entry >= REAL_MODE_END)
        return IMAGE_REFUSE(check,
                            "cannot start in real mode at 0x%llx: give --entry an address below "
                            "0x%x, or the mode 'protected' or 'long'",
                            (ull)flat->entry, REAL_MODE_END);
    error = image_add_segment(check, &segment);
    if (error == 0)
        error = image_set_entry(check, flat->entry);
    return error;
}
