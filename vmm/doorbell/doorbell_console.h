/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console's calls with a buffer.
 */
#ifndef DOORBELL_CONSOLE_H
#define DOORBELL_CONSOLE_H

#include "vmm/doorbell/call.h"

struct vm;

/*
 * CONSOLE_WRITE: as much as can be read of the buffer goes to standard output, waiting for whoever
 * reads that.  Stops early, between pages, when the VM ends or is to pause.
 * CONSOLE_READ: what is there of standard input, never waiting.
 * Locks: none held; takes the engine's, and the console's for input.
 * Return the number of bytes, or what the guest gets for a failure at the first one: -VKVM_EFAULT,
 * -VKVM_EIO; READ also -VKVM_ENODATA, at the end of input.
 */
int64_t doorbell_console_write(struct vm *vm, const struct call_console *call);
int64_t doorbell_console_read(struct vm *vm, const struct call_console *call);

#endif
