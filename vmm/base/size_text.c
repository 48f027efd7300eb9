/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A size as options take it.
 */
#include "vmm/base/size_text.h"

#include <stdio.h>

const char *
size_text(uint64_t size, char text[SIZE_TEXT_MAX])
{
    static const char *const suffixes[] = { "", "K", "M", "G", "T" };
    unsigned i = 0;

    while (i < 4 && size != 0 && size % 1024 == 0) {
        size /= 1024;
        i++;
    }
    snprintf(text, SIZE_TEXT_MAX, "%llu%s", (unsigned long long)size, suffixes[i]);
    return text;
}
