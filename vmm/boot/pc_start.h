/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The start of a PC image: its command line, its modules (an initial RAM disk is one), what it is
 * told, and where in memory all of that lies.  Nothing has a fixed address: everything is placed
 * around the image, which may lie anywhere.
 */
#ifndef PC_START_H
#define PC_START_H

#include "vmm/boot/image.h"
#include "vmm/boot/start_info.h"
#include "vmm/vm/machine.h"

#define PC_START_MAX_MODULES 16u

/* A file for the guest, as the user names it. */
struct pc_module {
    const char *path; /* borrowed: path_size bytes, which need not end in a NUL */
    size_t path_size;
    const char *arguments; /* borrowed; "" = none */
};

struct pc_start_config {
    const struct machine *machine; /* borrowed, as all here */
    const struct image *image;
    const char *path; /* of the image */
    const char *append;
    char *const *arguments; /* put behind it */
    size_t narguments;
    const char *initrd; /* NULL = none */
    unsigned nmodules;
    const struct pc_module *modules;
    uint64_t rsdp; /* of the ACPI tables; 0 = there are none */
};

struct pc_start {
    struct arch_start start;
    unsigned base_kib; /* memory from 0 on, where a BIOS says so; 0 = nothing says it */
    uint8_t *info;     /* owned: what is written at start.info */
    size_t info_size;
    char *command_line; /* owned */
    unsigned nmodules;
    int fds[PC_START_MAX_MODULES + 1]; /* owned */
    struct start_module modules[PC_START_MAX_MODULES + 1];
};

/*
 * Open, check and place everything; pc_start_close it.
 * Returns 0; with *failure filled, and nothing held: -ENOEXEC: a file that cannot be read or has no
 * room, a command line that is too long, or something that this image's way of starting cannot be
 * told; -ENOENT: no such file; -ENOMEM.
 */
int pc_start_open(const struct pc_start_config *config, struct pc_start *pc,
                  struct failure *failure) __attribute__((warn_unused_result));

/*
 * Write modules and information; the boot tables are vm_set_start's.
 * Returns 0, -ENOEXEC (a file became shorter), -ENOMEM or what guest_memory_write returns, with
 * *failure filled.
 */
int pc_start_load(const struct pc_start *pc, const struct guest_memory *memory,
                  struct failure *failure) __attribute__((warn_unused_result));

void pc_start_close(struct pc_start *pc);

#endif
