/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A size as options take it.
 */
#ifndef SIZE_TEXT_H
#define SIZE_TEXT_H

#include <stdint.h>

#define SIZE_TEXT_MAX 24

/* `size` bytes with the largest of K M G T that leaves no remainder.  Returns text. */
const char *size_text(uint64_t size, char text[SIZE_TEXT_MAX]);

#endif
