/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a device tree is written or changed: in steps that run on fresh buffers (fdt.c says why).
 */
#ifndef FDT_STEP_H
#define FDT_STEP_H

#include "vmm/boot/fdt.h"

#include <libfdt.h>

#define FDT_STEP_NO_MEMORY (-(FDT_ERR_MAX + 1)) /* beside libfdt's own errors */

/*
 * Run a step on fresh buffers of growing size, and give its packed result to *fdt.
 * Returns 0, or -FDT_ERR_* or FDT_STEP_NO_MEMORY from the step: *fdt is then unchanged.
 */
int fdt_step_run(struct vm_fdt *fdt, int (*step)(void *buffer, size_t size, const void *argument),
                 const void *argument) __attribute__((warn_unused_result));

/* The error of a step as a user may read it.  `what` was being written.  Returns as vm_fdt_build. */
int fdt_step_fail(struct failure *failure, int fdt_error, const char *what);

#endif
