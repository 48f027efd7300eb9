/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What touch.S and the benchmark programs share: where things lie in the guest.
 */
#ifndef TOUCH_H
#define TOUCH_H

#define TOUCH_CODE 0x200000   /* the code is copied here */
#define TOUCH_SHARED 0x201000 /* struct touch_shared */
#define TOUCH_CPUS 0x202000   /* what each vCPU has of its own, one after the other */

#define TOUCH_CPU_SHIFT 14
/* In a vCPU's own part, at its start: struct touch_params. */
#define TOUCH_STACK 0x2000 /* top of the stack, both rings */
#define TOUCH_GDT 0x2000
#define TOUCH_TSS 0x2800
#define TOUCH_IDT 0x3000
#define TOUCH_DESCRIPTOR 0x3800 /* for lgdt and lidt */
#define TOUCH_SEL_TSS 0x28

#define TOUCH_MAX_CPUS 2

/* touch_params.warm and .write: link all pages in an order without rule; follow these links. */
#define TOUCH_LINK 2
#define TOUCH_CHASE 2

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Touch base + (i * stride & mask) for i in [0, count); all in bytes. */
struct touch_params {
    uint64_t base;
    uint64_t count;
    uint64_t stride;
    uint64_t mask;
    uint64_t write;      /* 1: write, 0: read; TOUCH_CHASE: count dependent loads */
    uint64_t warm;       /* 1: read all of it once before; TOUCH_LINK: write them */
    uint64_t begin;      /* result: TSC */
    uint64_t end;        /* result: TSC */
    uint64_t read_write; /* each page is read and then written to */
};

struct touch_shared {
    uint32_t ncpus;
    uint32_t ready; /* vCPUs that are about to begin ... */
    uint32_t done;  /* ... and that are through */
};

#define TOUCH_PARAMS(cpu) (TOUCH_CPUS + ((uint64_t)(cpu) << TOUCH_CPU_SHIFT))

extern const uint8_t touch_begin[];
extern const uint8_t touch_end[];
#endif

#endif
