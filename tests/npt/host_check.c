/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Can vkvm run guests on this host?  Exit status 0: yes.  1: no, and one line
 * on standard output says why.  It asks what vkvm itself asks, by the same code.
 */
#include "vmm/kvm/kvm_host.h"

#include <stdio.h>

int
main(void)
{
    struct kvm_host host;
    struct host_error error;

    if (kvm_host_open(&host, &error) != 0) {
        puts(error.message);
        return 1;
    }
    kvm_host_close(&host);
    return 0;
}
