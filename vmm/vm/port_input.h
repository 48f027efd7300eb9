/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Input that a vCPU has taken from a port and not stored.
 *
 * KVM asks for all the data of a `rep ins` before it stores any.  If the store is refused, the
 * guest gets its page fault and runs the instruction again: what was read from the device
 * must not be read twice, so it waits here for the next read of that port by this vCPU.
 *
 * No lock: the vCPU's own thread.
 */
#ifndef PORT_INPUT_H
#define PORT_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* KVM_EXIT_IO brings a page at most. */
#define PORT_INPUT_MAX 4096u

struct port_input {
    uint16_t port;
    size_t at; /* kept: bytes[at] .. bytes[end - 1] */
    size_t end;
    uint8_t bytes[PORT_INPUT_MAX];
};

/*
 * The vCPU reads `size` bytes from `port`: copy what is kept for it.
 * Returns how many bytes that were; the rest comes from the device.
 */
size_t port_input_take(struct port_input *input, uint16_t port, void *to, size_t size);

/*
 * Of the last read, from `port`, the last `size` bytes, which stand at `from`, were not stored.
 * What is kept for another port is lost: the guest has read this one before it came back.
 */
void port_input_give_back(struct port_input *input, uint16_t port, const void *from, size_t size);

#endif
