/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A read takes what is kept first, so while anything is left all of the read came from here,
 * and giving back is going back.
 */
#include "vmm/vm/port_input.h"

#include <assert.h>
#include <string.h>

size_t
port_input_take(struct port_input *input, uint16_t port, void *to, size_t size)
{
    size_t n = input->end - input->at;

    if (port != input->port)
        return 0;
    if (n > size)
        n = size;
    memcpy(to, input->bytes + input->at, n);
    input->at += n;
    return n;
}

void
port_input_give_back(struct port_input *input, uint16_t port, const void *from, size_t size)
{
    assert(size <= sizeof(input->bytes));
    if (input->port == port && input->at != input->end) {
        assert(size <= input->at);
        input->at -= size;
        return;
    }
    memcpy(input->bytes, from, size);
    input->port = port;
    input->at = 0;
    input->end = size;
}
