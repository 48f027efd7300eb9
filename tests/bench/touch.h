/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What touch.S and the benchmark programs share: where things lie in the guest.
 */
#ifndef TOUCH_H
#define TOUCH_H

#define TOUCH_CODE 0x200000   /* the code is copied here */
#define TOUCH_PARAMS 0x201000 /* struct touch_params */
#define TOUCH_STACK 0x203000  /* top of the stack, both rings */
#define TOUCH_GDT 0x203000
#define TOUCH_TSS 0x203800
#define TOUCH_IDT 0x204000
#define TOUCH_SEL_TSS 0x28

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Touch base + (i * stride & mask) for i in [0, count); all in bytes. */
struct touch_params {
    uint64_t base;
    uint64_t count;
    uint64_t stride;
    uint64_t mask;
    uint64_t write;
    uint64_t cycles; /* result: TSC cycles of the loop */
};

extern const uint8_t touch_begin[];
extern const uint8_t touch_end[];
#endif

#endif
