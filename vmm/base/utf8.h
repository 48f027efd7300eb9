/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text from outside, which may be anything.
 */
#ifndef UTF8_H
#define UTF8_H

/*
 * Length of the well-formed UTF-8 sequence at s, which ends with a NUL; 0 if there is none.
 * Source: Unicode Standard, table 3-7.
 */
unsigned utf8_length(const char *text);

#endif
