/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine as the device tree describes it (vkvm's docs/guest-abi.md), read with libfdt.
 *
 * The tree is parsed at the first call of fdt_machine, in ring 3 (libfdt is
 * prebuilt code that may use SSE, and ring 0 may be emulated).  An image that never asks pays
 * nothing.
 */
#ifndef GUEST_FDT_H
#define GUEST_FDT_H

#include <stdbool.h>
#include <stdint.h>

#define FDT_MAX_RAM 16
#define FDT_MAX_WINDOWS 64
#define FDT_MAX_FILES 64

/* A vpagetable window that exists since the start (the command line asked for it). */
struct fdt_window {
    uint64_t start;      /* GPA */
    uint64_t size;       /* bytes */
    uint64_t root;       /* root vpte */
    unsigned levels;     /* 4: vpte64, 2: vpte32 */
    unsigned protection; /* VKVM_MAP_READ, _WRITE, _EXECUTE */
};

/* A file that the command line mapped. */
struct fdt_file {
    uint64_t start;      /* GPA */
    uint64_t size;       /* bytes */
    unsigned protection; /* VKVM_MAP_READ, _WRITE, _EXECUTE */
    bool shared;         /* writes go to the file */
};

/* A range of RAM. */
struct fdt_ram {
    uint64_t start; /* GPA */
    uint64_t size;  /* bytes */
};

struct fdt_machine {
    uint64_t memory_size; /* bytes of RAM from GPA 0 */
    unsigned nram;        /* ranges of RAM; the first starts at GPA 0 */
    struct fdt_ram ram[FDT_MAX_RAM];
    uint64_t reserved_end; /* [0, reserved_end) belongs to vkvm's start-up tables */
    uint64_t tree_start;   /* the tree itself: page-aligned bounds */
    uint64_t tree_end;
    unsigned ncpus;
    const char *bootargs; /* arguments of the image, "" if none */
    unsigned nwindows;
    struct fdt_window windows[FDT_MAX_WINDOWS];
    unsigned nfiles;
    struct fdt_file files[FDT_MAX_FILES];
};

/*
 * The machine; the same object every time.  Ring 0 or 3; not from inside a trap
 * handler the first time.  A tree that lacks something needed ends the VM with a message.
 */
const struct fdt_machine *fdt_machine(void);

/*
 * The value of "NAME=value" among the boot arguments, up to the next blank; copied
 * to `to` (cut at size - 1 bytes).  Returns false, `to` untouched, when there is none.
 */
bool fdt_argument(const char *name, char *to, uint64_t size);

/* The same as a number (decimal or 0x hexadecimal), or `otherwise`. */
uint64_t fdt_argument_number(const char *name, uint64_t otherwise);

#endif
