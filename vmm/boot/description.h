/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The description of a machine as a device tree (docs/devicetree.md): what --dtb reads and
 * --dump-dtb writes.  It says all that the machine consists of, and the host's files behind it.
 * The tree that a guest gets (fdt.h) is another one: it names none of them.
 *
 * Writing what was read gives the same tree again, byte by byte, if it was written here.
 */
#ifndef DESCRIPTION_H
#define DESCRIPTION_H

#include "vmm/boot/fdt.h"
#include "vmm/x86_64/cpu_feature.h"

/* A PC's root is compatible with this, and a machine for a guest of vkvm's own kind with
 * VKVM_FDT_COMPATIBLE (vkvm_abi.h). */
#define DESCRIPTION_PC "vkvm,pc-1"

/* What the budget may be, if there is one. */
#define DESCRIPTION_BUDGET_MIN ((uint64_t)1 << 20)
#define DESCRIPTION_BUDGET_MAX ((uint64_t)1 << 40)

struct description {
    struct machine machine;
    struct cpu_features features;
    bool exact_faults;
    uint64_t ram_budget;      /* most resident bytes; 0 = no limit */
    const char *swap;         /* borrowed, as all here: what is paged out to; NULL = nothing */
    const char *command_line; /* of a PC's kernel; NULL = none */
    const char *arguments;    /* of another guest: each with its NUL; NULL = none */
    size_t arguments_size;    /* bytes */
};

/* What the names in *to and messages refer to: `fdt` must stay as long as *to. */
struct description_source {
    const struct vm_fdt *fdt; /* checked by vm_fdt_load */
    const char *name;         /* of its file, for messages */
};

/*
 * Read a description.  What it does not know it refuses, so that no word of it is lost.
 * Returns 0; -ENOEXEC with *failure filled, which names node and property: something that is
 * missing, unknown, malformed or cannot be (machine_check).
 */
int description_read(const struct description_source *source, struct description *to,
                     struct failure *failure) __attribute__((warn_unused_result));

/*
 * Write a description; vm_fdt_fini it.
 * Returns as vm_fdt_build.
 */
int description_write(const struct description *description, struct vm_fdt *fdt,
                      struct failure *failure) __attribute__((warn_unused_result));

#endif
