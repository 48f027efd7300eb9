/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --dtb and --dump-dtb: the machine as a device tree (boot/description.h), and how it goes together
 * with the other options.
 *
 * An option goes before the tree: --memory lays memory out anew, --cpus, --ram and --swap replace what
 * it says, and so does any word for the guest, by --append or behind --, replace all of its words.
 * What can be there several times is added: --window, --map, --cpu.  Of the image only one thing
 * counts: whether it wants a PC.
 */
#ifndef DTB_H
#define DTB_H

#include "vmm/cli/options.h"

/* What was read.  The options' names refer to it. */
struct dtb {
    struct vm_fdt fdt; /* owned */
    char **arguments;  /* owned: the guest's words, which are the tree's */
};

/*
 * Read the tree that options->dtb names, if any, and put it together with the other options; dtb_fini
 * it after them, also on failure.
 * Returns CLI_OK, or the exit status with *failure filled.
 */
int dtb_read(struct dtb *dtb, struct run_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Give the image the kind of machine that it wants, a PC with free page reporting or without.
 * Returns 0; -ENOEXEC with *failure filled: the tree describes another.
 */
int dtb_make_kind(struct run_options *options, bool wants_pc, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Check the machine and write its description to options->dump_dtb.
 * Returns CLI_OK, or the exit status with *failure filled.
 */
int dtb_dump(const struct run_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

void dtb_fini(struct dtb *dtb);

#endif
