/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of `vkvm run` that say how an image is started: --append, --initrd, --module, --load,
 * --entry, --no-unpack.
 */
#ifndef BOOT_OPTIONS_H
#define BOOT_OPTIONS_H

#include "vmm/boot/pc_start.h"
#include "vmm/cli/cli.h"

struct boot_options {
    const char *append; /* borrowed from argv, as all names here; NULL = none */
    const char *initrd; /* NULL = none */
    unsigned nmodules;
    struct pc_module modules[PC_START_MAX_MODULES];
    struct image_flat flat;
    bool has_entry; /* --entry was given */
    bool has_mode;  /* ... with a mode */
    bool no_unpack;
};

/* Each takes the value of one option.  Returns CLI_OK; CLI_USAGE with *failure filled. */
int boot_options_append(struct boot_options *boot, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));
int boot_options_initrd(struct boot_options *boot, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));
int boot_options_module(struct boot_options *boot, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));
int boot_options_load(struct boot_options *boot, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));
int boot_options_entry(struct boot_options *boot, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Options that belong together, once all are known; fills in what was left out.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int boot_options_check(struct boot_options *boot, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
