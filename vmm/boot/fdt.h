/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree a guest gets at its start (RDI): built by libfdt, or a file's,
 * with an overlay applied if one is given.
 *
 * What is built, with two address and two size cells at the root:
 *
 *     / { compatible = "vkvm,vm-1"; model = "vkvm";
 *       chosen {
 *         bootargs = "ARGS joined by blanks";     only if there are ARGS
 *         vkvm,args = "ARG", "ARG", ...;          each by itself: blanks in them survive
 *         stdout-path = "/io/console@e9"; stdin-path = the same; }
 *       memory@0 { device_type = "memory"; reg = <start size> for each range; }
 *       cpus { cpu@N { device_type = "cpu"; compatible = "x86_64"; reg = <N>; } ... }
 *       io { compatible = "vkvm,io"; one address and one size cell: ports
 *         doorbell@510 { compatible = "vkvm,doorbell-1"; reg = <0x510 4>; }
 *         console@e9 { compatible = "vkvm,console-1"; reg = <0xe9 1>; } }
 *       windows { compatible = "vkvm,windows-1"; reg = <base size>: where windows may lie
 *         window@GPA { compatible = "vkvm,window-1"; reg = <gpa size>;
 *           vkvm,format = "vpte64"; vkvm,root = <high low>; vkvm,protection = "rwx"; } ... }
 *       files { compatible = "vkvm,files-1";            only if there are files
 *         file@GPA { compatible = "vkvm,file-1"; reg = <gpa size>;
 *           vkvm,sharing = "private" or "shared"; vkvm,protection = "rwx"; } ... } }
 *
 * The memory reservation block holds [0, reserved): page tables and the like of
 * the start.  The tree itself lies at the top of RAM, its size is in its header.
 */
#ifndef VM_FDT_H
#define VM_FDT_H

#include "vmm/boot/image.h"
#include "vmm/vm/machine.h"

#define VM_FDT_MAX_SIZE ((size_t)4 << 20)

struct vm_fdt {
    void *data;  /* owned: a whole, checked, packed tree; NULL = none */
    size_t size; /* bytes */
};

struct vm_fdt_config {
    const struct machine *machine; /* borrowed, checked */
    uint64_t reserved;             /* [0, reserved) is used by the start */
    char *const *arguments;        /* borrowed */
    size_t narguments;
};

/*
 * Build a tree; vm_fdt_fini it.
 * Returns 0; -ENOEXEC (the arguments make it too large) or -ENOMEM
 * (no memory) with *failure filled.
 */
int vm_fdt_build(const struct vm_fdt_config *config, struct vm_fdt *fdt, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Read a tree from a file; vm_fdt_fini it.
 * Returns 0; -ENOEXEC (unreadable, not a sound tree, too large) or
 * -ENOMEM (no memory) with *failure filled.
 */
int vm_fdt_load(const char *path, struct vm_fdt *fdt, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Put the arguments into /chosen, which is made if missing; no arguments: no change.
 * Returns as vm_fdt_build; *fdt is unchanged on failure.
 */
int vm_fdt_set_arguments(struct vm_fdt *fdt, char *const *arguments, size_t narguments,
                         struct failure *failure) __attribute__((warn_unused_result));

/*
 * Apply an overlay from a file.
 * Returns as vm_fdt_load; -ENOEXEC also when its targets or symbols are
 * not in the tree.  *fdt is unchanged on failure.
 */
int vm_fdt_apply_overlay(struct vm_fdt *fdt, const char *path, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Find the highest page-aligned place for the tree in [low, memory_size), below
 * ARCH_BOOT_MAP_END and clear of the image.
 * Returns 0 and *gpa; -ENOEXEC with *failure filled when there is none.
 */
int vm_fdt_place(const struct vm_fdt *fdt, gpa_t low, uint64_t memory_size,
                 const struct image *image, gpa_t *gpa, struct failure *failure)
    __attribute__((warn_unused_result));

void vm_fdt_fini(struct vm_fdt *fdt);

#endif
